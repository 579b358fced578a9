//! Filling the index: in the background whenever a room has gained a block of events, and before a search.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use async_lock::MutexGuardArc;
use hearth_storage::{Direction, KeyRange, Table, WriteBatch};
use ruma_common::{OwnedRoomId, RoomId};

use super::{
    index::{Mark, mark_key, row_key},
    posting::{Posting, pack},
    words::words_of,
};
use crate::{
    Error, Homeserver,
    rooms::{event::StoredEvent, timeline::TimelineEvent},
    stored::to_vec,
};

/// How many events go into the index together.
pub(super) const BLOCK: usize = 128;
/// The row in `Table::Meta` that says that the rooms of an earlier release are in the index.
const FILLED: &[u8] = b"search";
/// How many rooms are listed at once.
const PAGE: usize = 64;

/// Who fills the index, and when.
#[derive(Default)]
pub(crate) struct Filling {
    /// Held by whoever changes the index, from reading until the commit.
    lock: Arc<async_lock::Mutex<()>>,
    /// How many events each room has gained since it was looked at.
    gained: Mutex<HashMap<OwnedRoomId, usize>>,
}

impl Filling {
    /// Waits until nobody else changes the index.
    pub(super) async fn lock(&self) -> MutexGuardArc<()> {
        self.lock.lock_arc().await
    }

    /// Notes that a room has gained events; says whether they are enough for a block.
    fn gained(&self, room_id: &RoomId, events: usize) -> bool {
        let mut gained = self.gained.lock().unwrap_or_else(PoisonError::into_inner);
        let count = gained.entry(room_id.to_owned()).or_default();
        *count += events;
        let is_block = *count >= BLOCK;
        if is_block {
            gained.remove(room_id);
        }
        is_block
    }
}

/// A part of a timeline that is to become a block.
struct Block {
    events: Vec<Arc<StoredEvent>>,
    /// The mark once it is one.
    mark: Mark,
}

impl Homeserver {
    /// Notes that a room's timeline has gained events, and puts them into the index in the background if they are
    /// enough.
    pub(crate) fn gained_events(&self, room_id: &RoomId, events: usize) {
        if self.search.gained(room_id, events) {
            let room_id = room_id.to_owned();
            self.spawn(|homeserver| async move {
                if let Err(error) = homeserver.fill_room(&room_id, BLOCK, usize::MAX).await {
                    tracing::warn!(%room_id, %error, "events were not put into the index of words");
                }
            });
        }
    }

    /// Begins to put the rooms of an earlier release into the index, unless they are.
    pub(crate) async fn fill_search(&self) -> Result<(), Error> {
        if self.seams.store.get(Table::Meta, FILLED).await?.is_some() {
            return Ok(());
        }
        if self.room_ids(None, 1).await?.is_empty() {
            return self.note_filled().await;
        }
        self.spawn(|homeserver| async move {
            if let Err(error) = homeserver.fill_all().await {
                tracing::warn!(%error, "not all rooms are in the index of words");
            }
        });
        Ok(())
    }

    async fn fill_all(&self) -> Result<(), Error> {
        let mut last = None;
        loop {
            let rooms = self.room_ids(last.as_deref(), PAGE).await?;
            for room_id in &rooms {
                self.fill_room(room_id, BLOCK, usize::MAX).await?;
            }
            match rooms.last() {
                Some(room_id) => last = Some(room_id.clone()),
                None => return self.note_filled().await,
            }
        }
    }

    async fn note_filled(&self) -> Result<(), Error> {
        let mut batch = WriteBatch::new();
        batch.put(Table::Meta, FILLED, b".".as_slice());
        Ok(self.seams.store.commit(batch).await?)
    }

