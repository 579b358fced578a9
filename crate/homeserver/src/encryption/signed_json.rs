//! Signed JSON objects: keys of devices and of users. Spec: Appendices, section 'Signing JSON'.

use ruma_common::{
    CanonicalJsonObject, UserId,
    serde::{Base64, base64::Standard},
};
use ruma_signatures::{
    SigningKeyAlgorithm, to_canonical_json_string_for_signing, verify_canonical_json_bytes,
};
use serde_json::{Value, json};

use crate::{JsonObject, ordered};

/// A signature: whose, by which key (`ed25519:…`), and itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    pub(super) signer: String,
    pub(super) key_id: String,
    pub(super) signature: String,
}

/// Every signature of `object` that has the form of one.
pub(super) fn signatures(object: &JsonObject) -> Vec<Signature> {
    let signers = object.get("signatures").and_then(Value::as_object);
    let mut found = Vec::new();
    for (signer, keys) in signers.into_iter().flatten() {
        for (key_id, signature) in keys.as_object().into_iter().flatten() {
            if let Some(signature) = signature.as_str() {
                found.push(Signature {
                    signer: signer.clone(),
                    key_id: key_id.clone(),
                    signature: signature.to_owned(),
                });
            }
        }
    }
    found
}

/// Adds a signature to `object`.
pub(super) fn add_signature(object: &mut JsonObject, new: &Signature) {
    let signatures = object.entry("signatures").or_insert_with(|| json!({}));
    let Some(signatures) = signatures.as_object_mut() else {
        return;
    };
    let keys = signatures.entry(&new.signer).or_insert_with(|| json!({}));
    if let Some(keys) = keys.as_object_mut() {
        keys.insert(new.key_id.clone(), new.signature.as_str().into());
    }
}

/// `object` without what is not signed.
pub(super) fn signed_part(object: &JsonObject) -> JsonObject {
    let is_signed = |(field, _): &(&String, &Value)| *field != "signatures" && *field != "unsigned";
    let signed = object.iter().filter(is_signed);
    ordered::object(signed.map(|(field, value)| (field.clone(), value.clone())))
}

/// Whether `object` bears a right signature of `user_id` by the Ed25519 key `key_id`, whose public part is
/// `public_key` in base64.
pub(super) fn is_signed_by(object: &JsonObject, user_id: &UserId, key_id: &str, public_key: &str) -> bool {
    let all = signatures(object);
    let own = all
        .iter()
        .find(|signature| signature.signer == user_id.as_str() && signature.key_id == key_id);
    own.is_some_and(|own| is_right(object, &own.signature, public_key))
}

fn is_right(object: &JsonObject, signature: &str, public_key: &str) -> bool {
    let decode = |text: &str| Base64::<Standard>::parse(text).ok();
    let (Some(signature), Some(public_key)) = (decode(signature), decode(public_key)) else {
        return false;
    };
    let Ok(object) = serde_json::from_value::<CanonicalJsonObject>(Value::Object(object.clone())) else {
        return false;
    };
    let Ok(signed) = to_canonical_json_string_for_signing(&object) else {
        return false;
    };
    verify_canonical_json_bytes(
        &SigningKeyAlgorithm::Ed25519,
        public_key.as_bytes(),
        signature.as_bytes(),
        signed.as_bytes(),
    )
    .is_ok()
}
