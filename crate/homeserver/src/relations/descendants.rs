//! Children, their children, and so on: what is found by following relations. Spec: Client-Server API, section
//! 'Querying relationships'.
//!
//! The index knows children by their parents only, so that every page follows all relations again. That takes time in
//! proportion to the number of events above the last level, with others' turns in between. It does *not* take
//! memory for them: kept are those few that lie nearest to where the page begins.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use ruma_common::{EventId, OwnedEventId, RoomId};

use super::{
    children::{Placed, RelationsRequest, Span},
    index::Child,
};
use crate::{Error, Homeserver, messages::PageDirection};

/// How far relations are followed.
pub(super) const MAX_DEPTH: u64 = 3;
/// The most events that are kept.
const MAX_KEPT: usize = 500;
/// How many children of one event are read at once.
const SLICE: usize = 100;
/// The children of how many events are read side by side.
const AT_ONCE: usize = 64;

/// The descendants of an event that lie nearest to one end of a span.
pub(super) struct Descendants {
    direction: PageDirection,
    /// Where those lie that are asked for; once some are left out, only those that are nearer.
    span: Span,
    kept: BTreeMap<i64, Child>,
    /// Whether some of the span are left out.
    pub(super) is_cut: bool,
}

/// An event whose children are to be read.
struct Branch {
    parent: OwnedEventId,
    /// How far its children are from the event at the top.
    depth: u64,
    /// Children before this place were read.
    from: i64,
}

impl Homeserver {
    /// The descendants of `event_id` that `request` asks for and that lie nearest to where it begins in `span`.
    pub(super) async fn descendants(
        &self,
        room_id: &RoomId,
        event_id: &EventId,
        request: &RelationsRequest,
        span: Span,
    ) -> Result<Descendants, Error> {
        let mut found = Descendants::new(request.direction, span);
        let mut branches = vec![Branch::new(event_id.to_owned(), 1)];
        while !branches.is_empty() {
            // The deepest are last, so that few wait.
            let some = branches.split_off(branches.len().saturating_sub(AT_ONCE));
            let read = |branch| self.slice(room_id, branch, found.span);
            let slices: Vec<_> = some.iter().map(read).collect();
            let slices = try_join_all(slices).await?;
            for (branch, slice) in some.into_iter().zip(slices) {
                let depth = branch.depth;
                branches.extend(branch.after(&slice));
                for (order, child) in slice {
                    // Events of the first room versions have ids of their servers' choice, and may go in circles.
                    if child.event_id == event_id {
                        continue;
                    }
                    if depth < MAX_DEPTH {
                        branches.push(Branch::new(child.event_id.clone(), depth + 1));
                    }
                    if request.allows(&child) {
                        found.offer(order, child);
                    }
                }
            }
            self.give_way().await;
        }
        Ok(found)
    }

    /// The next children of `branch`; of those that are not followed only what lies in `span`.
    async fn slice(
        &self,
        room_id: &RoomId,
        branch: &Branch,
        (first, end): Span,
    ) -> Result<Vec<Placed>, Error> {
        let span = match branch.depth < MAX_DEPTH {
            true => (branch.from, i64::MAX),
            false => (branch.from.max(first), end),
        };
        self.children(room_id, &branch.parent, "", PageDirection::Forward, span, SLICE)
            .await
    }
}

impl Branch {
    fn new(parent: OwnedEventId, depth: u64) -> Self {
        Self {
            parent,
            depth,
            from: i64::MIN,
        }
    }

    /// What is left of the branch after `slice`.
    fn after(self, slice: &[Placed]) -> Option<Self> {
        let (last, _) = slice.last().filter(|_| slice.len() == SLICE)?;
        let from = last.saturating_add(1);
        Some(Self { from, ..self })
    }
}

impl Descendants {
    fn new(direction: PageDirection, span: Span) -> Self {
        Self {
            direction,
            span,
            kept: BTreeMap::new(),
            is_cut: false,
        }
    }

    /// Keeps `child` if it is in the span, in place of the farthest if there are too many.
    fn offer(&mut self, order: i64, child: Child) {
        let (first, end) = self.span;
        if order < first || order >= end {
            return;
        }
        self.kept.insert(order, child);
        if self.kept.len() <= MAX_KEPT {
            return;
        }
        self.is_cut = true;
        match self.direction {
            PageDirection::Backward => {
                self.kept.pop_first();
                self.span.0 = self.kept.keys().next().copied().unwrap_or(first);
            }
            PageDirection::Forward => {
                self.span.1 = self.kept.pop_last().map_or(end, |(order, _)| order);
            }
        }
    }

    /// The next `limit` that are kept of `span`.
    pub(super) fn page(&self, (first, end): Span, limit: usize) -> Vec<Placed> {
        if first >= end {
            return Vec::new();
        }
        let placed = |(order, child): (&i64, &Child)| (*order, child.clone());
        let range = self.kept.range(first..end);
        match self.direction {
            PageDirection::Backward => range.rev().take(limit).map(placed).collect(),
            PageDirection::Forward => range.take(limit).map(placed).collect(),
        }
    }
}
