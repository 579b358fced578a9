//! The end of a resolution: the unconflicted state goes over what was found.

use std::collections::{HashMap, HashSet};

use super::{
    Change, Conflict, Event,
    known::{Index, Known, Lookup},
};
use crate::StateKey;

/// Entries that were found, to be made a difference from the first of the states.
pub(super) struct Overlay {
    state: HashMap<StateKey, Index>,
}

impl Overlay {
    pub(super) fn new(state: HashMap<StateKey, Index>) -> Self {
        Self { state }
    }

    /// What has to be changed in the first state.
    pub(super) fn run<E: Event>(&mut self, known: &mut Known<E>, conflict: &Conflict) -> Option<Vec<Change>> {
        let mut changes = self.new_entries(known, conflict)?;
        for disagreement in conflict.disagreements() {
            let resolved = self
                .state
                .get(&disagreement.key)
                .and_then(|index| known.id(*index));
            let first = disagreement.event_ids.first().and_then(Option::as_ref);
            if resolved != first {
                changes.push(Change {
                    key: disagreement.key.clone(),
                    event_id: resolved.cloned(),
                });
            }
        }
        changes.sort_unstable();
        Some(changes)
    }

    /// Entries at keys where no state has any: events of the auth difference can bring them back.
    fn new_entries<E: Event>(&self, known: &mut Known<E>, conflict: &Conflict) -> Option<Vec<Change>> {
        let conflicted: HashSet<&StateKey> = conflict
            .disagreements()
            .iter()
            .map(|disagreement| &disagreement.key)
            .collect();
        let mut new = Vec::new();
        for (key, index) in self.state.iter().filter(|(key, _)| !conflicted.contains(key)) {
            if matches!(known.entry(key), Lookup::Absent) {
                let (key, event_id) = (key.clone(), known.id(*index).cloned());
                new.push(Change { key, event_id });
            }
        }
        (!known.is_waiting()).then_some(new)
    }
}
