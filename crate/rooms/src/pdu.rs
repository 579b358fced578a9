//! Events in the format in which servers exchange them, checked for shape and size.
//!
//! A [`Pdu`] has the right format for its room version and knows its id. That says nothing about who made it
//! ([`crate::signatures`]) or whether its sender was allowed to ([`crate::auth_check`]).

mod fields;

use std::{fmt, sync::Arc};

use ruma_common::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId,
};
use ruma_events::{StateEventType, TimelineEventType};
use ruma_signatures::Ed25519KeyPair;
use serde_json::{Value, value::RawValue};

use crate::{
    RoomVersion, StateKey,
    canonical_json::{JsonObject, NotCanonical, encode_object},
    event_id::{Hash, event_id, reference_hash},
    signatures::sign,
};
use fields::Fields;

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
    /// The text is not a JSON object, or holds numbers that the room version does not allow.
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
    /// The content as the authorisation rules read it, where that is not as it is.
    readable_content: Option<Box<RawValue>>,
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
        let object = serde_json::from_str(json).map_err(not_json)?;
        Self::from_object(version, object)
    }

    /// Checks an event that is parsed already. `unsigned` is dropped.
    ///
    /// # Errors
    /// As [`Pdu::parse`].
    pub fn from_object(version: RoomVersion, mut object: JsonObject) -> Result<Self, PduError> {
        object.remove("unsigned");
        if !object.values().all(|value| nesting_within(value, MAX_NESTING)) {
            return Err(PduError::TooDeep);
        }
        let json = encode_object(&object, &[], version.numbers())?;
        if json.len() > MAX_PDU_BYTES {
            return Err(PduError::TooLarge);
        }
        let event_id = event_id(version, &object)?;
        Self::restore(version, event_id, RawValue::from_string(json).map_err(not_json)?)
    }

    /// Checks an event given as [`Value`], for instance out of a request.
    ///
    /// # Errors
    /// As [`Pdu::parse`].
    pub fn from_value(version: RoomVersion, value: Value) -> Result<Self, PduError> {
        match value {
            Value::Object(object) => Self::from_object(version, object),
            _ => Err(PduError::NotCanonicalJson("not an object".into())),
        }
    }

    /// Reads an event that was a [`Pdu`] before: `json` is its [`Pdu::json`], `event_id` its [`Pdu::event_id`].
    ///
    /// Both are believed, which saves hashing: this is for what comes out of one's own store.
    ///
    /// # Errors
    /// [`PduError`] if fields are missing or malformed.
    pub fn restore(
        version: RoomVersion,
        event_id: OwnedEventId,
        json: Box<RawValue>,
    ) -> Result<Self, PduError> {
        let inner = Fields::read(json.get())?.checked(version, event_id)?;
        Ok(Self {
            inner: Arc::new(Inner { json, ..inner }),
            rejected: false,
        })
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
    pub fn to_object(&self) -> Result<JsonObject, PduError> {
        serde_json::from_str(self.json()).map_err(not_json)
    }

    /// The reference hash. From version 3 on it is the id in another form.
    ///
    /// # Errors
    /// None in practice, as the event has the right format.
    pub fn reference_hash(&self) -> Result<Hash, PduError> {
        reference_hash(self.version(), &self.to_object()?)
    }

    /// Whether this is the event `other`, redacted or not, with these signatures or others.
    ///
    /// In versions 1 and 2 two different events can have the same id.
    pub fn is_same_event(&self, other: &Self) -> bool {
        let same_id = self.event_id() == other.event_id();
        same_id && (!self.version().event_names_its_id() || self.reference_hash() == other.reference_hash())
    }

    /// The id.
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
        sign(self.version(), &mut object, server_name, key_pair)?;
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
        self.inner
            .readable_content
            .as_ref()
            .unwrap_or(&self.inner.content)
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

impl From<NotCanonical> for PduError {
    fn from(error: NotCanonical) -> Self {
        Self::NotCanonicalJson(error.to_string())
    }
}

fn not_json(error: serde_json::Error) -> PduError {
    PduError::NotCanonicalJson(error.to_string())
}

pub(crate) fn wrong(field: &'static str, problem: &'static str) -> PduError {
    PduError::Field { field, problem }
}

/// Whether arrays and objects are nested at most `limit` deep in `value`.
pub fn nesting_within(value: &Value, limit: usize) -> bool {
    match value {
        Value::Array(items) => limit > 0 && items.iter().all(|item| nesting_within(item, limit - 1)),
        Value::Object(fields) => limit > 0 && fields.values().all(|value| nesting_within(value, limit - 1)),
        _ => true,
    }
}
