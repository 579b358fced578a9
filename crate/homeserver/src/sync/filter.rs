//! Filters: which events a client wants to hear of.
//!
//! A [`Filter`] parses the JSON of the filter API and answers yes or no for each event. It does *not* store
//! filters, read rooms, or decide who may see what.
//!
//! Spec: Client-Server API, section 'Filtering'.

use ruma_common::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{Error, JsonObject};

/// The number of timeline events in an answer if the filter does not say.
const DEFAULT_TIMELINE_LIMIT: u64 = 10;
/// The greatest number of timeline events in an answer, whatever the filter says.
const MAX_TIMELINE_LIMIT: u64 = 1000;

/// A client's filter. Absent parts let everything through.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Dot-separated paths of the fields to keep in room events.
    pub event_fields: Option<Vec<String>>,
    /// Whether room events are sent as clients or as servers see them.
    pub event_format: EventFormat,
    /// What of the global account data to send.
    pub account_data: EventFilter,
    /// What of the presence updates to send.
    pub presence: EventFilter,
    /// What of the rooms to send.
    pub room: RoomFilter,
}

/// The form of room events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventFormat {
    /// As clients see them.
    #[default]
    Client,
    /// As they came over federation.
    Federation,
}

/// The part of a [`Filter`] that is about rooms.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RoomFilter {
    /// The only rooms to send, if given.
    pub rooms: Option<Vec<OwnedRoomId>>,
    /// Rooms not to send.
    pub not_rooms: Vec<OwnedRoomId>,
    /// Whether rooms that the user has left are part of an initial sync.
    pub include_leave: bool,
    /// What of the account data of rooms to send.
    pub account_data: EventFilter,
    /// What of receipts and typing notices to send.
    pub ephemeral: EventFilter,
    /// What of the state to send.
    pub state: EventFilter,
    /// What of the timeline to send.
    pub timeline: EventFilter,
}

/// Conditions on events. `*` in types matches any run of characters.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct EventFilter {
    /// The greatest number of events.
    pub limit: Option<u64>,
    /// The only types to send, if given.
    pub types: Option<Vec<String>>,
    /// Types not to send.
    pub not_types: Vec<String>,
    /// The only senders whose events to send, if given.
    pub senders: Option<Vec<OwnedUserId>>,
    /// Senders whose events not to send.
    pub not_senders: Vec<OwnedUserId>,
    /// The only rooms to send events of, if given.
    pub rooms: Option<Vec<OwnedRoomId>>,
    /// Rooms not to send events of.
    pub not_rooms: Vec<OwnedRoomId>,
    /// Whether events must have, or must not have, a `url` in their content.
    pub contains_url: Option<bool>,
    /// The senders of one of whom there must be an event that relates to the event, if any are given.
    pub related_by_senders: Vec<OwnedUserId>,
    /// The types of relations of which another event must have one to the event, if any are given.
    pub related_by_rel_types: Vec<String>,
    /// Whether to send only the members who sent something.
    pub lazy_load_members: bool,
    /// Whether to send members again that the client has been sent before.
    pub include_redundant_members: bool,
    /// Whether to count unread events of threads apart.
    pub unread_thread_notifications: bool,
}

impl Filter {
    /// Parses the JSON of a filter.
    ///
    /// # Errors
    /// [`Error::BadJson`] if a field has the wrong type, or what must be an id of a room or user is none.
    pub fn parse(json: &str) -> Result<Self, Error> {
        serde_json::from_str(json).map_err(|error| Error::BadJson(format!("filter: {error}")))
    }

    /// Reads a filter that was stored. What stands for a user in it and is no user id, which earlier versions took, is
    /// passed over.
    ///
    /// # Errors
    /// [`Error::BadJson`] if a field has the wrong type.
    pub fn read(stored: JsonObject) -> Result<Self, Error> {
        let mut stored = Value::Object(stored);
        drop_malformed_senders(&mut stored);
        Self::deserialize(stored).map_err(|error| Error::BadJson(format!("filter: {error}")))
    }

    /// Reduces a room event to the fields asked for.
    ///
    /// `type`, `sender`, `event_id` and `room_id` are cut like all others: who names fields names them too.
    pub fn cut(&self, event: Map<String, Value>) -> Map<String, Value> {
        match &self.event_fields {
            None => event,
            Some(paths) => keep_fields(&event, paths),
        }
    }
}

