//! Spot checks of the authorisation rules, which are ruma's, through our entry points.

use hearth_rooms::{
    Pdu, RoomVersion, StateMap,
    auth_check::{check_auth_events, needed_events},
};
use serde_json::json;

use crate::room::{Room, Server};

/// Whether `sender` may put this state event into the room.
fn may(
    room: &mut Room,
    state: &StateMap,
    sender: &Server,
    event_type: &str,
    key: &str,
    content: serde_json::Value,
) -> bool {
    let builder = room.builder(sender, event_type, Some(key), content, state, &[]);
    let pdu = room.add(builder, sender, &mut StateMap::new());
    room.allows(&pdu, state)
}

fn with_bob(version: RoomVersion) -> (Room, StateMap, Server, Server) {
    let (alice, bob) = (Server::new(1), Server::new(2));
    let (mut room, mut state) = Room::create(version, &alice);
    let join = room.send_state(
        &bob,
        "m.room.member",
        bob.user.as_str(),
        json!({"membership": "join"}),
        &mut state,
    );
    assert!(room.allows(&join, &state));
    (room, state, alice, bob)
}

#[test]
fn members_may_speak_and_only_the_powerful_may_rule() {
    for version in RoomVersion::ALL {
        let (mut room, state, alice, bob) = with_bob(version);
        let builder = room.builder(&bob, "m.room.message", None, json!({}), &state, &[]);
        let message = room.add(builder, &bob, &mut StateMap::new());
        assert!(room.allows(&message, &state));
        assert!(!may(
            &mut room,
            &state,
            &bob,
            "m.room.topic",
            "",
            json!({"topic": "x"})
        ));
        assert!(may(
            &mut room,
            &state,
            &alice,
            "m.room.topic",
            "",
            json!({"topic": "x"})
        ));
        let ban = json!({"membership": "ban"});
        assert!(!may(
            &mut room,
            &state,
            &bob,
            "m.room.member",
            alice.user.as_str(),
            ban.clone()
        ));
        assert!(may(
            &mut room,
            &state,
            &alice,
            "m.room.member",
            bob.user.as_str(),
            ban
        ));
    }
}

#[test]
fn strangers_may_not_speak() {
    let (mut room, state, ..) = with_bob(RoomVersion::V12);
    let carol = Server::new(3);
    assert!(!may(&mut room, &state, &carol, "m.room.topic", "", json!({})));
}

#[test]
fn an_invite_only_room_admits_the_invited_only() {
    for version in [RoomVersion::V11, RoomVersion::V12] {
        let (alice, bob) = (Server::new(1), Server::new(2));
        let (mut room, mut state) = Room::create(version, &alice);
        room.send_state(
            &alice,
            "m.room.join_rules",
            "",
            json!({"join_rule": "invite"}),
            &mut state,
        );
        let join = json!({"membership": "join"});
        assert!(!may(
            &mut room,
            &state,
            &bob,
            "m.room.member",
            bob.user.as_str(),
            join.clone()
        ));
        let invite = json!({"membership": "invite"});
        room.send_state(&alice, "m.room.member", bob.user.as_str(), invite, &mut state);
        assert!(may(
            &mut room,
            &state,
            &bob,
            "m.room.member",
            bob.user.as_str(),
            join
        ));
    }
}

#[test]
fn creators_of_version_12_outrank_everybody_and_cannot_be_listed() {
    let (mut room, mut state, alice, bob) = with_bob(RoomVersion::V12);
    let greatest = 9_007_199_254_740_991_i64;
    let levels = json!({"users": {bob.user.as_str(): greatest}});
    let levels = room.send_state(&alice, "m.room.power_levels", "", levels, &mut state);
    assert!(room.allows(&levels, &state));
    let ban = json!({"membership": "ban"});
    assert!(!may(
        &mut room,
        &state,
        &bob,
        "m.room.member",
        alice.user.as_str(),
        ban.clone()
    ));
    assert!(may(
        &mut room,
        &state,
        &alice,
        "m.room.member",
        bob.user.as_str(),
        ban
    ));
    let demote = json!({"users": {alice.user.as_str(): 0, bob.user.as_str(): greatest}});
    assert!(!may(&mut room, &state, &bob, "m.room.power_levels", "", demote));
    assert!(may(
        &mut room,
        &state,
        &alice,
        "m.room.power_levels",
        "",
        json!({"users": {}})
    ));
}

#[test]
fn creators_of_version_11_can_be_outranked() {
    let (mut room, mut state, alice, bob) = with_bob(RoomVersion::V11);
    let levels = json!({"users": {bob.user.as_str(): 100}});
    room.send_state(&alice, "m.room.power_levels", "", levels, &mut state);
    assert!(may(
        &mut room,
        &state,
        &bob,
        "m.room.member",
        alice.user.as_str(),
        json!({"membership": "ban"})
    ));
}

#[test]
fn a_room_id_must_be_the_hash_of_a_create_event() {
    let (mut room, mut state, alice, _) = with_bob(RoomVersion::V12);
    let builder = room.builder(&alice, "m.room.message", None, json!({}), &state, &[]);
    let message = room.add(builder, &alice, &mut state);
    let mut other = room.builder(&alice, "m.room.message", None, json!({}), &state, &[]);
    other.room_id = Some(ruma_common::RoomId::new_v2(message.event_id().localpart()).unwrap());
    other.auth_events.clear();
    let other = room.add(other, &alice, &mut state);
    assert!(needed_events(&other).contains(&message.event_id().to_owned()));
    let error = check_auth_events(&other, |id| room.events.get(id).cloned()).unwrap_err();
    assert!(error.0.contains("create event"), "{error}");
}

#[test]
fn rejected_missing_doubled_and_needless_auth_events_are_refused() {
    let (mut room, mut state, alice, bob) = with_bob(RoomVersion::V11);
    let builder = room.builder(&bob, "m.room.message", None, json!({}), &state, &[]);
    let check = |pdu: &Pdu, room: &Room| check_auth_events(pdu, |id| room.events.get(id).cloned()).is_ok();
    let good = room.add(builder.clone(), &bob, &mut state);
    assert!(check(&good, &room));
    let rejected =
        |id: &ruma_common::EventId| room.events.get(id).cloned().map(|pdu| pdu.with_rejected(true));
    assert!(check_auth_events(&good, rejected).is_err());
    assert!(check_auth_events(&good, |_| None).is_err());
    let mut doubled = builder.clone();
    doubled.auth_events.push(doubled.auth_events[0].clone());
    let doubled = room.add(doubled, &bob, &mut state);
    assert!(!check(&doubled, &room));
    let mut needless = builder;
    let of_alice = room
        .in_state(&state, "m.room.member", alice.user.as_str())
        .unwrap();
    needless.auth_events.push(of_alice.event_id().to_owned());
    let needless = room.add(needless, &bob, &mut state);
    assert!(!check(&needless, &room));
}

#[test]
fn a_create_event_of_another_version_is_refused() {
    let alice = Server::new(1);
    let (room, state) = Room::create(RoomVersion::V11, &alice);
    let create = room.in_state(&state, "m.room.create", "").unwrap();
    let as_v10 = Pdu::parse(RoomVersion::V10, create.json()).unwrap();
    assert!(check_auth_events(&create, |_| None).is_ok());
    assert!(check_auth_events(&as_v10, |_| None).is_err());
}
