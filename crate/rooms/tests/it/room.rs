//! Makes real, signed rooms for the other tests.

use std::collections::HashMap;

use hearth_rooms::{EventBuilder, Pdu, RoomVersion, StateMap, auth_selection};
use ruma_common::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use ruma_signatures::Ed25519KeyPair;
use serde_json::{Value, json, value::to_raw_value};

/// A homeserver with one user.
pub(crate) struct Server {
    pub(crate) key_pair: Ed25519KeyPair,
    pub(crate) name: String,
    pub(crate) user: OwnedUserId,
}

impl Server {
    pub(crate) fn new(seed: u8) -> Self {
        let header = hex::decode("302e020100300506032b657004220420").unwrap();
        let key_pair = Ed25519KeyPair::from_der(&[&header[..], &[seed; 32]].concat(), "1".into()).unwrap();
        let name = hex::encode(key_pair.public_key());
        let user = UserId::parse(format!("@user{seed}:{name}")).unwrap();
        Self { key_pair, name, user }
    }
}

/// The key of a server whose name is its key.
pub(crate) fn key_of(server: &ruma_common::ServerName, key_id: &str) -> Option<[u8; 32]> {
    (key_id == "ed25519:1")
        .then(|| hex::decode(server.as_str()).ok()?.try_into().ok())
        .flatten()
}

/// A room under construction, with all its events.
pub(crate) struct Room {
    pub(crate) version: RoomVersion,
    pub(crate) room_id: OwnedRoomId,
    pub(crate) events: HashMap<OwnedEventId, Pdu>,
    clock: u64,
}

impl Room {
    /// A room made by `creator`, with power levels and the public join rule, and its state.
    pub(crate) fn create(version: RoomVersion, creator: &Server) -> (Self, StateMap) {
        let v12 = version.room_id_is_create_hash();
        let room_id = RoomId::parse(format!("!room:{}", creator.name)).unwrap();
        let mut room = Self {
            version,
            room_id,
            events: HashMap::new(),
            clock: 1_000,
        };
        let mut state = StateMap::new();
        let mut builder = room.builder(
            creator,
            "m.room.create",
            Some(""),
            json!({"room_version": version.as_str()}),
            &state,
            &[],
        );
        builder.room_id = builder.room_id.filter(|_| !v12);
        if version < RoomVersion::V11 {
            builder
                .content
                .insert("creator".into(), creator.user.as_str().into());
        }
        let create = room.add(builder, creator, &mut state);
        room.room_id = create.room_id().to_owned();
        let me = creator.user.as_str();
        let users = if v12 { json!({}) } else { json!({me: 100}) };
        room.send_state(
            creator,
            "m.room.member",
            me,
            json!({"membership": "join"}),
            &mut state,
        );
        room.send_state(
            creator,
            "m.room.power_levels",
            "",
            json!({"users": users}),
            &mut state,
        );
        room.send_state(
            creator,
            "m.room.join_rules",
            "",
            json!({"join_rule": "public"}),
            &mut state,
        );
        (room, state)
    }

    /// The parts of an event that names what `state` has as its authorisation.
    pub(crate) fn builder(
        &mut self,
        sender: &Server,
        event_type: &str,
        state_key: Option<&str>,
        content: Value,
        state: &StateMap,
        prev_events: &[OwnedEventId],
    ) -> EventBuilder {
        self.clock += 1;
        let lookup =
            |event_type: &_, key: &str| state.get(&(Clone::clone(event_type), key.to_owned())).cloned();
        let (kind, raw) = (event_type.into(), to_raw_value(&content).unwrap());
        let auth_events =
            auth_selection::select(self.version, &kind, &sender.user, state_key, &raw, lookup).unwrap();
        let referenced = prev_events.iter().chain(&auth_events);
        let hash = |id: &OwnedEventId| Some((id.clone(), self.events.get(id)?.reference_hash().unwrap()));
        let reference_hashes = referenced.filter_map(hash).collect();
        EventBuilder {
            room_id: Some(self.room_id.clone()),
            sender: sender.user.clone(),
            event_type: kind,
            state_key: state_key.map(str::to_owned),
            content: content.as_object().unwrap().clone(),
            redacts: None,
            prev_events: prev_events.to_vec(),
            auth_events,
            reference_hashes,
            depth: self.clock,
            origin_server_ts: self.clock,
        }
    }

    /// Signs and keeps an event, and puts it into `state`.
    pub(crate) fn add(&mut self, builder: EventBuilder, sender: &Server, state: &mut StateMap) -> Pdu {
        let pdu = builder
            .build(self.version, &sender.name, &sender.key_pair)
            .unwrap();
        self.events.insert(pdu.event_id().to_owned(), pdu.clone());
        if let Some(key) = pdu.state_entry() {
            state.insert(key, pdu.event_id().to_owned());
        }
        pdu
    }

    pub(crate) fn send_state(
        &mut self,
        sender: &Server,
        event_type: &str,
        state_key: &str,
        content: Value,
        state: &mut StateMap,
    ) -> Pdu {
        let builder = self.builder(sender, event_type, Some(state_key), content, state, &[]);
        self.add(builder, sender, state)
    }

    /// The event that `state` has for a type and state key.
    pub(crate) fn in_state(&self, state: &StateMap, event_type: &str, state_key: &str) -> Option<Pdu> {
        self.events
            .get(state.get(&(event_type.into(), state_key.to_owned()))?)
            .cloned()
    }

    /// Whether `pdu` is allowed by its own auth events and by `state`.
    pub(crate) fn allows(&self, pdu: &Pdu, state: &StateMap) -> bool {
        let listed = hearth_rooms::auth_check::check_auth_events(pdu, |id| self.events.get(id).cloned());
        let before = hearth_rooms::auth_check::check_state(pdu, |event_type, key| {
            self.in_state(state, &event_type.to_string(), key)
        });
        listed.is_ok() && before.is_ok()
    }
}
