//! Event formats, from version 1 to version 12: ids, references, numbers.

use hearth_rooms::{
    JsonObject, Pdu, PduError, RoomVersion, Verification,
    auth_check::check_auth_events,
    builder::sign_template,
    event_id::{content_hash, event_id, is_event_id},
    redaction::may_apply,
    signatures::verify,
};
use proptest::prelude::*;
use ruma_common::{
    EventId,
    serde::{Base64, base64::Standard},
};
use serde_json::{Value, json};

use crate::room::{Room, Server, key_of};

const OLD: [RoomVersion; 5] = [
    RoomVersion::V1,
    RoomVersion::V2,
    RoomVersion::V3,
    RoomVersion::V4,
    RoomVersion::V5,
];

/// A message of `server` that says what `content` says, in a room of its own.
fn message(version: RoomVersion, server: &Server, content: &Value) -> Result<Pdu, PduError> {
    let room = match version.room_id_is_create_hash() {
        true => format!("!{}", "r".repeat(43)),
        false => format!("!room:{}", server.name),
    };
    let template = json!({
        "auth_events": [], "content": content, "depth": 1, "origin_server_ts": 1, "prev_events": [],
        "room_id": room, "sender": server.user, "type": "m.room.message",
    });
    let template = template.as_object().unwrap().clone();
    sign_template(version, template, &server.name, &server.key_pair)
}

fn with(pdu: &Pdu, field: &str, value: Value) -> Result<Pdu, PduError> {
    let mut object = pdu.to_object()?;
    object.insert(field.into(), value);
    Pdu::from_object(pdu.version(), object)
}

fn is_field_error(result: Result<Pdu, PduError>, expected: &str) -> bool {
    matches!(result, Err(PduError::Field { field, .. }) if field == expected)
}

#[test]
fn ids_have_the_form_of_their_version() {
    let (standard, url_safe) = (format!("${}+/", "a".repeat(41)), format!("${}-_", "a".repeat(41)));
    let named = [
        "$x:example.org",
        "$1234:localhost:8448",
        "$a/b+c:[::1]",
        "$:example.org",
    ];
    let never = [
        "",
        "$",
        "$x",
        "x:example.org",
        "$x:",
        "$x:exa mple",
        "!x:example.org",
        "$short",
    ];
    for version in RoomVersion::ALL {
        let is_id = |text: &str| is_event_id(version, text);
        let is_named = version < RoomVersion::V3;
        assert!(named.iter().all(|id| is_id(id) == is_named), "version {version}");
        assert_eq!(is_id(&standard), version == RoomVersion::V3);
        assert_eq!(is_id(&url_safe), version > RoomVersion::V3);
        assert!(!never.iter().any(|id| is_id(id)), "version {version}");
        assert!(!is_id(&format!("${}:example.org", "x".repeat(255))));
    }
}

#[test]
fn events_of_versions_1_and_2_name_their_id() {
    let server = Server::new(1);
    for version in [RoomVersion::V1, RoomVersion::V2] {
        let pdu = message(version, &server, &json!({})).unwrap();
        assert_eq!(pdu.event_id().server_name().unwrap(), server.name.as_str());
        assert_eq!(pdu.to_object().unwrap()["event_id"], pdu.event_id().as_str());
        let renamed = with(&pdu, "event_id", "$other:example.org".into()).unwrap();
        assert_eq!(renamed.event_id(), "$other:example.org");
        for wrong in [json!("$x"), json!(1), json!(null), json!("$x:y z")] {
            assert!(is_field_error(with(&pdu, "event_id", wrong.clone()), "event_id"));
        }
        let mut without = pdu.to_object().unwrap();
        without.remove("event_id");
        assert!(is_field_error(Pdu::from_object(version, without), "event_id"));
    }
}

#[test]
fn from_version_3_on_the_id_is_the_hash_in_the_alphabet_of_the_version() {
    let server = Server::new(1);
    let ids = |version: RoomVersion| {
        let server = &server;
        (0..40).map(move |number| {
            let pdu = message(version, server, &json!({ "number": number })).unwrap();
            pdu.event_id().to_string()
        })
    };
    for version in RoomVersion::ALL.into_iter().skip(2) {
        assert!(ids(version).all(|id| is_event_id(version, &id) && id.len() == 44));
    }
    assert!(ids(RoomVersion::V3).any(|id| id.contains(['+', '/'])));
    assert!(ids(RoomVersion::V4).any(|id| id.contains(['-', '_'])));
}

