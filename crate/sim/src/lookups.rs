//! A store that counts for how many keys it is asked.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use hearth_storage::{
    BoxFuture, Direction, Entry, KeyRange, MemoryStore, Store, StoreError, Table, WriteBatch,
};

/// A store in memory that counts the keys that are looked up, one by one or many at once. Ranges are not counted.
#[derive(Default)]
pub(crate) struct CountedLookups {
    rows: MemoryStore,
    lookups: Mutex<BTreeMap<Table, usize>>,
}

impl CountedLookups {
    /// How many keys of `table` were looked up so far.
    pub(crate) fn of(&self, table: Table) -> usize {
        let lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        lookups.get(&table).copied().unwrap_or_default()
    }

    fn note(&self, table: Table, keys: usize) {
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        *lookups.entry(table).or_default() += keys;
    }
}

impl Store for CountedLookups {
    fn get<'a>(&'a self, table: Table, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        self.note(table, 1);
        self.rows.get(table, key)
    }

    fn get_many<'a>(
        &'a self,
        table: Table,
        keys: &'a [Vec<u8>],
    ) -> BoxFuture<'a, Result<Vec<Option<Vec<u8>>>, StoreError>> {
        self.note(table, keys.len());
        self.rows.get_many(table, keys)
    }

    fn scan(
        &self,
        table: Table,
        range: KeyRange,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        self.rows.scan(table, range, direction, limit)
    }

    fn commit(&self, batch: WriteBatch) -> BoxFuture<'_, Result<(), StoreError>> {
        self.rows.commit(batch)
    }
}
