//! Canonical JSON and hashes against ruma's, which hold for the strict versions, and against themselves.

use hearth_rooms::{
    JsonObject, RoomVersion,
    canonical_json::{Numbers, encode},
    event_id::{content_hash, event_id, reference_hash},
};
use proptest::{collection, prelude::*};
use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue,
    serde::{Base64, base64::Standard},
};
use serde_json::{Value, json};

/// Any JSON, with the strings and field names that events have among the others.
pub(crate) fn any_json(numbers: Numbers) -> impl Strategy<Value = Value> {
    let number = match numbers {
        Numbers::Strict => (-(1_i64 << 53) + 1..1 << 53).prop_map(Value::from).boxed(),
        Numbers::Lenient => prop_oneof![
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f32>().prop_map(|float| json!(float)),
            (-1e15..1e15_f64).prop_map(|float| json!(float)),
            (-1e-300..1e-300_f64).prop_map(|float| json!(float)),
        ]
        .boxed(),
    };
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number,
        any::<String>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            collection::btree_map(".{0,6}", inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// An object with the fields that redaction and hashing treat in their own ways.
pub(crate) fn any_event(numbers: Numbers) -> impl Strategy<Value = JsonObject> {
    const TYPES: [&str; 9] = [
        "m.room.member",
        "m.room.create",
        "m.room.join_rules",
        "m.room.power_levels",
        "m.room.aliases",
        "m.room.history_visibility",
        "m.room.redaction",
        "m.room.message",
        "m.room.server_acl",
    ];
    const FIELDS: [&str; 18] = [
        "auth_events",
        "depth",
        "event_id",
        "hashes",
        "membership",
        "origin",
        "origin_server_ts",
        "other",
        "prev_events",
        "prev_state",
        "redacts",
        "room_id",
        "sender",
        "signatures",
        "state_key",
        "unsigned",
        "Ω",
        "",
    ];
    const IN_CONTENT: [&str; 22] = [
        "aliases",
        "allow",
        "ban",
        "body",
        "creator",
        "deny",
        "events",
        "events_default",
        "history_visibility",
        "invite",
        "join_authorised_via_users_server",
        "join_rule",
        "kick",
        "membership",
        "notifications",
        "redact",
        "redacts",
        "room_version",
        "state_default",
        "third_party_invite",
        "users",
        "users_default",
    ];
    let some = |names: &'static [&'static str]| {
        collection::btree_map(proptest::sample::select(names), any_json(numbers), 0..8)
    };
    let signed = (any_json(numbers), any_json(numbers))
        .prop_map(|(signed, other)| json!({"signed": signed, "display_name": other}));
    let content = (some(&IN_CONTENT), proptest::option::of(signed));
    (proptest::sample::select(&TYPES[..]), some(&FIELDS), content).prop_map(
        |(event_type, fields, (content, invite))| {
            let owned = |(name, value): (&str, Value)| (name.to_owned(), value);
            let mut content: JsonObject = content.into_iter().map(owned).collect();
            content.extend(invite.map(|invite| ("third_party_invite".to_owned(), invite)));
            let mut event: JsonObject = fields.into_iter().map(owned).collect();
            event.insert("type".into(), event_type.into());
            event.insert("content".into(), content.into());
            event
        },
    )
}

pub(crate) fn rumas(event: &JsonObject) -> CanonicalJsonObject {
    match CanonicalJsonValue::try_from(Value::Object(event.clone())).unwrap() {
        CanonicalJsonValue::Object(object) => object,
        _ => unreachable!("it was an object"),
    }
}

proptest! {
    #[test]
    fn strict_text_is_rumas(value in any_json(Numbers::Strict)) {
        let rumas = CanonicalJsonValue::try_from(value.clone()).unwrap();
        prop_assert_eq!(encode(&value, Numbers::Strict).unwrap(), rumas.to_string());
        prop_assert_eq!(encode(&value, Numbers::Lenient).unwrap(), rumas.to_string());
    }

    #[test]
    fn lenient_text_reads_back_as_it_was(value in any_json(Numbers::Lenient)) {
        let Ok(text) = encode(&value, Numbers::Lenient) else {
            // A float beyond 64 bits.
            return Ok(());
        };
        let read: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&encode(&read, Numbers::Lenient).unwrap(), &text);
        prop_assert_eq!(read, value);
    }

    #[test]
    fn hashes_are_rumas(event in any_event(Numbers::Strict)) {
        let object = rumas(&event);
        let expected = ruma_signatures::content_hash(&object).unwrap();
        for version in RoomVersion::ALL {
            prop_assert_eq!(&content_hash(version, &event).unwrap()[..], expected.as_bytes());
            let rumas = ruma_signatures::reference_hash(&object, version.rules()).unwrap();
            if version < RoomVersion::V3 {
                let ours = reference_hash(version, &event).unwrap();
                prop_assert_eq!(Base64::<Standard, _>::new(ours).encode(), rumas);
            } else {
                prop_assert_eq!(event_id(version, &event).unwrap().to_string(), format!("${rumas}"));
            }
        }
    }
}
