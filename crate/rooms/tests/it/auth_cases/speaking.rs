//! Who may send what; and what has to stand behind it.

use hearth_rooms::{RoomVersion, auth_check::check_auth_events};

use super::{
    Allowed::{Always, Never, Until},
    JOIN, LEAVE, Said, Scene, case, check, levels, member, state,
};

const MESSAGE: Said = Said {
    sender: "@bob",
    kind: "m.room.message",
    key: None,
    content: r#"{"msgtype": "m.text", "body": "Hello!"}"#,
};
const KIND: &str = "org.example.state";

#[test]
fn messages_and_state() {
    let said_by = |sender| Said { sender, ..MESSAGE };
    let state_of = |sender, key| state(sender, KIND, key, "{}");
    check(&[
        case("a member", &[], MESSAGE, Always),
        case("a stranger", &[], said_by("@zara"), Never),
        case("who left", &[member("@bob", "@bob", LEAVE)], MESSAGE, Never),
        case(
            "a type that takes more",
            &[levels(
                "@alice",
                r#"{"users": {"@alice": 100}, "events": {"m.room.message": 10}}"#,
            )],
            MESSAGE,
            Never,
        ),
        case(
            "a room where speaking takes more",
            &[levels(
                "@alice",
                r#"{"users": {"@alice": 100}, "events_default": 1}"#,
            )],
            MESSAGE,
            Never,
        ),
        case(
            "with the power that it takes",
            &[levels(
                "@alice",
                r#"{"users": {"@alice": 100, "@bob": 10}, "events": {"m.room.message": 10}}"#,
            )],
            MESSAGE,
            Always,
        ),
        case(
            "the power of all",
            &[levels(
                "@alice",
                r#"{"users": {"@alice": 100}, "users_default": 10, "events_default": 10}"#,
            )],
            MESSAGE,
            Always,
        ),
        case("state, with power", &[], state_of("@alice", ""), Always),
        case("state, without power", &[], state_of("@bob", ""), Never),
        case(
            "state that takes none",
            &[levels(
                "@alice",
                r#"{"users": {"@alice": 100}, "state_default": 0}"#,
            )],
            state_of("@bob", ""),
            Always,
        ),
        case("state of oneself", &[], state_of("@alice", "@alice"), Always),
        case("state of somebody else", &[], state_of("@alice", "@zara"), Never),
    ]);
}

#[test]
fn offers_of_invites_take_what_invites_take() {
    let offer = state("@bob", "m.room.third_party_invite", "token", "{}");
    let takes_50 = levels("@alice", r#"{"users": {"@alice": 100}, "invite": 50}"#);
    check(&[
        case("with power", &[], offer, Always),
        case("without power", &[takes_50], offer, Never),
        case(
            "by a stranger",
            &[],
            Said {
                sender: "@zara",
                ..offer
            },
            Never,
        ),
    ]);
}

/// `m.federate` keeps other servers out.
#[test]
fn rooms_of_one_server() {
    for version in RoomVersion::ALL {
        if version.room_id_is_create_hash() {
            // Another create event would make another room.
            continue;
        }
        let mut scene = Scene::new(version);
        let content = match version < RoomVersion::V11 {
            true => r#"{"creator": "@alice", "m.federate": false}"#,
            false => r#"{"m.federate": false}"#,
        };
        scene.add(&state("@alice", "m.room.create", "", content));
        assert!(
            scene.allows(&member("@charlie", "@charlie", JOIN)),
            "{version}: of the same server"
        );
        assert!(
            !scene.allows(&member("@zara", "@zara", JOIN)),
            "{version}: of another"
        );
        assert!(!scene.allows(&MESSAGE), "{version}: who got in");
    }
}

#[test]
fn what_stands_behind_an_event_is_of_its_room() {
    for version in RoomVersion::ALL {
        let (mut scene, other) = (Scene::new(version), Scene::new(version));
        let mut builder = scene.builder(&MESSAGE);
        // For all else the other room is the same.
        let room_id = match version.room_id_is_create_hash() {
            true => ruma_common::RoomId::new_v2(&"A".repeat(43)).unwrap(),
            false => ruma_common::RoomId::parse(format!("!other:{}", other.people["@alice"].name)).unwrap(),
        };
        builder.room_id = Some(room_id);
        assert!(!scene.allows_built("@bob", builder), "{version}");
    }
}

#[test]
fn a_room_has_a_create_event() {
    for version in RoomVersion::ALL {
        let mut scene = Scene::new(version);
        let create = scene.room.in_state(&scene.state, "m.room.create", "").unwrap();
        let builder = scene.builder(&MESSAGE);
        let by_hash = version.room_id_is_create_hash();
        let names_it = builder.auth_events.contains(&create.event_id().to_owned());
        assert_eq!(names_it, !by_hash, "{version}");
        let server = &scene.people["@bob"];
        let message = builder
            .clone()
            .build(version, &server.name, &server.key_pair)
            .unwrap();
        let check = |found: &dyn Fn(&ruma_common::EventId) -> Option<hearth_rooms::Pdu>| {
            check_auth_events(&message, found).is_ok()
        };
        let events = &scene.room.events;
        let is_create = |id: &ruma_common::EventId| id == create.event_id();
        assert!(check(&|id| events.get(id).cloned()), "{version}");
        assert!(
            !check(&|id| events.get(id).filter(|_| !is_create(id)).cloned()),
            "{version}: missing"
        );
        assert!(
            !check(&|id| Some(events.get(id)?.clone().with_rejected(is_create(id)))),
            "{version}: rejected"
        );
        let mut changed = builder;
        match by_hash {
            true => changed.auth_events.push(create.event_id().to_owned()),
            false => changed.auth_events.retain(|id| !is_create(id)),
        }
        // An event of version 12 that names it is none: `Pdu` says so already.
        let built = changed.build(version, &server.name, &server.key_pair);
        let is_allowed = built.is_ok_and(|pdu| check_auth_events(&pdu, |id| events.get(id).cloned()).is_ok());
        assert!(
            !is_allowed,
            "{version}: named where it must not be, or not where it must"
        );
    }
}

/// What is rejected lets nobody in, and whoever names it is rejected, too.
#[test]
fn what_was_rejected_authorises_nothing() {
    for version in RoomVersion::ALL {
        let mut scene = Scene::new(version);
        let knock = member("@charlie", "@charlie", super::KNOCK);
        assert!(!scene.allows(&knock), "{version}");
        scene.add(&knock);
        let invite = scene.builder(&member("@bob", "@charlie", super::INVITE));
        let rejected =
            scene.state[&("m.room.member".into(), scene.people["@charlie"].user.to_string())].clone();
        assert!(invite.auth_events.contains(&rejected));
        let server = &scene.people["@bob"];
        let invite = invite.build(version, &server.name, &server.key_pair).unwrap();
        let found = |id: &ruma_common::EventId| {
            let pdu = scene.room.events.get(id)?.clone();
            Some(pdu.with_rejected(id == &*rejected))
        };
        assert!(check_auth_events(&invite, found).is_err(), "{version}");
    }
}

/// Version 1 and 2 redactions are in `old_auth`; later ones are messages like others.
#[test]
fn an_event_that_needs_no_power_is_everybodys() {
    let redaction = Said {
        kind: "m.room.redaction",
        content: "{}",
        ..MESSAGE
    };
    let until_2 = Until(RoomVersion::V2);
    let allowed = |version: RoomVersion| !until_2.holds(version);
    for version in RoomVersion::ALL {
        assert_eq!(
            Scene::new(version).allows(&redaction),
            allowed(version),
            "{version}"
        );
    }
}
