//! Whether an event comes from whom it says, whole.
//!
//! Spec: Server-Server API, "Validating hashes and signatures on received events". Keys are the caller's
//! business: a closure tells the key of a server by its id, or that it is not known.

use std::collections::BTreeSet;

use ruma_common::{
    OwnedServerName, ServerName, SigningKeyAlgorithm, UserId,
    serde::{Base64, base64::Standard},
};
use ruma_events::TimelineEventType;
use ruma_signatures::{Ed25519KeyPair, KeyPair, verify_canonical_json_bytes};
use serde_json::Value;

use crate::{
    Pdu, PduError, RoomVersion,
    canonical_json::JsonObject,
    event_id::{content_hash, content_hash_matches},
    pdu::wrong,
    redaction::kept,
};

/// How far into the future a published key may be valid at most: 7 days, in milliseconds.
/// Spec: Server-Server API, "Retrieving server keys".
pub const MAX_KEY_VALIDITY: u64 = 7 * 24 * 60 * 60 * 1000;

/// What the signatures and the hash of an event say.
#[derive(Clone, Debug, PartialEq)]
pub enum Verification {
    /// All that must sign have signed, and the content is what they signed.
    Valid,
    /// All that must sign have signed, but the content is not what they hashed: use this redacted copy.
    HashMismatch(Pdu),
    /// A signature is missing or wrong: the event must be dropped.
    Invalid(String),
}

/// The Ed25519 public key of a server, and until when it may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyKey {
    key: [u8; 32],
    /// In milliseconds since the Unix epoch; heeded from room version 5 on.
    valid_until: Option<u64>,
}

impl VerifyKey {
    /// A key that a server published with `valid_until_ts` (for an old key its `expired_ts`), as seen at `now`.
    /// Both in milliseconds since the Unix epoch.
    ///
    /// Servers whose name is their key publish none: such a key [is valid](Self::from) as long as the name is.
    pub fn published(key: [u8; 32], valid_until_ts: u64, now: u64) -> Self {
        let valid_until = valid_until_ts.min(now.saturating_add(MAX_KEY_VALIDITY));
        Self {
            key,
            valid_until: Some(valid_until),
        }
    }

    /// Whether the key may have signed `pdu`. Spec: Room Version 5, "Signing key validity period".
    fn may_sign(&self, pdu: &Pdu) -> bool {
        let enforced = pdu.version().rules().enforce_key_validity;
        !enforced
            || self
                .valid_until
                .is_none_or(|valid_until| pdu.origin_server_ts() <= valid_until)
    }
}

/// A key that is valid for ever.
impl From<[u8; 32]> for VerifyKey {
    fn from(key: [u8; 32]) -> Self {
        Self {
            key,
            valid_until: None,
        }
    }
}

/// The servers that must have signed `pdu`.
///
/// # Errors
/// [`PduError`] if a field that names one of them is malformed.
pub fn required_servers(pdu: &Pdu) -> Result<Vec<OwnedServerName>, PduError> {
    let rules = &pdu.version().rules().signatures;
    let mut servers = BTreeSet::new();
    let member = match *pdu.event_type() == TimelineEventType::RoomMember {
        true => pdu.content_as::<JsonObject>().unwrap_or_default(),
        false => JsonObject::new(),
    };
    if !is_third_party_invite(&member) {
        servers.insert(pdu.sender().server_name().to_owned());
    }
    if rules.check_event_id_server {
        let server = pdu.event_id().server_name();
        servers.insert(server.ok_or(wrong("event_id", "names no server"))?.to_owned());
    }
    if let Some(voucher) = member.get("join_authorised_via_users_server")
        && rules.check_join_authorised_via_users_server
    {
        let voucher = voucher.as_str().and_then(|user| UserId::parse(user).ok());
        let voucher = voucher.ok_or(wrong("content", "names a signer that is malformed"))?;
        servers.insert(voucher.server_name().to_owned());
    }
    Ok(servers.into_iter().collect())
}

/// An invite by e-mail and the like is made by the server of whoever accepts it, not by the sender's.
fn is_third_party_invite(member: &JsonObject) -> bool {
    member.get("membership").and_then(Value::as_str) == Some("invite")
        && member.get("third_party_invite").is_some_and(Value::is_object)
}

/// Verifies the signatures and the content hash of `pdu`.
///
/// `key` gives the Ed25519 public key of a server by key id (`ed25519:…`), or nothing if there is none.
pub fn verify<K: Into<VerifyKey>>(pdu: &Pdu, key: impl Fn(&ServerName, &str) -> Option<K>) -> Verification {
    match try_verify(pdu, &|server, key_id| key(server, key_id).map(Into::into)) {
        Ok(verification) => verification,
        Err(error) => Verification::Invalid(error),
    }
}

