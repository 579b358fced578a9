//! What was taken in under a partial state, looked at again under the whole one.
//!
//! The events are gone through in the order in which they came, as if they came only now: each gets the state
//! before it anew and is judged by it. What is no longer allowed leaves the timeline; what was held back and is
//! allowed comes to its end.

use std::sync::Arc;

use hearth_storage::Table;
use ruma_common::OwnedEventId;

use crate::{
    Error,
    rooms::{
        admit::Outcome,
        change::Change,
        event::{Decision, StoredEvent},
        partial::partial_key,
    },
};

/// How many events are looked at before others get their turn.
const SLICE: usize = 20;

impl Change<'_> {
    /// Makes the state whole: `root` is that before the join, `taken_in` are the events since, the join first,
    /// with the keys of their rows.
    pub(crate) async fn make_whole(
        &mut self,
        root: String,
        taken_in: Vec<(Vec<u8>, OwnedEventId)>,
    ) -> Result<(), Error> {
        self.snapshot.record.partial = None;
        self.snapshot.record.extremities.clear();
        self.snapshot.record.state = root;
        for slice in taken_in.chunks(SLICE) {
            for (key, event_id) in slice {
                self.batch.delete(Table::Federation, key.clone());
                let event = self.known_events(std::slice::from_ref(event_id)).await?.pop();
                let event = event.ok_or_else(|| Error::Damaged("an event taken in is missing".into()))?;
                self.recheck(&event).await?;
            }
            self.homeserver().give_way().await;
        }
        let key = partial_key(&self.snapshot.room_id);
        self.batch.delete(Table::Federation, key);
        self.becomes_whole = true;
        Ok(())
    }

    async fn recheck(&mut self, event: &Arc<StoredEvent>) -> Result<(), Error> {
        let is_join = self.snapshot.record.extremities.is_empty();
        let current = self.snapshot.record.state.clone();
        let prev = event.pdu.prev_events();
        // What it follows may be missing, or have come after it.
        let is_told = !event.decision.partial
            && (self.is_partial_at(&event.pdu).await? || self.states_after(prev).await?.len() < prev.len());
        let told = event.decision.state_before.as_ref();
        let told = told.filter(|_| !is_join && is_told);
        let (root, now) = match told {
            Some(root) => (root.clone(), self.state_beside(root).await?),
            None if is_join => (current.clone(), current),
            None => (self.state_at_prev(&event.pdu).await?, current),
        };
        // The whole state was seen to allow the join before anything else was done with it.
        let outcome = match is_join {
            true => Outcome::Accepted,
            false => {
                self.judge(&event.pdu.clone().with_rejected(false), &root, false, &now)
                    .await?
            }
        };
        let order = event.decision.order;
        if outcome != Outcome::Accepted {
            self.take_out(event);
        }
        let event = event.decided(Decision {
            state_before: Some(root),
            state_now: None,
            partial: false,
            rejected: matches!(outcome, Outcome::Rejected(_)),
            soft_failed: matches!(outcome, Outcome::SoftFailed(_)),
            order: order.filter(|_| outcome == Outcome::Accepted),
            ..event.decision.clone()
        });
        if outcome != Outcome::Accepted {
            tracing::info!(event_id = %event.event_id, ?outcome, "an event is not allowed by the whole state");
            self.keep(event);
            return Ok(());
        }
        let doubtful = self.add_extremity(&event, told.is_some()).await?;
        match order {
            Some(_) => self.keep(event),
            None => {
                self.append_remote(event, std::collections::BTreeSet::new())
                    .await?
            }
        }
        self.advance_state().await?;
        self.forget_followed(&doubtful).await
    }
}
