//! Making events: from their parts to a hashed and signed [`Pdu`].
//!
//! It does *not* choose `prev_events`, `auth_events` or the time: the caller knows the room.

use std::collections::BTreeMap;

use ruma_common::{
    OwnedEventId, OwnedRoomId, OwnedUserId,
    serde::{Base64, base64::Standard},
};
use ruma_events::TimelineEventType;
use ruma_signatures::Ed25519KeyPair;
use serde_json::{Value, json};

use crate::{
    Pdu, PduError, RoomVersion,
    canonical_json::{JsonObject, encode_object},
    event_id::{Hash, new_event_id},
    pdu::{MAX_AUTH_EVENTS, MAX_PREV_EVENTS, wrong},
    signatures::hash_and_sign,
};

/// Why an event cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The content holds a number that the room version does not allow.
    #[error("the content is not canonical JSON: {0}")]
    Content(String),
    /// The whole does not make an event.
    #[error(transparent)]
    Pdu(#[from] PduError),
}

/// The parts of a new event.
#[derive(Clone, Debug)]
pub struct EventBuilder {
    /// The room; nothing for the create event of a version whose room id is its hash.
    pub room_id: Option<OwnedRoomId>,
    /// Who sends it.
    pub sender: OwnedUserId,
    /// The type.
    pub event_type: TimelineEventType,
    /// The state key, for state events.
    pub state_key: Option<String>,
    /// The content.
    pub content: JsonObject,
    /// The event to redact. It is put where the room version wants it.
    pub redacts: Option<OwnedEventId>,
    /// The forward extremities that the event follows. At most 20.
    pub prev_events: Vec<OwnedEventId>,
    /// The events that allow this one. At most 10.
    pub auth_events: Vec<OwnedEventId>,
    /// The reference hashes of `prev_events` and `auth_events`: versions 1 and 2 list them too.
    pub reference_hashes: BTreeMap<OwnedEventId, Hash>,
    /// One more than the greatest depth of `prev_events`. Beyond what the version allows it is cut off.
    pub depth: u64,
    /// Now, in milliseconds since the Unix epoch.
    pub origin_server_ts: u64,
}

impl EventBuilder {
    /// The event without hashes and signatures, as `make_join` and its like answer.
    ///
    /// # Errors
    /// [`BuildError::Content`] if the content is not canonical JSON.
    pub fn template(mut self, version: RoomVersion) -> Result<JsonObject, BuildError> {
        encode_object(&self.content, &[], version.numbers())
            .map_err(|error| BuildError::Content(error.to_string()))?;
        let mut object = JsonObject::new();
        if let Some(redacts) = &self.redacts {
            let in_content = version.rules().redaction.content_field_redacts;
            let holder = if in_content {
                &mut self.content
            } else {
                &mut object
            };
            holder.insert("redacts".into(), redacts.as_str().into());
        }
        if let Some(room_id) = &self.room_id {
            object.insert("room_id".into(), room_id.as_str().into());
        }
        if let Some(state_key) = &self.state_key {
            object.insert("state_key".into(), state_key.as_str().into());
        }
        object.insert("sender".into(), self.sender.as_str().into());
        object.insert("type".into(), self.event_type.to_string().into());
        let prev_events = self.references(version, &self.prev_events, MAX_PREV_EVENTS, "prev_events")?;
        let auth_events = self.references(version, &self.auth_events, MAX_AUTH_EVENTS, "auth_events")?;
        object.insert("prev_events".into(), prev_events);
        object.insert("auth_events".into(), auth_events);
        object.insert("depth".into(), self.depth.min(version.max_depth()).into());
        object.insert("origin_server_ts".into(), self.origin_server_ts.into());
        object.insert("content".into(), self.content.into());
        Ok(object)
    }

    fn references(
        &self,
        version: RoomVersion,
        ids: &[OwnedEventId],
        limit: usize,
        field: &'static str,
    ) -> Result<Value, PduError> {
        if ids.len() > limit {
            return Err(wrong(field, "is too long"));
        }
        let reference = |id: &OwnedEventId| match version.event_names_its_id() {
            true => {
                let hash = self
                    .reference_hashes
                    .get(id)
                    .ok_or(wrong(field, "lacks a hash"))?;
                Ok(json!([id, { "sha256": Base64::<Standard, _>::new(*hash).encode() }]))
            }
            false => Ok(id.as_str().into()),
        };
        ids.iter().map(reference).collect()
    }

    /// The finished event, hashed, and signed by `server_name` with `key_pair`.
    ///
    /// # Errors
    /// [`BuildError`] if the content is not canonical JSON, or the event breaks a limit or a grammar.
    pub fn build(
        self,
        version: RoomVersion,
        server_name: &str,
        key_pair: &Ed25519KeyPair,
    ) -> Result<Pdu, BuildError> {
        Ok(sign_template(
            version,
            self.template(version)?,
            server_name,
            key_pair,
        )?)
    }
}

/// Hashes and signs an event that another server laid out (the answer to `make_join` and its like). In versions 1
/// and 2 it also gets an id.
///
/// What the template says is not checked against anything: that is up to whoever asked for it.
///
/// # Errors
/// [`PduError`] if it does not make an event.
pub fn sign_template(
    version: RoomVersion,
    mut template: JsonObject,
    server_name: &str,
    key_pair: &Ed25519KeyPair,
) -> Result<Pdu, PduError> {
    for field in ["hashes", "signatures", "unsigned", "event_id"] {
        template.remove(field);
    }
    if version.event_names_its_id() {
        let event_id = new_event_id(version, &template, server_name)?;
        template.insert("event_id".into(), event_id.into());
    }
    hash_and_sign(version, &mut template, server_name, key_pair)?;
    Pdu::from_object(version, template)
}
