//! Keys that sign JSON, for tests of what is signed.

use ruma_common::{
    CanonicalJsonObject,
    serde::{Base64, base64::Standard},
};
use ruma_signatures::{Ed25519KeyPair, sign_json};
use serde_json::{Value, json};

/// A key of a user or device.
pub(super) struct Key {
    pair: Ed25519KeyPair,
    /// The public part, in base64.
    pub(super) public: String,
    /// `ed25519:` and its name.
    pub(super) id: String,
}

impl Key {
    /// A key named after its public part, as cross-signing keys are. The same `seed` gives the same key.
    pub(super) fn new(seed: u8) -> Self {
        let public = Base64::<Standard, _>::new(pair(seed, "x").public_key().to_vec()).encode();
        Self::named(seed, &public)
    }

    /// A key with a name, as devices have.
    pub(super) fn named(seed: u8, name: &str) -> Self {
        let pair = pair(seed, name);
        Self {
            public: Base64::<Standard, _>::new(pair.public_key().to_vec()).encode(),
            id: format!("ed25519:{name}"),
            pair,
        }
    }

    /// `object` with a signature of `user_id`.
    pub(super) fn sign(&self, user_id: &str, object: &Value) -> Value {
        let mut object: CanonicalJsonObject = serde_json::from_value(object.clone()).unwrap();
        sign_json(user_id, &self.pair, &mut object).unwrap();
        serde_json::to_value(object).unwrap()
    }

    /// This key as a cross-signing key.
    pub(super) fn cross_signing(&self, user_id: &str, usage: &str) -> Value {
        json!({"user_id": user_id, "usage": [usage], "keys": {&self.id: self.public}})
    }

    /// This key as that of a device.
    pub(super) fn device(&self, user_id: &str, device_id: &str) -> Value {
        let keys = json!({
            "user_id": user_id, "device_id": device_id,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": {&self.id: self.public, format!("curve25519:{device_id}"): self.public},
            "signatures": {},
        });
        self.sign(user_id, &keys)
    }

    /// A one-time key that is signed by this one.
    pub(super) fn one_time(&self, user_id: &str, number: usize) -> Value {
        self.sign(user_id, &json!({"key": format!("key {number}")}))
    }
}

/// A key pair in PKCS #8 version 1 DER (RFC 8410, section 7).
fn pair(seed: u8, name: &str) -> Ed25519KeyPair {
    let header = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
    ];
    let document = [&header[..], &[seed; 32]].concat();
    Ed25519KeyPair::from_der(&document, name.to_owned()).unwrap()
}
