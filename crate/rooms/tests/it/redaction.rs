//! What redaction keeps in each version. The event types are those of ruma-common's tests
//! (`tests/it/canonical_json/redaction.rs`, MIT), the lists those of the specification.

use hearth_rooms::{JsonObject, Pdu, RoomVersion, builder::sign_template, canonical_json::Numbers};
use proptest::prelude::*;
use ruma_common::canonical_json::redact;
use serde_json::{Value, json};

use crate::{
    canonical_json::{any_event, rumas},
    room::Server,
};

/// An event with every field that any version keeps, and more, of a type with `content`.
fn event(version: RoomVersion, event_type: &str, content: Value) -> Pdu {
    let server = Server::new(1);
    let mut template = json!({
        "type": event_type, "state_key": "", "sender": server.user, "content": content, "depth": 1,
        "origin_server_ts": 1, "origin": server.name, "membership": "join", "prev_state": [],
        "room_id": format!("!room:{}", server.name), "prev_events": [], "auth_events": [], "other": 1,
        "redacts": "$redacted",
    });
    if version.room_id_is_create_hash() {
        template["room_id"] = format!("!{}", "r".repeat(43)).into();
    }
    let template = template.as_object().unwrap().clone();
    sign_template(version, template, &server.name, &server.key_pair).unwrap()
}

fn kept(version: RoomVersion, event_type: &str, content: Value) -> Value {
    let redacted = event(version, event_type, content).redacted().unwrap();
    redacted.content_as().unwrap()
}

/// The versions, the first of which is the number `from`.
fn since(from: usize) -> impl Iterator<Item = (RoomVersion, bool)> {
    let versions = RoomVersion::ALL.into_iter().enumerate();
    versions.map(move |(index, version)| (version, index + 1 >= from))
}

/// Up to the version before `from`, `before` is left of `content`; `after` from then on.
fn changes(event_type: &str, from: usize, content: &Value, before: &Value, after: &Value) {
    for (version, is_newer) in since(from) {
        let expected = if is_newer { after } else { before };
        assert_eq!(
            kept(version, event_type, content.clone()),
            *expected,
            "{event_type} in version {version}"
        );
    }
}

#[test]
fn top_level() {
    for (version, is_newer) in since(11) {
        let object = event(version, "m.room.message", json!({"body": "x"}))
            .redacted()
            .unwrap()
            .to_object()
            .unwrap();
        let mut expected = vec![
            "auth_events",
            "content",
            "depth",
            "hashes",
            "origin_server_ts",
            "prev_events",
            "room_id",
            "sender",
            "signatures",
            "state_key",
            "type",
        ];
        if !is_newer {
            expected.extend(["membership", "origin", "prev_state"]);
        }
        if version < RoomVersion::V3 {
            expected.push("event_id");
        }
        expected.sort_unstable();
        assert_eq!(object.keys().collect::<Vec<_>>(), expected, "version {version}");
    }
}

#[test]
fn power_levels() {
    let content = json!({
        "ban": 50, "events": {"m.room.avatar": 50}, "events_default": 0, "invite": 0, "kick": 50, "redact": 50,
        "state_default": 50, "users": {"@example:localhost": 100}, "users_default": 0, "notifications": {"room": 1},
    });
    let mut after = content.clone();
    after.as_object_mut().unwrap().remove("notifications");
    let mut before = after.clone();
    before.as_object_mut().unwrap().remove("invite");
    changes("m.room.power_levels", 11, &content, &before, &after);
}

#[test]
fn aliases() {
    let content = json!({"aliases": ["#somewhere:localhost"], "other": 1});
    let kept = json!({"aliases": ["#somewhere:localhost"]});
    changes("m.room.aliases", 6, &content, &kept, &json!({}));
}

#[test]
fn create() {
    let content =
        json!({"creator": "@example:localhost", "m.federate": true, "predecessor": {"room_id": "!a:b"}});
    let before = json!({"creator": "@example:localhost"});
    changes("m.room.create", 11, &content, &before, &content);
}

