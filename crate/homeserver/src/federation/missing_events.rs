//! Filling gaps in the event graph, both sides. Spec: Server-Server API, 'get_missing_events'.

use ruma_common::{RoomId, ServerName};
use serde_json::Value;

use crate::{Error, Homeserver};

impl Homeserver {
    /// Answers `POST /get_missing_events`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`], [`Error::BadJson`].
    pub async fn missing_events(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        body: Value,
    ) -> Result<Value, Error> {
        todo!()
    }
}
