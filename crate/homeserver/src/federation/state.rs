//! The state of a room at an event, for other servers. Spec: Server-Server API, section 'Retrieving events'.

use ruma_common::{EventId, RoomId, ServerName};
use serde_json::Value;

use crate::{Error, Homeserver};

impl Homeserver {
    /// Answers `GET /state_ids`: ids of the state before `event_id`, and of its auth chain.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the event or its state is not known, [`Error::Forbidden`].
    pub async fn federation_state_ids(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Value, Error> {
        todo!()
    }

    /// Answers `GET /state`: the events themselves.
    ///
    /// # Errors
    /// As [`Homeserver::federation_state_ids`].
    pub async fn federation_state(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Value, Error> {
        todo!()
    }
}
