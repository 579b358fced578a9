//! Makes events that are in order but signed by nobody: neither authorisation nor resolution looks at signatures.

use hearth_rooms::{Pdu, RoomVersion};
use ruma_common::{OwnedEventId, RoomId};
use serde_json::{Value, json};

/// The users there are; two of them share a server.
pub const USERS: [&str; 5] = [
    "@alice:a.example",
    "@bob:b.example",
    "@carol:a.example",
    "@dave:d.example",
    "@eve:e.example",
];

/// The parts of an event.
pub struct Parts<'a> {
    /// The room version.
    pub version: RoomVersion,
    /// The room, unless the event is the create event of a version that derives it.
    pub room_id: Option<&'a RoomId>,
    /// Who sends it.
    pub sender: &'a str,
    /// The event type.
    pub kind: &'a str,
    /// The state key of a state event.
    pub state_key: Option<&'a str>,
    /// The content.
    pub content: Value,
    /// What came before.
    pub prev_events: &'a [OwnedEventId],
    /// What authorises it.
    pub auth_events: &'a [OwnedEventId],
    /// Depth and time; different for different events.
    pub number: u64,
}

/// The event made of `parts`; `None` if it has not the format of its version.
pub fn event(parts: &Parts<'_>) -> Option<Pdu> {
    let mut event = json!({
        "type": parts.kind,
        "sender": parts.sender,
        "content": parts.content,
        "prev_events": references(parts.version, parts.prev_events),
        "auth_events": references(parts.version, parts.auth_events),
        "depth": parts.number,
        "origin_server_ts": parts.number,
        "hashes": { "sha256": "x" },
        "signatures": {},
    });
    let object = event.as_object_mut()?;
    object.extend(parts.room_id.map(|id| ("room_id".to_owned(), id.as_str().into())));
    object.extend(parts.state_key.map(|key| ("state_key".to_owned(), key.into())));
    if names_itself(parts.version) {
        let server = parts.sender.split_once(':').map_or("x", |(_, server)| server);
        object.insert("event_id".into(), format!("${}:{server}", parts.number).into());
    }
    Pdu::from_value(parts.version, event).ok()
}

/// Whether events carry their id, and references to them a hash.
fn names_itself(version: RoomVersion) -> bool {
    matches!(version.as_str(), "1" | "2")
}

fn references(version: RoomVersion, ids: &[OwnedEventId]) -> Vec<Value> {
    let reference = |id: &OwnedEventId| match names_itself(version) {
        true => json!([id, { "sha256": "x" }]),
        false => json!(id),
    };
    ids.iter().map(reference).collect()
}
