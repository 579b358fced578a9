//! Which events others relate to, as a filter may ask. Spec: MSC3440, section 'Event filters'.
//!
//! An event passes that has a child of one of the types from one of the senders, which the user may see. An empty
//! list asks for nothing, as in Synapse.

use std::sync::Arc;

use futures::future::try_join_all;
use ruma_common::UserId;

use super::index::Child;
use crate::{Error, Homeserver, messages::PageDirection, rooms::event::StoredEvent, sync::EventFilter};

/// How many children of an event are read at once.
const SLICE: usize = 50;
/// How many times: of what more children there are none is looked at.
const MAX_SLICES: usize = 20;
/// The children of how many events are read side by side.
const AT_ONCE: usize = 64;

impl Homeserver {
    /// Those of `events` that have such children as `filter` asks for; all, if it asks for none.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(crate) async fn related(
        &self,
        user_id: &UserId,
        events: Vec<Arc<StoredEvent>>,
        filter: &EventFilter,
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        if filter.related_by_senders.is_empty() && filter.related_by_rel_types.is_empty() {
            return Ok(events);
        }
        let mut kept = Vec::new();
        for events in events.chunks(AT_ONCE) {
            let asked = events.iter().map(|event| self.is_related(user_id, event, filter));
            let answers = try_join_all(asked).await?.into_iter().zip(events);
            kept.extend(
                answers
                    .filter(|(is_related, _)| *is_related)
                    .map(|(_, event)| event.clone()),
            );
        }
        Ok(kept)
    }

    async fn is_related(
        &self,
        user_id: &UserId,
        event: &StoredEvent,
        filter: &EventFilter,
    ) -> Result<bool, Error> {
        let rel_type = match &filter.related_by_rel_types[..] {
            [only] => only,
            _ => "",
        };
        let mut end = i64::MAX;
        for _ in 0..MAX_SLICES {
            let span = (i64::MIN, end);
            let slice = self
                .children(
                    event.room_id(),
                    &event.event_id,
                    rel_type,
                    PageDirection::Backward,
                    span,
                    SLICE,
                )
                .await?;
            let wanted = slice.iter().filter(|(_, child)| filter.asks_for(child));
            let wanted: Vec<_> = wanted.map(|(_, child)| child.event_id.clone()).collect();
            let children = self.stored_events(&wanted).await?;
            if !self.visible_events(user_id, children).await?.is_empty() {
                return Ok(true);
            }
            match slice.last() {
                Some((order, _)) if slice.len() == SLICE => end = *order,
                _ => break,
            }
        }
        Ok(false)
    }
}

impl EventFilter {
    /// Whether an event with such a child passes.
    fn asks_for(&self, child: &Child) -> bool {
        let (senders, rel_types) = (&self.related_by_senders, &self.related_by_rel_types);
        (senders.is_empty() || senders.contains(&child.sender))
            && (rel_types.is_empty() || rel_types.contains(&child.rel_type))
    }
}
