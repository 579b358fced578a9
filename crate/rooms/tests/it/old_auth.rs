//! The authorisation rules that only some versions have: aliases, redactions, forms of power levels. The cases are
//! those of ruma-state-res' tests (`src/event_auth/tests.rs`, `src/event_auth/tests/room_power_levels.rs`, MIT)
//! and of Room Versions 1, 3, 6 and 10.

use hearth_rooms::{Pdu, RoomVersion, StateMap};
use serde_json::{Value, json};

use crate::room::{Room, Server};

/// Alice's room with bob in it.
fn room_of(version: RoomVersion) -> (Room, StateMap, Server, Server) {
    let (alice, bob) = (Server::new(1), Server::new(2));
    let (mut room, mut state) = Room::create(version, &alice);
    let join = json!({"membership": "join"});
    room.send_state(&bob, "m.room.member", bob.user.as_str(), join, &mut state);
    (room, state, alice, bob)
}

fn may(
    room: &mut Room,
    state: &StateMap,
    sender: &Server,
    kind: &str,
    key: Option<&str>,
    content: Value,
) -> bool {
    let builder = room.builder(sender, kind, key, content, state, &[]);
    let pdu = room.add(builder, sender, &mut StateMap::new());
    room.allows(&pdu, state)
}

#[test]
fn up_to_version_5_every_server_sets_its_own_aliases() {
    for version in RoomVersion::ALL {
        let (mut room, state, alice, bob) = room_of(version);
        let carol = Server::new(3);
        let is_old = version < RoomVersion::V6;
        let mut may = |sender: &Server, key: Option<&str>| {
            let aliases = json!({"aliases": []});
            may(&mut room, &state, sender, "m.room.aliases", key, aliases)
        };
        assert_eq!(may(&bob, Some(&bob.name)), is_old, "version {version}");
        assert_eq!(may(&carol, Some(&carol.name)), is_old, "version {version}");
        assert_eq!(may(&alice, Some(&bob.name)), !is_old, "version {version}");
        assert_eq!(may(&alice, None), !is_old, "version {version}");
    }
}

#[test]
fn in_versions_1_and_2_a_redaction_takes_power_or_the_domain_of_the_id() {
    for version in RoomVersion::ALL {
        let (mut room, state, alice, bob) = room_of(version);
        let message = |room: &mut Room, sender: &Server| -> Pdu {
            let builder = room.builder(sender, "m.room.message", None, json!({}), &state, &[]);
            room.add(builder, sender, &mut StateMap::new())
        };
        let (of_alice, of_bob) = (message(&mut room, &alice), message(&mut room, &bob));
        let mut may = |sender: &Server, target: Option<&Pdu>| {
            let mut builder = room.builder(sender, "m.room.redaction", None, json!({}), &state, &[]);
            builder.redacts = target.map(|target| target.event_id().to_owned());
            let pdu = room.add(builder, sender, &mut StateMap::new());
            room.allows(&pdu, &state)
        };
        let by_rule = version < RoomVersion::V3;
        assert!(may(&alice, Some(&of_bob)), "version {version}");
        assert!(may(&bob, Some(&of_bob)), "version {version}");
        assert_eq!(may(&bob, Some(&of_alice)), !by_rule, "version {version}");
        assert_eq!(may(&bob, None), !by_rule, "version {version}");
    }
}

/// Whether alice may set these power levels; if so, she must still rule with them, and bob not.
fn are_power_levels(version: RoomVersion, level: impl Fn(i64) -> Value) -> bool {
    let (mut room, mut state, alice, bob) = room_of(version);
    let users = match version.room_id_is_create_hash() {
        true => json!({ bob.user.as_str(): level(0) }),
        false => json!({ alice.user.as_str(): level(100), bob.user.as_str(): level(0) }),
    };
    let before = state.clone();
    let levels = json!({ "users": users, "state_default": level(50), "events": {"m.room.name": level(100)} });
    let levels = room.send_state(&alice, "m.room.power_levels", "", levels, &mut state);
    if !room.allows(&levels, &before) {
        return false;
    }
    let mut may = |sender: &Server| may(&mut room, &state, sender, "m.room.name", Some(""), json!({}));
    assert!(may(&alice), "version {version}");
    assert!(!may(&bob), "version {version}");
    true
}

#[test]
fn up_to_version_9_a_level_may_be_a_string() {
    for version in RoomVersion::ALL {
        let is_old = version < RoomVersion::V10;
        assert!(are_power_levels(version, |level| json!(level)));
        for form in ["{}", " {} ", "+{}"] {
            let text = |level: i64| json!(form.replace("{}", &level.to_string()));
            assert_eq!(
                are_power_levels(version, text),
                is_old,
                "version {version}: {form:?}"
            );
        }
        for wrong in [json!("high"), json!(true), json!([]), json!(null)] {
            let is_allowed = are_power_levels(version, |_| wrong.clone());
            assert!(!is_allowed, "version {version}: {wrong}");
        }
    }
}

#[test]
fn up_to_version_5_a_level_may_be_a_float_or_beyond_53_bits() {
    let old = RoomVersion::ALL.into_iter();
    for version in old.filter(|version| *version < RoomVersion::V6) {
        assert!(are_power_levels(version, |level| json!(level as f64 + 0.5)));
        let (mut room, mut state, alice, bob) = room_of(version);
        let greatest = json!({ "users": { alice.user.as_str(): i64::MAX, bob.user.as_str(): 50.9 } });
        room.send_state(&alice, "m.room.power_levels", "", greatest, &mut state);
        let mut may = |sender: &Server, kind: &str, key: &str, content: Value| {
            may(&mut room, &state, sender, kind, Some(key), content)
        };
        assert!(may(&bob, "m.room.name", "", json!({})));
        let ban = json!({"membership": "ban"});
        assert!(!may(&bob, "m.room.member", alice.user.as_str(), ban.clone()));
        assert!(may(&alice, "m.room.member", bob.user.as_str(), ban));
    }
}

#[test]
fn levels_of_notifications_count_from_version_6_on() {
    for version in RoomVersion::ALL {
        let (mut room, mut state, alice, bob) = room_of(version);
        let users = match version.room_id_is_create_hash() {
            true => json!({ bob.user.as_str(): 60 }),
            false => json!({ alice.user.as_str(): 100, bob.user.as_str(): 60 }),
        };
        let levels = json!({ "users": users, "events": {"m.room.power_levels": 50} });
        room.send_state(&alice, "m.room.power_levels", "", levels.clone(), &mut state);
        let mut may = |notifications: Value| {
            let mut levels = levels.clone();
            levels["notifications"] = notifications;
            may(&mut room, &state, &bob, "m.room.power_levels", Some(""), levels)
        };
        assert!(may(json!({"room": 60})), "version {version}");
        let is_old = version < RoomVersion::V6;
        assert_eq!(may(json!({"room": 61})), is_old, "version {version}");
        assert_eq!(may(json!({"room": "loud"})), is_old, "version {version}");
    }
}
