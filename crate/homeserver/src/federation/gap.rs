//! Gaps in a timeline: what happened in a room while this server was not in it.
//!
//! Orders of live events are log positions, so room for what was missed is made by leaving positions out
//! before the event that comes after the gap. What does not fit there stays unseen. Clients that sync are told of the
//! gap (`limited`) and not of what fills it: that they find in the pages before, which fetch it if nobody has yet.

use std::{sync::Arc, time::Duration};

use hearth_rooms::Pdu;
use ruma_common::{OwnedEventId, OwnedServerName, RoomId};

use crate::{
    Error, Homeserver,
    deadline::within,
    federation::backfill::{Gap, MAX_HELPERS, before},
    rooms::{event::StoredEvent, room::Room},
};

/// How many positions are left out: the most events that a gap is filled with.
const WIDTH: usize = 1000;
/// How many events are asked for at once.
const PAGE: usize = 100;

/// How long the filling of one gap may take: nobody else fills one in the room meanwhile.
const PATIENCE: Duration = Duration::from_secs(300);

impl Homeserver {
    /// Leaves out log positions, so that a gap before the next event can be filled.
    pub(crate) fn leave_gap(&self) {
        drop(self.log.reserve(WIDTH));
    }

    /// Whether something is missing between the timeline as it is and `pdu`, which comes next.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(crate) async fn follows_gap(&self, room: &Arc<Room>, pdu: &Pdu) -> Result<bool, Error> {
        let missing = self.missing_of(pdu.prev_events().to_vec()).await?;
        Ok(!missing.is_empty() && pdu.depth() > self.least_depth(room).await?)
    }

    /// Fills the gap before `event_id` in the background. If that is a join, `helper` let it in.
    pub(crate) fn fill_gap(&self, room: Arc<Room>, event_id: OwnedEventId, helper: Option<OwnedServerName>) {
        self.spawn(|homeserver| async move {
            if let Err(error) = homeserver.fetch_gap(&room, &event_id, helper).await {
                tracing::warn!(room_id = %room.room_id, %error, "a gap was not filled");
            }
        });
    }

    /// Fills the gap before the event of `order` in a room's timeline, if there is one and it is not filled yet.
    /// Returns how many events were added.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(crate) async fn close_gap(&self, room_id: &RoomId, order: i64) -> Result<usize, Error> {
        let event = self.events_at(&[(room_id, order)]).await?.pop();
        let Some(after) = event.filter(|event| event.decision.after_gap) else {
            return Ok(0);
        };
        let room = self.resident_room(room_id).await?;
        match (room, self.gap_before(&after).await?) {
            (Some(room), Some(_)) => self.fetch_gap(&room, &after.event_id, None).await,
            _ => Ok(0),
        }
    }

    async fn fetch_gap(
        &self,
        room: &Arc<Room>,
        event_id: &OwnedEventId,
        helper: Option<OwnedServerName>,
    ) -> Result<usize, Error> {
        let mut filled = 0;
        let filling = async {
            let _inbound = room.inbound.lock().await;
            let Some(after) = self.stored_event(event_id).await? else {
                return Ok(());
            };
            let least_depth = self.least_depth(room).await?;
            // Whoever made what comes after the gap knows what came before, but after a join of ours: then others do,
            // and those who made what is missing, if it is known who did.
            let author = |event: &StoredEvent| event.sender().server_name().to_owned();
            let known: Vec<_> = helper.into_iter().chain([author(&after)]).collect();
            for _ in 0..WIDTH / PAGE {
                let Some(gap) = self.gap_before(&after).await? else {
                    break;
                };
                let missing = self.stored_events(&gap.from).await?;
                let authors = missing.iter().map(|event| author(event));
                let likely: Vec<_> = known.iter().cloned().chain(authors).collect();
                let servers = self.helpers(room, &likely, 0, MAX_HELPERS).await?;
                let gap = Gap { least_depth, ..gap };
                match self.fetch_before(room, &gap, &servers, PAGE).await? {
                    0 => break,
                    added => filled += added,
                }
            }
            Ok::<_, Error>(())
        };
        within(&*self.seams.clock, PATIENCE, filling)
            .await
            .unwrap_or(Ok(()))?;
        Ok(filled)
    }

    /// What is missing before `after`; `None` if nothing is, or if no more fits there.
    async fn gap_before(&self, after: &Arc<StoredEvent>) -> Result<Option<Gap>, Error> {
        let Some(mut order) = after.decision.order else {
            return Ok(None);
        };
        let mut known = vec![after.clone()];
        // What fills the gap has the places next to the event, without a break.
        let mut last_before = None;
        while last_before.is_none() && known.len() <= WIDTH {
            let page = self.timeline_before(after.room_id(), order, PAGE).await?;
            last_before = Some(i64::MIN).filter(|_| page.len() < PAGE);
            for (place, event) in page {
                if place.saturating_add(1) < order {
                    last_before = Some(place);
                    break;
                }
                order = place;
                known.push(event);
            }
        }
        let Some(last_before) = last_before else {
            return Ok(None);
        };
        let free = order.saturating_sub(last_before).saturating_sub(1);
        let left = (WIDTH + 1).saturating_sub(known.len());
        let places = usize::try_from(free).unwrap_or(WIDTH).min(left);
        let from = self.missing_of(before(&known)).await?;
        let is_open = places > 0 && !from.is_empty();
        Ok(is_open.then_some(Gap {
            from,
            order: Some(order),
            places,
            least_depth: 0,
        }))
    }

    /// The least depth of what can be missing from the timeline.
    async fn least_depth(&self, room: &Arc<Room>) -> Result<u64, Error> {
        match self.was_here_before(room).await? {
            true => Ok(0),
            false => self.joined_depth(&room.room_id).await,
        }
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
}
