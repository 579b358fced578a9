//! The rows of the index of relations, and how a change of a timeline changes them.
//!
//! Rows in `Table::Relations`, where *order* is the child's place in the timeline in eight bytes that sort:
//! * `o` room `\0` parent `\0` rel_type `\0` order, and the same with an empty rel_type: a [`Child`];
//! * `u` room `\0` parent `\0` rel_type `\0` sender `\0` type `\0` timestamp event id: the key of an annotation, or nothing;
//! * `s` room `\0` parent: a [`Summary`];
//! * `t` room `\0` order of a thread's latest event: the thread's root.

use hearth_rooms::ordered;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use hearth_storage::{Direction, KeyRange, Table, WriteBatch};
use ruma_common::{EventId, OwnedEventId, OwnedUserId, RoomId, UserId};
use serde::{Deserialize, Serialize};

use super::{
    REFERENCE, REPLACE, Relation, THREAD,
    summary::{Summary, Thread},
};
use crate::{Error, Homeserver, rooms::event::StoredEvent, stored::to_vec};

/// What is noted of a child beside its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Child {
    /// Its id.
    #[serde(rename = "i")]
    pub(crate) event_id: OwnedEventId,
    /// The type of its relation.
    #[serde(rename = "r")]
    pub(crate) rel_type: String,
    /// Its event type.
    #[serde(rename = "k")]
    pub(crate) kind: String,
    /// Its sender.
    #[serde(rename = "s")]
    pub(crate) sender: OwnedUserId,
}

/// A change of the index that is being made. The room's lock is held meanwhile.
#[derive(Default)]
pub(crate) struct Indexing {
    batch: WriteBatch,
    /// The summaries that may change, by the keys of their rows: as they are and as they will be.
    summaries: HashMap<Vec<u8>, (Summary, Summary)>,
}

/// Summaries that a change writes, by the keys of their rows.
pub(crate) type NewSummaries = Vec<(Vec<u8>, Summary)>;

impl Homeserver {
    /// Begins to change the index: `removed` leave it, as they were stored, and `added` will be added to it.
    pub(crate) async fn indexing(
        &self,
        added: &[&StoredEvent],
        removed: &[Arc<StoredEvent>],
    ) -> Result<Indexing, Error> {
        let parents = added.iter().copied().chain(removed.iter().map(|event| &**event));
        let keys: BTreeSet<_> = ordered::set(parents.filter_map(summarised));
        let keys: Vec<_> = keys.into_iter().collect();
        let summaries = self.summaries(&keys).await?;
        let both = summaries.into_iter().map(|summary| (summary.clone(), summary));
        let mut indexing = Indexing {
            summaries: keys.into_iter().zip(both).collect(),
            ..Indexing::default()
        };
        for event in removed {
            self.unindex(&mut indexing, event, removed).await?;
        }
        Ok(indexing)
    }

    /// Takes `event` out of the index; `leaving` are all that leave it.
    async fn unindex(
        &self,
        indexing: &mut Indexing,
        event: &StoredEvent,
        leaving: &[Arc<StoredEvent>],
    ) -> Result<(), Error> {
        let Some((relation, order)) = Relation::of(event).zip(event.decision.order) else {
            return Ok(());
        };
        for rel_type in ["", &relation.rel_type] {
            let key = ordered_key(event.room_id(), &relation.parent, rel_type, order);
            indexing.batch.delete(Table::Relations, key);
        }
        indexing
            .batch
            .delete(Table::Relations, sender_key(event, &relation));
        if relation.rel_type != THREAD {
            return Ok(());
        }
        let left = self
            .latest_but(event.room_id(), &relation.parent, leaving)
            .await?;
        let key = summary_key(event.room_id(), &relation.parent);
        if let Some((_, summary)) = indexing.summaries.get_mut(&key) {
            summary.thread = left.and_then(|latest| {
                let count = summary.thread.as_ref()?.count.checked_sub(1)?;
                Some(Thread { count, latest })
            });
        }
        Ok(())
    }

    /// The place of the latest event of a thread that is none of `leaving`.
    async fn latest_but(
        &self,
        room_id: &RoomId,
        root: &EventId,
        leaving: &[Arc<StoredEvent>],
    ) -> Result<Option<i64>, Error> {
        let range = KeyRange::prefix(prefix(b'o', &[room_id.as_str(), root.as_str(), THREAD]));
        let rows = self
            .seams
            .store
            .scan(Table::Relations, range, Direction::Backward, leaving.len() + 1)
            .await?;
        let mut places = rows.iter().filter_map(|(key, _)| order_of(key));
        Ok(places.find(|place| leaving.iter().all(|event| event.decision.order != Some(*place))))
    }
}

