//! Events as clients see them. Spec: Client-Server API, "Room event format" and "Stripped state".
//!
//! A [`ClientEvent`] is written out of the text of its [`Pdu`] without being taken apart. Who may see an event, and
//! what belongs into `unsigned`, is the caller's to know.

use ruma_common::{OwnedEventId, OwnedUserId};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value, json};

use crate::Pdu;

/// Whether an event says which room it is of. In `/sync` the room is known from around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomIdField {
    /// `room_id` is there.
    Included,
    /// `room_id` is left out.
    Omitted,
}

/// An event in client format.
#[derive(Clone, Debug)]
pub struct ClientEvent {
    pdu: Pdu,
    room_id: RoomIdField,
    /// What the server adds to it.
    pub unsigned: Option<Unsigned>,
}

/// `unsigned` of an event. What is `None` is left out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Unsigned {
    /// How long ago it was sent, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<u64>,
    /// The reader's membership once it had happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership: Option<String>,
    /// The transaction id, for the device that sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<String>,
    /// The state event that it replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces_state: Option<OwnedEventId>,
    /// Who sent the state event that it replaced. Not in the specification: by it matrix-js-sdk knows who invited somebody that
    /// has joined since, and so which rooms are direct chats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_sender: Option<OwnedUserId>,
    /// The content of the state event that it replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_content: Option<Map<String, Value>>,
    /// The redaction that was applied to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redacted_because: Option<Box<ClientEvent>>,
    /// What is told of its children.
    #[serde(rename = "m.relations", skip_serializing_if = "Option::is_none")]
    pub relations: Option<Map<String, Value>>,
}

impl ClientEvent {
    /// `pdu` in client format, without `unsigned`.
    pub fn new(pdu: Pdu, room_id: RoomIdField) -> Self {
        Self {
            pdu,
            room_id,
            unsigned: None,
        }
    }

    /// The event in federation format.
    pub fn pdu(&self) -> &Pdu {
        &self.pdu
    }

    /// The event as a JSON object.
    pub fn into_object(self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(object)) => object,
            _ => Map::new(),
        }
    }
}

impl Serialize for ClientEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pdu = &self.pdu;
        let mut event = serializer.serialize_map(None)?;
        event.serialize_entry("type", pdu.event_type())?;
        event.serialize_entry("event_id", pdu.event_id())?;
        event.serialize_entry("sender", pdu.sender())?;
        event.serialize_entry("origin_server_ts", &pdu.origin_server_ts())?;
        match pdu.redacts() {
            Some(_) => event.serialize_entry("content", &content(pdu))?,
            None => event.serialize_entry("content", pdu.content())?,
        }
        if let Some(state_key) = pdu.state_key() {
            event.serialize_entry("state_key", state_key)?;
        }
        if let Some(redacts) = pdu.redacts() {
            event.serialize_entry("redacts", redacts)?;
        }
        if self.room_id == RoomIdField::Included {
            event.serialize_entry("room_id", pdu.room_id())?;
        }
        if let Some(unsigned) = &self.unsigned {
            event.serialize_entry("unsigned", unsigned)?;
        }
        event.end()
    }
}

/// What an invited or knocking user is shown of a state event.
pub fn stripped_state(pdu: &Pdu) -> Value {
    json!({
        "type": pdu.event_type().to_string(),
        "state_key": pdu.state_key().unwrap_or_default(),
        "sender": pdu.sender(),
        "content": content(pdu),
    })
}

/// The content, with `redacts` also where the newer room versions have it. Spec: Room Version 11, "Client
/// considerations": both places are served in all versions.
fn content(pdu: &Pdu) -> Value {
    let mut content: Map<String, Value> = pdu.content_as().unwrap_or_default();
    if let Some(redacts) = pdu.redacts() {
        content
            .entry("redacts")
            .or_insert_with(|| redacts.as_str().into());
    }
    content.into()
}
