//! How far users have read. Spec: Client-Server API, section 'Receipts'.
//!
//! A receipt of one user, kind and thread only moves forward. Private ones are for their owner alone and never
//! leave this server. The read marker (`m.fully_read`) is account data.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hearth_rooms::pdu::MAX_FIELD_BYTES;
use hearth_storage::{Direction, KeyRange, Table, WriteBatch};
use ruma_common::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, ServerName, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Error, Homeserver, JsonObject, LogEntry,
    ordered::try_map,
    rooms::event::StoredEvent,
    stored::{from_slice, to_vec},
};

/// The most receipts of one room that are read.
const MAX_RECEIPTS: usize = 50_000;
/// The most receipts of a user of another server in one room.
const MAX_REMOTE: usize = 200;
/// The most rooms whose receipts are kept in memory.
const MAX_ROOMS: usize = 200;
/// The most receipts of one EDU that are taken in.
const MAX_EDU_RECEIPTS: usize = 500;

/// Who may see a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReceiptKind {
    /// `m.read`: everybody in the room.
    Read,
    /// `m.read.private`: its owner.
    ReadPrivate,
}

/// One receipt: how far a user has read a room, or one thread of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The last event read.
    #[serde(rename = "e")]
    pub event_id: OwnedEventId,
    /// When, in milliseconds since the Unix epoch.
    #[serde(rename = "t")]
    pub ts: u64,
    /// The place of the event in the timeline; `None` if the event is not held here.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub order: Option<i64>,
}

/// Whose receipt it is, and of what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReceiptKey {
    /// The user.
    pub user_id: OwnedUserId,
    /// Its kind.
    pub kind: ReceiptKind,
    /// The root of the thread, `main` for what is in no thread, or `None` for the whole room.
    pub thread: Option<String>,
}

/// The receipts of a room.
pub type RoomReceipts = BTreeMap<ReceiptKey, Receipt>;

/// Receipts that are in memory.
#[derive(Default)]
pub(crate) struct ReceiptCache {
    rooms: Mutex<HashMap<OwnedRoomId, Arc<RoomReceipts>>>,
    /// Held from reading receipts until the changed ones are committed.
    lock: Arc<async_lock::Mutex<()>>,
}

impl ReceiptKind {
    /// The kind named `name` in the API.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "m.read" => Some(Self::Read),
            "m.read.private" => Some(Self::ReadPrivate),
            _ => None,
        }
    }

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "m.read",
            Self::ReadPrivate => "m.read.private",
        }
    }
}

impl ReceiptCache {
    fn rooms(&self) -> MutexGuard<'_, HashMap<OwnedRoomId, Arc<RoomReceipts>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, room_id: &RoomId) -> Option<Arc<RoomReceipts>> {
        self.rooms().get(room_id).cloned()
    }

    fn put(&self, room_id: OwnedRoomId, receipts: Arc<RoomReceipts>) {
        let mut rooms = self.rooms();
        if rooms.len() >= MAX_ROOMS && !rooms.contains_key(&room_id) {
            rooms.clear();
        }
        rooms.insert(room_id, receipts);
    }
}

impl Homeserver {
    /// Moves the receipt of a local user to `event_id`, and tells the other servers if it is a public one.
    /// `thread` is as in [`ReceiptKey::thread`]. A receipt that would move backwards stays.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the user is not in the room, [`Error::NotFound`] if it has no such event,
    /// [`Error::InvalidParam`] if the event is not in the thread.
    pub async fn set_receipt(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        kind: ReceiptKind,
        event_id: &EventId,
        thread: Option<String>,
    ) -> Result<(), Error> {
        let event = self.readable_event(user_id, room_id, event_id).await?;
        self.note_active(user_id);
        if let Some(thread) = &thread
            && !self.is_in_thread(&event, thread).await?
        {
            return Err(Error::InvalidParam("the event is not in the thread".into()));
        }
        let receipt = Receipt {
            event_id: event_id.to_owned(),
            ts: self.now(),
            order: event.decision.order,
        };
        let key = ReceiptKey {
            user_id: user_id.to_owned(),
            kind,
            thread,
        };
        let moved = self
            .store_receipts(room_id, vec![(key.clone(), receipt.clone())])
            .await?;
        if moved && kind == ReceiptKind::Read {
            self.announce_receipt(room_id, &key, &receipt).await?;
        }
        Ok(())
    }

