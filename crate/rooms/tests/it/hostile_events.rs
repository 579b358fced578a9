//! What a hostile server can make of events and their references: all ends, and takes no longer than it is large.

use std::{cell::Cell, collections::HashMap};

use hearth_rooms::{
    Pdu, RoomVersion, StateMap,
    auth_check::{check_auth_events, check_state},
    dag::{ancestors, topological_order},
    resolution::resolve_maps,
};
use ruma_common::{EventId, OwnedEventId, OwnedRoomId};
use serde_json::{Value, json};

use crate::fuzz::events::{Parts, USERS, event};

/// A room of one version, whose events nobody signed.
struct Room {
    version: RoomVersion,
    room_id: OwnedRoomId,
    events: HashMap<OwnedEventId, Pdu>,
    number: u64,
}

impl Room {
    /// A room made by the first user, and its state.
    fn new() -> (Self, StateMap) {
        let version = RoomVersion::V11;
        let room_id = OwnedRoomId::try_from("!room:a.example").unwrap();
        let (events, number) = (HashMap::new(), 0);
        let mut room = Self {
            version,
            room_id,
            events,
            number,
        };
        let mut state = StateMap::new();
        let create = json!({ "room_version": version.as_str() });
        room.set(&mut state, "m.room.create", "", create, &[], &[]);
        let create = state.values().cloned().collect::<Vec<_>>();
        let join = json!({ "membership": "join" });
        room.set(&mut state, "m.room.member", USERS[0], join, &create, &create);
        let levels = json!({ "users": { USERS[0]: 100 } });
        let auth: Vec<_> = state.values().cloned().collect();
        room.set(&mut state, "m.room.power_levels", "", levels, &auth[..1], &auth);
        (room, state)
    }

    fn make(
        &mut self,
        kind: &str,
        state_key: Option<&str>,
        content: Value,
        prev_events: &[OwnedEventId],
        auth_events: &[OwnedEventId],
    ) -> Option<Pdu> {
        self.number += 1;
        event(&Parts {
            version: self.version,
            room_id: Some(&self.room_id),
            sender: USERS[0],
            kind,
            state_key,
            content,
            prev_events,
            auth_events,
            number: self.number,
        })
    }

    fn set(
        &mut self,
        state: &mut StateMap,
        kind: &str,
        key: &str,
        content: Value,
        prev: &[OwnedEventId],
        auth: &[OwnedEventId],
    ) -> Pdu {
        let pdu = self.make(kind, Some(key), content, prev, auth).unwrap();
        state.insert(pdu.state_entry().unwrap(), pdu.event_id().to_owned());
        self.events.insert(pdu.event_id().to_owned(), pdu.clone());
        pdu
    }

    /// Replaces the power levels `count` times; each set rests on the one before.
    fn change_levels(&mut self, state: &mut StateMap, count: usize, mark: &str) {
        for number in 0..count {
            let auth: Vec<_> = state.values().cloned().collect();
            let levels = json!({ "users": { USERS[0]: 100 }, "mark": mark, "number": number });
            self.set(state, "m.room.power_levels", "", levels, &auth[..1], &auth);
        }
    }
}

fn id(number: usize) -> OwnedEventId {
    EventId::parse(format!("${number:043}")).unwrap()
}

#[test]
fn a_chain_of_ten_thousand_power_levels_is_resolved_by_looking_at_each_once() {
    let (mut room, mut state) = Room::new();
    room.change_levels(&mut state, 5_000, "trunk");
    let mut other = state.clone();
    room.change_levels(&mut state, 2_500, "a");
    room.change_levels(&mut other, 2_500, "b");
    let looked_at = Cell::new(0_usize);
    let states = [state, other];
    let look = |id: &EventId| {
        looked_at.set(looked_at.get() + 1);
        Some((room.events.get(id)?.clone(), None))
    };
    let resolved = resolve_maps(room.version, &states, look).unwrap();
    assert!(looked_at.get() <= room.events.len(), "{} looks", looked_at.get());
    let reversed: Vec<_> = states.iter().rev().cloned().collect();
    let again = resolve_maps(room.version, &reversed, |id| {
        Some((room.events.get(id)?.clone(), None))
    });
    assert_eq!(again.unwrap(), resolved);
}

#[test]
fn a_hundred_states_that_all_differ_are_resolved_at_once() {
    let (mut room, state) = Room::new();
    let mut states = Vec::new();
    for number in 0..100 {
        let mut fork = state.clone();
        let auth: Vec<_> = state.values().cloned().collect();
        let topic = json!({ "topic": number });
        room.set(&mut fork, "m.room.topic", "", topic, &auth[..1], &auth);
        states.push(fork);
    }
    let looked_at = Cell::new(0_usize);
    let look = |id: &EventId| {
        looked_at.set(looked_at.get() + 1);
        Some((room.events.get(id)?.clone(), None))
    };
    let resolved = resolve_maps(room.version, &states, look).unwrap();
    assert_eq!(resolved.len(), state.len() + 1);
    assert!(looked_at.get() <= room.events.len(), "{} looks", looked_at.get());
}

