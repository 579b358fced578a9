//! Events in the format in which servers exchange them, checked for shape and size.
//!
//! A [`Pdu`] has the right format for its room version and knows its id. That says nothing about who made it
//! ([`crate::signatures`]) or whether its sender was allowed to ([`crate::auth_check`]).

use std::{fmt, sync::Arc};

use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId,
    OwnedUserId, RoomId, UserId, canonical_json::CanonicalJsonError,
};
use ruma_events::{StateEventType, TimelineEventType};
use ruma_signatures::{Ed25519KeyPair, JsonError, reference_hash, sign_event};
use serde_json::value::RawValue;

use crate::{RoomVersion, StateKey};

/// The greatest size of an event as canonical JSON, signatures included, in bytes.
///
/// `unsigned` does not count: couriers may add to it, and all servers must judge an event alike.
/// Spec: Client-Server API, section "Size limits".
pub const MAX_PDU_BYTES: usize = 65_536;
/// The greatest length of ids, `type` and `state_key`, in bytes.
pub const MAX_FIELD_BYTES: usize = 255;
/// The most events that `prev_events` may list.
pub const MAX_PREV_EVENTS: usize = 20;
/// The most events that `auth_events` may list.
pub const MAX_AUTH_EVENTS: usize = 10;
/// The deepest nesting of arrays and objects in an event. Below the JSON parser's own limit of 128, so that
/// the decision is the same whatever an event arrives wrapped in.
pub const MAX_NESTING: usize = 100;
/// The longest text that is parsed at all: room for an event and a good deal of `unsigned`, in bytes.
const MAX_INPUT_BYTES: usize = 4 * MAX_PDU_BYTES;

/// Why some JSON is not an event of its room version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PduError {
    /// The text is not a JSON object, or not canonical (floats, integers out of range).
    #[error("not canonical JSON: {0}")]
    NotCanonicalJson(String),
    /// The event exceeds [`MAX_PDU_BYTES`].
    #[error("the event is larger than {MAX_PDU_BYTES} bytes")]
    TooLarge,
    /// Arrays and objects are nested deeper than [`MAX_NESTING`].
    #[error("the event is nested too deeply")]
    TooDeep,
    /// A field is missing or has the wrong type, length or grammar.
    #[error("the field `{field}` {problem}")]
    Field {
        /// The name of the field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The event cannot be hashed or signed.
    #[error("the event cannot be hashed: {0}")]
    Unhashable(String),
}

/// An event in federation format. Cloning is cheap.
#[derive(Clone)]
pub struct Pdu {
    inner: Arc<Inner>,
    rejected: bool,
}

struct Inner {
    version: RoomVersion,
    json: Box<RawValue>,
    event_id: OwnedEventId,
    room_id: OwnedRoomId,
    names_room: bool,
    sender: OwnedUserId,
    event_type: TimelineEventType,
    state_key: Option<String>,
    content: Box<RawValue>,
    prev_events: Vec<OwnedEventId>,
    auth_events: Vec<OwnedEventId>,
    redacts: Option<OwnedEventId>,
    depth: u64,
    origin_server_ts: MilliSecondsSinceUnixEpoch,
}

impl Pdu {
    /// Reads and checks an event. `unsigned` is dropped: other servers' word on it means nothing here.
    ///
    /// # Errors
    /// [`PduError`] if the text is not an event in the format of `version` within the size limits.
    pub fn parse(version: RoomVersion, json: &str) -> Result<Self, PduError> {
        if json.len() > MAX_INPUT_BYTES {
            return Err(PduError::TooLarge);
        }
        let object = serde_json::from_str(json).map_err(|e| PduError::NotCanonicalJson(e.to_string()))?;
        Self::from_object(version, object)
    }