    /// Moves the read marker (`m.fully_read`) of a local user; never back, like Synapse: another device may be behind.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the user is not in the room, [`Error::NotFound`] if it has no such event.
    pub async fn set_fully_read(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<(), Error> {
        let event = self.readable_event(user_id, room_id, event_id).await?;
        let _lock = self.accounts.lock(user_id).await;
        let marker = self.account_data(user_id, Some(room_id), "m.fully_read").await?;
        let marked = marker
            .as_ref()
            .and_then(|marker| marker.get("event_id")?.as_str());
        if let Some(marked) = marked.and_then(|marked| EventId::parse(marked).ok())
            && let Some(marked) = self.stored_event(&marked).await?
            && marked.room_id() == room_id
            && marked.decision.order >= event.decision.order
        {
            return Ok(());
        }
        let content = JsonObject::from_iter([("event_id".to_owned(), json!(event_id))]);
        self.set_account_data(user_id, Some(room_id), "m.fully_read", content)
            .await
    }

    /// Takes in an `m.receipt` EDU. What is malformed, or about users who are not of `origin` or not in the
    /// room, is ignored.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn receive_receipts(&self, origin: &ServerName, content: &JsonObject) -> Result<(), Error> {
        let mut left = MAX_EDU_RECEIPTS;
        for (room_id, kinds) in content.iter().take(MAX_EDU_RECEIPTS) {
            let Ok(room_id) = RoomId::parse(room_id) else {
                continue;
            };
            if !self.lets_speak(origin, &room_id).await? {
                continue;
            }
            let read = kinds.get("m.read").and_then(Value::as_object);
            let mut receipts = Vec::new();
            for (user_id, receipt) in read.into_iter().flatten().take(left) {
                left -= 1;
                receipts.extend(self.remote_receipt(origin, &room_id, user_id, receipt).await?);
            }
            self.store_receipts(&room_id, receipts).await?;
        }
        Ok(())
    }

    /// The receipts of a room.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn room_receipts(&self, room_id: &RoomId) -> Result<Arc<RoomReceipts>, Error> {
        if let Some(receipts) = self.receipts.get(room_id) {
            return Ok(receipts);
        }
        let _guard = self.receipts.lock.lock().await;
        self.load_receipts(room_id).await
    }

    /// Reads a room's receipts into memory. The caller holds the lock, so that no commit is missed.
    async fn load_receipts(&self, room_id: &RoomId) -> Result<Arc<RoomReceipts>, Error> {
        if let Some(receipts) = self.receipts.get(room_id) {
            return Ok(receipts);
        }
        let store = &self.seams.store;
        let scan = |prefix| {
            let range = KeyRange::prefix(prefix);
            store.scan(Table::Receipts, range, Direction::Forward, MAX_RECEIPTS)
        };
        let mut rows = scan(format!("{room_id}\0")).await?;
        if rows.len() == MAX_RECEIPTS {
            // What is unread follows from those of the users here: none of them is left out.
            for user_id in self.local_members(room_id) {
                rows.extend(scan(format!("{room_id}\0{user_id}\0")).await?);
            }
        }
        let receipts = try_map(rows.iter().map(|(key, value)| decode(key, value)))?;
        let receipts = Arc::new(receipts);
        self.receipts.put(room_id.to_owned(), Arc::clone(&receipts));
        Ok(receipts)
    }

    /// Stores those of `new` that move forward. Returns whether any did.
    async fn store_receipts(&self, room_id: &RoomId, new: Vec<(ReceiptKey, Receipt)>) -> Result<bool, Error> {
        if new.is_empty() {
            return Ok(false);
        }
        let guard = self.receipts.lock.lock_arc().await;
        let mut receipts = RoomReceipts::clone(&*self.load_receipts(room_id).await?);
        let (mut batch, mut entries) = (WriteBatch::new(), Vec::new());
        for (key, receipt) in new.into_iter().filter(|(key, _)| is_in_bounds(key)) {
            if receipts.get(&key).is_some_and(|old| !is_later(&receipt, old)) {
                continue;
            }
            batch.put(Table::Receipts, row_key(room_id, &key), to_vec(&receipt)?);
            if !self.is_local(&key.user_id)
                && let Some(oldest) = surplus(&receipts, &key)
            {
                batch.delete(Table::Receipts, row_key(room_id, &oldest));
                receipts.remove(&oldest);
            }
            let entry = LogEntry::Receipt {
                room_id: room_id.to_owned(),
                user_id: key.user_id.clone(),
                is_private: key.kind == ReceiptKind::ReadPrivate,
            };
            entries.push(entry);
            receipts.insert(key, receipt);
        }
        if entries.is_empty() {
            return Ok(false);
        }
        let (cache, room_id) = (Arc::clone(&self.receipts), room_id.to_owned());
        // The commit goes on if the caller goes away, and so must the lock.
        let publish = move || {
            cache.put(room_id, Arc::new(receipts));
            drop(guard);
        };
        self.log
            .reserve(entries.len())
            .commit(batch, entries, publish)
            .await?;
        Ok(true)
    }

    async fn readable_event(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Arc<StoredEvent>, Error> {
        let joined = self
            .user_membership(user_id, room_id)
            .is_some_and(|member| member.membership == "join");
        if !joined {
            return Err(Error::Forbidden("you are not in the room".into()));
        }
        let event = self.stored_event(event_id).await?;
        event
            .filter(|event| event.room_id() == room_id && event.is_shown())
            .ok_or_else(|| Error::NotFound("the room has no such event".into()))
    }

    /// Whether `event` is in the thread named as in [`ReceiptKey::thread`]. A root is in its thread and outside.
    async fn is_in_thread(&self, event: &StoredEvent, thread: &str) -> Result<bool, Error> {
        Ok(match self.thread_of(event).await? {
            Some(root) => root == thread,
            None => thread == "main" || event.event_id == thread,
        })
    }

    async fn announce_receipt(
        &self,
        room_id: &RoomId,
        key: &ReceiptKey,
        receipt: &Receipt,
    ) -> Result<(), Error> {
        let mut data = json!({"ts": receipt.ts});
        if let Some(thread) = &key.thread {
            data["thread_id"] = json!(thread);
        }
        let users = json!({&*key.user_id: {"event_ids": [receipt.event_id], "data": data}});
        let content = json!({room_id: {"m.read": users}})
            .as_object()
            .cloned()
            .unwrap_or_default();
        let edu_key = format!(
            "{room_id}\0{}\0{}",
            key.user_id,
            key.thread.as_deref().unwrap_or_default()
        );
        self.send_edu(room_id, "m.receipt", &edu_key, content).await
    }

    async fn remote_receipt(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        user_id: &str,
        receipt: &Value,
    ) -> Result<Option<(ReceiptKey, Receipt)>, Error> {
        let Some((user_id, event_id)) = UserId::parse(user_id).ok().zip(edu_event_id(receipt)) else {
            return Ok(None);
        };
        if user_id.server_name() != origin || !self.is_joined(room_id, &user_id).await? {
            return Ok(None);
        }
        let thread = receipt
            .pointer("/data/thread_id")
            .and_then(Value::as_str)
            .map(str::to_owned);
        let key = ReceiptKey {
            user_id,
            kind: ReceiptKind::Read,
            thread,
        };
        let event = self
            .stored_event(&event_id)
            .await?
            .filter(|event| event.room_id() == room_id);
        let ts = receipt
            .pointer("/data/ts")
            .and_then(Value::as_u64)
            .map_or(self.now(), |ts| ts.min(self.now()));
        let order = event.and_then(|event| event.decision.order);
        Ok(Some((key, Receipt { event_id, ts, order })))
    }
}

