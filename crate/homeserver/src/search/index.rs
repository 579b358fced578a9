//! The rows of the index, and how a change of a room's timeline changes them.
//!
//! Rows in `Table::Search`: `m` room is a [`Mark`]; `w` room `\0` word `\0` place holds the postings of a word in one
//! block of events, of which the last has that place. Whoever changes rows of a room holds [`Filling`]'s lock.

use std::collections::HashMap;

use async_lock::MutexGuardArc;
use hearth_storage::{Direction, KeyRange, Table, WriteBatch};
use ruma_common::{OwnedRoomId, RoomId};
use serde::{Deserialize, Serialize};

use super::{
    posting::{Posting, pack, unpack},
    words::{text_of, words_of},
};
use crate::{
    Error, Homeserver,
    rooms::event::StoredEvent,
    stored::{from_slice, to_vec},
};

/// How many rows of a word are looked through for one event.
const MAX_ROWS: usize = 1_000;
/// How many of them at once.
const PAGE: usize = 4;

/// Which part of a room's timeline is in the index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// The first and the last place; all between them that is not loose is in the index.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub(super) span: Option<(i64, i64)>,
    /// Places between them that were filled later.
    #[serde(rename = "l", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) loose: Vec<i64>,
    /// How many events with words are in the index.
    #[serde(rename = "n", default)]
    pub(super) events: u64,
    /// How many words they have.
    #[serde(rename = "w", default)]
    pub(super) words: u64,
}

impl Mark {
    /// Whether the event at that place is in the index, if it has words.
    fn has(&self, order: i64) -> bool {
        self.spans(order) && !self.loose.contains(&order)
    }

    fn spans(&self, order: i64) -> bool {
        self.span
            .is_some_and(|(first, last)| (first..=last).contains(&order))
    }
}

/// A change of the index that goes with a change of a room. Nobody else changes the index until it is dropped.
pub(crate) struct SearchChange {
    room_id: OwnedRoomId,
    before: Mark,
    mark: Mark,
    /// Rows that it changes, with the places that their keys end with.
    rows: HashMap<Vec<u8>, (i64, Vec<Posting>)>,
    guard: MutexGuardArc<()>,
}

impl Homeserver {
    /// Begins to change the index of a room: `removed` leave it, as they were stored.
    pub(crate) async fn search_change(
        &self,
        room_id: &RoomId,
        removed: &[std::sync::Arc<StoredEvent>],
    ) -> Result<SearchChange, Error> {
        let guard = self.search.lock().await;
        let mark = self.search_mark(room_id).await?;
        let mut change = SearchChange {
            room_id: room_id.to_owned(),
            before: mark.clone(),
            mark,
            rows: HashMap::new(),
            guard,
        };
        for event in removed {
            self.take_words(&mut change, event).await?;
        }
        Ok(change)
    }

    /// Takes the words of `event` out of the index.
    async fn take_words(&self, change: &mut SearchChange, event: &StoredEvent) -> Result<(), Error> {
        let Some(order) = event.decision.order.filter(|order| change.mark.has(*order)) else {
            return Ok(());
        };
        let words = words_of(event);
        if words.length == 0 {
            return Ok(());
        }
        change.mark.events = change.mark.events.saturating_sub(1);
        change.mark.words = change.mark.words.saturating_sub(words.length);
        for word in words.counts.keys() {
            self.take_posting(change, word, order).await?;
        }
        Ok(())
    }

    /// Takes a posting out of the row that has it: one of those whose last place is not before it.
    async fn take_posting(&self, change: &mut SearchChange, word: &str, order: i64) -> Result<(), Error> {
        let mut range = word_range(&change.room_id, word);
        range.start = std::ops::Bound::Included(row_key(&change.room_id, word, order));
        for _ in 0..MAX_ROWS / PAGE {
            let rows = self
                .seams
                .store
                .scan(Table::Search, range.clone(), Direction::Forward, PAGE)
                .await?;
            for (key, row) in &rows {
                let (end, postings) = match change.rows.get(key) {
                    Some(changed) => changed.clone(),
                    None => decode(key, row)?,
                };
                if postings.iter().any(|posting| posting.order == order) {
                    let left = postings.into_iter().filter(|posting| posting.order != order);
                    change.rows.insert(key.clone(), (end, left.collect()));
                    return Ok(());
                }
            }
            match rows.last() {
                Some((key, _)) if rows.len() == PAGE => range.start = std::ops::Bound::Excluded(key.clone()),
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// Which part of a room's timeline is in the index.
    pub(super) async fn search_mark(&self, room_id: &RoomId) -> Result<Mark, Error> {
        let row = self.seams.store.get(Table::Search, &mark_key(room_id)).await?;
        row.map_or_else(|| Ok(Mark::default()), |row| from_slice(&row))
    }
}

impl SearchChange {
    /// Notes an event that gets a place in the timeline other than at its end.
    pub(crate) fn note(&mut self, event: &StoredEvent) {
        let order = event.decision.order.filter(|order| self.mark.spans(*order));
        if let Some(order) = order.filter(|_| text_of(event).is_some()) {
            self.mark.loose.push(order);
        }
    }

    /// Writes the change. The guard is to be held until the batch is committed.
    pub(crate) fn write(self, batch: &mut WriteBatch) -> Result<MutexGuardArc<()>, Error> {
        for (key, (end, postings)) in self.rows {
            match postings.is_empty() {
                true => batch.delete(Table::Search, key),
                false => batch.put(Table::Search, key, pack(end, &postings)),
            };
        }
        if self.mark != self.before {
            batch.put(Table::Search, mark_key(&self.room_id), to_vec(&self.mark)?);
        }
        Ok(self.guard)
    }
}

/// The postings of a row, and the place that its key ends with.
pub(super) fn decode(key: &[u8], row: &[u8]) -> Result<(i64, Vec<Posting>), Error> {
    let end = key
        .last_chunk::<8>()
        .map(|bytes| (u64::from_be_bytes(*bytes) ^ (1 << 63)).cast_signed());
    let row = end.and_then(|end| Some((end, unpack(end, row)?)));
    row.ok_or_else(|| Error::Damaged("postings".into()))
}

/// The key of the [`Mark`] of a room.
pub(super) fn mark_key(room_id: &RoomId) -> Vec<u8> {
    [b"m", room_id.as_bytes()].concat()
}

/// The key of the postings of a word in the block of events that ends with the place `end`.
pub(super) fn row_key(room_id: &RoomId, word: &str, end: i64) -> Vec<u8> {
    let biased = end.cast_unsigned() ^ (1 << 63);
    [&word_prefix(room_id, word)[..], &biased.to_be_bytes()].concat()
}

/// All rows of a word in a room.
pub(super) fn word_range(room_id: &RoomId, word: &str) -> KeyRange {
    KeyRange::prefix(word_prefix(room_id, word))
}

fn word_prefix(room_id: &RoomId, word: &str) -> Vec<u8> {
    [b"w", room_id.as_bytes(), &[0], word.as_bytes(), &[0]].concat()
}
