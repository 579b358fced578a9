//! Redactions. Spec: Client-Server API, section 'Redactions'.

use ruma_common::{DeviceId, EventId, OwnedEventId, RoomId, UserId};

use crate::{Error, Homeserver};

impl Homeserver {
    /// Redacts `target`. Transaction ids work as in [`Homeserver::send_message`].
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the user may not, [`Error::NotFound`] if the event is not in the room.
    pub async fn redact_event(
        &self,
        sender: &UserId,
        device_id: &DeviceId,
        room_id: &RoomId,
        target: &EventId,
        txn_id: &str,
        reason: Option<String>,
    ) -> Result<OwnedEventId, Error> {
        todo!()
    }
}
