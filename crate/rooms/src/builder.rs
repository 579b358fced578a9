//! Making events: from their parts to a hashed and signed [`Pdu`].
//!
//! It does *not* choose `prev_events`, `auth_events` or the time: the caller knows the room.

use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, OwnedRoomId, OwnedUserId,
    canonical_json::CanonicalJsonError,
};
use ruma_events::TimelineEventType;
use ruma_signatures::{Ed25519KeyPair, hash_and_sign_event};

use crate::{
    Pdu, PduError, RoomVersion,
    pdu::{MAX_AUTH_EVENTS, MAX_PREV_EVENTS, unhashable},
};

/// Why an event cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The content holds a float or an integer out of range.
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
    pub content: serde_json::Map<String, serde_json::Value>,
    /// The event to redact. It is put where the room version wants it.
    pub redacts: Option<OwnedEventId>,
    /// The forward extremities that the event follows. At most 20.
    pub prev_events: Vec<OwnedEventId>,
    /// The events that allow this one. At most 10.
    pub auth_events: Vec<OwnedEventId>,
    /// One more than the greatest depth of `prev_events`.
    pub depth: u64,
    /// Now, in milliseconds since the Unix epoch.
    pub origin_server_ts: u64,
}

impl EventBuilder {
    /// The event without hashes and signatures, as `make_join` and its like answer.
    ///
    /// # Errors
    /// [`BuildError::Content`] if the content is not canonical JSON.
    pub fn template(self, version: RoomVersion) -> Result<CanonicalJsonObject, BuildError> {
        let mut object = CanonicalJsonObject::new();
        let mut content =
            ruma_common::canonical_json::try_from_json_map(self.content).map_err(content_error)?;
        if let Some(redacts) = self.redacts {
            let in_content = version.rules().redaction.content_field_redacts;
            let holder = if in_content { &mut content } else { &mut object };
            holder.insert("redacts".into(), redacts.as_str().into());
        }
        if let Some(room_id) = self.room_id {
            object.insert("room_id".into(), room_id.as_str().into());
        }
        if let Some(state_key) = self.state_key {
            object.insert("state_key".into(), state_key.into());
        }
        object.insert("sender".into(), self.sender.as_str().into());
        object.insert("type".into(), self.event_type.to_string().into());
        object.insert("content".into(), content.into());
        object.insert(
            "prev_events".into(),
            references(&self.prev_events, MAX_PREV_EVENTS, "prev_events")?,
        );
        object.insert(
            "auth_events".into(),
            references(&self.auth_events, MAX_AUTH_EVENTS, "auth_events")?,
        );
        object.insert("depth".into(), integer(self.depth, "depth")?);
        object.insert(
            "origin_server_ts".into(),
            integer(self.origin_server_ts, "origin_server_ts")?,
        );
        Ok(object)
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

/// Hashes and signs an event that another server laid out (the answer to `make_join` and its like).
///
/// What the template says is not checked against anything: that is up to whoever asked for it.
///
/// # Errors
/// [`PduError`] if it does not make an event.
pub fn sign_template(
    version: RoomVersion,
    mut template: CanonicalJsonObject,
    server_name: &str,
    key_pair: &Ed25519KeyPair,
) -> Result<Pdu, PduError> {
    for field in ["hashes", "signatures", "unsigned", "event_id"] {
        template.remove(field);
    }
    hash_and_sign_event(server_name, key_pair, &mut template, &version.rules().redaction)
        .map_err(unhashable)?;
    Pdu::from_object(version, template)
}

fn content_error(error: CanonicalJsonError) -> BuildError {
    BuildError::Content(error.to_string())
}

fn references(
    ids: &[OwnedEventId],
    limit: usize,
    field: &'static str,
) -> Result<CanonicalJsonValue, PduError> {
    if ids.len() > limit {
        return Err(PduError::Field {
            field,
            problem: "is too long",
        });
    }
    Ok(CanonicalJsonValue::Array(
        ids.iter().map(|id| id.as_str().into()).collect(),
    ))
}

fn integer(value: u64, field: &'static str) -> Result<CanonicalJsonValue, PduError> {
    let out_of_range = PduError::Field {
        field,
        problem: "is out of range",
    };
    let value = i64::try_from(value).map_err(|_| out_of_range.clone())?;
    Ok(CanonicalJsonValue::Integer(
        value.try_into().map_err(|_| out_of_range)?,
    ))
}
