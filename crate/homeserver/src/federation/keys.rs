//! The published signing key. Spec: Server-Server API, section 'Publishing Keys'.

use serde_json::Value;

use crate::{Error, Homeserver};

impl Homeserver {
    /// Answers `GET /_matrix/key/v2/server`.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the answer cannot be signed.
    pub fn server_keys(&self) -> Result<Value, Error> {
        todo!()
    }
}
