//! Finding the events of rooms that have all words of a search.
//!
//! What is found is bounded: the newest events, if there are too many.

use std::{collections::HashMap, sync::Arc};

use hearth_storage::{Direction, Table};
use ruma_common::{OwnedRoomId, RoomId};

use super::{
    filling::BLOCK,
    index::{Mark, decode, word_range},
    posting::Posting,
    words::{Words, words_of},
};
use crate::{Error, Homeserver, rooms::event::StoredEvent};

/// The most words of a search that count.
const MAX_TERMS: usize = 16;
/// The most rows of one word in one room that are read: the newest, of up to a block of events each.
const MAX_ROWS: usize = 2_000;
/// The most events that are found.
const MAX_HITS: usize = 10_000;
/// How many events of a room are put into the index before a search, at the least.
const FEW: usize = 32;
/// The most blocks of events that a search puts into the index before it; the rest follows in the background.
const MAX_BLOCKS: usize = 16;

/// An event that has all words.
#[derive(Clone, Debug)]
pub(super) struct Hit {
    /// Which of the rooms it is in.
    pub(super) room: usize,
    /// Its place in the timeline.
    pub(super) order: i64,
    /// How often it has each of the terms.
    pub(super) counts: Vec<u64>,
    /// How many words it has.
    pub(super) length: u64,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The words looked for.
    pub(super) terms: Vec<String>,
    /// The events, in no order.
    pub(super) hits: Vec<Hit>,
    /// In how many events each of the terms was seen.
    pub(super) seen: Vec<u64>,
    /// How many events with words the rooms have.
    pub(super) events: u64,
    /// How many words they have.
    pub(super) words: u64,
}

impl Homeserver {
    /// The events of `rooms` that have all words of `text`.
    pub(super) async fn matching(&self, rooms: &[OwnedRoomId], text: &str) -> Result<Found, Error> {
        let mut terms: Vec<_> = Words::of(text).counts.into_keys().take(MAX_TERMS).collect();
        // Long words are rare, mostly: what lacks the first need not be asked for the others.
        terms.sort_by_key(|term| std::cmp::Reverse(term.len()));
        let mut found = Found {
            seen: vec![0; terms.len()],
            terms,
            ..Found::default()
        };
        if found.terms.is_empty() {
            return Ok(found);
        }
        for (room, room_id) in rooms.iter().enumerate() {
            self.fill_room(room_id, FEW, MAX_BLOCKS).await?;
            let mark = self.search_mark(room_id).await?;
            found.events += mark.events;
            found.words += mark.words;
            self.match_index(room, room_id, &mark, &mut found).await?;
            self.match_rest(room, room_id, &mark, &mut found).await?;
            found.shrink(2 * MAX_HITS);
        }
        // What came to the index meanwhile was found there and in the timeline.
        found.hits.sort_by_key(|hit| (hit.room, hit.order));
        found.hits.dedup_by_key(|hit| (hit.room, hit.order));
        found.shrink(MAX_HITS);
        Ok(found)
    }

    /// Adds what the index has.
    async fn match_index(
        &self,
        room: usize,
        room_id: &RoomId,
        mark: &Mark,
        found: &mut Found,
    ) -> Result<(), Error> {
        if mark.span.is_none() {
            return Ok(());
        }
        let mut hits = HashMap::<i64, Hit>::new();
        for (number, term) in found.terms.iter().enumerate() {
            let postings = self.postings(room_id, term).await?;
            if let Some(seen) = found.seen.get_mut(number) {
                *seen += postings.len() as u64;
            }
            hits = match number {
                0 => postings
                    .iter()
                    .map(|posting| (posting.order, Hit::new(room, posting)))
                    .collect(),
                _ => both(hits, &postings),
            };
            if hits.is_empty() {
                return Ok(());
            }
        }
        found.hits.extend(hits.into_values());
        Ok(())
    }

    /// Where a word is found in a room.
    async fn postings(&self, room_id: &RoomId, word: &str) -> Result<Vec<Posting>, Error> {
        let range = word_range(room_id, word);
        let rows = self
            .seams
            .store
            .scan(Table::Search, range, Direction::Backward, MAX_ROWS)
            .await?;
        let mut postings = Vec::new();
        for (key, row) in &rows {
            postings.extend(decode(key, row)?.1);
        }
        Ok(postings)
    }

    /// Adds what is not in the index yet, from the timeline.
    async fn match_rest(
        &self,
        room: usize,
        room_id: &RoomId,
        mark: &Mark,
        found: &mut Found,
    ) -> Result<(), Error> {
        let rest = self.rest(room_id, mark).await?;
        if rest.len() >= BLOCK {
            self.gained_events(room_id, rest.len());
        }
        for event in rest {
            let words = words_of(&event);
            if words.length == 0 {
                continue;
            }
            found.events += 1;
            found.words += words.length;
            let counts = found
                .terms
                .iter()
                .map(|term| words.counts.get(term).copied().unwrap_or_default());
            let counts: Vec<_> = counts.collect();
            for (seen, count) in found.seen.iter_mut().zip(&counts) {
                *seen += u64::from(*count > 0);
            }
            let order = event
                .decision
                .order
                .filter(|_| counts.iter().all(|count| *count > 0));
            found.hits.extend(order.map(|order| Hit {
                room,
                order,
                counts,
                length: words.length,
            }));
        }
        Ok(())
    }

    /// The events of a room that are not in the index: few, unless it is far behind.
    async fn rest(&self, room_id: &RoomId, mark: &Mark) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let last = mark.span.map_or(i64::MIN, |(_, last)| last);
        let mut rest = self.timeline_after(room_id, last, BLOCK).await?;
        if let Some((first, _)) = mark.span {
            rest.extend(self.timeline_before(room_id, first, FEW).await?);
        }
        let mut events: Vec<_> = rest.into_iter().map(|(_, event)| event).collect();
        if !mark.loose.is_empty() {
            events.extend(self.loose_events(room_id, mark).await?);
        }
        Ok(events)
    }
}

/// Those of `hits` that `postings` have too.
fn both(mut hits: HashMap<i64, Hit>, postings: &[Posting]) -> HashMap<i64, Hit> {
    let in_both = postings.iter().filter_map(|posting| {
        let mut hit = hits.remove(&posting.order)?;
        hit.counts.push(posting.count);
        Some((posting.order, hit))
    });
    in_both.collect()
}

impl Hit {
    /// Its room, of those that were searched, and its place there.
    pub(super) fn place<'a>(&self, rooms: &'a [OwnedRoomId]) -> Option<(&'a RoomId, i64)> {
        Some((rooms.get(self.room)?, self.order))
    }

    /// Which of `events`, of the `rooms` that were searched, it is.
    pub(super) fn among<'a>(
        &self,
        rooms: &[OwnedRoomId],
        events: &'a [Arc<StoredEvent>],
    ) -> Option<&'a Arc<StoredEvent>> {
        let (room_id, order) = self.place(rooms)?;
        events
            .iter()
            .find(|event| event.decision.order == Some(order) && event.room_id() == room_id)
    }

    fn new(room: usize, posting: &Posting) -> Self {
        Self {
            room,
            order: posting.order,
            counts: vec![posting.count],
            length: posting.length,
        }
    }
}

impl Found {
    /// Forgets the oldest, if they are more than `limit`.
    fn shrink(&mut self, limit: usize) {
        if self.hits.len() > limit {
            self.hits.sort_by_key(|hit| std::cmp::Reverse(hit.order));
            self.hits.truncate(MAX_HITS);
        }
    }
}
