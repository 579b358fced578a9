//! The redb store against the suite that every store must pass, and what only a file can be asked.
#![cfg(not(target_family = "wasm"))]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;

use hearth_storage::{
    BoxFuture, Direction, Entry, KeyRange, RedbStore, Store, StoreError, Table, WriteBatch, conformance_tests,
};
use tempfile::TempDir;

/// A store whose folder goes with it.
struct Temporary {
    store: RedbStore,
    _folder: TempDir,
}

async fn open() -> Temporary {
    let folder = tempfile::tempdir().unwrap();
    Temporary {
        store: RedbStore::open(folder.path().join("store.redb")).unwrap(),
        _folder: folder,
    }
}

impl Store for Temporary {
    fn get<'a>(&'a self, table: Table, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
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
        self.store.commit(batch)
    }
}

conformance_tests!(open, #[tokio::test]);

#[tokio::test]
async fn a_reopened_file_has_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    for round in 0..3u8 {
        let store = RedbStore::open(&path).unwrap();
        let found = store
            .scan(Table::Stream, KeyRange::all(), Direction::Forward, 10)
            .await
            .unwrap();
        assert_eq!(found.len(), usize::from(round));
        let mut batch = WriteBatch::new();
        batch.put(Table::Stream, [round], b"entry".as_slice());
        store.commit(batch).await.unwrap();
    }
}

/// The file that a killed process leaves behind: a copy made while the store is still open.
#[tokio::test]
async fn a_killed_process_loses_nothing_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = RedbStore::open(&path).unwrap();
    for round in 0..20u8 {
        let mut batch = WriteBatch::new();
        batch.put(Table::Stream, [round], b"entry".as_slice());
        store.commit(batch).await.unwrap();

        let left: PathBuf = folder.path().join(format!("left-{round}.redb"));
        std::fs::copy(&path, &left).unwrap();
        let reopened = RedbStore::open(&left).unwrap();
        let found = reopened
            .scan(Table::Stream, KeyRange::all(), Direction::Forward, 100)
            .await
            .unwrap();
        assert_eq!(found.len(), usize::from(round) + 1);
    }
}

/// Nothing is stored of a batch whose sender gave up waiting before the writer saw it, or all of it is.
#[tokio::test]
async fn a_commit_that_nobody_waits_for_is_still_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = RedbStore::open(&path).unwrap();
    let mut batch = WriteBatch::new();
    batch.put(Table::Stream, b"a".as_slice(), b"1".as_slice());
    batch.put(Table::Meta, b"b".as_slice(), b"2".as_slice());
    drop(store.commit(batch));
    drop(store);
    let store = RedbStore::open(&path).unwrap();
    assert_eq!(store.get(Table::Stream, b"a").await.unwrap(), Some(b"1".to_vec()));
    assert_eq!(store.get(Table::Meta, b"b").await.unwrap(), Some(b"2".to_vec()));
}
