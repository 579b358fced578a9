//! The store that keeps everything in memory: for tests and simulations. Nothing survives the last clone.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{BoxFuture, Direction, Entry, KeyRange, Store, StoreError, Table, WriteBatch, WriteOp};

type Tables = BTreeMap<Table, BTreeMap<Vec<u8>, Vec<u8>>>;

/// An ordered map for each table, behind a lock.
///
/// Clones share the data: a test 'restarts' a homeserver by giving a clone to the next one.
#[derive(Clone, Default)]
pub struct MemoryStore {
    tables: Arc<RwLock<Tables>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn read<T>(&self, table: Table, read: impl FnOnce(&BTreeMap<Vec<u8>, Vec<u8>>) -> T) -> T {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        match tables.get(&table) {
            Some(entries) => read(entries),
            None => read(&BTreeMap::new()),
        }
    }

    fn apply(&self, batch: WriteBatch) -> Result<(), StoreError> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        if !can_insert(&tables, batch.ops()) {
            return Err(StoreError::Exists);
        }
        for op in batch.into_ops() {
            match op {
                WriteOp::Put(table, key, value) | WriteOp::Insert(table, key, value) => {
                    tables.entry(table).or_default().insert(key, value)
                }
                WriteOp::Delete(table, key) => tables.entry(table).or_default().remove(&key),
            };
        }
        Ok(())
    }
}

impl Store for MemoryStore {
    fn get<'a>(&'a self, table: Table, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        Box::pin(async move { Ok(self.read(table, |entries| entries.get(key).cloned())) })
    }

    fn get_many<'a>(
        &'a self,
        table: Table,
        keys: &'a [Vec<u8>],
    ) -> BoxFuture<'a, Result<Vec<Option<Vec<u8>>>, StoreError>> {
        Box::pin(async move {
            Ok(self.read(table, |entries| {
                keys.iter().map(|key| entries.get(key).cloned()).collect()
            }))
        })
    }

    fn scan(
        &self,
        table: Table,
        range: KeyRange,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        Box::pin(async move { Ok(self.read(table, |entries| scan(entries, range, direction, limit))) })
    }

    fn commit(&self, batch: WriteBatch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { self.apply(batch) })
    }
}

/// Whether none of the keys that `ops` insert is there.
fn can_insert(tables: &Tables, ops: &[WriteOp]) -> bool {
    ops.iter().all(|op| match op {
        WriteOp::Insert(table, key, _) => tables.get(table).is_none_or(|entries| !entries.contains_key(key)),
        WriteOp::Put(..) | WriteOp::Delete(..) => true,
    })
}

fn scan(
    entries: &BTreeMap<Vec<u8>, Vec<u8>>,
    range: KeyRange,
    direction: Direction,
    limit: usize,
) -> Vec<Entry> {
    // `BTreeMap::range` panics on ranges whose start lies behind their end.
    if range.is_empty() {
        return Vec::new();
    }
    let found = entries.range::<Vec<u8>, _>((range.start, range.end));
    let owned = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
    match direction {
        Direction::Forward => found.take(limit).map(owned).collect(),
        Direction::Backward => found.rev().take(limit).map(owned).collect(),
    }
}
