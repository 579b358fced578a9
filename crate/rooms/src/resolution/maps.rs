//! Resolution where everything is in memory.

use ruma_common::EventId;

use super::{Change, Conflict, Event, Progress, Resolution, ResolutionError};
use crate::{RoomVersion, StateKey, StateMap, chain_cover::Position};

/// Resolves `states` of one room of `version`, whose events `event` looks up.
///
/// For tools and tests. A server has its states in trees, and should not list them.
///
/// # Errors
/// [`ResolutionError::TooLarge`].
pub fn resolve_maps<E: Event>(
    version: RoomVersion,
    states: &[StateMap],
    event: impl Fn(&EventId) -> Option<(E, Option<Position>)>,
) -> Result<StateMap, ResolutionError> {
    let mut resolution = Resolution::new(version, Conflict::of_maps(states))?;
    loop {
        match resolution.step(usize::MAX)? {
            Progress::Working => {}
            Progress::Done(changes) => return Ok(changed(states, &changes)),
            Progress::Need(need) => {
                for id in &need.events {
                    resolution.supply_event(id, event(id));
                }
                for key in &need.entries {
                    let first = states.first().and_then(|state| state.get(key));
                    resolution.supply_entry(key, first.cloned());
                }
                let shared = |key: &StateKey| {
                    let mut found = states.iter().map(|state| state.get(key));
                    let first = found.next().flatten()?;
                    found.all(|other| other == Some(first)).then(|| first.clone())
                };
                let keys = states.first().into_iter().flat_map(StateMap::keys);
                if !need.later.is_empty() {
                    resolution.supply_later(&keys.filter_map(shared).collect::<Vec<_>>());
                }
            }
        }
    }
}

fn changed(states: &[StateMap], changes: &[Change]) -> StateMap {
    let mut state = states.first().cloned().unwrap_or_default();
    for Change { key, event_id } in changes {
        match event_id {
            Some(event_id) => state.insert(key.clone(), event_id.clone()),
            None => state.remove(key),
        };
    }
    state
}
