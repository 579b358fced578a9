//! The state that an answer of `/sync` holds beside the timeline.
//!
//! A client applies the state first and the timeline after it. So the state is what it must know that the
//! timeline does not tell: for a state event of the timeline, the event that it replaced.

use std::{collections::BTreeSet, sync::Arc};

use ruma_common::{EventId, OwnedEventId};

use super::timeline::Window;
use crate::{
    Error, Homeserver,
    rooms::{event::StoredEvent, room::CurrentState},
};

/// How often the same state may change within one answer and still be followed back.
const MAX_CHANGES: usize = 256;

/// Which state an answer needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it.
    Whole,
    /// What changed after a place of the timeline.
    Since(i64),
}

impl Homeserver {
    /// The state of `extent` as it was before the events of `window` (`None`: with them), none of it from after
    /// `upto`.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(super) async fn state_beside(
        &self,
        state: &CurrentState,
        window: Option<&Window>,
        upto: i64,
        extent: Extent,
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let untold = |event: &StoredEvent| match extent {
            Extent::Whole => true,
            Extent::Since(place) => event.decision.order.is_some_and(|order| order > place),
        };
        if extent != Extent::Whole && window.is_some_and(|window| !window.is_partial) {
            return Ok(Vec::new());
        }
        let ids = window.map(Window::ids).unwrap_or_default();
        let mut beside = Vec::new();
        let mut replaced = sort(
            state.iter().filter(|event| untold(event)).cloned(),
            &ids,
            upto,
            &mut beside,
        );
        for _ in 0..MAX_CHANGES {
            if replaced.is_empty() {
                break;
            }
            let events = self.stored_events(&replaced).await?;
            let events = events.into_iter().filter(|event| untold(event));
            replaced = sort(events, &ids, upto, &mut beside);
        }
        Ok(beside)
    }
}

/// Puts events that are neither in the window nor after `upto` into `beside`; returns what the others replaced.
fn sort(
    events: impl Iterator<Item = Arc<StoredEvent>>,
    window: &BTreeSet<&EventId>,
    upto: i64,
    beside: &mut Vec<Arc<StoredEvent>>,
) -> Vec<OwnedEventId> {
    let mut replaced = Vec::new();
    for event in events {
        let later = event.decision.order.is_some_and(|order| order > upto);
        if later || window.contains(&*event.event_id) {
            replaced.extend(event.decision.replaces.clone());
        } else {
            beside.push(event);
        }
    }
    replaced
}
