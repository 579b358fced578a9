//! The append-only stream that `/sync` and every other reader follow.
//!
//! One position is one thing that somebody may need to hear about. [`Log::commit`] writes entries in the same
//! batch as the data they tell of, and shows them to readers only when that batch is durable: commit, then
//! tell. A failed commit leaves a hole in the positions and blocks nobody. The log does *not* hold the data
//! itself, and does not know who may see it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use event_listener::{Event, EventListener};
use futures::channel::oneshot;
use hearth_storage::{
    BoxFuture, Direction, Entry, KeyRange, MaybeSend, Store, StoreError, Table, WriteBatch,
};
use ruma_common::{OwnedDeviceId, OwnedEventId, OwnedRoomId, OwnedUserId};
use serde::{Deserialize, Serialize};

use crate::{Error, Spawner};

/// How many of the newest entries are kept in memory.
const TAIL: usize = 4096;
/// How many entries are read at once to count them.
const PAGE: usize = 1024;

/// One thing that readers of the log may need to hear about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t")]
pub enum LogEntry {
    /// An event was appended live to the timeline of a room. Its timeline order is the entry's position.
    #[serde(rename = "e")]
    Event {
        /// The room.
        #[serde(rename = "r")]
        room_id: OwnedRoomId,
        /// The event.
        #[serde(rename = "e")]
        event_id: OwnedEventId,
        /// Whose membership it sets, if it is a member event.
        #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
        member: Option<OwnedUserId>,
    },
    /// The current state of a room changed without a timeline event: a joined room's state arrived, or state
    /// resolution chose other events. Readers send the state again.
    #[serde(rename = "s")]
    State {
        /// The room.
        #[serde(rename = "r")]
        room_id: OwnedRoomId,
    },
    /// The membership of a local user changed outside any timeline held here: a federated invite, the
    /// rejection of one, or a room that was forgotten.
    #[serde(rename = "i")]
    Invite {
        /// The local user.
        #[serde(rename = "u")]
        user_id: OwnedUserId,
        /// The room.
        #[serde(rename = "r")]
        room_id: OwnedRoomId,
    },
    /// A local user began or ended to follow a thread.
    #[serde(rename = "h")]
    ThreadSubscription {
        /// The user.
        #[serde(rename = "u")]
        user_id: OwnedUserId,
    },
    /// Account data of a local user changed.
    #[serde(rename = "a")]
    AccountData {
        /// The user.
        #[serde(rename = "u")]
        user_id: OwnedUserId,
        /// The room, or `None` for global account data.
        #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
        room_id: Option<OwnedRoomId>,
        /// The event type.
        #[serde(rename = "k")]
        kind: String,
    },
    /// A receipt of a user in a room moved.
    #[serde(rename = "r")]
    Receipt {
        /// The room.
        #[serde(rename = "r")]
        room_id: OwnedRoomId,
        /// Whose receipt it is.
        #[serde(rename = "u")]
        user_id: OwnedUserId,
        /// Whether only they hear of it.
        #[serde(rename = "p", default, skip_serializing_if = "std::ops::Not::not")]
        is_private: bool,
    },
    /// Devices or keys of a user, of whichever server, changed: whoever shares a room with them hears of it.
    #[serde(rename = "d")]
    DeviceList {
        /// The user.
        #[serde(rename = "u")]
        user_id: OwnedUserId,
    },
    /// A local user signed keys of another user, or changed the key that does so, which nobody else hears of.
    #[serde(rename = "g")]
    Signed {
        /// Who signed.
        #[serde(rename = "u")]
        user_id: OwnedUserId,
        /// Whose keys they are.
        #[serde(rename = "o")]
        owner: OwnedUserId,
    },
    /// One-time keys of a device were given away.
    #[serde(rename = "k")]
    KeysClaimed {
        /// The local user.
        #[serde(rename = "u")]
        user_id: OwnedUserId,
        /// The device.
        #[serde(rename = "d")]
        device_id: OwnedDeviceId,
    },
    /// A message for a device came. The entry's position is its place in the device's queue.
    #[serde(rename = "t")]
    ToDevice {
        /// The local user.
        #[serde(rename = "u")]
        user_id: OwnedUserId,
        /// The device.
        #[serde(rename = "d")]
        device_id: OwnedDeviceId,
    },
}

