//! The timeline of a room: its events in the order in which they are shown.

use std::sync::Arc;

use hearth_storage::{Direction, KeyRange, Table};
use ruma_common::{EventId, OwnedEventId, RoomId};

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
        let range = KeyRange::between(first_key(room_id), timeline_key(room_id, before));
        self.timeline_page(range, Direction::Backward, limit).await
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
        let Some(from) = after.checked_add(1) else {
            return Ok(Vec::new());
        };
        let range = KeyRange::between(timeline_key(room_id, from), end_key(room_id));
        self.timeline_page(range, Direction::Forward, limit).await
    }

    /// The events at `places` of rooms' timelines, in order; places without one are left out. Visibility is not
    /// checked.
    pub(crate) async fn events_at(&self, places: &[(&RoomId, i64)]) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let keys: Vec<_> = places
            .iter()
            .map(|(room_id, order)| timeline_key(room_id, *order))
            .collect();
        let rows = self.seams.store.get_many(Table::Timeline, &keys).await?;
        let ids = rows
            .iter()
            .flatten()
            .map(|row| event_id(row))
            .collect::<Result<Vec<_>, _>>()?;
        self.stored_events(&ids).await
    }

    async fn timeline_page(
        &self,
        range: KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<TimelineEvent>, Error> {
        let rows = self
            .seams
            .store
            .scan(Table::Timeline, range, direction, limit)
            .await?;
        let ids = rows
            .iter()
            .map(|(_, value)| event_id(value))
            .collect::<Result<Vec<_>, _>>()?;
        let events = self.stored_events(&ids).await?;
        Ok(events
            .into_iter()
            .map(|event| (event.decision.order.unwrap_or_default(), event))
            .collect())
    }
}

/// The key of the event of `order` in a room's timeline. Keys sort as orders do.
pub(crate) fn timeline_key(room_id: &RoomId, order: i64) -> Vec<u8> {
    let biased = order.cast_unsigned() ^ (1 << 63);
    [first_key(room_id), biased.to_be_bytes().to_vec()].concat()
}

fn first_key(room_id: &RoomId) -> Vec<u8> {
    [room_id.as_bytes(), &[0]].concat()
}

fn end_key(room_id: &RoomId) -> Vec<u8> {
    [room_id.as_bytes(), &[1]].concat()
}

fn event_id(value: &[u8]) -> Result<OwnedEventId, Error> {
    let text = str::from_utf8(value).map_err(|_| Error::Damaged("timeline".into()))?;
    EventId::parse(text).map_err(|_| Error::Damaged("timeline".into()))
}