    async fn room_ids(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<OwnedRoomId>, Error> {
        let mut range = KeyRange::all();
        if let Some(after) = after {
            range.start = std::ops::Bound::Excluded(after.as_bytes().to_vec());
        }
        let rows = self
            .seams
            .store
            .scan(Table::Rooms, range, Direction::Forward, limit)
            .await?;
        let room_id = |(key, _): &(Vec<u8>, Vec<u8>)| RoomId::parse(str::from_utf8(key).ok()?).ok();
        let rooms: Option<_> = rows.iter().map(room_id).collect();
        rooms.ok_or_else(|| Error::Damaged("room id".into()))
    }

    /// Puts what a room's timeline has gained into the index, wherever that is at least `least` events together; at
    /// most `most` blocks.
    pub(super) async fn fill_room(&self, room_id: &RoomId, least: usize, most: usize) -> Result<(), Error> {
        for _ in 0..most {
            let guard = self.search.lock().await;
            let mark = self.search_mark(room_id).await?;
            let Some(block) = self.next_block(room_id, mark, least).await? else {
                return Ok(());
            };
            self.seams.store.commit(block.write(room_id)?).await?;
            drop(guard);
            self.give_way().await;
        }
        Ok(())
    }

    /// What is to go into the index next: what lies after it, what lies before it, or what came in between.
    async fn next_block(&self, room_id: &RoomId, mark: Mark, least: usize) -> Result<Option<Block>, Error> {
        let last = mark.span.map_or(i64::MIN, |(_, last)| last);
        let after = self.timeline_after(room_id, last, BLOCK).await?;
        if after.len() >= least {
            return Ok(Block::new(mark, after));
        }
        if let Some((first, _)) = mark.span {
            let before = self.timeline_before(room_id, first, BLOCK).await?;
            if before.len() >= least {
                return Ok(Block::new(mark, before));
            }
        }
        if mark.loose.len() < least.max(1) {
            return Ok(None);
        }
        let events = self.loose_events(room_id, &mark).await?;
        let mark = Mark {
            loose: mark.loose.into_iter().skip(BLOCK).collect(),
            ..mark
        };
        Ok(Some(Block { events, mark }))
    }

    /// The first events whose places in the index were filled later.
    pub(super) async fn loose_events(
        &self,
        room_id: &RoomId,
        mark: &Mark,
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let places: Vec<_> = mark.loose.iter().take(BLOCK).copied().collect();
        self.events_at(&places.iter().map(|order| (room_id, *order)).collect::<Vec<_>>())
            .await
    }
}

impl Block {
    /// The block of `events`, which lie together at one end of what is in the index.
    fn new(mut mark: Mark, events: Vec<TimelineEvent>) -> Option<Self> {
        let places = || {
            events
                .iter()
                .map(|(order, _)| *order)
                .chain(mark.span.into_iter().flat_map(<[i64; 2]>::from))
        };
        let span = places().min().zip(places().max())?;
        if events.is_empty() {
            return None;
        }
        mark.span = Some(span);
        let events = events.into_iter().map(|(_, event)| event).collect();
        Some(Self { events, mark })
    }

    /// The rows of the block.
    fn write(mut self, room_id: &RoomId) -> Result<WriteBatch, Error> {
        let mut words = BTreeMap::<String, Vec<Posting>>::new();
        self.events
            .sort_by_key(|event| std::cmp::Reverse(event.decision.order));
        let end = self
            .events
            .first()
            .and_then(|event| event.decision.order)
            .unwrap_or_default();
        for event in &self.events {
            let found = words_of(event);
            let Some(order) = event.decision.order.filter(|_| found.length > 0) else {
                continue;
            };
            self.mark.events += 1;
            self.mark.words += found.length;
            for (word, count) in found.counts {
                let length = found.length;
                words
                    .entry(word)
                    .or_default()
                    .push(Posting { order, count, length });
            }
        }
        let mut batch = WriteBatch::new();
        for (word, postings) in words {
            batch.put(Table::Search, row_key(room_id, &word, end), pack(end, &postings));
        }
        batch.put(Table::Search, mark_key(room_id), to_vec(&self.mark)?);
        Ok(batch)
    }
}
