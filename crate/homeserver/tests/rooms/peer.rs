//! Another server, driven by hand: it has a key and so a name, and says whatever a test wants it to.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::TryStreamExt as _;
use hearth_homeserver::{Identity, federation::bulk::BulkAnswer};
use hearth_rooms::{EventBuilder, Pdu, RoomVersion, builder::sign_template};
use ruma_common::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, ServerName, UserId};
use serde_json::{Value, json};

use crate::support::{Server, object};

/// Another server: a key, and its user `mallory`.
pub struct Peer {
    pub identity: Identity,
}

impl Peer {
    pub fn new(seed: u8) -> Self {
        Self {
            identity: Identity::from_seed([seed; 32]).unwrap(),
        }
    }

    pub fn name(&self) -> &ServerName {
        self.identity.server_name().try_into().unwrap()
    }

    pub fn user(&self) -> OwnedUserId {
        UserId::parse(format!("@mallory:{}", self.identity.server_name())).unwrap()
    }

    /// Joins `room` of `server`; returns the join.
    pub async fn join(&self, server: &Server, room: &OwnedRoomId) -> Pdu {
        let versions = [String::from("12")];
        let made = server
            .homeserver
            .make_join(self.name(), room, &self.user(), &versions)
            .await
            .unwrap();
        let template = serde_json::from_value(made["event"].clone()).unwrap();
        let join = sign_template(
            RoomVersion::V12,
            template,
            self.identity.server_name(),
            self.identity.key_pair(),
        )
        .unwrap();
        let event = serde_json::from_str(join.json()).unwrap();
        let answer = server
            .homeserver
            .accept_join(self.name(), room, join.event_id(), event, false)
            .await
            .unwrap();
        let answer: Value = serde_json::from_slice(&pieces(server, answer).await.concat()).unwrap();
        assert_eq!(answer["origin"], server.homeserver.server_name().as_str());
        join
    }

    /// A message after `prev`, which `auth` allow.
    pub fn message(&self, room: &OwnedRoomId, prev: &Pdu, auth: Vec<OwnedEventId>, body: &str) -> Pdu {
        let content = json!({ "body": body, "msgtype": "m.text" });
        self.event(room, prev, auth, ("m.room.message", None), content)
    }

    /// A redaction of `target` after `prev`, which `auth` allow.
    pub fn redaction(
        &self,
        room: &OwnedRoomId,
        prev: &Pdu,
        auth: Vec<OwnedEventId>,
        target: &EventId,
    ) -> Pdu {
        let content = json!({ "redacts": target });
        self.event(room, prev, auth, ("m.room.redaction", None), content)
    }

    /// An event after `prev`, which `auth` allow.
    pub fn event(
        &self,
        room: &OwnedRoomId,
        prev: &Pdu,
        auth: Vec<OwnedEventId>,
        kind: (&str, Option<&str>),
        content: Value,
    ) -> Pdu {
        self.event_after(room, std::slice::from_ref(prev), auth, kind, content)
    }

    /// An event after all of `prev`, which `auth` allow.
    pub fn event_after(
        &self,
        room: &OwnedRoomId,
        prev: &[Pdu],
        auth: Vec<OwnedEventId>,
        (kind, state_key): (&str, Option<&str>),
        content: Value,
    ) -> Pdu {
        let depth = prev.iter().map(Pdu::depth).max().unwrap_or_default();
        let builder = EventBuilder {
            room_id: Some(room.clone()),
            sender: self.user(),
            event_type: kind.into(),
            state_key: state_key.map(str::to_owned),
            content: object(content),
            redacts: None,
            prev_events: prev.iter().map(|pdu| pdu.event_id().to_owned()).collect(),
            auth_events: auth,
            reference_hashes: BTreeMap::new(),
            depth: (depth + 1).min((1 << 53) - 1),
            origin_server_ts: 1,
        };
        self.sign(builder)
    }

    /// The event that `builder` lays out.
    pub fn sign(&self, builder: EventBuilder) -> Pdu {
        let name = self.identity.server_name();
        builder
            .build(RoomVersion::V12, name, self.identity.key_pair())
            .unwrap()
    }

    /// Sends one event; what is said of it.
    pub async fn tell(&self, server: &Server, pdu: &Pdu) -> Value {
        let answer = self.send(server, pdu.event_id().as_str(), &[value(pdu)]).await;
        answer["pdus"][pdu.event_id().as_str()].clone()
    }

    pub async fn send(&self, server: &Server, txn: &str, pdus: &[Value]) -> Value {
        let body = json!({ "origin": self.name(), "origin_server_ts": 1, "pdus": pdus });
        server
            .homeserver
            .receive_transaction(self.name(), txn, body)
            .await
            .unwrap()
    }
}

/// What `answer` is written as.
pub async fn pieces(server: &Server, answer: BulkAnswer) -> Vec<Bytes> {
    let pieces = server.homeserver.clone().written(answer);
    pieces.try_collect().await.unwrap()
}

pub fn value(pdu: &Pdu) -> Value {
    serde_json::from_str(pdu.json()).unwrap()
}

/// The events that allow a member's message.
pub async fn auth_of(server: &Server, room: &OwnedRoomId, join: &Pdu) -> Vec<OwnedEventId> {
    let levels = server.state(room, "m.room.power_levels", "").await.unwrap();
    vec![levels.event_id.clone(), join.event_id().to_owned()]
}

/// The room's forward extremities.
pub async fn extremities(server: &Server, room: &OwnedRoomId) -> Vec<OwnedEventId> {
    let room = server.homeserver.room(room).await.unwrap().unwrap();
    room.snapshot().record.extremities.clone()
}
