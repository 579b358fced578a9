//! Resolving the states of a room that its extremities or an event's past leave. How, is
//! `hearth_rooms::resolution`'s to know; here is loaded what that asks for, and remembered what came out.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hearth_rooms::{
    Pdu, StateKey, ordered,
    resolution::{self, Conflict, Need, Progress, Resolution, ResolutionError},
};
use hearth_storage::BoxFuture;
use ruma_common::OwnedEventId;

use crate::{
    Error,
    rooms::{
        change::Change,
        tree::{StateEntry, empty_root},
    },
};

/// How many outcomes are remembered.
const REMEMBERED: usize = 64;
/// How many steps a resolution goes on for before others run: some hundredths of a second.
const SLICE: usize = 20_000;
/// To how many earlier states the present one is compared to find what came later; of more, all is said to be.
const MAX_EARLIER: usize = 64;

/// What some states, by their roots, resolve to: how the first of them has to be changed.
type Outcome = (Vec<String>, Arc<[resolution::Change]>);

/// The outcomes of the last resolutions. They depend on the states alone.
#[derive(Default)]
pub(crate) struct Resolved {
    outcomes: Mutex<VecDeque<Outcome>>,
}

impl Resolved {
    fn get(&self, roots: &[String]) -> Option<Arc<[resolution::Change]>> {
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        let index = outcomes.iter().position(|(states, _)| states == roots)?;
        let outcome = outcomes.remove(index)?;
        let changes = outcome.1.clone();
        outcomes.push_back(outcome);
        Some(changes)
    }

    fn keep(&self, roots: Vec<String>, changes: Arc<[resolution::Change]>) {
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        if outcomes.len() >= REMEMBERED {
            outcomes.pop_front();
        }
        outcomes.push_back((roots, changes));
    }
}

impl Change<'_> {
    /// The root of what the states `roots` resolve to.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if too much is in conflict.
    // Boxed, so that it is compiled here and not in each crate that awaits it.
    pub(super) fn resolve(&mut self, roots: BTreeSet<String>) -> BoxFuture<'_, Result<String, Error>> {
        Box::pin(async move {
            let roots: Vec<String> = roots.into_iter().collect();
            let Some(first) = roots.first().cloned() else {
                return Ok(empty_root());
            };
            let changes = match self.homeserver().resolved.get(&roots) {
                Some(changes) => changes,
                None => {
                    let changes = self.run_resolution(&roots).await?;
                    self.homeserver().resolved.keep(roots, changes.clone());
                    changes
                }
            };
            self.insert_state(&first, changes.iter().map(entry_of).collect())
                .await
        })
    }

    async fn run_resolution(&self, roots: &[String]) -> Result<Arc<[resolution::Change]>, Error> {
        let divergences = self.homeserver().tree_divergences(roots, self.nodes()).await?;
        let conflict = Conflict::of_trees(roots.len(), divergences);
        let mut resolution = Resolution::new(self.snapshot.version(), conflict).map_err(too_large)?;
        loop {
            match resolution.step(SLICE).map_err(too_large)? {
                Progress::Done(changes) => return Ok(changes),
                Progress::Working => self.homeserver().seams.clock.sleep(Duration::ZERO).await,
                Progress::Need(need) => self.supply(&mut resolution, roots, &need).await?,
            }
        }
    }

    async fn supply(
        &self,
        resolution: &mut Resolution<Pdu>,
        roots: &[String],
        need: &Need,
    ) -> Result<(), Error> {
        self.supply_entries(resolution, roots, &need.entries).await?;
        if !need.later.is_empty() {
            let later = self.later_than(roots, &need.later).await?;
            resolution.supply_later(&later);
        }
        for event in self.known_events(&need.events).await? {
            resolution.supply_event(&event.event_id, Some((event.pdu.clone(), event.position())));
        }
        // Those that were found are no longer needed, and the rest cannot be had.
        need.events
            .iter()
            .for_each(|id| resolution.supply_event(id, None));
        Ok(())
    }

    async fn supply_entries(
        &self,
        resolution: &mut Resolution<Pdu>,
        roots: &[String],
        entries: &[StateKey],
    ) -> Result<(), Error> {
        let Some(first) = roots.first().filter(|_| !entries.is_empty()) else {
            return Ok(());
        };
        let kinds: Vec<String> = entries.iter().map(|(kind, _)| kind.to_string()).collect();
        let names = kinds.iter().zip(entries);
        let names: Vec<_> = names
            .map(|(kind, (_, key))| (kind.as_str(), key.as_str()))
            .collect();
        let found = self.homeserver().tree_get(first, &names, self.nodes()).await?;
        for (key, event_id) in entries.iter().zip(found) {
            resolution.supply_entry(key, event_id);
        }
        Ok(())
    }

    /// The entries that all the states `roots` share and that may rest on one of `events`. Whatever rests on an
    /// event is not in the state before it.
    async fn later_than(
        &self,
        roots: &[String],
        events: &[OwnedEventId],
    ) -> Result<Vec<OwnedEventId>, Error> {
        let events = self.known_events(events).await?;
        let states = events
            .iter()
            .map(|event| event.decision.state_before.clone().unwrap_or_else(empty_root));
        let mut earlier: BTreeSet<String> = ordered::set(states);
        if earlier.len() > MAX_EARLIER || earlier.contains(&empty_root()) {
            earlier = ordered::set([empty_root()]);
        }
        let mut later = BTreeSet::new();
        for before in earlier {
            let found = self.homeserver().tree_later(&before, roots, self.nodes());
            later.extend(found.await?);
        }
        Ok(later.into_iter().collect())
    }
}

fn entry_of(change: &resolution::Change) -> StateEntry {
    let (kind, state_key) = &change.key;
    StateEntry {
        kind: kind.to_string(),
        state_key: state_key.clone(),
        event_id: change.event_id.clone(),
    }
}

fn too_large(error: ResolutionError) -> Error {
    Error::TooLarge(error.to_string())
}
