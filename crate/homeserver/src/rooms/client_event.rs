//! Events in the form that clients get. Spec: Client-Server API, section 'Room event format'.

use std::sync::Arc;

use ruma_common::{DeviceId, UserId};

use crate::{Error, Homeserver, JsonObject, rooms::event::StoredEvent};

/// Who is to read an event: decides `unsigned.transaction_id`.
#[derive(Clone, Copy, Debug)]
pub struct Viewer<'a> {
    /// The user.
    pub user_id: &'a UserId,
    /// The device, if it is known.
    pub device_id: Option<&'a DeviceId>,
}

impl Homeserver {
    /// `events` as `viewer` gets them, in order, each with `room_id` and with `unsigned` (`age`,
    /// `transaction_id` for the device that sent it, `prev_content`, `replaces_state`, `redacted_because`).
    ///
    /// Visibility is not checked here: see [`Homeserver::visible_events`].
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn client_events(
        &self,
        events: &[Arc<StoredEvent>],
        viewer: Viewer<'_>,
    ) -> Result<Vec<JsonObject>, Error> {
        todo!()
    }
}

/// The stripped form of a state event: `type`, `state_key`, `content` and `sender`.
pub fn stripped(event: &StoredEvent) -> JsonObject {
    todo!()
}
