//! The state that an answer of `/sync` holds beside the timeline.
//!
//! A client applies the state first and the timeline after it. So the state is what it must know that the
//! timeline does not tell: for a state event of the timeline, the event that it replaced.

use std::{collections::BTreeSet, sync::Arc};

use super::{filter::EventFilter, timeline::Window};
use crate::{
    Error, Homeserver,
    rooms::{
        event::StoredEvent,
        room::Snapshot,
        tree::{Nodes, empty_root},
    },
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

/// The state to be told of a room.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    /// The room.
    pub(super) snapshot: &'a Snapshot,
    /// The events before which the state is told; `None` if it is told as of after them.
    pub(super) window: Option<&'a Window>,
    /// The place in the timeline after which nothing is told.
    pub(super) upto: i64,
    /// How much of it.
    pub(super) extent: Extent,
    /// Whose memberships belong to the whole state; `None` if everybody's.
    pub(super) members: Option<&'a BTreeSet<String>>,
    /// What else to leave out.
    pub(super) filter: Option<&'a EventFilter>,
}

impl Homeserver {
    /// The state of `scope`.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(super) async fn state_beside(&self, scope: &Scope<'_>) -> Result<Vec<Arc<StoredEvent>>, Error> {
        if scope.extent != Extent::Whole && scope.window.is_some_and(|window| !window.is_partial) {
            return Ok(Vec::new());
        }
        let ids = scope.window.map(Window::ids).unwrap_or_default();
        let present = match scope.extent {
            Extent::Whole => self.present_state(scope).await?,
            Extent::Since(place) => self.changed_since(scope.snapshot, place).await?,
        };
        let later = |event: &StoredEvent| event.decision.order.is_some_and(|order| order > scope.upto);
        let at_end = self.before(scope.extent, present, later).await?.into_iter();
        let (told, mut beside): (Vec<_>, Vec<_>) = at_end.partition(|event| ids.contains(&*event.event_id));
        if let Some(window) = scope.window {
            beside.extend(self.before_window(scope.extent, window, told).await?);
        }
        Ok(beside)
    }

    /// What the state events `told`, of a timeline, replaced in the state before it.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(super) async fn before_window(
        &self,
        extent: Extent,
        window: &Window,
        told: Vec<Arc<StoredEvent>>,
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        // What came and went within the timeline is not the state before it, even if the user may not see it there.
        let begin = window.events.first().and_then(|event| event.decision.order);
        let within = |event: &StoredEvent| event.decision.order >= begin;
        self.before(extent, told, within).await
    }

    /// `events`, but for those that are `passed`: for these what they replaced, as far back as is not.
    async fn before(
        &self,
        extent: Extent,
        mut events: Vec<Arc<StoredEvent>>,
        passed: impl Fn(&StoredEvent) -> bool,
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let mut reached = Vec::new();
        for _ in 0..MAX_CHANGES {
            let untold = events.into_iter().filter(|event| extent.has(event));
            let (passed, rest): (Vec<_>, Vec<_>) = untold.partition(|event| passed(event));
            reached.extend(rest);
            if passed.is_empty() {
                break;
            }
            let replaced = passed.iter().filter_map(|event| event.decision.replaces.clone());
            events = self.stored_events(&replaced.collect::<Vec<_>>()).await?;
        }
        Ok(reached)
    }

    /// The whole present state, as far as it is wanted.
    async fn present_state(&self, scope: &Scope<'_>) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let root = &scope.snapshot.record.state;
        let wanted = |kind: &str| scope.filter.is_none_or(|filter| filter.allows_type(kind));
        match scope.members {
            Some(users) => {
                let all = scope.snapshot.members().all;
                self.state_with_members(root, Some(all), users, wanted).await
            }
            None => self.whole_state(root, wanted).await,
        }
    }

    /// What is in the present state and was not when the timeline had come to `place`, and perhaps more.
    async fn changed_since(&self, snapshot: &Snapshot, place: i64) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let next = place.saturating_add(1);
        let last = self.timeline_before(&snapshot.room_id, next, 1).await?.pop();
        let before = last.and_then(|(_, event)| {
            let decision = &event.decision;
            decision
                .state_now
                .clone()
                .or_else(|| decision.state_before.clone())
        });
        let before = before.unwrap_or_else(empty_root);
        let changes = self
            .tree_difference(&before, &snapshot.record.state, &Nodes::default())
            .await?;
        let ids: Vec<_> = changes.into_iter().filter_map(|change| change.after).collect();
        self.stored_events(&ids).await
    }
}

impl Extent {
    /// Whether `event`, of the present state or replaced since, belongs to what is told.
    fn has(self, event: &StoredEvent) -> bool {
        match self {
            Self::Whole => true,
            Self::Since(place) => event.decision.order.is_some_and(|order| order > place),
        }
    }
}
