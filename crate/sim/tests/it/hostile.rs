//! A server that lies: forged requests, forged events, changed content.

use hearth_rooms::{Pdu, RoomVersion};
use hearth_sim::{Client, World};
use serde_json::{Value, json};

use crate::{
    outsider::{Outsider, encode, json_of},
    world,
};

/// Alice's public room, joined by a server that is driven by hand; and a template for that one's messages.
pub(crate) fn joined(seed: u64) -> (World, Client, Outsider, String, Value) {
    joined_in(World::new(seed, 1))
}

pub(crate) fn joined_in(world: World) -> (World, Client, Outsider, String, Value) {
    let alice = world.register(0, "alice");
    let room = alice.create_room(&world, &json!({"preset": "public_chat", "room_version": "12"}));
    let mallory = Outsider::new(77);
    let join = mallory.join(&world, &room);
    let state = alice.state(&world, &room);
    let id = |kind: &str, key: &str| {
        let entry = state
            .iter()
            .find(|(event_type, state_key, _)| event_type == kind && state_key == key);
        entry.map(|(_, _, event_id)| event_id.clone()).unwrap()
    };
    let own = id("m.room.member", &mallory.user_id);
    let template = json!({
        "type": "m.room.message", "room_id": room, "sender": mallory.user_id, "depth": join["depth"].as_u64().unwrap() + 1,
        "content": {"msgtype": "m.text", "body": "truth"}, "origin_server_ts": 1_700_000_000_000_u64,
        "prev_events": [own.clone()], "auth_events": [id("m.room.power_levels", ""), own],
    });
    (world, alice, mallory, room, template)
}

/// What server 0 says about one event of a transaction.
pub(crate) fn verdict(world: &World, mallory: &Outsider, txn_id: &str, pdu: Value, event_id: &str) -> Value {
    mallory.transaction(world, txn_id, vec![pdu]).expect(200)["pdus"][event_id].clone()
}

#[test]
fn an_honest_event_is_taken() {
    let (world, alice, mallory, room, template) = joined(40);
    let pdu = mallory.sign(RoomVersion::V12, template);
    assert_eq!(
        verdict(&world, &mallory, "1", json_of(&pdu), pdu.event_id().as_str()),
        json!({})
    );
    assert_eq!(alice.messages(&world, &room), ["truth"]);
}

#[test]
fn requests_must_be_signed_by_whom_they_name() {
    let (world, _, mallory, room, _) = joined(41);
    let uri = format!("/_matrix/federation/v1/backfill/{}?v=%24x&limit=1", encode(&room));
    let name = world.server(0).name().to_owned();
    let good = mallory.authorization("GET", &uri, &name, None);
    let other = Outsider::new(78);
    let (origin, others) = (mallory.identity.server_name(), other.identity.server_name());
    let forgeries = [
        None,
        Some(String::new()),
        Some("Bearer token".to_owned()),
        Some("X-Matrix".to_owned()),
        Some(good.replace(origin, others)),
        Some(
            other
                .authorization("GET", &uri, &name, None)
                .replace(others, origin),
        ),
        Some(mallory.authorization("PUT", &uri, &name, None)),
        Some(mallory.authorization("GET", "/_matrix/federation/v1/version", &name, None)),
        Some(mallory.authorization("GET", &uri, others, None)),
        Some(mallory.authorization("GET", &uri, &name, Some(&json!({})))),
    ];
    for forgery in forgeries {
        let answer = mallory.ask_with(&world, "GET", &uri, None, forgery.as_deref());
        assert_eq!(answer.status, 401, "{forgery:?}: {answer:?}");
        assert_eq!(answer["errcode"], "M_UNAUTHORIZED");
    }
    assert_ne!(
        mallory.ask_with(&world, "GET", &uri, None, Some(&good)).status,
        401
    );
}

#[test]
fn forged_events_are_refused() {
    let (world, alice, mallory, room, template) = joined(42);
    let forge = |change: &dyn Fn(&mut Value)| {
        let mut template = template.clone();
        change(&mut template);
        let pdu = mallory.sign(RoomVersion::V12, template);
        (json_of(&pdu), pdu.event_id().to_string())
    };
    let honest = forge(&|_| {});
    let mut broken = honest.clone();
    let name = mallory.identity.server_name();
    broken.0["signatures"][name]["ed25519:1"] = json!("A".repeat(86));
    let mut unsigned = honest.clone();
    unsigned.0["signatures"] = json!({});
    let forgeries = [
        (
            "in another's name",
            forge(&|event| event["sender"] = json!(alice.user_id)),
        ),
        ("signature broken", broken),
        ("not signed", unsigned),
        (
            "without its own membership",
            forge(&|event| drop(event["auth_events"].as_array_mut().unwrap().pop())),
        ),
        (
            "state without power",
            forge(&|event| {
                event["type"] = json!("m.room.topic");
                event["state_key"] = json!("");
            }),
        ),
    ];
    for (number, (what, (pdu, event_id))) in forgeries.into_iter().enumerate() {
        let verdict = verdict(&world, &mallory, &number.to_string(), pdu, &event_id);
        assert!(verdict["error"].is_string(), "{what}: {verdict}");
    }
    assert!(alice.messages(&world, &room).is_empty());
    assert_eq!(
        verdict(&world, &mallory, "honest", honest.0, &honest.1),
        json!({})
    );
    assert_eq!(alice.messages(&world, &room), ["truth"]);
}

