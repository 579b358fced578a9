//! A store whose commits take time, so that a crash can come before, during and after each of them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hearth_homeserver::{Clock, Rng};
use hearth_storage::{BoxFuture, Direction, Entry, KeyRange, Store, StoreError, Table, WriteBatch};

use crate::{clock::VirtualClock, server::Platform};

/// One process's view of a store. Batches that wait are applied in the order in which they came, several at
/// once where the first took long, as a group commit does. What waits when the process dies is lost.
pub(crate) struct SlowStore {
    beneath: Arc<dyn Store>,
    clock: VirtualClock,
    rng: Arc<dyn Rng>,
    longest: Duration,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    serial: u64,
    batches: VecDeque<(u64, WriteBatch)>,
}

impl SlowStore {
    /// `beneath` as a process of `platform` sees it.
    pub(crate) fn over(beneath: Arc<dyn Store>, platform: &Platform, rng: Arc<dyn Rng>) -> Arc<dyn Store> {
        if platform.commit_delay.is_zero() {
            return beneath;
        }
        Arc::new(Self {
            beneath,
            clock: platform.clock.clone(),
            rng,
            longest: platform.commit_delay,
            waiting: Mutex::default(),
        })
    }

    /// Puts `batch` last in the queue; returns its number.
    fn enqueue(&self, batch: WriteBatch) -> u64 {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.serial += 1;
        let serial = waiting.serial;
        waiting.batches.push_back((serial, batch));
        serial
    }

    /// The first batch of the queue, if it is not behind number `last`.
    fn take(&self, last: u64) -> Option<WriteBatch> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let due = waiting.batches.front().is_some_and(|(serial, _)| *serial <= last);
        due.then(|| waiting.batches.pop_front())
            .flatten()
            .map(|(_, batch)| batch)
    }

    /// Takes some time.
    async fn pause(&self) {
        let mut byte = [0];
        self.rng.fill(&mut byte);
        let [part] = byte;
        self.clock.sleep(self.longest * u32::from(part) / 255).await;
    }
}

impl Store for SlowStore {
    fn get<'a>(&'a self, table: Table, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        self.beneath.get(table, key)
    }

    fn get_many<'a>(
        &'a self,
        table: Table,
        keys: &'a [Vec<u8>],
    ) -> BoxFuture<'a, Result<Vec<Option<Vec<u8>>>, StoreError>> {
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
            while let Some(batch) = self.take(serial) {
                self.beneath.commit(batch).await?;
            }
            self.pause().await;
            Ok(())
        })
    }
}
