//! Leaving through another server, both sides. Spec: Server-Server API, section 'Leaving Rooms'.

use ruma_common::{EventId, RoomId, ServerName, UserId};
use serde_json::Value;

use crate::{Error, Homeserver};

impl Homeserver {
    /// Answers `GET /make_leave`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`].
    pub async fn make_leave(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        user_id: &UserId,
    ) -> Result<Value, Error> {
        todo!()
    }

    /// Answers `PUT /v2/send_leave`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`], [`Error::BadJson`], [`Error::InvalidParam`].
    pub async fn accept_leave(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
        event: Value,
    ) -> Result<Value, Error> {
        todo!()
    }
}
