//! Filling the index with the timelines of a database that an earlier release has written.
//!
//! It goes on where it was interrupted. Rooms go on meanwhile: each page is written under its room's lock, and what
//! is in the index already is not counted again.

use std::{ops::Bound, sync::Arc};

use hearth_storage::{Direction, KeyRange, Table, WriteBatch};
use ruma_common::RoomId;

use super::{Relation, index::ordered_key};
use crate::{
    Error, Homeserver,
    rooms::{event::StoredEvent, room::Snapshot},
};

/// The row in `Table::Meta`: the key of `Table::Timeline` up to which the index is filled, or [`FILLED`].
const PROGRESS: &[u8] = b"relations";
/// Says that nothing is left to do. No key of a timeline is so short.
const FILLED: &[u8] = b".";
/// How many events are looked at in one step.
const PAGE: usize = 256;

impl Homeserver {
    /// Begins to fill the index in the background, unless it is filled.
    pub(crate) async fn fill_relations(&self) -> Result<(), Error> {
        let progress = self.seams.store.get(Table::Meta, PROGRESS).await?;
        if progress.as_deref() == Some(FILLED) {
            return Ok(());
        }
        let timeline = self.timeline_rows(None, 1).await?;
        if timeline.is_empty() {
            let mut batch = WriteBatch::new();
            batch.put(Table::Meta, PROGRESS, FILLED);
            return Ok(self.seams.store.commit(batch).await?);
        }
        self.spawn(|homeserver| async move {
            if let Err(error) = homeserver.fill_from(progress).await {
                tracing::warn!(%error, "the index of relations is not filled yet");
            }
        });
        Ok(())
    }

    async fn fill_from(&self, mut progress: Option<Vec<u8>>) -> Result<(), Error> {
        loop {
            let rows = self.timeline_rows(progress.as_deref(), PAGE).await?;
            let Some((first, _)) = rows.first() else {
                let mut batch = WriteBatch::new();
                batch.put(Table::Meta, PROGRESS, FILLED);
                return Ok(self.seams.store.commit(batch).await?);
            };
            let room_key = room_of(first).to_vec();
            let room_id = str::from_utf8(&room_key)
                .ok()
                .and_then(|id| RoomId::parse(id).ok());
            let room_id = room_id.ok_or_else(|| Error::Damaged("timeline".into()))?;
            let same_room = rows.iter().take_while(|(key, _)| room_of(key) == room_key);
            let last = same_room
                .last()
                .map_or_else(|| first.clone(), |(key, _)| key.clone());
            self.fill_page(&room_id, first, &last).await?;
            progress = Some(last);
            self.give_way().await;
        }
    }

    /// Fills the index with what a room's timeline has from the key `first` to `last`.
    async fn fill_page(&self, room_id: &RoomId, first: &[u8], last: &[u8]) -> Result<(), Error> {
        let room = self.known_room(room_id).await?;
        let _guard = room.lock.lock().await;
        let events = self.events_between(first, last).await?;
        let new = self.not_indexed(events).await?;
        let added: Vec<_> = new.iter().map(|event| &**event).collect();
        let mut indexing = self.indexing(&added, &[]).await?;
        for event in &new {
            indexing.add(event)?;
        }
        let mut batch = WriteBatch::new();
        let summaries = indexing.write(&mut batch)?;
        batch.put(Table::Meta, PROGRESS, last);
        self.seams.store.commit(batch).await?;
        for (key, summary) in summaries {
            self.relations.keep(key, summary);
        }
        // Another snapshot, though it is the same: what was read of the index before is out of date.
        room.publish(Snapshot::clone(&room.snapshot()));
        Ok(())
    }

    async fn events_between(&self, first: &[u8], last: &[u8]) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let range = KeyRange {
            start: Bound::Included(first.to_vec()),
            end: Bound::Included(last.to_vec()),
        };
        // Whatever came in between since the keys were read was indexed when it came.
        let rows = self
            .seams
            .store
            .scan(Table::Timeline, range, Direction::Forward, 2 * PAGE)
            .await?;
        let ids = rows
            .iter()
            .map(|(_, id)| str::from_utf8(id).ok()?.try_into().ok());
        let ids = ids.collect::<Option<Vec<_>>>();
        let ids = ids.ok_or_else(|| Error::Damaged("timeline".into()))?;
        self.stored_events(&ids).await
    }

    /// Those of `events` that relate to another and are not in the index.
    async fn not_indexed(&self, events: Vec<Arc<StoredEvent>>) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let key = |event: &StoredEvent| {
            let (relation, order) = Relation::of(event).zip(event.decision.order)?;
            Some(ordered_key(event.room_id(), &relation.parent, "", order))
        };
        let related = events.into_iter().filter_map(|event| Some((key(&event)?, event)));
        let (keys, events): (Vec<_>, Vec<_>) = related.unzip();
        let rows = self.seams.store.get_many(Table::Relations, &keys).await?;
        let new = events.into_iter().zip(rows).filter(|(_, row)| row.is_none());
        Ok(new.map(|(event, _)| event).collect())
    }

    async fn timeline_rows(
        &self,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        let range = KeyRange {
            start: after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.to_vec())),
            end: Bound::Unbounded,
        };
        let scan = self
            .seams
            .store
            .scan(Table::Timeline, range, Direction::Forward, limit);
        Ok(scan.await?)
    }
}

/// The room id of the key of an event in a timeline.
fn room_of(key: &[u8]) -> &[u8] {
    const ORDER: usize = 9;
    key.get(..key.len().saturating_sub(ORDER)).unwrap_or_default()
}