impl Indexing {
    /// Adds `event`, which has just got its place in the timeline, if it relates to another.
    pub(crate) fn add(&mut self, event: &StoredEvent) -> Result<(), Error> {
        let Some((relation, order)) = Relation::of(event).zip(event.decision.order) else {
            return Ok(());
        };
        let child = to_vec(&Child {
            event_id: event.event_id.clone(),
            rel_type: relation.rel_type.clone(),
            kind: event.kind().to_owned(),
            sender: event.sender().to_owned(),
        })?;
        for rel_type in ["", &relation.rel_type] {
            let key = ordered_key(event.room_id(), &relation.parent, rel_type, order);
            self.batch.put(Table::Relations, key, child.clone());
        }
        let annotation = relation.key.clone().unwrap_or_default();
        self.batch.put(
            Table::Relations,
            sender_key(event, &relation),
            annotation.into_bytes(),
        );
        let key = summary_key(event.room_id(), &relation.parent);
        if let Some((_, summary)) = self.summaries.get_mut(&key) {
            summary.note(&relation.rel_type, order);
        }
        Ok(())
    }

    /// Writes the change into `batch`; returns the summaries that it changes.
    pub(crate) fn write(self, batch: &mut WriteBatch) -> Result<NewSummaries, Error> {
        batch.append(self.batch);
        let changed = self.summaries.into_iter();
        let changed: Vec<_> = changed.filter(|(_, (before, now))| before != now).collect();
        for (key, (before, now)) in &changed {
            let (room_id, root) = parts(key).ok_or_else(|| Error::Damaged("relation".into()))?;
            if let Some(thread) = &before.thread {
                batch.delete(Table::Relations, thread_key(room_id, thread.latest));
            }
            if let Some(thread) = &now.thread {
                batch.put(
                    Table::Relations,
                    thread_key(room_id, thread.latest),
                    root.as_bytes(),
                );
            }
            batch.put(Table::Relations, key.clone(), to_vec(now)?);
        }
        Ok(changed.into_iter().map(|(key, (_, now))| (key, now)).collect())
    }
}

/// The key of the summary that `event` bears on, if there is one. Annotations are in none.
fn summarised(event: &StoredEvent) -> Option<Vec<u8>> {
    let relation = Relation::of(event)?;
    let counts = matches!(&*relation.rel_type, REPLACE | THREAD | REFERENCE);
    counts.then(|| summary_key(event.room_id(), &relation.parent))
}

/// The key of the summary of an event's children.
pub(crate) fn summary_key(room_id: &RoomId, parent: &EventId) -> Vec<u8> {
    [b"s", room_id.as_bytes(), &[0], parent.as_bytes()].concat()
}

/// The room and the parent of the key of a summary.
fn parts(summary_key: &[u8]) -> Option<(&str, &str)> {
    str::from_utf8(summary_key).ok()?.get(1..)?.split_once('\0')
}

/// The key of a child in the order of the timeline, among those of one type of relation, or (empty) of all.
pub(crate) fn ordered_key(room_id: &RoomId, parent: &EventId, rel_type: &str, order: i64) -> Vec<u8> {
    let mut key = prefix(b'o', &[room_id.as_str(), parent.as_str(), rel_type]);
    key.extend(sortable(order));
    key
}

/// The key of a thread among those of its room.
pub(crate) fn thread_key(room_id: &str, latest: i64) -> Vec<u8> {
    let mut key = prefix(b't', &[room_id]);
    key.extend(sortable(latest));
    key
}

/// What the keys of the children of `parent` begin with that `sender` has sent, with relation and event type if
/// these are given.
pub(crate) fn sender_prefix(
    room_id: &RoomId,
    parent: &EventId,
    rel_type: &str,
    sender: &UserId,
    kind: Option<&str>,
) -> Vec<u8> {
    let parts = [room_id.as_str(), parent.as_str(), rel_type, sender.as_str()];
    let mut key = prefix(b'u', &parts);
    if let Some(kind) = kind {
        key.extend(kind.as_bytes());
        key.push(0);
    }
    key
}

/// The event id of a key that begins with `prefix`, one of [`sender_prefix`] with an event type.
pub(crate) fn sent_id(key: &[u8], prefix: &[u8]) -> Option<OwnedEventId> {
    let event_id = key.strip_prefix(prefix)?.get(8..)?;
    EventId::parse(str::from_utf8(event_id).ok()?).ok()
}

fn sender_key(event: &StoredEvent, relation: &Relation) -> Vec<u8> {
    let kind = Some(event.kind());
    let mut key = sender_prefix(
        event.room_id(),
        &relation.parent,
        &relation.rel_type,
        event.sender(),
        kind,
    );
    key.extend(event.origin_server_ts().to_be_bytes());
    key.extend(event.event_id.as_bytes());
    key
}

/// The place in the timeline that the key of a child or of a thread ends with.
pub(crate) fn order_of(key: &[u8]) -> Option<i64> {
    let bytes = key.last_chunk::<8>()?;
    Some((u64::from_be_bytes(*bytes) ^ (1 << 63)).cast_signed())
}

fn sortable(order: i64) -> [u8; 8] {
    (order.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// `tag` and `parts`, each with an end mark.
fn prefix(tag: u8, parts: &[&str]) -> Vec<u8> {
    let mut key = vec![tag];
    for part in parts {
        key.extend(part.as_bytes());
        key.push(0);
    }
    key
}
