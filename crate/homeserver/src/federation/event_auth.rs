//! What an event rests on, for other servers. Spec: Server-Server API, section 'Retrieving event authorization
//! information'.

use ruma_common::{EventId, RoomId, ServerName};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{Error, Homeserver};

/// The answer to `GET /event_auth`.
#[derive(Debug, Serialize)]
pub struct EventAuthAnswer {
    /// The event's auth chain.
    pub auth_chain: Box<RawValue>,
}

impl Homeserver {
    /// Answers `GET /event_auth/{roomId}/{eventId}`.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the event is not held here, [`Error::Forbidden`] if the server is not in the room.
    pub async fn federation_event_auth(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<EventAuthAnswer, Error> {
        let event = self.stored_event(event_id).await?;
        self.check_past_access(origin, room_id, event.as_slice()).await?;
        let event = event.filter(|event| event.room_id() == room_id);
        let event = event.ok_or_else(|| Error::NotFound("no such event".into()))?;
        let chain = self.auth_chain(std::slice::from_ref(&event.event_id)).await?;
        let auth_chain = self.pdu_array(&chain).await?;
        Ok(EventAuthAnswer { auth_chain })
    }
}
