//! Events: format, ids, redaction, signatures, what clients see, hostile bytes.

use hearth_rooms::{
    Pdu, PduError, RoomVersion, StateMap, Verification,
    client_event::{ClientEvent, RoomIdField, Unsigned, stripped_state},
    dag::topological_order,
    redaction,
    signatures::{required_servers, verify},
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::room::{Room, Server, key_of};

fn message(version: RoomVersion) -> Pdu {
    let alice = Server::new(1);
    let (mut room, mut state) = Room::create(version, &alice);
    let builder = room.builder(
        &alice,
        "m.room.message",
        None,
        json!({"body": "hello"}),
        &state,
        &[],
    );
    room.add(builder, &alice, &mut state)
}

/// `pdu` with its JSON changed, read again.
fn tampered(pdu: &Pdu, change: impl FnOnce(&mut Value)) -> Result<Pdu, PduError> {
    let mut json = serde_json::from_str(pdu.json()).unwrap();
    change(&mut json);
    Pdu::from_value(pdu.version(), json)
}

#[test]
fn an_event_reads_back_as_itself_in_every_version() {
    for version in RoomVersion::ALL {
        let pdu = message(version);
        assert_eq!(Pdu::parse(version, pdu.json()).unwrap(), pdu);
        assert_eq!(verify(&pdu, key_of), Verification::Valid);
    }
}

#[test]
fn the_id_is_the_reference_hash_of_the_redacted_event() {
    for version in RoomVersion::ALL {
        let pdu = message(version);
        assert_eq!(pdu.redacted().unwrap().event_id(), pdu.event_id());
        assert_ne!(pdu.redacted().unwrap().content().get(), pdu.content().get());
    }
}

#[test]
fn the_room_of_version_12_is_named_after_its_create_event() {
    let alice = Server::new(1);
    let (room, state) = Room::create(RoomVersion::V12, &alice);
    let create = room.in_state(&state, "m.room.create", "").unwrap();
    assert_eq!(create.room_id().strip_sigil(), create.event_id().localpart());
    assert!(!create.json().contains("room_id"));
    assert_eq!(create.room_id(), room.room_id);
}

#[test]
fn version_12_never_lists_the_create_event() {
    let pdu = message(RoomVersion::V12);
    let create = pdu.room_id().as_str().replace('!', "$");
    assert!(!pdu.auth_events().iter().any(|id| id.as_str() == create));
    let listed = tampered(&pdu, |json| {
        json["auth_events"].as_array_mut().unwrap().push(create.into())
    });
    assert!(matches!(
        listed,
        Err(PduError::Field {
            field: "auth_events",
            ..
        })
    ));
}

#[test]
fn malformed_events_are_refused() {
    let pdu = message(RoomVersion::V11);
    let ids = |count: usize| vec![pdu.event_id().to_string(); count];
    let cases: Vec<(&str, Value)> = vec![
        ("type", json!(1)),
        ("type", json!("x".repeat(256))),
        ("type", Value::Null),
        ("sender", json!("alice")),
        ("sender", json!(format!("@{}:example.org", "a".repeat(255)))),
        ("room_id", json!("room")),
        ("state_key", json!("x".repeat(256))),
        ("state_key", json!(3)),
        ("depth", json!(-1)),
        ("depth", json!("1")),
        ("depth", json!(9_007_199_254_740_992_u64)),
        ("depth", json!(1.5)),
        ("origin_server_ts", json!(-1)),
        ("prev_events", json!(ids(21))),
        ("prev_events", json!(["$short"])),
        ("prev_events", json!([["$old", {}]])),
        ("auth_events", json!(ids(11))),
        ("auth_events", json!({})),
        ("content", json!([])),
        ("hashes", json!("none")),
        ("signatures", json!([])),
    ];
    for (field, value) in cases {
        let shown = value.to_string();
        assert!(
            tampered(&pdu, |json| json[field] = value).is_err(),
            "{field}: {shown}"
        );
    }
    for field in [
        "type",
        "sender",
        "room_id",
        "depth",
        "prev_events",
        "auth_events",
        "content",
        "hashes",
    ] {
        let missing = tampered(&pdu, |json| drop(json.as_object_mut().unwrap().remove(field)));
        assert!(missing.is_err(), "without {field}");
    }
}

#[test]
fn limits_allow_what_they_should() {
    let pdu = message(RoomVersion::V11);
    let ids = |count: usize| vec![pdu.event_id().to_string(); count];
    tampered(&pdu, |json| json["prev_events"] = json!(ids(20))).unwrap();
    tampered(&pdu, |json| json["auth_events"] = json!(ids(10))).unwrap();
    tampered(&pdu, |json| json["depth"] = json!(9_007_199_254_740_991_u64)).unwrap();
    tampered(&pdu, |json| json["type"] = json!("x".repeat(255))).unwrap();
}

#[test]
fn deep_nesting_is_refused() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let pdu = message(RoomVersion::V11);
    let with = |depth: usize| pdu.json().replace("\"hello\"", &nested(depth));
    assert!(Pdu::parse(RoomVersion::V11, &with(98)).is_ok());
    assert_eq!(Pdu::parse(RoomVersion::V11, &with(100)), Err(PduError::TooDeep));
    assert!(Pdu::parse(RoomVersion::V11, &with(20_000)).is_err());
}

