//! The state of a room, now and at an event. Spec: Client-Server API, section 'Getting events for a room'.

use std::{collections::BTreeMap, sync::Arc};

use ruma_common::{OwnedEventId, RoomId, UserId};

use crate::{Error, Homeserver, rooms::event::StoredEvent};

/// State by event type and state key.
pub type StateIds = BTreeMap<(String, String), OwnedEventId>;

impl Homeserver {
    /// The state that `user_id` may see: the present one if they are joined (or anyone may look), the one at
    /// their leaving if they have left.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if they were never in the room.
    pub async fn room_state(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        todo!()
    }

    /// One event of [`Homeserver::room_state`].
    ///
    /// # Errors
    /// [`Error::Forbidden`] as there, [`Error::NotFound`] if the state has no such event.
    pub async fn state_event(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        kind: &str,
        state_key: &str,
    ) -> Result<Arc<StoredEvent>, Error> {
        todo!()
    }

    /// The state just before `event`; empty if it is not known (outliers).
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn state_before(&self, event: &StoredEvent) -> Result<StateIds, Error> {
        todo!()
    }

    /// The state just after `event`.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn state_after(&self, event: &StoredEvent) -> Result<StateIds, Error> {
        todo!()
    }
}