    /// Checks an event that is parsed already. `unsigned` is dropped.
    ///
    /// # Errors
    /// As [`Pdu::parse`].
    pub fn from_object(version: RoomVersion, mut object: CanonicalJsonObject) -> Result<Self, PduError> {
        object.remove("unsigned");
        if !object.values().all(|value| nesting_within(value, MAX_NESTING)) {
            return Err(PduError::TooDeep);
        }
        let json = raw(&object)?;
        if json.get().len() > MAX_PDU_BYTES {
            return Err(PduError::TooLarge);
        }
        let fields = Fields(&object);
        let event_type = fields.text("type")?;
        let state_key = fields.optional_text("state_key")?;
        for field in ["hashes", "signatures"] {
            fields.object(field)?;
        }
        let event_id = event_id(version, &object)?;
        let (room_id, names_room) = fields.room_id(version, event_type, &event_id)?;
        let inner = Inner {
            version,
            event_type: event_type.into(),
            state_key: state_key.map(str::to_owned),
            sender: UserId::parse(fields.text("sender")?).map_err(|_| wrong("sender", "is not a user id"))?,
            content: raw(fields.object("content")?)?,
            prev_events: fields.references("prev_events", MAX_PREV_EVENTS)?,
            auth_events: fields.references("auth_events", MAX_AUTH_EVENTS)?,
            redacts: fields.redacts(version, event_type),
            depth: fields.integer("depth")?,
            origin_server_ts: timestamp(fields.integer("origin_server_ts")?)?,
            json,
            event_id,
            room_id,
            names_room,
        };
        Ok(Self {
            inner: Arc::new(inner),
            rejected: false,
        })
    }

    /// Checks an event given as [`serde_json::Value`], for instance out of a request.
    ///
    /// # Errors
    /// As [`Pdu::parse`].
    pub fn from_value(version: RoomVersion, value: serde_json::Value) -> Result<Self, PduError> {
        let not_canonical = |error: CanonicalJsonError| PduError::NotCanonicalJson(error.to_string());
        match CanonicalJsonValue::try_from(value).map_err(not_canonical)? {
            CanonicalJsonValue::Object(object) => Self::from_object(version, object),
            _ => Err(PduError::NotCanonicalJson("not an object".into())),
        }
    }

    /// The version of the event's room.
    pub fn version(&self) -> RoomVersion {
        self.inner.version
    }

    /// The event as canonical JSON, without `unsigned`.
    pub fn json(&self) -> &str {
        self.inner.json.get()
    }

    /// [`Pdu::json`] as a value that serde_json embeds as it is.
    pub fn raw_json(&self) -> &RawValue {
        &self.inner.json
    }

    /// The event as a JSON object, without `unsigned`.
    ///
    /// # Errors
    /// None in practice: the text was written by us. It is reported rather than asserted.
    pub fn to_object(&self) -> Result<CanonicalJsonObject, PduError> {
        serde_json::from_str(self.json()).map_err(|e| PduError::NotCanonicalJson(e.to_string()))
    }

    /// The id: the reference hash.
    pub fn event_id(&self) -> &EventId {
        &self.inner.event_id
    }

    /// The room. A create event of a version that derives the room id from it has its own hash here.
    pub fn room_id(&self) -> &RoomId {
        &self.inner.room_id
    }

    /// The user who sent the event.
    pub fn sender(&self) -> &UserId {
        &self.inner.sender
    }

    /// The type.
    pub fn event_type(&self) -> &TimelineEventType {
        &self.inner.event_type
    }

    /// The state key, if this is a state event.
    pub fn state_key(&self) -> Option<&str> {
        self.inner.state_key.as_deref()
    }

    /// Type and state key, if this is a state event.
    pub fn state_entry(&self) -> Option<StateKey> {
        let state_key = self.state_key()?;
        Some((
            StateEventType::from(self.event_type().to_string()),
            state_key.to_owned(),
        ))
    }

    /// Whether this is the state event of `event_type` and `state_key`.
    pub fn is_state(&self, event_type: &TimelineEventType, state_key: &str) -> bool {
        self.event_type() == event_type && self.state_key() == Some(state_key)
    }

    /// The content.
    pub fn content(&self) -> &RawValue {
        &self.inner.content
    }

