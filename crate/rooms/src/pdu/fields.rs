//! The fields of an event, read out of its canonical text and checked.

use ruma_common::{EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, RoomId, UserId};
use ruma_events::TimelineEventType;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value, value::RawValue};

use super::{Inner, MAX_AUTH_EVENTS, MAX_FIELD_BYTES, MAX_PREV_EVENTS, PduError, not_json, wrong};
use crate::{RoomVersion, event_id::is_event_id, power_levels};

/// A field that may be missing. (`null` is a value, though never the right one.)
type Field<'a> = Option<&'a RawValue>;

/// The fields that an event is known by, not looked at yet.
#[derive(Deserialize)]
pub(super) struct Fields<'a> {
    #[serde(borrow, default, rename = "type", deserialize_with = "present")]
    event_type: Field<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    state_key: Field<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    sender: Field<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    room_id: Field<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    content: Field<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    prev_events: Field<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    auth_events: Field<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    redacts: Field<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    depth: Field<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    origin_server_ts: Field<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    hashes: Field<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    signatures: Field<'a>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Field<'de>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'a> Fields<'a> {
    /// Finds the fields in the text of an event.
    pub(super) fn read(json: &'a str) -> Result<Self, PduError> {
        serde_json::from_str(json).map_err(not_json)
    }

    /// Checks every field. The text of the whole is left to the caller.
    pub(super) fn checked(&self, version: RoomVersion, event_id: OwnedEventId) -> Result<Inner, PduError> {
        let event_type = text("type", self.event_type)?;
        object("hashes", self.hashes)?;
        object("signatures", self.signatures)?;
        let content = object("content", self.content)?;
        let prev_events = references("prev_events", self.prev_events, version, MAX_PREV_EVENTS)?;
        let auth_events = references("auth_events", self.auth_events, version, MAX_AUTH_EVENTS)?;
        let (room_id, names_room) = self.room_id(version, &event_type, &event_id, &auth_events)?;
        let sender = UserId::parse(text("sender", self.sender)?);
        Ok(Inner {
            version,
            json: Box::default(),
            sender: sender.map_err(|_| wrong("sender", "is not a user id"))?,
            state_key: optional_text("state_key", self.state_key)?,
            redacts: self.redacts(version, &event_type),
            depth: integer("depth", self.depth)?,
            origin_server_ts: timestamp(integer("origin_server_ts", self.origin_server_ts)?)?,
            readable_content: (event_type == "m.room.power_levels")
                .then(|| power_levels::readable(version, content))
                .flatten(),
            content: content.to_owned(),
            event_type: TimelineEventType::from(event_type),
            prev_events,
            auth_events,
            event_id,
            room_id,
            names_room,
        })
    }

    /// The room, and whether the event names it. Spec: Room Version 12, "Event format".
    fn room_id(
        &self,
        version: RoomVersion,
        event_type: &str,
        event_id: &EventId,
        auth_events: &[OwnedEventId],
    ) -> Result<(OwnedRoomId, bool), PduError> {
        let by_hash = version.room_id_is_create_hash();
        if by_hash && event_type == "m.room.create" && self.room_id.is_none() {
            let room_id = RoomId::new_v2(event_id.localpart());
            return Ok((room_id.map_err(|_| wrong("room_id", "is malformed"))?, false));
        }
        let room_id = RoomId::parse(text("room_id", self.room_id)?);
        let room_id = room_id.map_err(|_| wrong("room_id", "is not a room id"))?;
        if !by_hash && room_id.server_name().is_none() {
            return Err(wrong("room_id", "names no server"));
        }
        let is_create = |id: &OwnedEventId| id.as_str().get(1..) == Some(room_id.strip_sigil());
        // The create event is implied by the room id.
        if by_hash && auth_events.iter().any(is_create) {
            return Err(wrong("auth_events", "lists the create event"));
        }
        Ok((room_id, true))
    }

    /// The redacted event. A malformed one is no reason to drop the event: it just redacts nothing.
    fn redacts(&self, version: RoomVersion, event_type: &str) -> Option<OwnedEventId> {
        #[derive(Deserialize)]
        struct Content {
            redacts: String,
        }
        if event_type != "m.room.redaction" {
            return None;
        }
        let redacts: String = match version.rules().redaction.content_field_redacts {
            true => read::<Content>(self.content?)?.redacts,
            false => read(self.redacts?)?,
        };
        EventId::parse(redacts).ok()
    }
}

fn read<T: DeserializeOwned>(raw: &RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

fn optional_text(field: &'static str, raw: Field<'_>) -> Result<Option<String>, PduError> {
    let Some(raw) = raw else { return Ok(None) };
    let text: String = read(raw).ok_or(wrong(field, "is not a string"))?;
    match text.len() <= MAX_FIELD_BYTES {
        true => Ok(Some(text)),
        false => Err(wrong(field, "is too long")),
    }
}

fn text(field: &'static str, raw: Field<'_>) -> Result<String, PduError> {
    optional_text(field, raw)?.ok_or(wrong(field, "is missing"))
}

fn object<'a>(field: &'static str, raw: Field<'a>) -> Result<&'a RawValue, PduError> {
    let raw = raw.ok_or(wrong(field, "is missing"))?;
    match raw.get().starts_with('{') {
        true => Ok(raw),
        false => Err(wrong(field, "is not an object")),
    }
}

fn integer(field: &'static str, raw: Field<'_>) -> Result<u64, PduError> {
    let value: Option<i64> = raw.and_then(read);
    let value = value.ok_or(wrong(field, "is not an integer"))?;
    u64::try_from(value).map_err(|_| wrong(field, "is negative"))
}

fn timestamp(milliseconds: u64) -> Result<MilliSecondsSinceUnixEpoch, PduError> {
    let milliseconds = milliseconds.try_into();
    let milliseconds = milliseconds.map_err(|_| wrong("origin_server_ts", "is out of range"))?;
    Ok(MilliSecondsSinceUnixEpoch(milliseconds))
}

/// The events that a field lists: by their ids, or in versions 1 and 2 by id and hashes.
fn references(
    field: &'static str,
    raw: Field<'_>,
    version: RoomVersion,
    limit: usize,
) -> Result<Vec<OwnedEventId>, PduError> {
    let ids: Option<Vec<String>> = match version.event_names_its_id() {
        true => raw
            .and_then(read::<Vec<(String, Map<String, Value>)>>)
            .map(ids_of),
        false => raw.and_then(read),
    };
    let ids = ids.ok_or(wrong(field, "is not an array of events"))?;
    if ids.len() > limit {
        return Err(wrong(field, "is too long"));
    }
    let checked = |id: String| {
        Some(id)
            .filter(|id| is_event_id(version, id))
            .and_then(|id| EventId::parse(id).ok())
    };
    let ids: Option<Vec<_>> = ids.into_iter().map(checked).collect();
    ids.ok_or(wrong(field, "lists something that is not an event id"))
}

/// The hashes are not looked at: an event is what it is by its id and its signatures.
fn ids_of(pairs: Vec<(String, Map<String, Value>)>) -> Vec<String> {
    pairs.into_iter().map(|(id, _)| id).collect()
}