#[test]
fn references_are_bounded() {
    let (mut room, _) = Room::new();
    let ids: Vec<_> = (0..21).map(id).collect();
    let mut message = |prev: &[OwnedEventId], auth: &[OwnedEventId]| {
        room.make("m.room.message", None, json!({}), prev, auth).is_some()
    };
    assert!(message(&ids[..20], &ids[..10]));
    assert!(!message(&ids, &[]), "21 events before it");
    assert!(!message(&[], &ids[..11]), "11 events that authorise it");
}

#[test]
fn auth_events_named_twice_or_uncalled_for_authorise_nothing() {
    let (mut room, state) = Room::new();
    let auth: Vec<_> = state.values().cloned().collect();
    let lookup = |events: &HashMap<OwnedEventId, Pdu>, id: &EventId| events.get(id).cloned();
    let doubled = [&auth[..], &auth[..1]].concat();
    let mut topic_state = state.clone();
    let topic = room.set(
        &mut topic_state,
        "m.room.topic",
        "",
        json!({ "topic": "x" }),
        &auth[..1],
        &auth,
    );
    let with_topic = [&auth[..], &[topic.event_id().to_owned()]].concat();
    let unknown = [&auth[..], &[id(1)]].concat();
    for (listed, what) in [
        (doubled, "named twice"),
        (with_topic, "not called for"),
        (unknown, "unknown"),
    ] {
        let pdu = room
            .make("m.room.message", None, json!({}), &auth[..1], &listed)
            .unwrap();
        let verdict = check_auth_events(&pdu, |id| lookup(&room.events, id));
        assert!(verdict.is_err(), "{what}");
    }
    let good = room
        .make("m.room.message", None, json!({}), &auth[..1], &auth)
        .unwrap();
    assert!(check_auth_events(&good, |id| lookup(&room.events, id)).is_ok());
}

#[test]
fn absurd_numbers_are_refused_or_harmless() {
    let (mut room, state) = Room::new();
    let auth: Vec<_> = state.values().cloned().collect();
    let greatest = (1_i64 << 53) - 1;
    for level in [json!(greatest), json!(-greatest), json!(0)] {
        let levels = json!({ "users": { USERS[0]: level, USERS[1]: level }, "users_default": level });
        let pdu = room
            .make("m.room.power_levels", Some(""), levels, &auth[..1], &auth)
            .unwrap();
        let _ = check_auth_events(&pdu, |id| room.events.get(id).cloned());
        let _ = check_state(&pdu, |kind, key| {
            room.events
                .get(state.get(&(kind.clone(), key.to_owned()))?)
                .cloned()
        });
    }
    for level in [
        json!(greatest + 1),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1.5),
        json!(1e300),
    ] {
        let levels = json!({ "users_default": level });
        let made = room.make("m.room.power_levels", Some(""), levels, &auth[..1], &auth);
        assert!(made.is_none(), "{level} is no integer of canonical JSON");
    }
    for level in [json!("100"), json!([]), json!(null), json!({})] {
        let levels = json!({ "users": { USERS[0]: 100 }, "ban": level });
        let pdu = room
            .make("m.room.power_levels", Some(""), levels, &auth[..1], &auth)
            .unwrap();
        assert!(
            check_auth_events(&pdu, |id| room.events.get(id).cloned()).is_err(),
            "{level}"
        );
    }
}

#[test]
fn an_answer_is_cut_down_to_what_it_was_asked_for() {
    let (mut room, _) = Room::new();
    let mut chain = vec![
        room.make("m.room.message", None, json!({}), &[id(0)], &[])
            .unwrap(),
    ];
    for _ in 0..1_000 {
        let prev = [chain.last().unwrap().event_id().to_owned()];
        chain.push(room.make("m.room.message", None, json!({}), &prev, &[]).unwrap());
    }
    let junk: Vec<_> = (0..1_000)
        .map(|number| {
            room.make("m.room.message", None, json!({}), &[id(number)], &[])
                .unwrap()
        })
        .collect();
    let asked = chain.pop().unwrap();
    let given = junk.iter().chain(&chain).cloned().collect();
    let kept = ancestors(asked.prev_events(), given);
    assert_eq!(topological_order(kept), chain);
}

#[test]
fn the_size_of_an_event_is_bounded_to_the_byte() {
    let (mut room, state) = Room::new();
    let auth: Vec<_> = state.values().cloned().collect();
    let mut sized = |length: usize| {
        let content = json!({ "body": "x".repeat(length) });
        room.make("m.room.message", None, content, &auth[..1], &auth)
    };
    let overhead = sized(1_000).unwrap().json().len() - 1_000;
    let most = 65_536 - overhead;
    assert_eq!(sized(most).unwrap().json().len(), 65_536);
    assert!(sized(most + 1).is_none());
}
