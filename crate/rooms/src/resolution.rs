//! State resolution: one state out of several that disagree. Spec: Room Versions 2 and 12, "State resolution".
//!
//! The algorithm is ruma's. This module finds which events it will look at ([`Progress::Need`]) before it runs,
//! because it cannot wait for a store, and hands it only the part of the state that bears on the outcome.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
};

use ruma_common::{EventId, OwnedEventId, room_version_rules::StateResolutionV2Rules};
use ruma_events::StateEventType;
use ruma_state_res::{Event, auth_types_for_event, utils::event_id_set::EventIdSet};

use crate::{RoomVersion, StateKey, StateMap};

/// The most events that one resolution looks at: a bound on the work a hostile room can cause.
const MAX_EVENTS: usize = 500_000;

/// What is known of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup<E> {
    /// Here it is.
    Found(E),
    /// It is not loaded yet.
    NotLoaded,
    /// It cannot be had, however long one waits.
    Absent,
}

/// Where resolution takes events from.
pub trait EventSource {
    /// The type of events, cheap to clone.
    type Event: Event<Id = OwnedEventId> + Clone;

    /// The event `id`.
    fn event(&self, id: &EventId) -> Lookup<Self::Event>;
}

/// The events that were loaded: `None` is one that could not be had.
impl<E: Event<Id = OwnedEventId> + Clone> EventSource for HashMap<OwnedEventId, Option<E>> {
    type Event = E;

    fn event(&self, id: &EventId) -> Lookup<E> {
        match self.get(id) {
            Some(Some(event)) => Lookup::Found(event.clone()),
            Some(None) => Lookup::Absent,
            None => Lookup::NotLoaded,
        }
    }
}

/// How far a resolution got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// These events have to be loaded (or found absent) before the next call.
    Need(Vec<OwnedEventId>),
    /// The resolved state.
    Done(StateMap),
}

/// Why states cannot be resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolutionError {
    /// More than half a million events would have to be looked at.
    #[error("the conflict involves too many events")]
    TooLarge,
    /// An event that has a part in the conflict is absent or malformed.
    #[error("the conflict cannot be resolved: {0}")]
    Unresolvable(String),
}

/// Resolves `states`, all of one room of `version`.
///
/// Call it again with what it [needs](Progress::Need) added to `events` until it is done. The result does not
/// depend on the order of `states`.
///
/// # Errors
/// [`ResolutionError`] if the conflict is too large or an event of it cannot be had.
pub fn resolve(
    version: RoomVersion,
    states: &[StateMap],
    events: &impl EventSource,
) -> Result<Progress, ResolutionError> {
    let split = Split::new(states);
    if split.conflicted.is_empty() {
        return Ok(Progress::Done(split.unconflicted));
    }
    let Some(rules) = version.rules().state_res.v2_rules() else {
        return Err(ResolutionError::Unresolvable(
            "the room version has another algorithm".into(),
        ));
    };
    let mut walk = Walk::default();
    let chains = walk.conflicted_chains(&split, events)?;
    if !walk.needed.is_empty() {
        return Ok(walk.need());
    }
    let near = near(version, &split, &chains, events);
    let common = walk.common_chain(&split, &near, &chains, events)?;
    if !walk.needed.is_empty() {
        return Ok(walk.need());
    }
    run(
        version,
        rules,
        split,
        near,
        difference_only(&chains, &common),
        events,
    )
}

/// The states, parted into what they agree on and what they do not.
struct Split {
    unconflicted: StateMap,
    /// For each state, its entries that not all others have.
    conflicts: Vec<StateMap>,
    conflicted: BTreeSet<OwnedEventId>,
}

