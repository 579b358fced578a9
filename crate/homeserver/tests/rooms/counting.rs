//! A store that counts what is asked of it.

use std::{
    ops::Bound,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use hearth_storage::{
    BoxFuture, Direction, Durability, Entry, KeyRange, MemoryStore, Store, StoreError, Table, WriteBatch,
    WriteOp,
};

/// What was asked of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The calls that read: the table, and how many keys or rows it was about.
    pub reads: Vec<(Table, usize)>,
    /// How many rows were written or deleted, by table, in order.
    pub writes: Vec<Table>,
    /// How many batches were committed.
    pub commits: usize,
    /// How many of these a loss of power does not take away.
    pub strict: usize,
}

impl Counts {
    /// How many calls read `table`.
    pub fn reads_of(&self, table: Table) -> usize {
        self.reads.iter().filter(|(read, _)| *read == table).count()
    }

    /// How many keys or rows of `table` were read.
    pub fn rows_read(&self, table: Table) -> usize {
        let reads = self.reads.iter().filter(|(read, _)| *read == table);
        reads.map(|(_, rows)| rows).sum()
    }

    /// How many rows of `table` were written.
    pub fn rows_written(&self, table: Table) -> usize {
        self.writes.iter().filter(|written| **written == table).count()
    }
}

/// What the keys of rows begin with, and the lock.
type Late = (&'static [u8], Arc<async_lock::Mutex<()>>);

/// A store that counts.
#[derive(Default)]
pub struct CountingStore {
    pub rows: MemoryStore,
    counts: Mutex<Counts>,
    /// Whoever holds it keeps commits from being made.
    pub gate: async_lock::Mutex<()>,
    /// Whether commits fail.
    pub is_full: AtomicBool,
    /// Whether events cannot be read.
    pub is_unreadable: AtomicBool,
    /// What the keys of rows begin with that the next scan for them hands over late: when it gets the lock.
    pub late: Mutex<Option<Late>>,
}

impl CountingStore {
    /// A store of `rows` that has counted nothing.
    pub fn new(rows: MemoryStore) -> Self {
        Self {
            rows,
            ..Self::default()
        }
    }

    /// What was counted since the last call.
    pub fn take(&self) -> Counts {
        std::mem::take(&mut self.counts.lock().unwrap())
    }

    /// What a scan from `start` has to wait for.
    fn late_for(&self, start: &Bound<Vec<u8>>) -> Option<Arc<async_lock::Mutex<()>>> {
        let Bound::Included(start) = start else {
            return None;
        };
        let is_meant = |(prefix, _): &mut (&[u8], _)| start.starts_with(prefix);
        Some(self.late.lock().unwrap().take_if(is_meant)?.1)
    }

    fn note_commit(&self, batch: &WriteBatch) {
        let mut counts = self.counts.lock().unwrap();
        counts.commits += 1;
        counts.strict += usize::from(batch.durability() == Durability::Strict);
        counts.writes.extend(batch.ops().iter().map(WriteOp::table));
    }

    fn read(&self, table: Table, rows: usize) {
        self.counts.lock().unwrap().reads.push((table, rows));
    }
}

impl Store for CountingStore {
    fn get<'a>(&'a self, table: Table, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        self.read(table, 1);
        self.rows.get(table, key)
    }

    fn get_many<'a>(
        &'a self,
        table: Table,
        keys: &'a [Vec<u8>],
    ) -> BoxFuture<'a, Result<Vec<Option<Vec<u8>>>, StoreError>> {
        self.read(table, keys.len());
        if table == Table::Events && self.is_unreadable.load(Ordering::Relaxed) {
            return Box::pin(async { Err(StoreError::Backend("not now".into())) });
        }
        self.rows.get_many(table, keys)
    }

    fn scan(
        &self,
        table: Table,
        range: KeyRange,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        let late = self.late_for(&range.start);
        Box::pin(async move {
            let rows = self.rows.scan(table, range, direction, limit).await?;
            self.read(table, rows.len());
            if let Some(lock) = late {
                lock.lock().await;
            }
            Ok(rows)
        })
    }

    fn commit(&self, batch: WriteBatch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let _open = self.gate.lock().await;
            if self.is_full.load(Ordering::Relaxed) {
                return Err(StoreError::Full);
            }
            self.note_commit(&batch);
            self.rows.commit(batch).await
        })
    }
}
