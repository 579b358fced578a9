//! Gaps in a timeline: what happened in a room while this server was not in it.
//!
//! Orders of live events are log positions, so room for what was missed is made by leaving positions out
//! before the event that comes after the gap. What does not fit there stays unseen.

use std::sync::Arc;

use hearth_rooms::Pdu;
use ruma_common::OwnedEventId;

use crate::{
    Error, Homeserver,
    federation::backfill::MAX_HELPERS,
    rooms::{event::StoredEvent, room::Room},
};

/// How many positions are left out: the most events that a gap is filled with.
const WIDTH: usize = 1000;
/// How many events are asked for at once.
const PAGE: usize = 100;

impl Homeserver {
    /// Leaves out log positions, so that a gap before the next event can be filled.
    pub(crate) fn leave_gap(&self) {
        drop(self.log.reserve(WIDTH));
    }

    /// Fills the gap before `event_id` in the background.
    pub(crate) fn fill_gap(&self, room: Arc<Room>, event_id: OwnedEventId) {
        self.spawn(|homeserver| async move {
            if let Err(error) = homeserver.fetch_gap(&room, &event_id).await {
                tracing::warn!(room_id = %room.room_id, %error, "a gap was not filled");
            }
        });
    }

    async fn fetch_gap(&self, room: &Arc<Room>, event_id: &OwnedEventId) -> Result<(), Error> {
        let _inbound = room.inbound.lock().await;
        let Some(after) = self.stored_event(event_id).await? else {
            return Ok(());
        };
        let Some(mut order) = after.decision.order else {
            return Ok(());
        };
        let least_depth = match self.was_here_before(room).await? {
            true => 0,
            false => self.joined_depth(&room.room_id).await?,
        };
        let mut from = after.pdu.prev_events().to_vec();
        for _ in 0..WIDTH / PAGE {
            if self.in_timeline(&from).await? {
                return Ok(());
            }
            let Some((server, mut page)) = self.gap_page(room, &after, &from).await? else {
                return Ok(());
            };
            page.retain(|pdu| pdu.depth() >= least_depth);
            let Some(first) = page.first() else { return Ok(()) };
            from = first.prev_events().to_vec();
            let (added, lowest) = self.place_old(&server, room, page, Some(order)).await?;
            order = lowest;
            if added == 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether the timeline goes back beyond the join of those who are in the room now. If it does not, what lies
    /// before that join is no gap but history, which is fetched when somebody asks for it.
    async fn was_here_before(&self, room: &Arc<Room>) -> Result<bool, Error> {
        let joined = self.stay_began(&room.room_id);
        let first = self.timeline_after(&room.room_id, i64::MIN, 1).await?.pop();
        Ok(first
            .zip(joined)
            .is_some_and(|((order, _), joined)| order < joined.cast_signed()))
    }

    /// Whether all of `event_ids` are in the timeline: then the gap is closed.
    async fn in_timeline(&self, event_ids: &[OwnedEventId]) -> Result<bool, Error> {
        let events = self.stored_events(event_ids).await?;
        let shown = |event: &&Arc<StoredEvent>| event.decision.order.is_some();
        Ok(events.iter().filter(shown).count() == event_ids.len())
    }

    async fn gap_page(
        &self,
        room: &Arc<Room>,
        after: &StoredEvent,
        from: &[OwnedEventId],
    ) -> Result<Option<(ruma_common::OwnedServerName, Vec<Pdu>)>, Error> {
        let likely = [after.sender().server_name().to_owned()];
        for server in self.helpers(room, &likely, MAX_HELPERS).await? {
            match self.ask_for_history(&server, room, from, PAGE).await {
                Ok(page) => return Ok(Some((server, page))),
                Err(error @ (Error::Store(_) | Error::Damaged(_))) => return Err(error),
                Err(error) => tracing::info!(%server, %error, "a server gave no history"),
            }
        }
        Ok(None)
    }
}