impl Split {
    fn new(states: &[StateMap]) -> Self {
        let mut unconflicted = StateMap::new();
        let mut conflicts = vec![StateMap::new(); states.len()];
        let mut conflicted = BTreeSet::new();
        let keys: HashSet<&StateKey> = states.iter().flat_map(StateMap::keys).collect();
        for key in keys {
            let first = states.first().and_then(|state| state.get(key));
            if let Some(id) = first.filter(|_| states.iter().all(|state| state.get(key) == first)) {
                unconflicted.insert(key.clone(), id.clone());
                continue;
            }
            for (state, conflict) in states.iter().zip(&mut conflicts) {
                if let Some(id) = state.get(key) {
                    conflict.insert(key.clone(), id.clone());
                    conflicted.insert(id.clone());
                }
            }
        }
        Self {
            unconflicted,
            conflicts,
            conflicted,
        }
    }
}

/// Walks auth chains over what is loaded, noting what is not.
#[derive(Default)]
struct Walk {
    needed: BTreeSet<OwnedEventId>,
    seen: usize,
}

impl Walk {
    /// For each state the auth chain of its conflicted events, themselves included.
    fn conflicted_chains(
        &mut self,
        split: &Split,
        events: &impl EventSource,
    ) -> Result<Vec<HashSet<OwnedEventId>>, ResolutionError> {
        split
            .conflicts
            .iter()
            .map(|conflict| self.chain(conflict.values(), events))
            .collect()
    }

    /// `from` and all that it rests on.
    fn chain<'a>(
        &mut self,
        from: impl Iterator<Item = &'a OwnedEventId>,
        events: &impl EventSource,
    ) -> Result<HashSet<OwnedEventId>, ResolutionError> {
        let mut chain: HashSet<OwnedEventId> = from.cloned().collect();
        let mut open: Vec<OwnedEventId> = chain.iter().cloned().collect();
        while let Some(id) = open.pop() {
            self.count()?;
            match events.event(&id) {
                Lookup::Found(event) => {
                    let new = event.auth_events().filter(|id| chain.insert((*id).clone()));
                    open.extend(new.cloned().collect::<Vec<_>>());
                }
                Lookup::NotLoaded => {
                    self.needed.insert(id);
                }
                Lookup::Absent => {}
            }
        }
        Ok(chain)
    }

    /// What the unconflicted state rests on, as far as it matters for the auth difference: events there are in
    /// the chains of all states.
    ///
    /// The chain of the few events `near` the conflict mostly explains all that the conflicted chains seem to
    /// differ in. Only if something is left is the chain of the whole unconflicted state walked.
    fn common_chain(
        &mut self,
        split: &Split,
        near: &StateMap,
        chains: &[HashSet<OwnedEventId>],
        events: &impl EventSource,
    ) -> Result<HashSet<OwnedEventId>, ResolutionError> {
        let mut common = self.chain(near.values(), events)?;
        let in_all = |id: &OwnedEventId| chains.iter().all(|chain| chain.contains(id));
        let unexplained =
            |id: &OwnedEventId| !split.conflicted.contains(id) && !common.contains(id) && !in_all(id);
        if self.needed.is_empty() && chains.iter().flatten().any(unexplained) {
            common.extend(self.chain(split.unconflicted.values(), events)?);
        }
        Ok(common)
    }

    fn need(self) -> Progress {
        Progress::Need(self.needed.into_iter().collect())
    }

    fn count(&mut self) -> Result<(), ResolutionError> {
        self.seen += 1;
        if self.seen > MAX_EVENTS {
            Err(ResolutionError::TooLarge)
        } else {
            Ok(())
        }
    }
}

/// The entries of the unconflicted state that authorisation of the conflicted events may look at: what stands
/// where events of their chains once stood, what those need to be allowed, and the create event.
fn near(
    version: RoomVersion,
    split: &Split,
    chains: &[HashSet<OwnedEventId>],
    events: &impl EventSource,
) -> StateMap {
    let mut keys: HashSet<StateKey> = HashSet::from([(StateEventType::RoomCreate, String::new())]);
    for id in chains.iter().flatten().collect::<HashSet<_>>() {
        let Lookup::Found(event) = events.event(id) else {
            continue;
        };
        keys.extend(auth_keys(version, &event));
        keys.extend(state_key(&event));
    }
    let entry = |key: StateKey| split.unconflicted.get(&key).cloned().map(|id| (key, id));
    keys.into_iter().filter_map(entry).collect()
}