#[test]
fn content_that_does_not_match_its_hash_is_redacted() {
    let (world, alice, mallory, room, template) = joined(43);
    let pdu = mallory.sign(RoomVersion::V12, template);
    let mut changed = json_of(&pdu);
    changed["content"]["body"] = json!("lies");
    assert_eq!(
        verdict(&world, &mallory, "1", changed, pdu.event_id().as_str()),
        json!({})
    );
    let history = alice.history(&world, &room);
    let event = history
        .iter()
        .find(|event| event["event_id"] == pdu.event_id().as_str())
        .unwrap();
    assert_eq!(event["content"], json!({}));
}

#[test]
fn garbage_in_a_transaction_hurts_only_itself() {
    let (world, alice, mallory, room, template) = joined(44);
    let pdu = mallory.sign(RoomVersion::V12, template);
    let garbage = vec![
        json!(1),
        json!({}),
        json!({"room_id": room}),
        json!({"room_id": "!unknown", "type": "m.room.message"}),
        json!({"room_id": room, "type": "m.room.message", "content": []}),
        json_of(&pdu),
    ];
    let answer = mallory.transaction(&world, "1", garbage);
    assert_eq!(answer.expect(200)["pdus"][pdu.event_id().as_str()], json!({}));
    assert_eq!(alice.messages(&world, &room), ["truth"]);
}

#[test]
fn oversize_transactions_are_refused() {
    let (world, _, mallory, _, template) = joined(45);
    let pdu = json_of(&mallory.sign(RoomVersion::V12, template));
    let answer = mallory.transaction(&world, "1", vec![pdu; 51]);
    assert_eq!(answer.status, 400, "{answer:?}");
}

#[test]
fn a_join_that_was_not_asked_for_is_refused() {
    let (world, mut clients) = world(46, 1);
    let alice = clients.remove(0);
    let room = alice.create_room(&world, &json!({"preset": "private_chat"}));
    let mallory = Outsider::new(77);
    let uri = format!(
        "/_matrix/federation/v1/make_join/{}/{}?ver=12",
        encode(&room),
        encode(&mallory.user_id)
    );
    assert_eq!(mallory.ask(&world, "GET", &uri, None).status, 403);
    let state = alice.state(&world, &room);
    let levels = &state
        .iter()
        .find(|entry| entry.0 == "m.room.power_levels")
        .unwrap()
        .2;
    let rules = &state
        .iter()
        .find(|entry| entry.0 == "m.room.join_rules")
        .unwrap()
        .2;
    let join: Pdu = mallory.sign(
        RoomVersion::V12,
        json!({
            "type": "m.room.member", "state_key": mallory.user_id, "sender": mallory.user_id, "room_id": room,
            "content": {"membership": "join"}, "depth": 50, "origin_server_ts": 1_700_000_000_000_u64,
            "prev_events": [rules], "auth_events": [levels, rules],
        }),
    );
    let uri = format!(
        "/_matrix/federation/v2/send_join/{}/{}",
        encode(&room),
        encode(join.event_id().as_str())
    );
    let answer = mallory.ask(&world, "PUT", &uri, Some(json_of(&join)));
    assert_eq!(answer.status, 403, "{answer:?}");
    assert!(
        !alice
            .state(&world, &room)
            .iter()
            .any(|entry| entry.1 == mallory.user_id)
    );
}

#[test]
fn a_server_outside_a_room_is_told_nothing_of_it() {
    let (world, mut clients) = world(47, 1);
    let alice = clients.remove(0);
    let room = alice.create_room(&world, &json!({"preset": "private_chat"}));
    let sent = alice.send(&world, &room, "secret");
    let event_id = encode(sent["event_id"].as_str().unwrap());
    let (mallory, room) = (Outsider::new(77), encode(&room));
    for uri in [
        format!("/_matrix/federation/v1/event/{event_id}"),
        format!("/_matrix/federation/v1/state/{room}?event_id={event_id}"),
        format!("/_matrix/federation/v1/state_ids/{room}?event_id={event_id}"),
        format!("/_matrix/federation/v1/backfill/{room}?v={event_id}&limit=10"),
    ] {
        let answer = mallory.ask(&world, "GET", &uri, None);
        assert!(matches!(answer.status, 403 | 404), "{uri}: {answer:?}");
        assert!(!answer.body.to_string().contains("secret"));
    }
}
