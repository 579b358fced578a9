//! The create event.

use std::collections::BTreeMap;

use hearth_rooms::{EventBuilder, Pdu, RoomVersion};
use ruma_common::RoomId;
use serde_json::{Value, json};

use super::{Scene, state};
use crate::room::Server;

/// The parts of alice's create event for a room of `version` with `content`.
fn builder(version: RoomVersion, content: &Value) -> EventBuilder {
    let alice = Server::new(1);
    let room_id = RoomId::parse(format!("!room:{}", alice.name)).unwrap();
    EventBuilder {
        room_id: (!version.room_id_is_create_hash()).then_some(room_id),
        sender: alice.user,
        event_type: "m.room.create".into(),
        state_key: Some(String::new()),
        content: content.as_object().unwrap().clone(),
        redacts: None,
        prev_events: Vec::new(),
        auth_events: Vec::new(),
        reference_hashes: BTreeMap::new(),
        depth: 1,
        origin_server_ts: 1,
    }
}

/// The least content of a create event.
fn least(version: RoomVersion) -> Value {
    let mut content = json!({ "room_version": version.as_str() });
    if version < RoomVersion::V11 {
        content["creator"] = json!(Server::new(1).user);
    }
    content
}

fn with(version: RoomVersion, field: &str, value: Value) -> EventBuilder {
    let mut content = least(version);
    content[field] = value;
    builder(version, &content)
}

/// Whether `sender`'s create event has the right format and is allowed.
fn allowed_from(version: RoomVersion, sender: &Server, builder: EventBuilder) -> bool {
    let built = builder.build(version, &sender.name, &sender.key_pair);
    built.is_ok_and(|pdu| hearth_rooms::auth_check::check_auth_events(&pdu, |_| None::<Pdu>).is_ok())
}

fn allowed(version: RoomVersion, builder: EventBuilder) -> bool {
    allowed_from(version, &Server::new(1), builder)
}

#[test]
fn what_a_create_event_says_beside_counts_for_nothing() {
    for version in RoomVersion::ALL {
        assert!(allowed(version, builder(version, &least(version))), "{version}");
        for (field, value) in [
            ("predecessor", json!("!XPoLiaavxVgyMSiRwK:localhost")),
            ("type", json!(true)),
        ] {
            assert!(
                allowed(version, with(version, field, value)),
                "{version}: {field}"
            );
        }
    }
}

#[test]
fn a_create_event_says_who_created() {
    for version in RoomVersion::ALL {
        let content = json!({ "room_version": version.as_str() });
        let names_nobody = allowed(version, builder(version, &content));
        assert_eq!(names_nobody, version >= RoomVersion::V11, "{version}");
    }
    let content = json!({ "creator": Server::new(1).user });
    assert!(
        allowed(RoomVersion::V1, builder(RoomVersion::V1, &content)),
        "1 is meant"
    );
}

#[test]
fn further_creators_have_ids_from_version_12_on() {
    for version in RoomVersion::ALL {
        let is_old = version < RoomVersion::V12;
        let names = |creators: Value| allowed(version, with(version, "additional_creators", creators));
        assert!(names(json!([Server::new(2).user])), "{version}");
        assert_eq!(names(json!(["@::example.org"])), is_old, "{version}");
        assert_eq!(names(json!("@bob:example.org")), is_old, "{version}");
        assert_eq!(names(json!([1])), is_old, "{version}");
    }
}

#[test]
fn nothing_comes_before_a_create_event() {
    for version in RoomVersion::ALL {
        let mut scene = Scene::new(version);
        let earlier = scene.room.in_state(&scene.state, "m.room.create", "").unwrap();
        let mut late = builder(version, &least(version));
        late.prev_events = vec![earlier.event_id().to_owned()];
        let hash = earlier.reference_hash().unwrap();
        late.reference_hashes.insert(earlier.event_id().to_owned(), hash);
        assert!(!allowed(version, late), "{version}");
        let again = state("@alice", "m.room.create", "", "{}");
        assert!(!scene.allows(&again), "{version}");
    }
}

#[test]
fn a_room_is_its_creators_servers_until_it_is_a_hash() {
    let (alice, zara) = (Server::new(1), Server::new(3));
    for version in RoomVersion::ALL {
        let by_hash = version.room_id_is_create_hash();
        let mut of_zara = builder(version, &least(version));
        of_zara.sender = zara.user.clone();
        if version < RoomVersion::V11 {
            of_zara.content.insert("creator".into(), json!(zara.user));
        }
        assert_eq!(allowed_from(version, &zara, of_zara), by_hash, "{version}");
        let mut other = builder(version, &least(version));
        let room_id = RoomId::parse(format!("!room:{}", alice.name)).unwrap();
        other.room_id = by_hash.then_some(room_id);
        assert!(!allowed(version, other), "{version}");
    }
}
