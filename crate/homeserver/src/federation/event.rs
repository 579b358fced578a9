//! Single events between servers. Spec: Server-Server API, section 'Retrieving events'.

use ruma_common::{EventId, ServerName};
use serde_json::Value;

use crate::{Error, Homeserver};

impl Homeserver {
    /// Answers `GET /event/{eventId}`.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is not held here or the server may not see it.
    pub async fn federation_event(&self, origin: &ServerName, event_id: &EventId) -> Result<Value, Error> {
        todo!()
    }
}
