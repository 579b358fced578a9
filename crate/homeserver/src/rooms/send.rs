//! Sending message and state events. Spec: Client-Server API, section 'Sending events to a room'.

use ruma_common::{DeviceId, OwnedEventId, RoomId, UserId};

use crate::{Error, Homeserver, JsonObject};

impl Homeserver {
    /// Sends a message event. The same `txn_id` from the same device to the same room and type gives the same
    /// event id again, also after a restart, and sends nothing.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the user is not in the room or may not send it, [`Error::TooLarge`] if the event
    /// is larger than 64 KiB, [`Error::NotFound`] if the room is not known here.
    pub async fn send_message(
        &self,
        sender: &UserId,
        device_id: &DeviceId,
        room_id: &RoomId,
        kind: &str,
        txn_id: &str,
        content: JsonObject,
    ) -> Result<OwnedEventId, Error> {
        todo!()
    }

    /// Sets the state `(kind, state_key)`. State that is set to what it already is stays as it is, and the id of
    /// the event that set it is returned.
    ///
    /// # Errors
    /// As [`Homeserver::send_message`]; [`Error::BadJson`] if an `m.room.member` or an alias is malformed.
    pub async fn send_state(
        &self,
        sender: &UserId,
        room_id: &RoomId,
        kind: &str,
        state_key: &str,
        content: JsonObject,
    ) -> Result<OwnedEventId, Error> {
        todo!()
    }
}