/// Whether a receipt moves forward from `old` to `new`.
fn is_later(new: &Receipt, old: &Receipt) -> bool {
    match (new.order, old.order) {
        (Some(new), Some(old)) => new > old,
        _ => new.event_id != old.event_id && new.ts >= old.ts,
    }
}

/// The receipt that goes for a new one of `key`, if its user has as many as are kept: the oldest of a thread.
fn surplus(receipts: &RoomReceipts, key: &ReceiptKey) -> Option<ReceiptKey> {
    let first = ReceiptKey {
        thread: None,
        ..key.clone()
    };
    let own = receipts
        .range(first..)
        .take_while(|(old, _)| old.user_id == key.user_id);
    if receipts.contains_key(key) || own.clone().count() < MAX_REMOTE {
        return None;
    }
    let threads = own.filter(|(old, _)| old.thread.as_ref().is_some_and(|thread| thread != "main"));
    let oldest = threads.min_by_key(|(_, receipt)| receipt.ts)?;
    Some(oldest.0.clone())
}

fn is_in_bounds(key: &ReceiptKey) -> bool {
    key.thread
        .as_ref()
        .is_none_or(|thread| !thread.is_empty() && thread.len() <= 255 && !thread.contains('\0'))
}

fn edu_event_id(receipt: &Value) -> Option<OwnedEventId> {
    let event_ids = receipt.get("event_ids")?.as_array()?;
    let event_id = event_ids.last()?.as_str()?;
    // Parsing does not bound an id that is a hash.
    EventId::parse(event_id)
        .ok()
        .filter(|_| event_id.len() <= MAX_FIELD_BYTES)
}

fn row_key(room_id: &RoomId, key: &ReceiptKey) -> Vec<u8> {
    let thread = key.thread.as_deref().unwrap_or_default();
    format!("{room_id}\0{}\0{}\0{thread}", key.user_id, key.kind.name()).into_bytes()
}

fn decode(key: &[u8], value: &[u8]) -> Result<(ReceiptKey, Receipt), Error> {
    let damaged = || Error::Damaged("receipt".into());
    let mut parts = std::str::from_utf8(key)
        .map_err(|_| damaged())?
        .split('\0')
        .skip(1);
    let mut part = || parts.next().ok_or_else(damaged);
    let user_id = UserId::parse(part()?).map_err(|_| damaged())?;
    let kind = ReceiptKind::from_name(part()?).ok_or_else(damaged)?;
    let thread = Some(part()?)
        .filter(|thread| !thread.is_empty())
        .map(str::to_owned);
    Ok((
        ReceiptKey {
            user_id,
            kind,
            thread,
        },
        from_slice(value)?,
    ))
}
