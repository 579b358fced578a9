//! Resolution of what only a hostile server makes: it ends, in bounded steps.

use std::collections::HashMap;

use hearth_rooms::{
    RoomVersion, StateMap,
    resolution::{Conflict, MAX_STATES, Progress, Resolution, ResolutionError, resolve_maps},
};
use ruma_common::{EventId, OwnedEventId};
use serde_json::{Value, json};

use crate::msc4297::Plain;

type Events = HashMap<OwnedEventId, Plain>;

fn add(events: &mut Events, id: &str, kind: &str, key: &str, content: Value, auth: &[&str]) {
    let event: Plain = serde_json::from_value(json!({
        "event_id": id, "room_id": "!room:x", "sender": "@alice:x", "type": kind, "state_key": key,
        "content": content, "origin_server_ts": 1, "prev_events": [], "auth_events": auth,
    }))
    .unwrap();
    events.insert(event.event_id.clone(), event);
}

/// A create event and its creator's join.
fn room() -> Events {
    let mut events = Events::new();
    let create = json!({"creator": "@alice:x", "room_version": "2"});
    add(&mut events, "$create", "m.room.create", "", create, &[]);
    let join = json!({"membership": "join"});
    add(
        &mut events,
        "$alice",
        "m.room.member",
        "@alice:x",
        join,
        &["$create"],
    );
    events
}

fn levels(events: &mut Events, id: &str, auth: &[&str]) {
    let content = json!({"users": {"@alice:x": 100}});
    add(events, id, "m.room.power_levels", "", content, auth);
}

fn state(events: &Events, ids: &[&str]) -> StateMap {
    let entry = |id: &&str| {
        let event = &events[&EventId::parse(*id).unwrap()];
        let key = event.event_type.to_string().into();
        ((key, event.state_key.clone().unwrap()), event.event_id.clone())
    };
    ids.iter().map(entry).collect()
}

fn resolved(version: RoomVersion, events: &Events, states: &[StateMap]) -> StateMap {
    resolve_maps(version, states, |id| Some((events.get(id)?.clone(), None))).unwrap()
}

#[test]
fn events_that_claim_to_rest_on_each_other_do_not_stop_a_resolution() {
    let mut events = room();
    levels(&mut events, "$a", &["$create", "$alice", "$b"]);
    levels(&mut events, "$b", &["$create", "$alice", "$a"]);
    levels(&mut events, "$self", &["$create", "$alice", "$self"]);
    let topic = ("m.room.topic", "");
    add(
        &mut events,
        "$t",
        topic.0,
        topic.1,
        json!({}),
        &["$create", "$alice", "$a"],
    );
    add(
        &mut events,
        "$u",
        topic.0,
        topic.1,
        json!({}),
        &["$create", "$alice", "$self"],
    );
    let states = [["$a", "$t"], ["$b", "$u"], ["$self", "$t"]];
    let states = states.map(|[levels, topic]| state(&events, &["$create", "$alice", levels, topic]));
    for version in RoomVersion::ALL {
        let forward = resolved(version, &events, &states);
        let mut backward = states.clone();
        backward.reverse();
        assert_eq!(resolved(version, &events, &backward), forward, "{version}");
    }
}

#[test]
fn a_chain_of_any_depth_is_walked_in_slices() {
    const DEPTH: usize = 5_000;
    let mut events = room();
    levels(&mut events, "$levels0", &["$create", "$alice"]);
    for number in 1..DEPTH {
        let before = format!("$levels{}", number - 1);
        levels(
            &mut events,
            &format!("$levels{number}"),
            &["$create", "$alice", &before],
        );
    }
    let last = format!("$levels{}", DEPTH - 1);
    add(
        &mut events,
        "$t",
        "m.room.topic",
        "",
        json!({}),
        &["$create", "$alice", &last],
    );
    let old = state(&events, &["$create", "$alice", "$levels0"]);
    let new = state(&events, &["$create", "$alice", &last, "$t"]);
    let conflict = Conflict::of_maps(&[old, new.clone()]);
    let mut resolution = Resolution::new(RoomVersion::V2, conflict).unwrap();
    let mut slices = 0;
    let changes = loop {
        match resolution.step(1_000).unwrap() {
            Progress::Done(changes) => break changes,
            Progress::Working => slices += 1,
            Progress::Need(need) => {
                for id in &need.events {
                    resolution.supply_event(id, events.get(id).map(|event| (event.clone(), None)));
                }
                for key in &need.entries {
                    resolution.supply_entry(key, new.get(key).cloned());
                }
                if !need.later.is_empty() {
                    resolution.supply_later(&[]);
                }
            }
        }
        assert!(slices < 1_000);
    };
    assert!(slices > 50, "{slices}");
    assert_eq!(changes.len(), 2);
}

#[test]
fn too_many_states_are_refused() {
    let states = vec![state(&room(), &["$create"]); MAX_STATES + 1];
    let resolution = Resolution::<Plain>::new(RoomVersion::V12, Conflict::of_maps(&states));
    assert!(matches!(resolution.err(), Some(ResolutionError::TooLarge)));
}
