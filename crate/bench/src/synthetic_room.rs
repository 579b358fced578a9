//! A room of any size, all of whose events one server made and signed.

use std::collections::BTreeMap;

use hearth_homeserver::{Identity, JsonObject};
use hearth_rooms::{EventBuilder, Pdu, RoomVersion, auth_selection};
use ruma_common::{OwnedEventId, OwnedUserId, RoomId, UserId};
use ruma_events::TimelineEventType;
use serde_json::{Value, json};

use crate::Failure;

/// The version of the rooms: the one in which rooms are created.
const VERSION: RoomVersion = RoomVersion::V12;

/// The room, and whoever made it.
pub(crate) struct SyntheticRoom {
    identity: Identity,
    creator: OwnedUserId,
    state: Vec<Pdu>,
    depth: u64,
}

impl SyntheticRoom {
    /// A public room with `size` state events (at least 4) of the server whose key is made of `seed`.
    pub(crate) fn new(size: usize, seed: u8) -> Result<Self, Failure> {
        let identity = Identity::from_seed([seed; 32])?;
        let creator = UserId::parse(format!("@creator:{}", identity.server_name()))?;
        let mut room = Self {
            identity,
            creator,
            state: Vec::with_capacity(size),
            depth: 0,
        };
        let creator = room.creator.to_string();
        room.add("m.room.create", "", json!({ "room_version": VERSION.as_str() }))?;
        room.add("m.room.member", &creator, json!({ "membership": "join" }))?;
        room.add("m.room.power_levels", "", json!({ "users": {} }))?;
        room.add("m.room.join_rules", "", json!({ "join_rule": "public" }))?;
        for number in room.state.len()..size {
            room.add(
                "org.hearth.bench",
                &number.to_string(),
                json!({ "number": number }),
            )?;
        }
        Ok(room)
    }

    pub(crate) fn server_name(&self) -> &str {
        self.identity.server_name()
    }

    pub(crate) fn room_id(&self) -> Option<&RoomId> {
        self.state.first().map(Pdu::room_id)
    }

    /// The answer to `make_join` for `user_id`.
    pub(crate) fn make_join(&self, user_id: &UserId) -> Result<Value, Failure> {
        let content = json!({ "membership": "join" });
        let event = self.lay_out("m.room.member", user_id.as_str(), content, user_id)?;
        Ok(json!({ "room_version": VERSION.as_str(), "event": event.template(VERSION)? }))
    }

    /// The answer to `send_join` with `join`, as JSON.
    pub(crate) fn send_join(&self, join: &str) -> String {
        let list = |events: &[Pdu]| {
            let events: Vec<_> = events.iter().map(|event| event.raw_json().get()).collect();
            events.join(",")
        };
        format!(
            r#"{{"origin":"{}","event":{join},"state":[{}],"auth_chain":[{}],"members_omitted":false,"servers_in_room":["{}"]}}"#,
            self.server_name(),
            list(&self.state),
            list(self.state.get(..4).unwrap_or_default()),
            self.server_name(),
        )
    }

    fn add(&mut self, kind: &str, state_key: &str, content: Value) -> Result<(), Failure> {
        let sender = self.creator.clone();
        let event = self.lay_out(kind, state_key, content, &sender)?;
        let event = event.build(VERSION, self.server_name(), self.identity.key_pair())?;
        self.depth += 1;
        self.state.push(event);
        Ok(())
    }

    fn lay_out(
        &self,
        kind: &str,
        state_key: &str,
        content: Value,
        sender: &UserId,
    ) -> Result<EventBuilder, Failure> {
        let event_type = TimelineEventType::from(kind);
        let raw = serde_json::value::to_raw_value(&content)?;
        let key = Some(state_key);
        let auth_events = auth_selection::select(VERSION, &event_type, sender, key, &raw, |kind, key| {
            self.find(&kind.to_string(), key)
        })
        .map_err(|rejection| rejection.0)?;
        let content: JsonObject = serde_json::from_value(content)?;
        Ok(EventBuilder {
            room_id: self.room_id().map(ToOwned::to_owned),
            sender: sender.to_owned(),
            event_type,
            state_key: Some(state_key.to_owned()),
            content,
            redacts: None,
            prev_events: self
                .state
                .last()
                .map(|event| event.event_id().to_owned())
                .into_iter()
                .collect(),
            auth_events,
            reference_hashes: BTreeMap::new(),
            depth: self.depth + 1,
            origin_server_ts: 1_700_000_000_000 + self.depth,
        })
    }

    /// What authorises others is among the first events.
    fn find(&self, kind: &str, state_key: &str) -> Option<OwnedEventId> {
        let first = self.state.get(..self.state.len().min(4))?;
        let found = first
            .iter()
            .find(|event| event.event_type().to_string() == kind && event.state_key() == Some(state_key));
        Some(found?.event_id().to_owned())
    }
}