impl EventFilter {
    /// Parses the JSON of the `filter` parameter of `/messages` and `/context`.
    ///
    /// # Errors
    /// [`Error::BadJson`] if a field has the wrong type, or what must be an id of a room or user is none.
    pub fn parse(json: &str) -> Result<Self, Error> {
        serde_json::from_str(json).map_err(|error| Error::BadJson(format!("filter: {error}")))
    }

    /// Whether an event passes every condition but those on rooms and on what relates to it.
    pub fn allows(&self, kind: &str, sender: &str, content: &Map<String, Value>) -> bool {
        self.allows_type(kind) && self.allows_sender(sender) && self.allows_url(content)
    }

    /// Whether events of the type `kind` may pass.
    pub fn allows_type(&self, kind: &str) -> bool {
        let listed = |types: &[String]| types.iter().any(|pattern| glob(pattern, kind));
        !listed(&self.not_types) && self.types.as_deref().is_none_or(listed)
    }

    /// Whether events of `sender` may pass.
    pub fn allows_sender(&self, sender: &str) -> bool {
        let listed = |senders: &[OwnedUserId]| senders.iter().any(|other| other == sender);
        !listed(&self.not_senders) && self.senders.as_deref().is_none_or(listed)
    }

    /// Whether events of the room may pass.
    pub fn allows_room(&self, room_id: &RoomId) -> bool {
        room_is_listed(room_id, self.rooms.as_deref(), &self.not_rooms)
    }

    /// The greatest number of timeline events to send for a room.
    pub fn timeline_limit(&self) -> usize {
        let limit = self
            .limit
            .unwrap_or(DEFAULT_TIMELINE_LIMIT)
            .min(MAX_TIMELINE_LIMIT);
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    fn allows_url(&self, content: &Map<String, Value>) -> bool {
        self.contains_url
            .is_none_or(|wanted| wanted == content.contains_key("url"))
    }
}

impl RoomFilter {
    /// Whether anything of the room may pass.
    pub fn allows_room(&self, room_id: &RoomId) -> bool {
        room_is_listed(room_id, self.rooms.as_deref(), &self.not_rooms)
    }
}

/// Takes what is no user id out of a filter's lists of users.
fn drop_malformed_senders(filter: &mut Value) {
    for (field, value) in filter.as_object_mut().into_iter().flatten() {
        match (field.as_str(), value) {
            ("senders" | "not_senders" | "related_by_senders", Value::Array(ids)) => {
                ids.retain(|id| id.as_str().is_none_or(|id| UserId::parse(id).is_ok()));
            }
            (_, value) => drop_malformed_senders(value),
        }
    }
}

fn room_is_listed(room_id: &RoomId, rooms: Option<&[OwnedRoomId]>, not_rooms: &[OwnedRoomId]) -> bool {
    let listed = |rooms: &[OwnedRoomId]| rooms.iter().any(|other| other == room_id);
    !listed(not_rooms) && rooms.is_none_or(listed)
}

/// Whether `text` matches `pattern`, in which `*` stands for any run of characters.
///
/// Takes at most the product of the two lengths in steps.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn keep_fields(event: &Map<String, Value>, paths: &[String]) -> Map<String, Value> {
    let mut kept = Map::new();
    for path in paths {
        let keys = split_path(path);
        keep_field(event, &keys, &mut kept);
    }
    kept
}

/// Copies what `keys` lead to in `from` into `kept`, with the objects on the way.
fn keep_field(from: &Map<String, Value>, keys: &[String], kept: &mut Map<String, Value>) {
    let mut from = from;
    let mut objects = Vec::new();
    let Some((last, parents)) = keys.split_last() else {
        return;
    };
    for key in parents {
        let Some(object) = from.get(key).and_then(Value::as_object) else {
            return;
        };
        objects.push(key);
        from = object;
    }
    let Some(value) = from.get(last) else { return };
    let mut into = kept;
    for key in objects {
        let slot = into
            .entry(key.clone())
            .or_insert_with(|| Value::Object(Map::new()));
        let Some(object) = slot.as_object_mut() else {
            return;
        };
        into = object;
    }
    into.insert(last.clone(), value.clone());
}

