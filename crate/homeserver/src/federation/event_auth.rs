//! What an event rests on, for other servers. Spec: Server-Server API, section 'Retrieving event authorization
//! information'.

use ruma_common::{EventId, RoomId, ServerName};
use serde_json::json;

use crate::{Error, Homeserver, federation::bulk::BulkAnswer};

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
    ) -> Result<BulkAnswer, Error> {
        let event = self.stored_event(event_id).await?;
        self.check_past_access(origin, room_id, event.as_slice()).await?;
        let event = event.filter(|event| event.room_id() == room_id);
        let event = event.ok_or_else(|| Error::NotFound("no such event".into()))?;
        let chain = self.auth_chain(std::slice::from_ref(&event.event_id)).await?;
        Ok(BulkAnswer {
            fields: json!({}),
            lists: vec![("auth_chain", chain)],
        })
    }
}
