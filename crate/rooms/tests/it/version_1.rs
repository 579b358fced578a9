//! State resolution of room version 1, case by case as its specification has it.

use std::collections::HashMap;

use hearth_rooms::{RoomVersion, StateMap, resolution::resolve_maps};
use ruma_common::{EventId, OwnedEventId};
use serde_json::{Value, json};

use crate::msc4297::Plain;

/// Events by id, and the state that all branches begin with.
struct Room {
    events: HashMap<OwnedEventId, Plain>,
    state: StateMap,
}

impl Room {
    /// A public room of alice, who has all the power, bob, who has half of it, and carol.
    fn new() -> Self {
        let mut room = Self {
            events: HashMap::new(),
            state: StateMap::new(),
        };
        let mut state = StateMap::new();
        let create = json!({"creator": "@alice:x"});
        room.add(
            &mut state,
            ("$create:x", 1),
            "@alice:x",
            ("m.room.create", ""),
            create,
        );
        room.join(&mut state, ("$alice:x", 2), "@alice:x");
        room.levels(
            &mut state,
            ("$levels:x", 3),
            "@alice:x",
            json!({"@alice:x": 100, "@bob:x": 50}),
        );
        room.rule(&mut state, ("$rule:x", 4), "@alice:x", "public");
        room.join(&mut state, ("$bob:x", 5), "@bob:x");
        room.join(&mut state, ("$carol:x", 6), "@carol:x");
        room.state = state;
        room
    }

    fn add(
        &mut self,
        state: &mut StateMap,
        (id, depth): (&str, u64),
        sender: &str,
        (kind, key): (&str, &str),
        content: Value,
    ) {
        let event: Plain = serde_json::from_value(json!({
            "event_id": id, "room_id": "!room:x", "sender": sender, "type": kind, "state_key": key,
            "content": content, "depth": depth, "origin_server_ts": 1, "prev_events": [], "auth_events": [],
        }))
        .unwrap();
        state.insert((kind.into(), key.into()), event.event_id.clone());
        self.events.insert(event.event_id.clone(), event);
    }

    fn join(&mut self, state: &mut StateMap, place: (&str, u64), user: &str) {
        self.member(state, place, user, user, "join");
    }

    fn member(
        &mut self,
        state: &mut StateMap,
        place: (&str, u64),
        sender: &str,
        user: &str,
        membership: &str,
    ) {
        let content = json!({"membership": membership});
        self.add(state, place, sender, ("m.room.member", user), content);
    }

    fn levels(&mut self, state: &mut StateMap, place: (&str, u64), sender: &str, users: Value) {
        let content = json!({"users": users});
        self.add(state, place, sender, ("m.room.power_levels", ""), content);
    }

    fn rule(&mut self, state: &mut StateMap, place: (&str, u64), sender: &str, rule: &str) {
        let content = json!({"join_rule": rule});
        self.add(state, place, sender, ("m.room.join_rules", ""), content);
    }

    fn topic(&mut self, state: &mut StateMap, place: (&str, u64), sender: &str) {
        self.add(
            state,
            place,
            sender,
            ("m.room.topic", ""),
            json!({"topic": place.0}),
        );
    }

    /// What the states resolve to, which is the same in whatever order they are named.
    fn resolved(&self, mut states: Vec<StateMap>) -> StateMap {
        let lookup = |id: &EventId| Some((self.events.get(id)?.clone(), None));
        let resolved = resolve_maps(RoomVersion::V1, &states, lookup).unwrap();
        states.reverse();
        assert_eq!(resolve_maps(RoomVersion::V1, &states, lookup).unwrap(), resolved);
        states.rotate_left(1);
        assert_eq!(resolve_maps(RoomVersion::V1, &states, lookup).unwrap(), resolved);
        resolved
    }
}

fn at(state: &StateMap, kind: &str, key: &str) -> String {
    state
        .get(&(kind.into(), key.into()))
        .map_or_else(String::new, ToString::to_string)
}

#[test]
fn what_only_some_states_have_is_no_conflict() {
    let mut room = Room::new();
    let (mut one, mut other) = (room.state.clone(), room.state.clone());
    room.topic(&mut one, ("$topic:x", 7), "@alice:x");
    room.join(&mut other, ("$dave:x", 7), "@dave:x");
    let state = room.resolved(vec![one, other]);
    assert_eq!(at(&state, "m.room.topic", ""), "$topic:x");
    assert_eq!(at(&state, "m.room.member", "@dave:x"), "$dave:x");
    assert_eq!(state.len(), room.state.len() + 2);
}

#[test]
fn power_levels_go_by_ascending_depth_as_long_as_each_allows_the_next() {
    let mut room = Room::new();
    let users = json!({"@alice:x": 100, "@bob:x": 50});
    let demoted = json!({"@alice:x": 100, "@bob:x": 0});
    let [mut one, mut two, mut three] = [0, 1, 2].map(|_| room.state.clone());
    room.levels(&mut one, ("$first:x", 7), "@alice:x", users.clone());
    room.levels(&mut two, ("$second:x", 8), "@alice:x", demoted);
    room.levels(&mut three, ("$third:x", 9), "@bob:x", users);
    let state = room.resolved(vec![one.clone(), two, three.clone()]);
    assert_eq!(at(&state, "m.room.power_levels", ""), "$second:x");
    // Without the demotion in between, bob may.
    let state = room.resolved(vec![one, three]);
    assert_eq!(at(&state, "m.room.power_levels", ""), "$third:x");
}

