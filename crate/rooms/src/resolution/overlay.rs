//! The end of a resolution: the unconflicted state goes over what was found.

use super::{
    Change, Conflict, Event,
    known::{Found, Key, Known, Lookup, Marks},
};

/// Entries that were found, to be made a difference from the first of the states.
pub(super) struct Overlay {
    state: Found,
}

impl Overlay {
    pub(super) fn new(state: Found) -> Self {
        Self { state }
    }

    /// What has to be changed in the first state. `keys` are the numbers of the conflicted keys, in their order.
    pub(super) fn run<E: Event>(
        &mut self,
        known: &mut Known<E>,
        conflict: &Conflict,
        keys: &[Key],
    ) -> Option<Vec<Change>> {
        let mut changes = self.new_entries(known, keys)?;
        for (disagreement, key) in conflict.disagreements().iter().zip(keys) {
            let resolved = self.state.get(*key).and_then(|index| known.id(index));
            let first = disagreement.event_ids.first().and_then(Option::as_deref);
            if resolved != first {
                changes.push(Change {
                    key: disagreement.key.clone(),
                    event_id: resolved.map(ToOwned::to_owned),
                });
            }
        }
        changes.sort_unstable();
        Some(changes)
    }

    /// Entries at keys where no state has any: events of the auth difference can bring them back.
    fn new_entries<E: Event>(&self, known: &mut Known<E>, keys: &[Key]) -> Option<Vec<Change>> {
        let conflicted: Marks = keys.iter().copied().collect();
        let mut new = Vec::new();
        for (key, index) in self.state.iter().filter(|(key, _)| !conflicted.contains(*key)) {
            if matches!(known.entry(key), Lookup::Absent)
                && let Some(key) = known.state_key(key)
            {
                let (key, event_id) = (key.clone(), known.id(index).map(ToOwned::to_owned));
                new.push(Change { key, event_id });
            }
        }
        (!known.is_waiting()).then_some(new)
    }
}