#[test]
fn references_of_versions_1_and_2_carry_hashes() {
    for version in RoomVersion::ALL {
        let server = Server::new(1);
        let (mut room, mut state) = Room::create(version, &server);
        let first = state.values().next().unwrap().clone();
        let builder = room.builder(
            &server,
            "m.room.message",
            None,
            json!({}),
            &state,
            std::slice::from_ref(&first),
        );
        let pdu = room.add(builder, &server, &mut state);
        assert_eq!(pdu.prev_events(), std::slice::from_ref(&first));
        let listed = &pdu.to_object().unwrap()["prev_events"][0];
        let hash = room.events[&first].reference_hash().unwrap();
        match version < RoomVersion::V3 {
            true => assert_eq!(
                *listed,
                json!([first, {"sha256": Base64::<Standard, _>::new(hash).encode()}])
            ),
            false => assert_eq!(*listed, json!(first)),
        }
        assert_eq!(Pdu::parse(version, pdu.json()).unwrap(), pdu);
    }
}

#[test]
fn references_of_other_versions_are_refused() {
    let server = Server::new(1);
    let hash = format!("${}", "a".repeat(43));
    let named = json!(["$x:example.org", {"sha256": "x"}]);
    for version in RoomVersion::ALL {
        let pdu = message(version, &server, &json!({})).unwrap();
        let is_named = version < RoomVersion::V3;
        for field in ["prev_events", "auth_events"] {
            let allows = |value: &Value| with(&pdu, field, json!([value])).is_ok();
            assert_eq!(allows(&named), is_named);
            assert_eq!(allows(&json!(["$x:example.org", {}])), is_named);
            assert_eq!(allows(&json!(hash)), !is_named);
            for never in [
                json!([]),
                json!(["$x:example.org"]),
                json!(["$x:example.org", {}, 1]),
                json!(["$x:example.org", "hash"]),
                json!([hash, {}]),
                json!("$x:example.org"),
                json!(null),
                json!({}),
            ] {
                assert!(!allows(&never), "version {version}: {never}");
            }
        }
        let many = |count: usize| match is_named {
            true => json!(vec![named.clone(); count]),
            false => json!(vec![hash.clone(); count]),
        };
        assert!(with(&pdu, "prev_events", many(20)).is_ok());
        assert!(is_field_error(with(&pdu, "prev_events", many(21)), "prev_events"));
        assert!(is_field_error(with(&pdu, "auth_events", many(11)), "auth_events"));
    }
}