#[test]
fn a_changed_content_leaves_a_redacted_event() {
    for version in RoomVersion::ALL {
        let pdu = message(version);
        let changed = tampered(&pdu, |json| json["content"]["body"] = json!("forged")).unwrap();
        assert_eq!(changed.event_id(), pdu.event_id());
        assert_eq!(
            verify(&changed, key_of),
            Verification::HashMismatch(pdu.redacted().unwrap())
        );
    }
}

#[test]
fn forged_and_missing_signatures_are_refused() {
    let pdu = message(RoomVersion::V12);
    let server = pdu.sender().server_name().to_string();
    let forgeries: [&dyn Fn(&mut Value); 4] = [
        &|json| json["depth"] = json!(1),
        &|json| json["signatures"] = json!({}),
        &|json| json["signatures"][&server]["ed25519:1"] = json!("A".repeat(86)),
        &|json| json["signatures"][&server] = json!({"ed25519:2": json["signatures"][&server]["ed25519:1"]}),
    ];
    for forge in forgeries {
        let forged = tampered(&pdu, forge).unwrap();
        assert!(matches!(verify(&forged, key_of), Verification::Invalid(_)));
    }
    assert!(matches!(
        verify(&pdu, |_, _| None::<[u8; 32]>),
        Verification::Invalid(_)
    ));
}

#[test]
fn another_servers_signature_is_no_signature() {
    let (alice, mallory) = (Server::new(1), Server::new(2));
    let (mut room, mut state) = Room::create(RoomVersion::V12, &alice);
    let builder = room.builder(&alice, "m.room.message", None, json!({}), &state, &[]);
    let by_mallory = Server {
        name: mallory.name,
        key_pair: mallory.key_pair,
        user: alice.user,
    };
    let forged = room.add(builder, &by_mallory, &mut state);
    assert!(matches!(verify(&forged, key_of), Verification::Invalid(_)));
}

#[test]
fn redaction_keeps_what_each_version_lists() {
    let kept = |version: RoomVersion, event_type: &str, content: Value| -> Vec<String> {
        let alice = Server::new(1);
        let (mut room, _) = Room::create(version, &alice);
        let membership_of = Some(alice.user.as_str());
        let builder = room.builder(&alice, event_type, membership_of, content, &StateMap::new(), &[]);
        let redacted = room
            .add(builder, &alice, &mut StateMap::new())
            .redacted()
            .unwrap();
        redacted
            .content_as::<Map<String, Value>>()
            .unwrap()
            .into_iter()
            .map(|(key, _)| key)
            .collect()
    };
    let levels = json!({"ban": 1, "invite": 1, "notifications": {}, "users": {}});
    assert_eq!(
        kept(RoomVersion::V10, "m.room.power_levels", levels.clone()),
        ["ban", "users"]
    );
    assert_eq!(
        kept(RoomVersion::V11, "m.room.power_levels", levels),
        ["ban", "invite", "users"]
    );
    let member =
        json!({"membership": "join", "displayname": "A", "join_authorised_via_users_server": "@a:b"});
    assert_eq!(
        kept(RoomVersion::V8, "m.room.member", member.clone()),
        ["membership"]
    );
    let expected = ["join_authorised_via_users_server", "membership"];
    assert_eq!(kept(RoomVersion::V9, "m.room.member", member), expected);
    let rules = json!({"join_rule": "restricted", "allow": [], "other": 1});
    assert_eq!(
        kept(RoomVersion::V7, "m.room.join_rules", rules.clone()),
        ["join_rule"]
    );
    assert_eq!(
        kept(RoomVersion::V8, "m.room.join_rules", rules),
        ["allow", "join_rule"]
    );
    let create = json!({"creator": "@a:b", "room_version": "x", "other": 1});
    assert_eq!(
        kept(RoomVersion::V10, "m.room.create", create.clone()),
        ["creator"]
    );
    assert_eq!(
        kept(RoomVersion::V11, "m.room.create", create),
        ["creator", "other", "room_version"]
    );
    assert!(kept(RoomVersion::V12, "m.room.topic", json!({"topic": "x"})).is_empty());
}

#[test]
fn redacts_is_found_and_served_in_both_places() {
    for version in RoomVersion::ALL {
        let (alice, target) = (Server::new(1), message(version));
        let (mut room, mut state) = Room::create(version, &alice);
        let mut builder = room.builder(
            &alice,
            "m.room.redaction",
            None,
            json!({"reason": "spam"}),
            &state,
            &[],
        );
        builder.redacts = Some(target.event_id().to_owned());
        let pdu = room.add(builder, &alice, &mut state);
        assert_eq!(pdu.redacts(), Some(target.event_id()));
        let json: Value = serde_json::from_str(pdu.json()).unwrap();
        assert_eq!(json.get("redacts").is_some(), version < RoomVersion::V11);
        let client = Value::from(ClientEvent::new(pdu.clone(), RoomIdField::Included).into_object());
        assert_eq!(client["redacts"], target.event_id().as_str());
        assert_eq!(
            client["content"],
            json!({"reason": "spam", "redacts": target.event_id()})
        );
        assert!(redaction::may_apply(&pdu, &target, false) == (pdu.room_id() == target.room_id()));
    }
}

