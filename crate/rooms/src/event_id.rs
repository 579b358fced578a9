//! Event ids and the hashes behind them. Spec: Server-Server API, "Calculating the reference hash for an event"
//! and "Calculating the content hash for an event"; "Event IDs" of Room Versions 1, 3 and 4.
//!
//! | version | id | who chooses it |
//! |---|---|---|
//! | 1, 2 | `$opaque:domain`, a field of the event | the server `domain`, which must sign the event |
//! | 3 | `$` and the reference hash, standard base64 | nobody |
//! | from 4 | `$` and the reference hash, URL-safe base64 | nobody |

use ruma_common::{
    EventId, OwnedEventId,
    room_version_rules::EventIdFormatVersion,
    serde::{Base64, base64::Standard, base64::UrlSafe},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    PduError, RoomVersion,
    canonical_json::{JsonObject, encode_object},
    pdu::{MAX_FIELD_BYTES, wrong},
    redaction::kept,
};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// The id of an event of `version` in federation format.
///
/// # Errors
/// [`PduError`] if the event has no canonical form or, in versions 1 and 2, no well-formed `event_id`.
pub fn event_id(version: RoomVersion, object: &JsonObject) -> Result<OwnedEventId, PduError> {
    if version.event_names_its_id() {
        return named_id(version, object);
    }
    let hash = reference_hash(version, object)?;
    let id = match version.rules().event_id_format {
        EventIdFormatVersion::V2 => Base64::<Standard, _>::new(hash).encode(),
        _ => Base64::<UrlSafe, _>::new(hash).encode(),
    };
    EventId::new_v2_or_v3(&id).map_err(|error| PduError::Unhashable(error.to_string()))
}

fn named_id(version: RoomVersion, object: &JsonObject) -> Result<OwnedEventId, PduError> {
    let id = object.get("event_id").ok_or(wrong("event_id", "is missing"))?;
    let id = id.as_str().filter(|id| is_event_id(version, id));
    id.and_then(|id| EventId::parse(id).ok())
        .ok_or(wrong("event_id", "is not an event id"))
}

/// An id that `server_name` may give to a new event of version 1 or 2.
///
/// Its opaque part is a hash of the event, so the same event gets the same id and no randomness is needed.
pub(crate) fn new_event_id(
    version: RoomVersion,
    object: &JsonObject,
    server_name: &str,
) -> Result<String, PduError> {
    let opaque = Base64::<UrlSafe, _>::new(content_hash(version, object)?).encode();
    Ok(format!("${opaque}:{server_name}"))
}

/// Whether `text` has the form of an event id of `version`.
pub fn is_event_id(version: RoomVersion, text: &str) -> bool {
    let is_hash = |extra: [u8; 2]| {
        text.strip_prefix('$').is_some_and(|hash| {
            hash.len() == 43
                && hash
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || extra.contains(&byte))
        })
    };
    match version.rules().event_id_format {
        EventIdFormatVersion::V1 => {
            let id = <&EventId>::try_from(text);
            text.len() <= MAX_FIELD_BYTES && id.is_ok_and(|id| id.server_name().is_some())
        }
        EventIdFormatVersion::V2 => is_hash([b'+', b'/']),
        _ => is_hash([b'-', b'_']),
    }
}

/// The hash that identifies an event and survives its redaction.
///
/// # Errors
/// [`PduError::NotCanonicalJson`] if the event has no canonical form.
pub fn reference_hash(version: RoomVersion, object: &JsonObject) -> Result<Hash, PduError> {
    let kept = kept(object, &version.rules().redaction, &["signatures", "unsigned"]);
    Ok(Sha256::digest(kept.encode(version.numbers())?).into())
}

/// The hash of the whole event, which tells whether its content was changed.
///
/// # Errors
/// As [`reference_hash`].
pub fn content_hash(version: RoomVersion, object: &JsonObject) -> Result<Hash, PduError> {
    let text = encode_object(object, &["hashes", "signatures", "unsigned"], version.numbers())?;
    Ok(Sha256::digest(text).into())
}

/// Whether `hashes.sha256` is the content hash; `None` if there is none.
pub(crate) fn content_hash_matches(
    version: RoomVersion,
    object: &JsonObject,
) -> Result<Option<bool>, PduError> {
    let claimed = object.get("hashes").and_then(|hashes| hashes.get("sha256"));
    let Some(claimed) = claimed.and_then(Value::as_str) else {
        return Ok(None);
    };
    let hash = content_hash(version, object)?;
    let claimed = Base64::<Standard>::parse(claimed);
    Ok(Some(claimed.is_ok_and(|claimed| claimed.as_bytes() == hash)))
}