fn auth_keys(version: RoomVersion, event: &impl Event) -> Vec<StateKey> {
    let rules = &version.rules().authorization;
    auth_types_for_event(
        event.event_type(),
        event.sender(),
        event.state_key(),
        event.content(),
        rules,
    )
    .unwrap_or_default()
}

fn state_key(event: &impl Event) -> Option<StateKey> {
    Some((
        event.event_type().to_string().into(),
        event.state_key()?.to_owned(),
    ))
}

/// The chains without what all states have in common, which no difference between them can hold.
fn difference_only(
    chains: &[HashSet<OwnedEventId>],
    common: &HashSet<OwnedEventId>,
) -> Vec<EventIdSet<OwnedEventId>> {
    let rest =
        |chain: &HashSet<OwnedEventId>| chain.iter().filter(|id| !common.contains(*id)).cloned().collect();
    chains.iter().map(rest).collect()
}

/// Runs ruma's algorithm, once everything is loaded, on the conflict and the part of the state near to it.
fn run(
    version: RoomVersion,
    rules: &StateResolutionV2Rules,
    split: Split,
    near: StateMap,
    chains: Vec<EventIdSet<OwnedEventId>>,
    events: &impl EventSource,
) -> Result<Progress, ResolutionError> {
    let mut states = split.conflicts;
    for state in &mut states {
        state.extend(near.iter().map(|(key, id)| (key.clone(), id.clone())));
    }
    let fetch = |id: &EventId| match events.event(id) {
        Lookup::Found(event) => Some(event),
        Lookup::NotLoaded | Lookup::Absent => None,
    };
    let subgraph = |conflicted: &ruma_state_res::StateMap<Vec<OwnedEventId>>| {
        Some(conflicted_subgraph(conflicted.values().flatten(), events))
    };
    let authorization = &version.rules().authorization;
    let mut resolved = ruma_state_res::resolve(authorization, rules, &states, chains, fetch, subgraph)
        .map_err(|error| ResolutionError::Unresolvable(error.to_string()))?;
    resolved.extend(split.unconflicted);
    Ok(Progress::Done(resolved))
}

/// The conflicted state subgraph: all events on a path of `auth_events` between two conflicted events, these
/// included. Spec: Room Version 12, "State resolution" (MSC4297).
fn conflicted_subgraph<'a>(
    conflicted: impl Iterator<Item = &'a OwnedEventId>,
    events: &impl EventSource,
) -> EventIdSet<OwnedEventId> {
    let conflicted: BTreeSet<&OwnedEventId> = conflicted.collect();
    let mut parents: BTreeMap<OwnedEventId, Vec<OwnedEventId>> = BTreeMap::new();
    let mut open: Vec<OwnedEventId> = conflicted.iter().map(|id| (*id).clone()).collect();
    let mut walked: HashSet<OwnedEventId> = open.iter().cloned().collect();
    while let Some(id) = open.pop() {
        let Lookup::Found(event) = events.event(&id) else {
            continue;
        };
        for auth_id in event.auth_events() {
            parents.entry(auth_id.clone()).or_default().push(id.clone());
            if walked.insert(auth_id.clone()) {
                open.push(auth_id.clone());
            }
        }
    }
    descendants(conflicted, &parents)
}

/// Back from the conflicted events to those that refer to them: what is met is reached from both ends.
fn descendants(
    conflicted: BTreeSet<&OwnedEventId>,
    parents: &BTreeMap<OwnedEventId, Vec<OwnedEventId>>,
) -> EventIdSet<OwnedEventId> {
    let mut open: Vec<&OwnedEventId> = conflicted.into_iter().collect();
    let mut between: EventIdSet<OwnedEventId> = open.iter().map(|id| (*id).clone()).collect();
    while let Some(id) = open.pop() {
        for parent in parents.get(id).into_iter().flatten() {
            if !between.contains(parent.borrow()) {
                between.insert(parent.clone());
                open.push(parent);
            }
        }
    }
    between
}