#[test]
fn join_rules() {
    let content = json!({"join_rule": "restricted", "allow": [{"type": "x"}], "other": 1});
    let after = json!({"join_rule": "restricted", "allow": [{"type": "x"}]});
    changes(
        "m.room.join_rules",
        8,
        &content,
        &json!({"join_rule": "restricted"}),
        &after,
    );
}

#[test]
fn member() {
    let content = json!({
        "membership": "join", "displayname": "A", "join_authorised_via_users_server": "@a:b",
        "third_party_invite": {"display_name": "A", "signed": {"mxid": "@a:b"}},
    });
    for version in RoomVersion::ALL {
        let mut expected = json!({"membership": "join"});
        if version >= RoomVersion::V9 {
            expected["join_authorised_via_users_server"] = "@a:b".into();
        }
        if version >= RoomVersion::V11 {
            expected["third_party_invite"] = json!({"signed": {"mxid": "@a:b"}});
        }
        assert_eq!(
            kept(version, "m.room.member", content.clone()),
            expected,
            "version {version}"
        );
    }
}

#[test]
fn history_visibility() {
    let content = json!({"history_visibility": "shared", "other": 1});
    let kept = json!({"history_visibility": "shared"});
    changes("m.room.history_visibility", 1, &content, &kept, &kept);
}

#[test]
fn redaction() {
    let content = json!({"redacts": "$redacted", "reason": "spam"});
    changes(
        "m.room.redaction",
        11,
        &content,
        &json!({}),
        &json!({"redacts": "$redacted"}),
    );
}

#[test]
fn server_acl_and_messages() {
    for event_type in ["m.room.server_acl", "m.room.message", "m.room.topic"] {
        changes(
            event_type,
            1,
            &json!({"allow": ["*"], "body": "x"}),
            &json!({}),
            &json!({}),
        );
    }
}

#[test]
fn a_redacted_event_is_the_same_event() {
    for version in RoomVersion::ALL {
        let whole = event(version, "m.room.message", json!({"body": "x"}));
        let redacted = whole.redacted().unwrap();
        assert_eq!(redacted.event_id(), whole.event_id());
        assert!(redacted.is_same_event(&whole));
        assert_eq!(redacted.redacted().unwrap(), redacted);
    }
}

/// `event` as if it were an event: what it lacks of one is added.
fn completed(version: RoomVersion, mut event: JsonObject) -> Option<Pdu> {
    let rest = json!({
        "sender": "@a:example.org", "room_id": "!room:example.org", "depth": 1, "origin_server_ts": 1,
        "prev_events": [], "auth_events": [], "hashes": {}, "signatures": {}, "event_id": "$x:example.org",
    });
    event.remove("state_key");
    event.extend(rest.as_object().unwrap().clone());
    Pdu::from_object(version, event).ok()
}

proptest! {
    #[test]
    fn it_is_rumas(
        version in proptest::sample::select(&RoomVersion::ALL[..]),
        event in any_event(Numbers::Strict),
    ) {
        let Some(pdu) = completed(version, event) else { return Ok(()) };
        let expected = redact(rumas(&pdu.to_object().unwrap()), &version.rules().redaction, None).unwrap();
        prop_assert_eq!(rumas(&pdu.redacted().unwrap().to_object().unwrap()), expected);
    }

    #[test]
    fn it_is_idempotent(
        version in proptest::sample::select(&RoomVersion::ALL[..]),
        event in any_event(Numbers::Lenient),
    ) {
        let Some(pdu) = completed(version, event) else { return Ok(()) };
        let redacted = pdu.redacted().unwrap();
        prop_assert_eq!(redacted.event_id(), pdu.event_id());
        prop_assert_eq!(redacted.redacted().unwrap(), redacted);
    }
}