#[test]
fn only_power_or_the_same_server_redacts() {
    let (alice, bob) = (Server::new(1), Server::new(2));
    let (mut room, mut state) = Room::create(RoomVersion::V12, &alice);
    let builder = room.builder(&alice, "m.room.message", None, json!({}), &state, &[]);
    let target = room.add(builder, &alice, &mut state);
    let mut by = |sender: &Server| {
        let mut builder = room.builder(sender, "m.room.redaction", None, json!({}), &state, &[]);
        builder.redacts = Some(target.event_id().to_owned());
        room.add(builder, sender, &mut state)
    };
    let (own, others) = (by(&alice), by(&bob));
    assert!(redaction::may_apply(&own, &target, false));
    assert!(!redaction::may_apply(&others, &target, false));
    assert!(redaction::may_apply(&others, &target, true));
    assert!(!redaction::may_apply(&others, &own, true));
}

#[test]
fn clients_see_the_format_of_the_specification() {
    let alice = Server::new(1);
    let (room, state) = Room::create(RoomVersion::V12, &alice);
    let member = room
        .in_state(&state, "m.room.member", alice.user.as_str())
        .unwrap();
    let expected = json!({
        "type": "m.room.member", "state_key": alice.user, "sender": alice.user, "room_id": room.room_id,
        "event_id": member.event_id(), "origin_server_ts": member.origin_server_ts(),
        "content": {"membership": "join"}, "unsigned": {"age": 5},
    });
    let mut event = ClientEvent::new(member.clone(), RoomIdField::Included);
    event.unsigned = Some(Unsigned {
        age: Some(5),
        ..Unsigned::default()
    });
    let written: Value = serde_json::from_str(&serde_json::to_string(&event).unwrap()).unwrap();
    assert_eq!(written, expected);
    assert_eq!(Value::from(event.into_object()), expected);
    let without = ClientEvent::new(member.clone(), RoomIdField::Omitted).into_object();
    assert!(!without.contains_key("room_id") && !without.contains_key("unsigned"));
    let stripped = json!({
        "type": "m.room.member", "state_key": alice.user, "sender": alice.user, "content": {"membership": "join"},
    });
    assert_eq!(stripped_state(&member), stripped);
}

#[test]
fn a_batch_is_ordered_by_reference() {
    let alice = Server::new(1);
    let (mut room, mut state) = Room::create(RoomVersion::V11, &alice);
    let mut last = state.values().next().unwrap().clone();
    for _ in 0..20 {
        let builder = room.builder(&alice, "m.room.message", None, json!({}), &state, &[last]);
        last = room.add(builder, &alice, &mut state).event_id().to_owned();
    }
    let ordered = topological_order(room.events.values().cloned().chain(room.events.values().cloned()));
    assert_eq!(ordered.len(), room.events.len());
    for (index, event) in ordered.iter().enumerate() {
        for reference in event.auth_events().iter().chain(event.prev_events()) {
            assert!(
                ordered
                    .iter()
                    .take(index)
                    .any(|earlier| earlier.event_id() == reference)
            );
        }
    }
}

#[test]
fn a_restricted_join_is_signed_by_two_servers() {
    let (alice, bob) = (Server::new(1), Server::new(2));
    let (mut room, mut state) = Room::create(RoomVersion::V12, &alice);
    let content = json!({"membership": "join", "join_authorised_via_users_server": alice.user});
    let join = room.send_state(&bob, "m.room.member", bob.user.as_str(), content, &mut state);
    let mut names = [alice.name.as_str(), bob.name.as_str()];
    names.sort_unstable();
    assert_eq!(required_servers(&join).unwrap(), names);
    assert!(matches!(verify(&join, key_of), Verification::Invalid(_)));
    let countersigned = join.signed_by(&alice.name, &alice.key_pair).unwrap();
    assert_eq!(countersigned.event_id(), join.event_id());
    assert_eq!(verify(&countersigned, key_of), Verification::Valid);
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(text in ".{0,300}") {
        for version in RoomVersion::ALL {
            let _ = Pdu::parse(version, &text);
        }
    }

    #[test]
    fn no_change_of_bytes_makes_the_parser_panic(at in 0_usize..600, byte in any::<u8>()) {
        let pdu = message(RoomVersion::V12);
        let mut bytes = pdu.json().as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(pdu) = Pdu::parse(RoomVersion::V12, &String::from_utf8_lossy(&bytes)) {
            let _ = verify(&pdu, key_of);
            let _ = pdu.redacted();
            let _ = ClientEvent::new(pdu, RoomIdField::Included).into_object();
        }
    }
}