/// The append-only stream. Cheap to clone; all clones are the same log.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
    spawner: Arc<dyn Spawner>,
}

struct Shared {
    store: Arc<dyn Store>,
    state: Mutex<Positions>,
    changed: Event,
}

/// Which positions are taken, durable and visible.
struct Positions {
    /// The next position to hand out.
    next: u64,
    /// First positions of reservations that are neither committed nor given up.
    in_flight: BTreeSet<u64>,
    /// Durable positions above `current` that wait for an earlier reservation.
    waiting: BTreeSet<u64>,
    /// The greatest durable position below which nothing is in flight.
    current: u64,
    /// The newest durable entries. Complete above `tail_from`.
    tail: BTreeMap<u64, LogEntry>,
    /// Every durable entry above this position is in `tail`.
    tail_from: u64,
}

impl Log {
    /// Opens the log of `store`. Commits run as tasks of `spawner`, so that a caller that goes away in the
    /// middle of one leaves nothing half-told.
    ///
    /// # Errors
    /// [`Error::Store`] if the store fails.
    pub async fn open(store: Arc<dyn Store>, spawner: Arc<dyn Spawner>) -> Result<Self, Error> {
        let last = store
            .scan(Table::Stream, KeyRange::all(), Direction::Backward, 1)
            .await?;
        let current = match last.first() {
            Some((key, _)) => position_of(key)?,
            None => 0,
        };
        let positions = Positions {
            next: current + 1,
            in_flight: BTreeSet::new(),
            waiting: BTreeSet::new(),
            current,
            tail: BTreeMap::new(),
            tail_from: current,
        };
        let shared = Shared {
            store,
            state: Mutex::new(positions),
            changed: Event::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
            spawner,
        })
    }

    /// The greatest position below which nothing is in flight. Readers may read up to it.
    pub fn current(&self) -> u64 {
        self.shared.positions().current
    }

    /// Completes at the next change of [`Log::current`]. Call it before reading `current`, to miss nothing.
    pub fn listen(&self) -> EventListener {
        self.shared.changed.listen()
    }

    /// Takes `count` positions. Needed where the data to be written contains its position; everyone else
    /// calls [`Log::commit`].
    pub fn reserve(&self, count: usize) -> Reservation {
        let first = self.shared.positions().reserve(count as u64);
        Reservation {
            shared: self.shared.clone(),
            spawner: self.spawner.clone(),
            first,
            open: true,
        }
    }

    /// Commits `batch` with `entries` and then shows them to readers. Returns the position of the last entry.
    ///
    /// # Errors
    /// [`Error::Store`] if the store fails; then nothing is written and nothing is shown.
    pub async fn commit(&self, batch: WriteBatch, entries: Vec<LogEntry>) -> Result<u64, Error> {
        self.reserve(entries.len()).commit(batch, entries, || ()).await
    }

    /// At most `limit` entries after `from` up to and including `to`, in order.
    ///
    /// # Errors
    /// [`Error::Store`] if the store fails, [`Error::Damaged`] if an entry cannot be read.
    pub async fn since(&self, from: u64, to: u64, limit: usize) -> Result<Vec<(u64, LogEntry)>, Error> {
        if from >= to {
            return Ok(Vec::new());
        }
        if let Some(entries) = self.shared.positions().tail_since(from, to, limit) {
            return Ok(entries);
        }
        let rows = self.rows(from, to, limit).await?;
        rows.into_iter()
            .map(|(key, value)| Ok((position_of(&key)?, decode(&value)?)))
            .collect()
    }

    /// Whether there are more than `most` entries after `from` up to and including `to`. The positions say only that there
    /// are not: a thousand are left out before each gap of a timeline.
    ///
    /// # Errors
    /// [`Error::Store`] if the store fails, [`Error::Damaged`] if a position cannot be read.
    pub async fn has_more_than(&self, most: u64, from: u64, to: u64) -> Result<bool, Error> {
        let (mut from, mut left) = (from, most);
        while to.saturating_sub(from) > left {
            let rows = self.rows(from, to, PAGE).await?;
            let count = rows.len() as u64;
            match rows.last() {
                Some((key, _)) if count <= left => from = position_of(key)?,
                last => return Ok(last.is_some()),
            }
            left -= count;
        }
        Ok(false)
    }

    /// At most `limit` rows of the entries after `from` up to and including `to`, in order.
    fn rows(&self, from: u64, to: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        let range = KeyRange::between((from + 1).to_be_bytes(), to.saturating_add(1).to_be_bytes());
        let store = &self.shared.store;
        store.scan(Table::Stream, range, Direction::Forward, limit)
    }

    /// At most `limit` entries before the position `before`, newest first.
    ///
    /// # Errors
    /// [`Error::Store`] if the store fails, [`Error::Damaged`] if an entry cannot be read.
    pub async fn before(&self, before: u64, limit: usize) -> Result<Vec<(u64, LogEntry)>, Error> {
        let before = before.min(self.current().saturating_add(1));
        let range = KeyRange::between(0_u64.to_be_bytes(), before.to_be_bytes());
        let scan = self
            .shared
            .store
            .scan(Table::Stream, range, Direction::Backward, limit);
        let rows = scan.await?;
        rows.into_iter()
            .map(|(key, value)| Ok((position_of(&key)?, decode(&value)?)))
            .collect()
    }
}

