//! Signed requests. Spec: Server-Server API, section 'Request Authentication'.

use ruma_common::{OwnedServerName, ServerName};
use serde_json::Value;

use crate::{Error, FederationError, Homeserver};

/// Why another server gave no usable answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RequestError {
    /// There was no HTTP answer.
    #[error(transparent)]
    Federation(#[from] FederationError),
    /// The answer was an error of the spec.
    #[error("{status}: {errcode}: {error}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The `errcode`.
        errcode: String,
        /// The text for people.
        error: String,
    },
}

impl Homeserver {
    /// Checks the `Authorization: X-Matrix` headers of a request of another server, and returns its name.
    /// `uri` is path and query as they were received; `content` the body, empty if there is none.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] if no header proves the origin; [`Error::BadJson`] if the body is not JSON.
    pub fn authenticate(
        &self,
        method: &http::Method,
        uri: &str,
        authorization: &[&str],
        content: &[u8],
    ) -> Result<OwnedServerName, Error> {
        todo!()
    }

    /// Sends a signed request to `destination`, and returns the JSON of its 200 answer.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn request(
        &self,
        destination: &ServerName,
        method: http::Method,
        uri: &str,
        content: Option<Value>,
    ) -> Result<Value, RequestError> {
        todo!()
    }
}
