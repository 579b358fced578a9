//! What an event rests on, for other servers. Spec: Server-Server API, section 'Retrieving event authorization
//! information'.

use ruma_common::{EventId, RoomId, ServerName};
use serde_json::{Value, json};

use crate::{Error, Homeserver, federation::received::to_value};

impl Homeserver {
    /// Answers `GET /event_auth/{roomId}/{eventId}`: the event's auth chain.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the event is not held here, [`Error::Forbidden`] if the server is not in the room.
    pub async fn federation_event_auth(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Value, Error> {
        self.shared_room(origin, room_id).await?;
        let event = self
            .stored_event(event_id)
            .await?
            .filter(|event| event.room_id() == room_id);
        let event = event.ok_or_else(|| Error::NotFound("no such event".into()))?;
        let chain = self.auth_chain(&[event]).await?;
        let pdus = chain
            .iter()
            .map(|event| to_value(&event.pdu))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(json!({ "auth_chain": pdus }))
    }
}
