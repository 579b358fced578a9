//! The timeline of a room: its events in the order in which they are shown.

use std::sync::Arc;

use ruma_common::RoomId;

use crate::{Error, Homeserver, rooms::event::StoredEvent};

/// An event and its order in the timeline.
pub type TimelineEvent = (i64, Arc<StoredEvent>);

impl Homeserver {
    /// At most `limit` events whose order is less than `before`, newest first. Visibility is not checked.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn timeline_before(
        &self,
        room_id: &RoomId,
        before: i64,
        limit: usize,
    ) -> Result<Vec<TimelineEvent>, Error> {
        todo!()
    }

    /// At most `limit` events whose order is greater than `after`, oldest first. Visibility is not checked.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn timeline_after(
        &self,
        room_id: &RoomId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<TimelineEvent>, Error> {
        todo!()
    }
}
