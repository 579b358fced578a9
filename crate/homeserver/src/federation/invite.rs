//! Invites between servers. Spec: Server-Server API, section 'Inviting to a room'.

use ruma_common::{EventId, RoomId, ServerName};
use serde_json::Value;

use crate::{Error, Homeserver};

impl Homeserver {
    /// Answers `PUT /v2/invite`: signs the invite of a local user and shows it to them. `body` has `event`,
    /// `room_version` and `invite_room_state`.
    ///
    /// # Errors
    /// [`Error::IncompatibleRoomVersion`], [`Error::BadJson`], [`Error::InvalidParam`], [`Error::Forbidden`],
    /// [`Error::NotFound`] if the user does not exist.
    pub async fn receive_invite(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
        body: Value,
    ) -> Result<Value, Error> {
        todo!()
    }
}