/// Positions that were taken and not yet committed. Dropping it gives them up.
pub struct Reservation {
    shared: Arc<Shared>,
    spawner: Arc<dyn Spawner>,
    first: u64,
    open: bool,
}

impl Reservation {
    /// The first of the positions.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Commits `batch` with `entries` at the positions taken; then runs `publish` and shows the entries to
    /// readers. It runs to its end even if the caller stops waiting. Returns the position of the last entry.
    ///
    /// # Errors
    /// [`Error::Store`] if the store fails; then nothing is written, `publish` is not run and nothing is shown.
    pub async fn commit(
        mut self,
        mut batch: WriteBatch,
        entries: Vec<LogEntry>,
        publish: impl FnOnce() + MaybeSend + 'static,
    ) -> Result<u64, Error> {
        let entries = self.number(entries);
        for (position, entry) in &entries {
            batch.put(Table::Stream, position.to_be_bytes(), encode(entry)?);
        }
        let last = entries.last().map_or(self.first, |(position, _)| *position);
        let (done, outcome) = oneshot::channel();
        let spawner = self.spawner.clone();
        spawner.spawn(Box::pin(async move {
            let result = self.shared.store.commit(batch).await;
            if result.is_ok() {
                publish();
                self.finish(entries);
            }
            // The caller may be gone; the commit stands all the same.
            let _ = done.send(result);
        }));
        match outcome.await {
            Ok(result) => Ok(result.map(|()| last)?),
            Err(_) => Err(StoreError::Closed("the commit was abandoned".into()).into()),
        }
    }

    fn number(&self, entries: Vec<LogEntry>) -> Vec<(u64, LogEntry)> {
        (self.first..).zip(entries).collect()
    }

    fn finish(&mut self, entries: Vec<(u64, LogEntry)>) {
        self.open = false;
        self.shared.positions().finish(self.first, entries);
        self.shared.changed.notify(usize::MAX);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.open {
            self.shared.positions().give_up(self.first);
            self.shared.changed.notify(usize::MAX);
        }
    }
}

impl Shared {
    fn positions(&self) -> MutexGuard<'_, Positions> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Positions {
    fn reserve(&mut self, count: u64) -> u64 {
        let first = self.next;
        // An empty reservation still takes a position, so that every first position is unique.
        self.next += count.max(1);
        self.in_flight.insert(first);
        first
    }

    fn finish(&mut self, first: u64, entries: Vec<(u64, LogEntry)>) {
        self.in_flight.remove(&first);
        for (position, entry) in entries {
            self.waiting.insert(position);
            self.tail.insert(position, entry);
        }
        self.advance();
    }

    fn give_up(&mut self, first: u64) {
        self.in_flight.remove(&first);
        self.advance();
    }