#[test]
fn what_comes_after_a_refused_one_is_not_looked_at() {
    let mut room = Room::new();
    let users = json!({"@alice:x": 100, "@bob:x": 50});
    let [mut one, mut two, mut three] = [0, 1, 2].map(|_| room.state.clone());
    room.levels(&mut one, ("$first:x", 7), "@alice:x", users.clone());
    room.levels(&mut two, ("$refused:x", 8), "@carol:x", users.clone());
    room.levels(&mut three, ("$allowed:x", 9), "@alice:x", users);
    let state = room.resolved(vec![one, two, three]);
    assert_eq!(at(&state, "m.room.power_levels", ""), "$first:x");
}

#[test]
fn of_equal_depth_the_greatest_hash_comes_first() {
    // SHA-1 of the ids: $a:x 68dd…, $b:x 8a19…, $c:x e45e…, $d:x c41a….
    let mut room = Room::new();
    let mut states = Vec::new();
    for id in ["$a:x", "$b:x", "$c:x", "$d:x"] {
        let mut state = room.state.clone();
        room.rule(&mut state, (id, 7), "@alice:x", "public");
        states.push(state);
    }
    // Each allows the next, so the last is left: that with the least hash.
    let state = room.resolved(states);
    assert_eq!(at(&state, "m.room.join_rules", ""), "$a:x");
}

#[test]
fn of_other_events_the_deepest_allowed_is_taken_and_of_equal_depth_the_least_hash() {
    let mut room = Room::new();
    let mut states = Vec::new();
    let topics = [
        ("$b:x", 8, "@alice:x"),
        ("$d:x", 8, "@bob:x"),
        ("$c:x", 7, "@alice:x"),
        ("$a:x", 9, "@carol:x"),
    ];
    for (id, depth, sender) in topics {
        let mut state = room.state.clone();
        room.topic(&mut state, (id, depth), sender);
        states.push(state);
    }
    // Carol may not set a topic.
    let state = room.resolved(states);
    assert_eq!(at(&state, "m.room.topic", ""), "$b:x");
}

#[test]
fn if_none_is_allowed_the_shallowest_is_taken() {
    let mut room = Room::new();
    let (mut one, mut other) = (room.state.clone(), room.state.clone());
    room.topic(&mut one, ("$a:x", 9), "@carol:x");
    room.topic(&mut other, ("$b:x", 8), "@carol:x");
    assert_eq!(at(&room.resolved(vec![one, other]), "m.room.topic", ""), "$b:x");
}

#[test]
fn join_rules_go_by_the_resolved_power_levels_and_members_by_both() {
    let mut room = Room::new();
    let demoted = json!({"@alice:x": 100, "@bob:x": 0});
    let same = json!({"@alice:x": 100, "@bob:x": 50});
    let (mut one, mut other) = (room.state.clone(), room.state.clone());
    room.levels(&mut one, ("$same:x", 7), "@alice:x", same);
    room.levels(&mut other, ("$demoted:x", 8), "@alice:x", demoted);
    room.rule(&mut one, ("$invite:x", 9), "@alice:x", "invite");
    room.rule(&mut other, ("$bobs:x", 10), "@bob:x", "public");
    room.member(&mut one, ("$carol-left:x", 11), "@carol:x", "@carol:x", "leave");
    room.member(&mut other, ("$carol-banned:x", 12), "@bob:x", "@carol:x", "ban");
    room.member(&mut one, ("$erin-invited:x", 11), "@alice:x", "@erin:x", "leave");
    room.member(&mut other, ("$erin-joined:x", 12), "@erin:x", "@erin:x", "join");
    let state = room.resolved(vec![one, other]);
    assert_eq!(at(&state, "m.room.power_levels", ""), "$demoted:x");
    assert_eq!(at(&state, "m.room.join_rules", ""), "$invite:x");
    assert_eq!(at(&state, "m.room.member", "@carol:x"), "$carol-left:x");
    assert_eq!(at(&state, "m.room.member", "@erin:x"), "$erin-invited:x");
}

#[test]
fn members_are_resolved_independently_of_each_other() {
    let mut room = Room::new();
    let (mut one, mut other) = (room.state.clone(), room.state.clone());
    room.member(&mut one, ("$bob-left:x", 7), "@bob:x", "@bob:x", "leave");
    room.member(&mut other, ("$bob-again:x", 8), "@bob:x", "@bob:x", "join");
    room.member(&mut one, ("$carol-again:x", 9), "@carol:x", "@carol:x", "join");
    room.member(&mut other, ("$carol-kicked:x", 10), "@bob:x", "@carol:x", "leave");
    let state = room.resolved(vec![one, other]);
    // Bob left and came back: the room is public.
    assert_eq!(at(&state, "m.room.member", "@bob:x"), "$bob-again:x");
    // While members are resolved none of the conflicting ones counts, so bob is nobody who may kick.
    assert_eq!(at(&state, "m.room.member", "@carol:x"), "$carol-again:x");
}
