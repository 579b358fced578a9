//! Events as clients see them. Spec: Client-Server API, "Room event format" and "Stripped state".
//!
//! Who may see an event, and what belongs into `unsigned`, is the caller's to know.

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

/// `pdu` in client format. `unsigned` is left out if it is empty.
pub fn client_event(pdu: &Pdu, room_id: RoomIdField, unsigned: Map<String, Value>) -> Map<String, Value> {
    let mut event = Map::new();
    event.insert("type".into(), pdu.event_type().to_string().into());
    event.insert("event_id".into(), pdu.event_id().as_str().into());
    event.insert("sender".into(), pdu.sender().as_str().into());
    event.insert("origin_server_ts".into(), pdu.origin_server_ts().into());
    event.insert("content".into(), content(pdu));
    if let Some(state_key) = pdu.state_key() {
        event.insert("state_key".into(), state_key.into());
    }
    if let Some(redacts) = pdu.redacts() {
        event.insert("redacts".into(), redacts.as_str().into());
    }
    if room_id == RoomIdField::Included {
        event.insert("room_id".into(), pdu.room_id().as_str().into());
    }
    if !unsigned.is_empty() {
        event.insert("unsigned".into(), unsigned.into());
    }
    event
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
