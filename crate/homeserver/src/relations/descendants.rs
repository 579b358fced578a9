//! Children, their children, and so on: what is found by following relations. Spec: Client-Server API, section
//! 'Querying relationships'.
//!
//! The index knows children by their parents only, so relations are followed, [`MAX_DEPTH`] levels deep, which takes time in
//! proportion to the number of events above the last level, with others' turns in between. The places of what was
//! found last are kept until anything changes in the room: who reads page after page follows once. There are places of
//! [`MAX_KEPT`] in memory at most; of more descendants only those that lie nearest to where the page begins are found.

use std::sync::{Arc, Weak};

use futures::future::try_join_all;
use ruma_common::{EventId, OwnedEventId, OwnedRoomId, RoomId};

use super::children::{Placed, RelationsRequest, Span};
use crate::{Error, Homeserver, cache::Cache, messages::PageDirection, rooms::room::Snapshot};

/// How far relations are followed.
pub(super) const MAX_DEPTH: u64 = 3;
/// The most places that are found, at eight bytes.
const MAX_KEPT: usize = 50_000;
/// About how many bytes of places are kept.
const CACHED_BYTES: usize = 1 << 20;
/// About how many bytes what is kept takes beside the places.
const WEIGHT: usize = 512;
/// How many children of one event are read at once.
const SLICE: usize = 100;
/// The children of how many events are read side by side.
const AT_ONCE: usize = 64;
/// All places.
const EVERYWHERE: Span = (i64::MIN, i64::MAX);

/// The places of descendants of an event, in order.
#[derive(Clone)]
pub(super) struct Descendants {
    places: Arc<Vec<i64>>,
    /// Whether those are left out that lie farthest from where the page begins.
    pub(super) is_cut: bool,
}

/// Whose descendants were followed, and of which type of relation and event.
type Followed = (OwnedRoomId, OwnedEventId, Option<String>, Option<String>);

/// What was found last, and when: a room that has changed has another snapshot.
pub(crate) struct DescendantCache {
    found: Cache<Followed, (Weak<Snapshot>, Descendants)>,
}

impl Default for DescendantCache {
    fn default() -> Self {
        Self {
            found: Cache::new(CACHED_BYTES),
        }
    }
}

/// The places that were found so far, and lie nearest to one end of a span.
struct Nearest {
    direction: PageDirection,
    /// Where those lie that are asked for; once some are left out, only those that are nearer.
    span: Span,
    limit: usize,
    places: Vec<i64>,
    is_cut: bool,
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
    /// The descendants of `event_id` that `request` asks for; if they are too many, those that lie nearest to where it
    /// begins in `span`.
    pub(super) async fn descendants(
        &self,
        room_id: &RoomId,
        event_id: &EventId,
        request: &RelationsRequest,
        span: Span,
    ) -> Result<Descendants, Error> {
        let room = self.known_room(room_id).await?;
        let snapshot = Arc::downgrade(&room.snapshot());
        let (rel_type, kind) = (request.rel_type.clone(), request.kind.clone());
        let followed = (room_id.to_owned(), event_id.to_owned(), rel_type, kind);
        let kept = self.descendants.found.get(&followed);
        if let Some((_, kept)) = kept.filter(|(then, _)| then.ptr_eq(&snapshot)) {
            return Ok(kept);
        }
        let all = self.follow(room_id, event_id, request, EVERYWHERE).await?;
        if all.is_cut {
            return self.follow(room_id, event_id, request, span).await;
        }
        let names = [&followed.2, &followed.3];
        let names: usize = names.into_iter().flatten().map(String::len).sum();
        let weight = WEIGHT + names + all.places.len() * size_of::<i64>();
        self.descendants
            .found
            .put(followed, (snapshot, all.clone()), weight);
        Ok(all)
    }

    async fn follow(
        &self,
        room_id: &RoomId,
        event_id: &EventId,
        request: &RelationsRequest,
        span: Span,
    ) -> Result<Descendants, Error> {
        let mut found = Nearest::new(request.direction, span, MAX_KEPT);
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
                    if request.allows(&child) {
                        found.offer(order);
                    }
                    if depth < MAX_DEPTH {
                        branches.push(Branch::new(child.event_id, depth + 1));
                    }
                }
            }
            self.give_way().await;
        }
        Ok(found.end())
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

impl Nearest {
    fn new(direction: PageDirection, span: Span, limit: usize) -> Self {
        Self {
            direction,
            span,
            limit,
            places: Vec::new(),
            is_cut: false,
        }
    }

    /// Keeps `place` if it is in the span.
    fn offer(&mut self, place: i64) {
        if place < self.span.0 || place >= self.span.1 {
            return;
        }
        self.places.push(place);
        if self.places.len() > 2 * self.limit {
            self.cut();
        }
    }

    /// Puts the places into order, and leaves out the farthest if there are too many.
    fn cut(&mut self) {
        self.places.sort_unstable();
        self.places.dedup();
        let surplus = self.places.len().saturating_sub(self.limit);
        if surplus == 0 {
            return;
        }
        self.is_cut = true;
        match self.direction {
            PageDirection::Backward => drop(self.places.drain(..surplus)),
            PageDirection::Forward => self.places.truncate(self.limit),
        }
        match (self.direction, &self.places[..]) {
            (PageDirection::Backward, [first, ..]) => self.span.0 = *first,
            (PageDirection::Forward, [.., last]) => self.span.1 = last.saturating_add(1),
            (_, []) => {}
        }
    }

    fn end(mut self) -> Descendants {
        self.cut();
        Descendants {
            places: Arc::new(self.places),
            is_cut: self.is_cut,
        }
    }
}

impl Descendants {
    /// The next `limit` places of `span`.
    pub(super) fn page(&self, direction: PageDirection, (first, end): Span, limit: usize) -> Vec<i64> {
        let upto = |place| self.places.partition_point(|other| *other < place);
        let range = self.places.get(upto(first)..upto(end)).unwrap_or_default();
        match direction {
            PageDirection::Backward => range.iter().rev().take(limit).copied().collect(),
            PageDirection::Forward => range.iter().take(limit).copied().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The places of `span` in pages of three, found anew for each with at most five in memory.
    fn read(direction: PageDirection, mut span: Span) -> Vec<i64> {
        let mut read = Vec::new();
        for _ in 0..20 {
            let mut nearest = Nearest::new(direction, span, 5);
            // 0 to 39 in some order, some of them twice.
            (0..60).for_each(|number| nearest.offer(number * 7 % 40));
            let found = nearest.end();
            assert!(found.places.len() <= 5);
            let page = found.page(direction, span, 3);
            if page.is_empty() {
                assert!(!found.is_cut);
                break;
            }
            read.extend(&page);
            match (direction, read.last()) {
                (PageDirection::Backward, Some(last)) => span.1 = *last,
                (PageDirection::Forward, Some(last)) => span.0 = last + 1,
                (_, None) => {}
            }
        }
        read
    }

    #[test]
    fn what_does_not_fit_is_found_by_a_later_page() {
        let all: Vec<_> = (0..40).collect();
        assert_eq!(read(PageDirection::Forward, EVERYWHERE), all);
        assert_eq!(read(PageDirection::Forward, (10, 31)), all[10..31]);
        let backward: Vec<_> = all.iter().rev().copied().collect();
        assert_eq!(read(PageDirection::Backward, EVERYWHERE), backward);
        assert_eq!(read(PageDirection::Backward, (10, 31)), backward[9..30]);
        assert_eq!(read(PageDirection::Backward, (31, 10)), [0; 0]);
    }
}
