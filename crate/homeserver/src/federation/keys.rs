//! The published signing key. Spec: Server-Server API, section 'Publishing Keys'.

use ruma_common::{CanonicalJsonObject, serde::Base64};
use ruma_signatures::sign_json;
use serde_json::{Value, json};

use crate::{Error, Homeserver, identity::KEY_VERSION};

/// How long other servers may keep the answer: a week, in milliseconds. The key itself never changes.
const VALID_FOR: u64 = 7 * 24 * 60 * 60 * 1000;

impl Homeserver {
    /// Answers `GET /_matrix/key/v2/server`.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the answer cannot be signed.
    pub fn server_keys(&self) -> Result<Value, Error> {
        let key: Base64 = Base64::new(self.identity.key_pair().public_key().to_vec());
        let answer = json!({
            "server_name": self.server_name(),
            "valid_until_ts": self.now() + VALID_FOR,
            "verify_keys": { format!("ed25519:{KEY_VERSION}"): { "key": key.encode() } },
            "old_verify_keys": {},
        });
        let damaged = |error: String| Error::Damaged(error);
        let mut answer: CanonicalJsonObject =
            serde_json::from_value(answer).map_err(|error| damaged(error.to_string()))?;
        sign_json(self.server_name().as_str(), self.identity.key_pair(), &mut answer)
            .map_err(|error| damaged(error.to_string()))?;
        serde_json::to_value(answer).map_err(|error| damaged(error.to_string()))
    }
}