    fn advance(&mut self) {
        let barrier = self.in_flight.first().copied().unwrap_or(u64::MAX);
        while let Some(position) = self
            .waiting
            .first()
            .copied()
            .filter(|position| *position < barrier)
        {
            self.waiting.remove(&position);
            self.current = position;
        }
        while self.tail.len() > TAIL {
            if let Some((position, _)) = self.tail.pop_first() {
                // What was in flight for long comes after greater positions were dropped.
                self.tail_from = self.tail_from.max(position);
            }
        }
    }

    fn tail_since(&self, from: u64, to: u64, limit: usize) -> Option<Vec<(u64, LogEntry)>> {
        let entries = self.tail.range(from + 1..=to).take(limit);
        (from >= self.tail_from).then(|| {
            entries
                .map(|(position, entry)| (*position, entry.clone()))
                .collect()
        })
    }
}

fn encode(entry: &LogEntry) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(entry).map_err(|error| Error::Damaged(error.to_string()))
}

fn decode(value: &[u8]) -> Result<LogEntry, Error> {
    serde_json::from_slice(value).map_err(|error| Error::Damaged(format!("log entry: {error}")))
}

fn position_of(key: &[u8]) -> Result<u64, Error> {
    let bytes = key
        .try_into()
        .map_err(|_| Error::Damaged("log position".into()))?;
    Ok(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test may panic")]

    use std::sync::atomic::{AtomicBool, Ordering};

    use futures::FutureExt;
    use hearth_storage::MemoryStore;

    use super::*;

    struct Tasks;

    impl Spawner for Tasks {
        fn spawn(&self, task: BoxFuture<'static, ()>) {
            tokio::spawn(task);
        }
    }

    /// A store whose commits can be made to fail.
    #[derive(Default)]
    struct Fragile {
        store: MemoryStore,
        is_broken: AtomicBool,
    }

    impl Store for Fragile {
        fn get<'a>(
            &'a self,
            table: Table,
            key: &'a [u8],
        ) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
            self.store.get(table, key)
        }

        fn get_many<'a>(
            &'a self,
            table: Table,
            keys: &'a [Vec<u8>],
        ) -> BoxFuture<'a, Result<Vec<Option<Vec<u8>>>, StoreError>> {
            self.store.get_many(table, keys)
        }

        fn scan(
            &self,
            table: Table,
            range: KeyRange,
            direction: Direction,
            limit: usize,
        ) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
            self.store.scan(table, range, direction, limit)
        }

        fn commit(&self, batch: WriteBatch) -> BoxFuture<'_, Result<(), StoreError>> {
            if self.is_broken.load(Ordering::Relaxed) {
                return Box::pin(async { Err(StoreError::Full) });
            }
            self.store.commit(batch)
        }
    }

    async fn open(store: &Arc<Fragile>) -> Log {
        Log::open(store.clone(), Arc::new(Tasks)).await.unwrap()
    }

    fn entry(number: usize) -> LogEntry {
        LogEntry::AccountData {
            user_id: "@alice:example.org".try_into().unwrap(),
            room_id: None,
            kind: number.to_string(),
        }
    }

    async fn positions(log: &Log, from: u64, to: u64) -> Vec<u64> {
        let entries = log.since(from, to, 100).await.unwrap();
        entries.into_iter().map(|(position, _)| position).collect()
    }

    #[tokio::test]
    async fn entries_are_read_back_from_memory_and_from_the_store() {
        let store = Arc::new(Fragile::default());
        let log = open(&store).await;
        assert_eq!(log.current(), 0);
        let last = log
            .commit(WriteBatch::new(), vec![entry(1), entry(2), entry(3)])
            .await
            .unwrap();
        assert_eq!((last, log.current()), (3, 3));
        let reopened = open(&store).await;
        for log in [&log, &reopened] {
            assert_eq!(log.since(1, 2, 100).await.unwrap(), [(2, entry(2))]);
            assert_eq!(positions(log, 0, 3).await, [1, 2, 3]);
            assert_eq!(log.since(0, 3, 2).await.unwrap().len(), 2);
            assert_eq!(log.since(3, 3, 2).await.unwrap(), []);
        }
        assert_eq!(
            reopened.commit(WriteBatch::new(), vec![entry(4)]).await.unwrap(),
            4
        );
    }

    #[tokio::test]
    async fn what_is_in_flight_hides_what_comes_after_it() {
        let log = open(&Arc::default()).await;
        let first = log.reserve(2);
        log.commit(WriteBatch::new(), vec![entry(3)]).await.unwrap();
        assert_eq!(log.current(), 0);
        let mut heard = log.listen();
        assert!((&mut heard).now_or_never().is_none());
        first
            .commit(WriteBatch::new(), vec![entry(1), entry(2)], || ())
            .await
            .unwrap();
        assert_eq!(log.current(), 3);
        heard.await;
        assert_eq!(positions(&log, 0, 3).await, [1, 2, 3]);
    }

    #[tokio::test]
    async fn what_is_given_up_blocks_nobody() {
        let log = open(&Arc::default()).await;
        let first = log.reserve(1);
        log.commit(WriteBatch::new(), vec![entry(2)]).await.unwrap();
        drop(first);
        assert_eq!(log.current(), 2);
        assert_eq!(positions(&log, 0, 2).await, [2]);
    }

    #[tokio::test]
    async fn entries_are_counted_and_not_positions() {
        let log = open(&Arc::default()).await;
        drop(log.reserve(10_000));
        let count = PAGE + 5;
        log.commit(WriteBatch::new(), (0..count).map(entry).collect())
            .await
            .unwrap();
        let (count, to) = (count as u64, log.current());
        for (most, expected) in [(0, true), (1_020, true), (count - 1, true), (count, false)] {
            assert_eq!(log.has_more_than(most, 0, to).await.unwrap(), expected, "{most}");
        }
        assert!(!log.has_more_than(0, to, to).await.unwrap());
        assert!(!log.has_more_than(0, 0, 10_000).await.unwrap());
    }

    #[tokio::test]
    async fn a_failed_commit_tells_nobody_and_blocks_nobody() {
        let store = Arc::new(Fragile::default());
        let log = open(&store).await;
        store.is_broken.store(true, Ordering::Relaxed);
        let reservation = log.reserve(1);
        let failed = reservation
            .commit(WriteBatch::new(), vec![entry(1)], || unreachable!())
            .await;
        assert!(matches!(failed, Err(Error::Store(StoreError::Full))));
        assert_eq!(log.current(), 0);
        store.is_broken.store(false, Ordering::Relaxed);
        log.commit(WriteBatch::new(), vec![entry(2)]).await.unwrap();
        assert_eq!(positions(&log, 0, log.current()).await, [2]);
    }

    #[tokio::test]
    async fn a_commit_ends_even_if_its_caller_goes_away() {
        let log = open(&Arc::default()).await;
        let heard = log.listen();
        let commit = log.commit(WriteBatch::new(), vec![entry(1)]);
        assert!(
            commit.now_or_never().is_none(),
            "the caller waits once, and is gone"
        );
        heard.await;
        assert_eq!(positions(&log, 0, log.current()).await, [1]);
    }

    #[tokio::test]
    async fn old_entries_come_from_the_store() {
        let log = open(&Arc::default()).await;
        for _ in 0..3 {
            log.commit(WriteBatch::new(), (0..TAIL).map(entry).collect())
                .await
                .unwrap();
        }
        let all = 3 * TAIL as u64;
        assert_eq!(positions(&log, 5, 8).await, [6, 7, 8]);
        assert_eq!(positions(&log, all - 2, all).await, [all - 1, all]);
        assert!(log.shared.positions().tail.len() <= TAIL);
    }

    #[tokio::test]
    async fn what_was_in_flight_for_long_hides_nothing_that_only_the_store_has() {
        let log = open(&Arc::default()).await;
        let slow = log.reserve(1);
        log.commit(WriteBatch::new(), (0..2 * TAIL).map(entry).collect())
            .await
            .unwrap();
        slow.commit(WriteBatch::new(), vec![entry(0)], || ())
            .await
            .unwrap();
        assert_eq!(positions(&log, 1, 4).await, [2, 3, 4]);
    }
}
