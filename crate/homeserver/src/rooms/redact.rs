//! Redactions. Spec: Client-Server API, section 'Redactions'.

use ruma_common::{DeviceId, EventId, OwnedEventId, RoomId, UserId};

use crate::{Error, Homeserver, JsonObject};

impl Homeserver {
    /// Redacts `target`. Transaction ids work as in [`Homeserver::send_message`].
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the user may not, [`Error::NotFound`] if the event is not in the room,
    /// [`Error::UserSuspended`] if a suspended user did not send it.
    pub async fn redact_event(
        &self,
        sender: &UserId,
        device_id: &DeviceId,
        room_id: &RoomId,
        target: &EventId,
        txn_id: &str,
        reason: Option<String>,
    ) -> Result<OwnedEventId, Error> {
        let found = self
            .stored_event(target)
            .await?
            .filter(|event| event.room_id() == room_id);
        let found = found.ok_or_else(|| Error::NotFound("no such event in this room".into()))?;
        if found.sender() != sender && self.standing(sender).suspended {
            return Err(Error::UserSuspended);
        }
        let mut content = JsonObject::new();
        content.insert("redacts".into(), target.as_str().into());
        content.extend(reason.map(|reason| ("reason".to_owned(), reason.into())));
        self.send_message(sender, device_id, room_id, "m.room.redaction", txn_id, content)
            .await
    }
}
