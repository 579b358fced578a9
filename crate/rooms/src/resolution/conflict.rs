//! What is to be resolved.

use std::collections::HashSet;

use ruma_common::OwnedEventId;

use crate::{StateKey, StateMap, state_tree::Divergence};

/// A type and state key at which not all states have the same event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// The type and state key.
    pub key: StateKey,
    /// What each of the states has there.
    pub event_ids: Vec<Option<OwnedEventId>>,
}

/// All that some states disagree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    states: usize,
    disagreements: Vec<Disagreement>,
}

impl Conflict {
    /// What `divergences` of `states` state trees say.
    pub fn of_trees(states: usize, divergences: Vec<Divergence>) -> Self {
        let disagreement = |divergence: Divergence| Disagreement {
            key: (divergence.event_type.into(), divergence.state_key),
            event_ids: divergence.event_ids,
        };
        Self {
            states,
            disagreements: divergences.into_iter().map(disagreement).collect(),
        }
    }

    /// What whole states disagree on.
    pub fn of_maps(states: &[StateMap]) -> Self {
        let keys: HashSet<&StateKey> = states.iter().flat_map(StateMap::keys).collect();
        let disagreement = |key: &StateKey| {
            let event_ids: Vec<_> = states.iter().map(|state| state.get(key).cloned()).collect();
            let agreed = event_ids.iter().all(|id| Some(id) == event_ids.first());
            (!agreed).then(|| Disagreement {
                key: key.clone(),
                event_ids,
            })
        };
        Self {
            states: states.len(),
            disagreements: keys.into_iter().filter_map(disagreement).collect(),
        }
    }

    /// How many states there are.
    pub fn states(&self) -> usize {
        self.states
    }

    /// Where they disagree.
    pub fn disagreements(&self) -> &[Disagreement] {
        &self.disagreements
    }
}