    /// The content, read as `T`; nothing if it has another shape.
    pub fn content_as<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(self.inner.content.get()).ok()
    }

    /// `content.membership`, if this is a membership event that has one.
    pub fn membership(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Membership {
            membership: String,
        }
        (*self.event_type() == TimelineEventType::RoomMember)
            .then(|| self.content_as::<Membership>())
            .flatten()
            .map(|content| content.membership)
    }

    /// The events that came before this one, as its sender's server saw it.
    pub fn prev_events(&self) -> &[OwnedEventId] {
        &self.inner.prev_events
    }

    /// The events that show that the sender was allowed to send this one.
    pub fn auth_events(&self) -> &[OwnedEventId] {
        &self.inner.auth_events
    }

    /// The event that this one redacts, wherever the room version puts it.
    pub fn redacts(&self) -> Option<&EventId> {
        self.inner.redacts.as_deref()
    }

    /// The claimed distance from the create event. Not to be trusted for anything but a hint.
    pub fn depth(&self) -> u64 {
        self.inner.depth
    }

    /// When the sender's server claims to have made the event, in milliseconds since the Unix epoch.
    pub fn origin_server_ts(&self) -> u64 {
        self.inner.origin_server_ts.get().into()
    }

    /// Whether the event was found not to be allowed, as noted with [`Pdu::with_rejected`].
    pub fn rejected(&self) -> bool {
        self.rejected
    }

    /// The same event with the note whether it was rejected, which authorisation and resolution heed.
    #[must_use]
    pub fn with_rejected(mut self, rejected: bool) -> Self {
        self.rejected = rejected;
        self
    }

    /// The same event with one more signature: for restricted joins and for invites.
    ///
    /// # Errors
    /// [`PduError::TooLarge`] if it grows beyond the limit.
    pub fn signed_by(&self, server_name: &str, key_pair: &Ed25519KeyPair) -> Result<Self, PduError> {
        let mut object = self.to_object()?;
        sign_event(
            server_name,
            key_pair,
            &mut object,
            &self.version().rules().redaction,
        )
        .map_err(unhashable)?;
        Ok(Self::from_object(self.version(), object)?.with_rejected(self.rejected))
    }
}

impl fmt::Debug for Pdu {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Pdu({} {})", self.event_id(), self.json())
    }
}

impl PartialEq for Pdu {
    fn eq(&self, other: &Self) -> bool {
        self.version() == other.version() && self.json() == other.json() && self.rejected == other.rejected
    }
}

impl ruma_state_res::Event for Pdu {
    type Id = OwnedEventId;

    fn event_id(&self) -> &OwnedEventId {
        &self.inner.event_id
    }

    /// The `room_id` field, which a create event of version 12 does not have. ([`Pdu::room_id`] always is there.)
    fn room_id(&self) -> Option<&RoomId> {
        self.inner.names_room.then_some(&self.inner.room_id)
    }

    fn sender(&self) -> &UserId {
        &self.inner.sender
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.inner.origin_server_ts
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.inner.event_type
    }

    fn content(&self) -> &RawValue {
        &self.inner.content
    }

    fn state_key(&self) -> Option<&str> {
        self.inner.state_key.as_deref()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.inner.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.inner.auth_events.iter())
    }

    fn redacts(&self) -> Option<&OwnedEventId> {
        self.inner.redacts.as_ref()
    }

    fn rejected(&self) -> bool {
        self.rejected
    }
}

/// The id of an event: `$` and its reference hash. Spec: Room Version 4, "Event IDs".
///
/// # Errors
/// [`PduError::Unhashable`] if the object lacks what every event has.
pub fn event_id(version: RoomVersion, object: &CanonicalJsonObject) -> Result<OwnedEventId, PduError> {
    let hash = reference_hash(object, version.rules()).map_err(unhashable)?;
    EventId::new_v2_or_v3(&hash).map_err(|error| PduError::Unhashable(error.to_string()))
}

pub(crate) fn unhashable(error: JsonError) -> PduError {
    match error {
        JsonError::PduTooLarge => PduError::TooLarge,
        error => PduError::Unhashable(error.to_string()),
    }
}

fn wrong(field: &'static str, problem: &'static str) -> PduError {
    PduError::Field { field, problem }
}

fn raw(object: &CanonicalJsonObject) -> Result<Box<RawValue>, PduError> {
    serde_json::value::to_raw_value(object).map_err(|error| PduError::NotCanonicalJson(error.to_string()))
}

fn timestamp(milliseconds: u64) -> Result<MilliSecondsSinceUnixEpoch, PduError> {
    let milliseconds = milliseconds
        .try_into()
        .map_err(|_| wrong("origin_server_ts", "is out of range"))?;
    Ok(MilliSecondsSinceUnixEpoch(milliseconds))
}

fn nesting_within(value: &CanonicalJsonValue, limit: usize) -> bool {
    match value {
        CanonicalJsonValue::Array(items) => {
            limit > 0 && items.iter().all(|item| nesting_within(item, limit - 1))
        }
        CanonicalJsonValue::Object(fields) => {
            limit > 0 && fields.values().all(|v| nesting_within(v, limit - 1))
        }
        _ => true,
    }
}