const PYTHON_HASHES: [(&str, &str); 11] = [
    (r#"{"n": 1.5}"#, "v+KhQXrYZmXwwp8Q6xSv1gMaVLAvZqYUx5HfnvgK8OU"),
    (r#"{"n": 100.0}"#, "oEghBaUD+f0yVzvpr8VCH0MjJE8+AI9cFThdC/xrt28"),
    (r#"{"n": 1e10}"#, "Y7SJB4UA5Cko8kKVqzDdIwbKoV8OPHR02KfzSjCy1vk"),
    (r#"{"n": 1e16}"#, "5Py7QlEsLpnQQj8hKdZQVB0hSSKH0IR5yLtRFnGr3lY"),
    (r#"{"n": 0.00001}"#, "1VDM1du6vmopH1Gls8+waRK3YKYma0e+A+0rTxH8lto"),
    (
        r#"{"n": 0.30000000000000004}"#,
        "i4YTNR+b1/oB9HDILf4q6u7C5NkUIAaX5m1wNPLPUCI",
    ),
    (r#"{"n": -0.0}"#, "GF6ID11xj4/YVWV/JbhqrOqwSApbGum1p4PHivAr9WU"),
    (
        r#"{"n": 9007199254740993}"#,
        "F60qitByQkjgYbNpp2ovCvrYDB/0E6ADyXFfj1MdoQ0",
    ),
    (
        r#"{"n": 9223372036854775807}"#,
        "cTaWszQBRpW0/gHUgMZBcG/iyiOw2u8Hpql4JKV6Z+k",
    ),
    (
        r#"{"n": 1.7976931348623e-300}"#,
        "Ry8nJVqPjsu37glwxbLQmohSlvwOTtuOs5Uz5Sb9NkY",
    ),
    (
        r#"{"users": {"@a:b": "100", "@c:d": 50.0}, "é": "\u2028"}"#,
        "V4M9kFKkMnqnsF205t2Bm6UrRbOJXigJ1R4bMegh3Ew",
    ),
];

/// Hashes made with Python 3: `hashlib.sha256(json.dumps(event, sort_keys=True, separators=(",", ":"),
/// ensure_ascii=False))`.
#[test]
fn numbers_of_old_rooms_are_hashed_as_python_writes_them() {
    for (content, expected) in PYTHON_HASHES {
        let content: Value = serde_json::from_str(content).unwrap();
        let event = json!({"content": content, "type": "m.room.message", "sender": "@a:b"});
        let event: JsonObject = event.as_object().unwrap().clone();
        for version in OLD {
            let hash = content_hash(version, &event).unwrap();
            assert_eq!(Base64::<Standard, _>::new(hash).encode(), expected, "{content}");
        }
    }
}

#[test]
fn numbers_beyond_integers_are_for_old_rooms() {
    let server = Server::new(1);
    for number in ["1.5", "-0.0", "1e-7", "9007199254740993", "18446744073709551615"] {
        let content = json!({"n": serde_json::from_str::<Value>(number).unwrap()});
        for version in RoomVersion::ALL {
            let pdu = message(version, &server, &content);
            if version >= RoomVersion::V6 {
                assert!(matches!(pdu, Err(PduError::NotCanonicalJson(_))), "{number}");
                continue;
            }
            let pdu = pdu.unwrap();
            assert_eq!(Pdu::parse(version, pdu.json()).unwrap(), pdu);
            assert_eq!(pdu.content_as::<Value>().unwrap(), content);
            assert_eq!(verify(&pdu, key_of), Verification::Valid);
        }
    }
    for number in ["18446744073709551616", "1e300"] {
        let content = json!({"n": serde_json::from_str::<Value>(number).unwrap()});
        for version in RoomVersion::ALL {
            let pdu = message(version, &server, &content);
            assert!(matches!(pdu, Err(PduError::NotCanonicalJson(_))), "{number}");
        }
    }
}

#[test]
fn depth_may_be_greater_in_old_rooms() {
    let server = Server::new(1);
    for version in RoomVersion::ALL {
        let pdu = message(version, &server, &json!({})).unwrap();
        let is_old = version < RoomVersion::V6;
        assert_eq!(with(&pdu, "depth", json!(i64::MAX)).is_ok(), is_old);
        assert_eq!(version.max_depth() == i64::MAX.cast_unsigned(), is_old);
        for never in [json!(u64::MAX), json!(-1), json!(1.0), json!("1"), json!(null)] {
            assert!(with(&pdu, "depth", never).is_err());
        }
    }
}

/// A hostile event with the greatest depth must not keep others from following it.
#[test]
fn a_depth_beyond_the_limit_is_cut_off() {
    for version in RoomVersion::ALL {
        let server = Server::new(1);
        let (mut room, mut state) = Room::create(version, &server);
        let mut builder = room.builder(&server, "m.room.message", None, json!({}), &state, &[]);
        builder.depth = version.max_depth() + 1;
        assert_eq!(
            room.add(builder, &server, &mut state).depth(),
            version.max_depth()
        );
    }
}

#[test]
fn restored_events_are_what_they_were() {
    for version in RoomVersion::ALL {
        let server = Server::new(1);
        let (room, _) = Room::create(version, &server);
        for pdu in room.events.values() {
            let restored =
                Pdu::restore(version, pdu.event_id().to_owned(), pdu.raw_json().to_owned()).unwrap();
            assert_eq!(&restored, pdu);
            assert_eq!(restored.room_id(), pdu.room_id());
            assert_eq!(restored.auth_events(), pdu.auth_events());
            assert_eq!(restored.content().get(), pdu.content().get());
        }
    }
}

#[test]
fn two_events_of_version_1_can_claim_one_id_and_are_told_apart() {
    let server = Server::new(1);
    for version in RoomVersion::ALL {
        let one = message(version, &server, &json!({"body": "one"})).unwrap();
        let other = message(version, &server, &json!({"body": "other"})).unwrap();
        assert!(one.is_same_event(&one.redacted().unwrap()));
        assert!(!one.is_same_event(&other));
        if version < RoomVersion::V3 {
            let mut claim = other.to_object().unwrap();
            claim.insert("event_id".into(), one.event_id().as_str().into());
            let claim = Pdu::from_object(version, claim).unwrap();
            assert_eq!(claim.event_id(), one.event_id());
            assert!(!claim.is_same_event(&one));
        }
    }
}

#[test]
fn a_create_event_that_names_no_version_is_of_version_1() {
    let server = Server::new(1);
    for (version, named, allowed) in [
        (RoomVersion::V1, json!({}), true),
        (RoomVersion::V1, json!({"room_version": "1"}), true),
        (RoomVersion::V1, json!({"room_version": "2"}), false),
        (RoomVersion::V1, json!({"room_version": 1}), false),
        (RoomVersion::V2, json!({}), false),
        (RoomVersion::V2, json!({"room_version": "2"}), true),
    ] {
        let mut content = named.clone();
        content["creator"] = server.user.as_str().into();
        let template = json!({
            "auth_events": [], "content": content, "depth": 1, "origin_server_ts": 1, "prev_events": [],
            "room_id": format!("!room:{}", server.name), "sender": server.user, "type": "m.room.create",
            "state_key": "",
        });
        let template = template.as_object().unwrap().clone();
        let create = sign_template(version, template, &server.name, &server.key_pair).unwrap();
        assert_eq!(
            check_auth_events(&create, |_| None).is_ok(),
            allowed,
            "{version}: {named}"
        );
    }
}

/// Room Versions 1 and 2, rule 11, and from 3 on "Handling redactions".
#[test]
fn redactions_are_applied_by_the_domain_that_the_version_looks_at() {
    let (alice, bob) = (Server::new(1), Server::new(2));
    for version in RoomVersion::ALL {
        let (mut room, mut state) = Room::create(version, &alice);
        let builder = room.builder(&alice, "m.room.message", None, json!({}), &state, &[]);
        let target = room.add(builder, &alice, &mut state);
        let mut redaction = |sender: &Server, named: &Server| {
            let mut builder = room.builder(sender, "m.room.redaction", None, json!({}), &state, &[]);
            builder.redacts = Some(target.event_id().to_owned());
            builder.build(version, &named.name, &named.key_pair).unwrap()
        };
        let (own, of_bob) = (redaction(&alice, &alice), redaction(&bob, &bob));
        assert!(may_apply(&own, &target, false));
        assert!(!may_apply(&of_bob, &target, false));
        assert!(may_apply(&of_bob, &target, true));
        let named_by_alice = redaction(&bob, &alice);
        assert_eq!(
            may_apply(&named_by_alice, &target, false),
            version < RoomVersion::V3
        );
    }
}

#[test]
fn ids_of_damaged_events_are_found_where_they_can_be() {
    let event = json!({"event_id": "$x:example.org", "type": "x"});
    let event = event.as_object().unwrap();
    assert_eq!(
        event_id(RoomVersion::V1, event).unwrap(),
        EventId::parse("$x:example.org").unwrap()
    );
    for version in RoomVersion::ALL.into_iter().skip(2) {
        assert!(is_event_id(version, event_id(version, event).unwrap().as_str()));
    }
}

proptest! {
    #[test]
    fn any_text_is_an_event_or_an_error(
        version in proptest::sample::select(&RoomVersion::ALL[..]),
        at in any::<proptest::sample::Index>(),
        inserted in r#"[\[\]{}:,"$!@0-9.eE+\-a-z\\]{0,4}"#,
        removed in 0_usize..4,
    ) {
        let server = Server::new(1);
        let (room, _) = Room::create(version, &server);
        let pdu = room.events.values().max_by_key(|pdu| pdu.depth()).unwrap();
        let mut text: Vec<char> = pdu.json().chars().collect();
        let at = at.index(text.len());
        let end = (at + removed).min(text.len());
        text.splice(at..end, inserted.chars());
        let text: String = text.into_iter().collect();
        if let Ok(read) = Pdu::parse(version, &text) {
            prop_assert_eq!(&Pdu::parse(version, read.json()).unwrap(), &read);
            let _ = verify(&read, key_of);
            let _ = read.redacted().unwrap();
        }
    }
}
