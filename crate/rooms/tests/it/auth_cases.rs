//! What the rules allow, in every room version: the cases of ruma-state-res 0.18's own tests (MIT;
//! `src/event_auth/tests.rs`, `src/event_auth/tests/room_power_levels.rs`, `src/event_auth/room_member/tests.rs`),
//! told anew as tables. Each is checked against an event's own auth events and against the state before it.
//!
//! The cases that only some versions have at all (aliases, redactions, forms of power levels) are in `old_auth`.

mod create;
mod joining;
mod members;
mod power_levels;
mod speaking;
mod third_party;

use std::collections::BTreeMap;

use hearth_rooms::{
    EventBuilder, Pdu, RoomVersion, StateMap,
    auth_check::{check_auth_events, check_state},
    auth_selection,
};
use ruma_common::UserId;
use serde_json::{Value, value::to_raw_value};

use crate::room::{Room, Server};

/// In which versions something is allowed.
#[derive(Clone, Copy, Debug)]
enum Allowed {
    Always,
    Never,
    From(RoomVersion),
    Until(RoomVersion),
}

impl Allowed {
    fn holds(self, version: RoomVersion) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::From(first) => version >= first,
            Self::Until(last) => version <= last,
        }
    }
}

/// An event. Users are written as `@alice`, `@bob`, `@charlie` and `@zara`.
#[derive(Clone, Copy, Debug)]
struct Said {
    sender: &'static str,
    kind: &'static str,
    key: Option<&'static str>,
    content: &'static str,
}

const fn state(sender: &'static str, kind: &'static str, key: &'static str, content: &'static str) -> Said {
    Said {
        sender,
        kind,
        key: Some(key),
        content,
    }
}

const fn member(sender: &'static str, user: &'static str, content: &'static str) -> Said {
    state(sender, "m.room.member", user, content)
}

const fn rule(content: &'static str) -> Said {
    state("@alice", "m.room.join_rules", "", content)
}

const fn levels(sender: &'static str, content: &'static str) -> Said {
    state(sender, "m.room.power_levels", "", content)
}

const JOIN: &str = r#"{"membership": "join"}"#;
const INVITE: &str = r#"{"membership": "invite"}"#;
const LEAVE: &str = r#"{"membership": "leave"}"#;
const BAN: &str = r#"{"membership": "ban"}"#;
const KNOCK: &str = r#"{"membership": "knock"}"#;

/// What is so (whether it was allowed or not), and what somebody then tries.
struct Case<'a> {
    name: &'a str,
    before: &'a [Said],
    tried: Said,
    allowed: Allowed,
}

fn case<'a>(name: &'a str, before: &'a [Said], tried: Said, allowed: Allowed) -> Case<'a> {
    Case {
        name,
        before,
        tried,
        allowed,
    }
}

/// Checks `cases` in every room version.
#[track_caller]
fn check(cases: &[Case<'_>]) {
    for version in RoomVersion::ALL {
        let mut scene = Scene::new(version);
        let state = scene.state.clone();
        for case in cases {
            scene.state = state.clone();
            case.before.iter().for_each(|said| scene.add(said));
            let (allowed, expected) = (scene.allows(&case.tried), case.allowed.holds(version));
            assert_eq!(allowed, expected, "version {version}: {}", case.name);
        }
    }
}

/// A public room that alice made and bob is in. Charlie, of alice's server, and zara, of another, are not.
struct Scene {
    room: Room,
    state: StateMap,
    people: BTreeMap<&'static str, Server>,
}

impl Scene {
    fn new(version: RoomVersion) -> Self {
        let charlie = Server::new(1);
        let charlie = Server {
            user: UserId::parse(format!("@charlie:{}", charlie.name)).unwrap(),
            ..charlie
        };
        let people = BTreeMap::from([
            ("@alice", Server::new(1)),
            ("@bob", Server::new(2)),
            ("@charlie", charlie),
            ("@zara", Server::new(3)),
        ]);
        let (room, state) = Room::create(version, &people["@alice"]);
        let mut scene = Self { room, state, people };
        scene.add(&member("@bob", "@bob", JOIN));
        scene
    }

    fn version(&self) -> RoomVersion {
        self.room.version
    }

    /// Puts an event into the state, allowed or not.
    fn add(&mut self, said: &Said) {
        let builder = self.builder(said);
        self.room.add(builder, &self.people[said.sender], &mut self.state);
    }

    /// Whether an event is allowed.
    fn allows(&mut self, said: &Said) -> bool {
        let builder = self.builder(said);
        self.allows_built(said.sender, builder)
    }

    fn allows_built(&mut self, sender: &str, builder: EventBuilder) -> bool {
        let pdu = self.room.add(builder, &self.people[sender], &mut StateMap::new());
        self.by_auth_events(&pdu) && self.by_state(&pdu)
    }

    fn by_auth_events(&self, pdu: &Pdu) -> bool {
        check_auth_events(pdu, |id| self.room.events.get(id).cloned()).is_ok()
    }

    fn by_state(&self, pdu: &Pdu) -> bool {
        check_state(pdu, |kind, key| {
            self.room.in_state(&self.state, &kind.to_string(), key)
        })
        .is_ok()
    }

    /// The parts of an event. Where its content does not tell what authorises it, it names what does as a rule.
    fn builder(&mut self, said: &Said) -> EventBuilder {
        let content = self.content(said);
        let key = said.key.map(|key| self.named(key));
        let sender = &self.people[said.sender];
        let is_whole = {
            let raw = to_raw_value(&content).unwrap();
            let kind = said.kind.into();
            let none = |_: &_, _: &str| None;
            auth_selection::select(self.room.version, &kind, &sender.user, key.as_deref(), &raw, none).is_ok()
        };
        if is_whole {
            return self
                .room
                .builder(sender, said.kind, key.as_deref(), content, &self.state, &[]);
        }
        let rest = Value::Object(serde_json::Map::new());
        let mut builder = self
            .room
            .builder(sender, "m.room.message", None, rest, &self.state, &[]);
        builder.event_type = said.kind.into();
        builder.state_key = key;
        builder.content = content.as_object().unwrap().clone();
        builder
    }

    /// The content, without the creator's level where creators have none.
    fn content(&self, said: &Said) -> Value {
        let mut content: Value = serde_json::from_str(&self.named(said.content)).unwrap();
        let alice = self.people["@alice"].user.as_str();
        if said.kind == "m.room.power_levels"
            && self.version().room_id_is_create_hash()
            && let Some(users) = content.get_mut("users").and_then(Value::as_object_mut)
        {
            users.remove(alice);
        }
        content
    }

    /// `text` with people's user ids for their names.
    fn named(&self, text: &str) -> String {
        let name = |text: String, (name, server): (&&str, &Server)| text.replace(name, server.user.as_str());
        self.people.iter().fold(text.to_owned(), name)
    }
}