/// An id that is a hash, as in all versions from 4 on: `$` and 43 characters of URL-safe base64.
fn is_hash_id(id: &str) -> bool {
    let Some(hash) = id.strip_prefix('$') else {
        return false;
    };
    hash.len() == 43
        && hash
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// The checked reading of fields.
struct Fields<'a>(&'a CanonicalJsonObject);

impl<'a> Fields<'a> {
    fn optional_text(&self, field: &'static str) -> Result<Option<&'a str>, PduError> {
        match self.0.get(field) {
            None => Ok(None),
            Some(CanonicalJsonValue::String(text)) if text.len() <= MAX_FIELD_BYTES => Ok(Some(text)),
            Some(CanonicalJsonValue::String(_)) => Err(wrong(field, "is too long")),
            Some(_) => Err(wrong(field, "is not a string")),
        }
    }

    fn text(&self, field: &'static str) -> Result<&'a str, PduError> {
        self.optional_text(field)?
            .ok_or_else(|| wrong(field, "is missing"))
    }

    fn object(&self, field: &'static str) -> Result<&'a CanonicalJsonObject, PduError> {
        match self.0.get(field) {
            Some(CanonicalJsonValue::Object(object)) => Ok(object),
            Some(_) => Err(wrong(field, "is not an object")),
            None => Err(wrong(field, "is missing")),
        }
    }

    fn integer(&self, field: &'static str) -> Result<u64, PduError> {
        let Some(CanonicalJsonValue::Integer(value)) = self.0.get(field) else {
            return Err(wrong(field, "is not an integer"));
        };
        u64::try_from(i64::from(*value)).map_err(|_| wrong(field, "is negative"))
    }

    fn references(&self, field: &'static str, limit: usize) -> Result<Vec<OwnedEventId>, PduError> {
        let Some(CanonicalJsonValue::Array(items)) = self.0.get(field) else {
            return Err(wrong(field, "is not an array"));
        };
        if items.len() > limit {
            return Err(wrong(field, "is too long"));
        }
        let id = |item: &CanonicalJsonValue| {
            let id = item
                .as_str()
                .filter(|id| is_hash_id(id))
                .and_then(|id| EventId::parse(id).ok());
            id.ok_or_else(|| wrong(field, "lists something that is not an event id"))
        };
        items.iter().map(id).collect()
    }

    /// The room, and whether the event names it. Spec: Room Version 12, "Event format".
    fn room_id(
        &self,
        version: RoomVersion,
        event_type: &str,
        event_id: &EventId,
    ) -> Result<(OwnedRoomId, bool), PduError> {
        let by_hash = version.room_id_is_create_hash();
        if by_hash && event_type == "m.room.create" && !self.0.contains_key("room_id") {
            let room_id =
                RoomId::new_v2(event_id.localpart()).map_err(|_| wrong("room_id", "is malformed"))?;
            return Ok((room_id, false));
        }
        let room_id =
            RoomId::parse(self.text("room_id")?).map_err(|_| wrong("room_id", "is not a room id"))?;
        if by_hash {
            self.check_create_not_listed(&room_id)?;
        } else if room_id.server_name().is_none() {
            return Err(wrong("room_id", "names no server"));
        }
        Ok((room_id, true))
    }

    /// Version 12: the create event is implied by the room id and never listed in `auth_events`.
    fn check_create_not_listed(&self, room_id: &RoomId) -> Result<(), PduError> {
        let listed = self
            .0
            .get("auth_events")
            .and_then(CanonicalJsonValue::as_array)
            .is_some_and(|events| {
                let hashes = events
                    .iter()
                    .filter_map(|event| event.as_str()?.strip_prefix('$'));
                hashes.into_iter().any(|hash| hash == room_id.strip_sigil())
            });
        if listed {
            Err(wrong("auth_events", "lists the create event"))
        } else {
            Ok(())
        }
    }

    /// The redacted event. A malformed one is no reason to drop the event: it just redacts nothing.
    fn redacts(&self, version: RoomVersion, event_type: &str) -> Option<OwnedEventId> {
        if event_type != "m.room.redaction" {
            return None;
        }
        let holder = if version.rules().redaction.content_field_redacts {
            self.0.get("content")?.as_object()?
        } else {
            self.0
        };
        EventId::parse(holder.get("redacts")?.as_str()?).ok()
    }
}