fn try_verify(
    pdu: &Pdu,
    key: &impl Fn(&ServerName, &str) -> Option<VerifyKey>,
) -> Result<Verification, String> {
    let object = verify_signatures(pdu, key)?;
    match content_hash_matches(pdu.version(), &object).map_err(|error| error.to_string())? {
        Some(true) => Ok(Verification::Valid),
        Some(false) => {
            let redacted = pdu.redacted().map_err(|error| error.to_string())?;
            // Without its third party, which redaction may take away, an invite is its sender's.
            verify_signatures(&redacted, key)?;
            Ok(Verification::HashMismatch(redacted))
        }
        None => Err("the event has no content hash".into()),
    }
}

/// Checks that all have signed `pdu` who must. Returns it as JSON.
fn verify_signatures(
    pdu: &Pdu,
    key: &impl Fn(&ServerName, &str) -> Option<VerifyKey>,
) -> Result<JsonObject, String> {
    let object = pdu.to_object().map_err(|error| error.to_string())?;
    let signed = signed_text(pdu.version(), &object).map_err(|error| error.to_string())?;
    for server in required_servers(pdu).map_err(|error| error.to_string())? {
        verify_server(pdu, &object, &server, &signed, key)?;
    }
    Ok(object)
}

/// Checks every signature of `server` whose key is known; there must be one.
fn verify_server(
    pdu: &Pdu,
    object: &JsonObject,
    server: &ServerName,
    signed: &str,
    key: &impl Fn(&ServerName, &str) -> Option<VerifyKey>,
) -> Result<(), String> {
    let signatures = object.get("signatures").and_then(|all| all.get(server.as_str()));
    let mut valid = 0;
    for (key_id, signature) in signatures.and_then(Value::as_object).into_iter().flatten() {
        if !key_id.starts_with("ed25519:") {
            continue;
        }
        let Some(key) = key(server, key_id) else { continue };
        if !key.may_sign(pdu) {
            return Err(format!("the key {key_id} of {server} was no longer valid"));
        }
        let signature = signature
            .as_str()
            .and_then(|text| Base64::<Standard>::parse(text).ok());
        let signature = signature.ok_or_else(|| format!("a signature of {server} is malformed"))?;
        verify_canonical_json_bytes(
            &SigningKeyAlgorithm::Ed25519,
            &key.key,
            signature.as_bytes(),
            signed.as_bytes(),
        )
        .map_err(|error| format!("a signature of {server} is wrong: {error}"))?;
        valid += 1;
    }
    match valid {
        0 => Err(format!("{server} has not signed with a key that is known")),
        _ => Ok(()),
    }
}

/// Adds the content hash and the signature of `server_name` to an event.
///
/// # Errors
/// [`PduError`] if the event has no canonical form, or its `hashes` or `signatures` are no objects.
pub fn hash_and_sign(
    version: RoomVersion,
    object: &mut JsonObject,
    server_name: &str,
    key_pair: &Ed25519KeyPair,
) -> Result<(), PduError> {
    let hash = Base64::<Standard, _>::new(content_hash(version, object)?).encode();
    object_field(object, "hashes", "hashes")?.insert("sha256".into(), hash.into());
    sign(version, object, server_name, key_pair)
}

/// Adds the signature of `server_name` to an event that has a content hash.
///
/// # Errors
/// As [`hash_and_sign`].
pub fn sign(
    version: RoomVersion,
    object: &mut JsonObject,
    server_name: &str,
    key_pair: &Ed25519KeyPair,
) -> Result<(), PduError> {
    let signature = key_pair.sign(signed_text(version, object)?.as_bytes());
    let signatures = object_field(object, "signatures", "signatures")?;
    object_field(signatures, server_name, "signatures")?.insert(signature.id(), signature.base64().into());
    Ok(())
}

/// What the signatures of an event are over.
fn signed_text(version: RoomVersion, object: &JsonObject) -> Result<String, PduError> {
    let kept = kept(object, &version.rules().redaction, &["signatures", "unsigned"]);
    Ok(kept.encode(version.numbers())?)
}

fn object_field<'a>(
    object: &'a mut JsonObject,
    name: &str,
    field: &'static str,
) -> Result<&'a mut JsonObject, PduError> {
    let value = object
        .entry(name)
        .or_insert_with(|| Value::Object(JsonObject::new()));
    value.as_object_mut().ok_or(wrong(field, "is not an object"))
}
