//! Forks with known outcomes, as ruma publishes them.

use std::collections::{BTreeMap, HashMap, HashSet};

use hearth_rooms::{RoomVersion, StateMap, resolution::resolve_maps};
use ruma_common::{EventId, OwnedEventId};
use serde::Deserialize;

use crate::msc4297::Plain;

#[derive(Deserialize)]
struct Case {
    events: Vec<String>,
    state: Vec<OwnedEventId>,
}

fn events_of(case: &Case) -> Vec<Plain> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/resolution");
    let read = |name: &String| std::fs::read_to_string(format!("{folder}/{name}.json")).unwrap();
    let parse = |name| serde_json::from_str::<Vec<Plain>>(&read(name)).unwrap();
    case.events.iter().flat_map(parse).collect()
}

fn version_of(events: &[Plain]) -> RoomVersion {
    let content: serde_json::Value = serde_json::from_str(events[0].content.get()).unwrap();
    content["room_version"].as_str().unwrap().parse().unwrap()
}

/// The states after all events that nothing follows.
fn states_after_all(events: Vec<Plain>) -> (RoomVersion, Vec<StateMap>, HashMap<OwnedEventId, Plain>) {
    let version = version_of(&events);
    let by_id: HashMap<OwnedEventId, Plain> = events
        .iter()
        .map(|event| (event.event_id.clone(), event.clone()))
        .collect();
    let resolve = |states: &[StateMap]| resolve_maps(version, states, |id| lookup(&by_id, id)).unwrap();
    let mut after: HashMap<OwnedEventId, StateMap> = HashMap::new();
    let mut open = events;
    while !open.is_empty() {
        let is_ready = |event: &Plain| event.prev_events.iter().all(|id| after.contains_key(id));
        let (ready, rest): (Vec<_>, Vec<_>) = open.into_iter().partition(is_ready);
        assert!(!ready.is_empty(), "events that follow nothing");
        open = rest;
        for event in ready {
            let states: Vec<_> = event.prev_events.iter().map(|id| after[id].clone()).collect();
            let before = resolve(&states);
            let key = event.event_type.to_string().into();
            let mut proposed = before.clone();
            proposed.insert((key, event.state_key.clone().unwrap()), event.event_id.clone());
            // An event that is not allowed loses against the state before it.
            after.insert(event.event_id, resolve(&[before, proposed]));
        }
    }
    let followed: HashSet<&OwnedEventId> = by_id.values().flat_map(|event| &event.prev_events).collect();
    let states = after.iter().filter(|(id, _)| !followed.contains(id));
    let states = states.map(|(_, state)| state.clone()).collect();
    (version, states, by_id)
}

fn lookup(
    events: &HashMap<OwnedEventId, Plain>,
    id: &EventId,
) -> Option<(Plain, Option<hearth_rooms::chain_cover::Position>)> {
    Some((events.get(id)?.clone(), None))
}

fn ids(state: StateMap) -> Vec<OwnedEventId> {
    let mut ids: Vec<_> = state.into_values().collect();
    ids.sort();
    ids
}

#[test]
fn published_forks_resolve_as_published() {
    let cases: BTreeMap<String, Case> =
        serde_json::from_str(include_str!("../fixtures/resolution/cases.json")).unwrap();
    assert_eq!(cases.len(), 9);
    for (name, case) in cases {
        let (version, states, events) = states_after_all(events_of(&case));
        let resolve = |states: &[StateMap]| resolve_maps(version, states, |id| lookup(&events, id)).unwrap();
        assert_eq!(ids(resolve(&states)), case.state, "{name}");
        // The outcome is the same if the heads are merged one after the other.
        let merged = states.iter().fold(states[0].clone(), |merged, state| {
            resolve(&[merged, state.clone()])
        });
        assert_eq!(ids(merged), case.state, "{name}, one by one");
    }
}
