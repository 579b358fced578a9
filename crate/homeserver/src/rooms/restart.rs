//! A room that this server comes back to begins anew at the join: nothing that was known of it counts any more. Most
//! of that lies in the past of the join. What does not, as a ban of which the server that helped to join had not
//! heard, has to count again once others insist on it, although it is nothing new here.

use hearth_rooms::ordered;
use std::{collections::BTreeSet, sync::Arc};

use ruma_common::{EventId, OwnedEventId, RoomId};

use crate::{
    Error, Homeserver,
    rooms::{event::StoredEvent, room::Room},
};

/// How many events are looked through for whether one of them is in the past of the room as it is.
const MAX_SEEN: usize = 200;

impl Homeserver {
    /// Lets the stored event `event_id` count again which another server has sent once more, if it does not any more.
    ///
    /// # Errors
    /// [`Error::Store`], or [`Error::PartialState`] if the event has to wait until the room's members are known.
    pub(crate) async fn recall(&self, room: &Arc<Room>, event_id: &EventId) -> Result<(), Error> {
        let Some(event) = self.stored_event(event_id).await? else {
            return Ok(());
        };
        if !self.is_of_former_stay(&event) {
            return Ok(());
        }
        let mut change = self.change(room).await;
        if change.snapshot.members().local == 0
            || !self
                .is_beside(&change.snapshot.record.extremities, &event)
                .await?
        {
            return Ok(());
        }
        if change.snapshot.is_partial() {
            return Err(Error::PartialState);
        }
        let doubtful = change.add_extremity(&event, false).await?;
        change.advance_state().await?;
        change.forget_followed(&doubtful).await?;
        change.commit().await.map(drop)
    }

    /// Whether an event came to the timeline before any of those joined who are in the room now.
    fn is_of_former_stay(&self, event: &StoredEvent) -> bool {
        let Some(order) = event.decision.order.filter(|_| !event.is_refused()) else {
            return false;
        };
        self.stay_began(event.room_id())
            .is_some_and(|began| order < began.cast_signed())
    }

    /// The log position at which the first of those joined who are in the room now.
    pub(crate) fn stay_began(&self, room_id: &RoomId) -> Option<u64> {
        let members = self.local_members(room_id);
        let joined = members
            .iter()
            .filter_map(|user_id| self.user_membership(user_id, room_id)?.joined_at);
        joined.min()
    }

    /// Whether `event` is known not to be in the past of `heads`. Where that has a gap, it may be there.
    async fn is_beside(&self, heads: &[OwnedEventId], event: &StoredEvent) -> Result<bool, Error> {
        let mut seen: BTreeSet<_> = ordered::set(heads.iter().cloned());
        let mut open = heads.to_vec();
        while !open.is_empty() {
            if seen.contains(&event.event_id) || seen.len() > MAX_SEEN {
                return Ok(false);
            }
            let known = self.stored_events(&open).await?;
            if known.len() < open.len() {
                return Ok(false);
            }
            // What is no deeper than the event, and came before it, does not follow it. Who sent it may lie about the depth.
            let later = known
                .iter()
                .filter(|known| known.depth() > event.depth() || known.decision.order > event.decision.order);
            let prev = later.flat_map(|known| known.pdu.prev_events().to_vec());
            open = prev.filter(|id| seen.insert(id.clone())).collect();
        }
        Ok(!seen.contains(&event.event_id))
    }
}