/// Splits a dot-separated path; `\.` is a dot and `\\` a backslash within a key.
///
/// Spec: appendices, section 'Dot-separated property paths'.
pub(crate) fn split_path(path: &str) -> Vec<String> {
    let mut keys = vec![String::new()];
    let mut chars = path.chars().peekable();
    while let Some(char) = chars.next() {
        let escaped = (char == '\\')
            .then(|| chars.next_if(|next| matches!(next, '.' | '\\')))
            .flatten();
        match (char, escaped) {
            ('.', _) => keys.push(String::new()),
            (char, escaped) => {
                if let Some(key) = keys.last_mut() {
                    key.push(escaped.unwrap_or(char));
                }
            }
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failure is what a test is for")]

    use ruma_common::room_id;
    use serde_json::json;

    use super::*;

    fn filter(json: Value) -> EventFilter {
        EventFilter::parse(&json.to_string()).unwrap()
    }

    fn event(json: Value) -> Map<String, Value> {
        json.as_object().unwrap().clone()
    }

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("m.room.message", "m.room.message", true),
            ("m.room.message", "m.room.messages", false),
            ("m.room.*", "m.room.name", true),
            ("m.room.*", "m.roo", false),
            ("*", "", true),
            ("*.name", "m.room.name", true),
            ("m.*.n*e", "m.room.name", true),
            ("m*m", "m", false),
            ("**", "a", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn types_and_senders_are_included_and_excluded() {
        let allows = |json| filter(json).allows("m.room.message", "@a:x", &Map::new());
        assert!(allows(json!({})));
        assert!(allows(json!({"types": ["m.room.*"]})));
        assert!(!allows(json!({"types": []})));
        assert!(!allows(json!({"types": ["m.*"], "not_types": ["m.room.mess*"]})));
        assert!(allows(json!({"senders": ["@a:x"]})));
        assert!(!allows(json!({"senders": ["@b:x"]})));
        assert!(!allows(json!({"senders": ["@a:x"], "not_senders": ["@a:x"]})));
    }

    #[test]
    fn urls_are_asked_for_and_refused() {
        let content = event(json!({"url": "mxc://x/y"}));
        assert!(filter(json!({"contains_url": true})).allows("m", "@a:x", &content));
        assert!(!filter(json!({"contains_url": false})).allows("m", "@a:x", &content));
    }

    #[test]
    fn rooms_are_included_and_excluded() {
        let room = room_id!("!a:x");
        assert!(filter(json!({})).allows_room(room));
        assert!(!filter(json!({"rooms": []})).allows_room(room));
        assert!(!filter(json!({"rooms": ["!a:x"], "not_rooms": ["!a:x"]})).allows_room(room));
    }

    #[test]
    fn wrong_types_are_bad_json() {
        for json in [
            r#"{"room": 1}"#,
            r#"{"event_fields": "a"}"#,
            r#"{"event_format": "x"}"#,
            "[",
            "1",
        ] {
            assert!(matches!(Filter::parse(json), Err(Error::BadJson(_))), "{json}");
        }
    }

    #[test]
    fn what_was_stored_with_senders_that_are_none_is_read() {
        let stored = json!({"room": {"timeline": {
            "senders": ["alice"], "not_senders": ["bob", "@b:x"], "types": ["a"],
        }}});
        assert!(matches!(
            Filter::parse(&stored.to_string()),
            Err(Error::BadJson(_))
        ));
        let timeline = Filter::read(event(stored)).unwrap().room.timeline;
        assert_eq!(timeline.senders.as_deref(), Some(&[][..]));
        assert_eq!(timeline.not_senders, ["@b:x"]);
        assert_eq!(timeline.types.unwrap(), ["a"]);
        for stored in [
            json!({"room": {"rooms": ["a"]}}),
            json!({"presence": {"senders": [1]}}),
        ] {
            assert!(matches!(Filter::read(event(stored)), Err(Error::BadJson(_))));
        }
    }

    #[test]
    fn limits_are_capped() {
        assert_eq!(filter(json!({})).timeline_limit(), 10);
        assert_eq!(filter(json!({"limit": 20})).timeline_limit(), 20);
        assert_eq!(filter(json!({"limit": 1_000_000})).timeline_limit(), 1000);
    }

    #[test]
    fn event_fields_cut_events() {
        let filter =
            Filter::parse(r#"{"event_fields": ["type", "content.body", "content.m\\.x.y", "no.no"]}"#);
        let event = event(json!({
            "type": "m", "sender": "@a:x", "content": {"body": "b", "other": 1, "m.x": {"y": 2, "z": 3}},
        }));
        let expected = json!({"type": "m", "content": {"body": "b", "m.x": {"y": 2}}});
        assert_eq!(Value::Object(filter.unwrap().cut(event)), expected);
    }

    #[test]
    fn paths_are_unescaped() {
        assert_eq!(
            split_path(r"content.m\.relates_to.a\\b"),
            ["content", "m.relates_to", r"a\b"]
        );
        assert_eq!(split_path(r"a\b"), [r"a\b"]);
    }
}
