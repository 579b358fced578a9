//! Whether an event comes from whom it says, whole.
//!
//! Spec: Server-Server API, "Validating hashes and signatures on received events". Keys are the caller's
//! business: a closure tells the key of a server by its id, or that it is not known.

use std::collections::BTreeMap;

use ruma_common::{CanonicalJsonObject, CanonicalJsonValue, OwnedServerName, ServerName, serde::Base64};
use ruma_signatures::{PublicKeyMap, Verified, required_server_signatures_to_verify_event, verify_event};

use crate::{Pdu, PduError};

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

/// The servers that must have signed `pdu`.
///
/// # Errors
/// [`PduError`] if a field that names one of them is malformed.
pub fn required_servers(pdu: &Pdu) -> Result<Vec<OwnedServerName>, PduError> {
    Ok(required(pdu, &pdu.to_object()?)?.into_iter().collect())
}

/// Verifies the signatures and the content hash of `pdu`.
///
/// `key` gives the Ed25519 public key of a server by key id (`ed25519:…`), or nothing if there is none.
pub fn verify(pdu: &Pdu, key: impl Fn(&ServerName, &str) -> Option<[u8; 32]>) -> Verification {
    match try_verify(pdu, &key) {
        Ok(verification) => verification,
        Err(error) => Verification::Invalid(error),
    }
}

fn try_verify(
    pdu: &Pdu,
    key: &impl Fn(&ServerName, &str) -> Option<[u8; 32]>,
) -> Result<Verification, String> {
    let object = pdu.to_object().map_err(|error| error.to_string())?;
    let mut keys = PublicKeyMap::new();
    for server in required(pdu, &object).map_err(|error| error.to_string())? {
        keys.insert(server.to_string(), keys_of(&object, &server, key));
    }
    match verify_event(&keys, &object, pdu.version().rules()).map_err(|error| error.to_string())? {
        Verified::All => Ok(Verification::Valid),
        Verified::Signatures => pdu
            .redacted()
            .map(Verification::HashMismatch)
            .map_err(|e| e.to_string()),
    }
}

fn required(
    pdu: &Pdu,
    object: &CanonicalJsonObject,
) -> Result<impl IntoIterator<Item = OwnedServerName> + use<>, PduError> {
    required_server_signatures_to_verify_event(object, &pdu.version().rules().signatures).map_err(|_| {
        PduError::Field {
            field: "content",
            problem: "names a signer that is malformed",
        }
    })
}

/// The known keys among those that `server` signed with.
fn keys_of(
    object: &CanonicalJsonObject,
    server: &ServerName,
    key: &impl Fn(&ServerName, &str) -> Option<[u8; 32]>,
) -> BTreeMap<String, Base64> {
    let signatures = object.get("signatures").and_then(CanonicalJsonValue::as_object);
    let of_server = signatures
        .and_then(|all| all.get(server.as_str()))
        .and_then(CanonicalJsonValue::as_object);
    let key_ids = of_server.into_iter().flat_map(|signatures| signatures.keys());
    key_ids
        .filter_map(|key_id| Some((key_id.clone(), Base64::new(key(server, key_id)?.to_vec()))))
        .collect()
}
