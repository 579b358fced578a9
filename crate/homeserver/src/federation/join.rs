//! Joining through another server, both sides. Spec: Server-Server API, section 'Joining rooms'.

use ruma_common::{EventId, RoomId, ServerName, UserId};
use serde_json::Value;

use crate::{Error, Homeserver};

impl Homeserver {
    /// Answers `GET /make_join`: a join event for the other server to complete. `versions` are the room
    /// versions that it supports.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`], [`Error::IncompatibleRoomVersion`].
    pub async fn make_join(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        user_id: &UserId,
        versions: &[String],
    ) -> Result<Value, Error> {
        todo!()
    }

    /// Answers `PUT /v2/send_join`: takes in the join and returns the room's state before it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`], [`Error::BadJson`], [`Error::InvalidParam`].
    pub async fn accept_join(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
        event: Value,
    ) -> Result<Value, Error> {
        todo!()
    }
}
