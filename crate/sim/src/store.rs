//! A store whose commits take time, so that a crash can come before, during and after each of them, and that
//! counts for how many keys it is asked.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hearth_homeserver::{Clock, Rng};
use hearth_storage::{BoxFuture, Direction, Entry, KeyRange, Store, StoreError, Table, WriteBatch};

use crate::{clock::VirtualClock, server::Platform};

/// One process's view of a store. Batches that wait are applied in the order in which they came, several at
/// once where the first took long, as a group commit does. What waits when the process dies is lost.
pub(crate) struct SlowStore {
    beneath: Arc<dyn Store>,
    lookups: Arc<Lookups>,
    clock: VirtualClock,
    rng: Arc<dyn Rng>,
    longest: Duration,
    waiting: Mutex<Waiting>,
}

/// How many keys of each table were looked up.
#[derive(Default)]
pub(crate) struct Lookups(Mutex<BTreeMap<Table, usize>>);

#[derive(Default)]
struct Waiting {
    serial: u64,
    batches: VecDeque<(u64, WriteBatch)>,
    /// Why batches were refused, for those who wait for them.
    refused: BTreeMap<u64, StoreError>,
}

impl SlowStore {
    /// `beneath` as a process of `platform` sees it.
    pub(crate) fn over(
        beneath: Arc<dyn Store>,
        lookups: Arc<Lookups>,
        platform: &Platform,
        rng: Arc<dyn Rng>,
    ) -> Arc<dyn Store> {
        Arc::new(Self {
            beneath,
            lookups,
            clock: platform.clock.clone(),
            rng,
            longest: platform.commit_delay,
            waiting: Mutex::default(),
        })
    }

    /// Puts `batch` last in the queue; returns its number.
    fn enqueue(&self, batch: WriteBatch) -> u64 {
        let mut waiting = self.waiting();
        waiting.serial += 1;
        let serial = waiting.serial;
        waiting.batches.push_back((serial, batch));
        serial
    }

    /// The first batch of the queue and its number, if that is not behind number `last`.
    fn take(&self, last: u64) -> Option<(u64, WriteBatch)> {
        let mut waiting = self.waiting();
        let is_due = waiting.batches.front().is_some_and(|(serial, _)| *serial <= last);
        is_due.then(|| waiting.batches.pop_front()).flatten()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes some time, if commits do.
    async fn pause(&self) {
        if self.longest.is_zero() {
            return;
        }
        let mut byte = [0];
        self.rng.fill(&mut byte);
        let [part] = byte;
        self.clock.sleep(self.longest * u32::from(part) / 255).await;
    }
}

impl Lookups {
    /// How many keys of `table` were looked up so far.
    pub(crate) fn of(&self, table: Table) -> usize {
        let lookups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lookups.get(&table).copied().unwrap_or_default()
    }

    fn note(&self, table: Table, keys: usize) {
        let mut lookups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *lookups.entry(table).or_default() += keys;
    }
}

impl Store for SlowStore {
    fn get<'a>(&'a self, table: Table, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        self.lookups.note(table, 1);
        self.beneath.get(table, key)
    }

    fn get_many<'a>(
        &'a self,
        table: Table,
        keys: &'a [Vec<u8>],
    ) -> BoxFuture<'a, Result<Vec<Option<Vec<u8>>>, StoreError>> {
        self.lookups.note(table, keys.len());
        self.beneath.get_many(table, keys)
    }

    fn scan(
        &self,
        table: Table,
        range: KeyRange,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        self.beneath.scan(table, range, direction, limit)
    }

    fn commit(&self, batch: WriteBatch) -> BoxFuture<'_, Result<(), StoreError>> {
        let serial = self.enqueue(batch);
        Box::pin(async move {
            self.pause().await;
            while let Some((serial, batch)) = self.take(serial) {
                if let Err(error) = self.beneath.commit(batch).await {
                    self.waiting().refused.insert(serial, error);
                }
            }
            self.pause().await;
            self.waiting().refused.remove(&serial).map_or(Ok(()), Err)
        })
    }
}
