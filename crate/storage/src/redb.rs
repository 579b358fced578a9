//! The native store: one redb file.
//!
//! A read of a few entries runs where it is asked for: mostly they are in memory, and to wake another thread takes
//! longer. Longer reads run on tokio's blocking threads, so a store is used within a tokio runtime; writes run on one
//! thread that belongs to the store. That thread merges all batches that wait for it into one transaction (group
//! commit). Both durabilities flush: redb's cheaper one keeps commits in the memory of the process, and a
//! killed process would lose what it had acknowledged.

use std::{
    collections::{BTreeMap, btree_map},
    io,
    path::Path,
    sync::{Arc, mpsc},
    thread,
};

use ::redb::{AccessGuard, Database, ReadableDatabase, StorageError, TableDefinition, WriteTransaction};
use futures::channel::oneshot;

use crate::{
    BoxFuture, Direction, Entry, KeyRange, Store, StoreError, Table, WriteBatch, WriteOp, schema::Migration,
    schema::SCHEMA_VERSION,
};

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// What redb itself needs to know: beside the tables, so that no batch can touch it.
const SCHEMA: TableDefinition<'static, &'static str, u32> = TableDefinition::new("hearth_schema");
const VERSION: &str = "version";

/// The most batches in one transaction: bounds how long the first of them waits for the last.
const GROUP_LIMIT: usize = 256;

/// The most entries that are read without another thread.
const FEW: usize = 256;

/// A store in one redb file.
///
/// Clones share the file. It is closed, and its lock released, once the last clone is dropped and the batches
/// that were waiting are committed.
#[derive(Clone)]
pub struct RedbStore {
    database: Arc<Database>,
    writer: Arc<Writer>,
}

/// The thread that writes; dropping it waits for the batches on their way and for the thread's end.
struct Writer {
    commits: Option<mpsc::Sender<Commit>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.commits = None;
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has already failed the commits that waited for it.
            let _ = thread.join();
        }
    }
}

/// A batch on its way to the writer, and where the result goes.
struct Commit {
    batch: WriteBatch,
    done: oneshot::Sender<Result<(), StoreError>>,
}

impl RedbStore {
    /// Opens the file at `path`, makes it if there is none, and brings it to the current schema.
    ///
    /// Blocks the thread while it does so.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] if a newer release wrote the file, which stays as it is;
    /// [`StoreError::Closed`] if another process has it open; else what went wrong on the disk.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let database = Arc::new(Database::create(path).map_err(|error| failure(error.into()))?);
        migrate(&database)?;
        let (sender, commits) = mpsc::channel();
        let written = Arc::clone(&database);
        let thread = thread::Builder::new()
            .name("hearth-store".into())
            .spawn(move || write_all(&written, &commits))
            .map_err(|error| StoreError::Backend(error.to_string()))?;
        let writer = Arc::new(Writer {
            commits: Some(sender),
            thread: Some(thread),
        });
        Ok(Self { database, writer })
    }

    /// Runs `read`, which reads at most `entries` entries.
    async fn read<T: Send + 'static>(
        &self,
        entries: usize,
        read: impl FnOnce(&Database) -> Result<T, ::redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        if entries <= FEW {
            return read(&self.database).map_err(failure);
        }
        let database = Arc::clone(&self.database);
        tokio::task::spawn_blocking(move || read(&database).map_err(failure))
            .await
            .map_err(|error| StoreError::Backend(error.to_string()))?
    }
}

impl Store for RedbStore {
    fn get<'a>(&'a self, table: Table, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        let key = key.to_vec();
        Box::pin(self.read(1, move |database| {
            let entries = database.begin_read()?.open_table(definition(table))?;
            Ok(entries.get(key.as_slice())?.map(|value| value.value().to_vec()))
        }))
    }

    fn get_many<'a>(
        &'a self,
        table: Table,
        keys: &'a [Vec<u8>],
    ) -> BoxFuture<'a, Result<Vec<Option<Vec<u8>>>, StoreError>> {
        let keys = keys.to_vec();
        Box::pin(self.read(keys.len(), move |database| {
            let entries = database.begin_read()?.open_table(definition(table))?;
            keys.iter()
                .map(|key| Ok(entries.get(key.as_slice())?.map(|value| value.value().to_vec())))
                .collect()
        }))
    }

    fn scan(
        &self,
        table: Table,
        range: KeyRange,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        Box::pin(self.read(limit, move |database| {
            scan(database, table, &range, direction, limit)
        }))
    }

    fn commit(&self, batch: WriteBatch) -> BoxFuture<'_, Result<(), StoreError>> {
        let (done, result) = oneshot::channel();
        // If the writer is gone, `done` is dropped with the batch, and the wait below ends.
        let _ = self
            .writer
            .commits
            .as_ref()
            .map(|commits| commits.send(Commit { batch, done }));
        Box::pin(async move {
            let stopped = || StoreError::Closed("the writer has stopped".into());
            result.await.map_err(|_| stopped())?
        })
    }
}

fn definition(table: Table) -> Definition {
    TableDefinition::new(table.name())
}

fn scan(
    database: &Database,
    table: Table,
    range: &KeyRange,
    direction: Direction,
    limit: usize,
) -> Result<Vec<Entry>, ::redb::Error> {
    if range.is_empty() {
        return Ok(Vec::new());
    }
    let entries = database.begin_read()?.open_table(definition(table))?;
    let bounds = (
        range.start.as_ref().map(Vec::as_slice),
        range.end.as_ref().map(Vec::as_slice),
    );
    let found = entries.range::<&[u8]>(bounds)?;
    match direction {
        Direction::Forward => found.take(limit).map(owned).collect(),
        Direction::Backward => found.rev().take(limit).map(owned).collect(),
    }
}

type Guards<'a> = (AccessGuard<'a, &'static [u8]>, AccessGuard<'a, &'static [u8]>);

fn owned(entry: Result<Guards<'_>, StorageError>) -> Result<Entry, ::redb::Error> {
    let (key, value) = entry?;
    Ok((key.value().to_vec(), value.value().to_vec()))
}

/// Runs the migrations that the file has not seen, in one transaction.
fn migrate(database: &Database) -> Result<(), StoreError> {
    let found = version(database).map_err(failure)?;
    let mut pending = Migration::pending(found)?.peekable();
    if pending.peek().is_none() {
        return Ok(());
    }
    upgrade(database, pending).map_err(failure)
}

fn version(database: &Database) -> Result<u32, ::redb::Error> {
    match database.begin_read()?.open_table(SCHEMA) {
        Ok(schema) => Ok(schema.get(VERSION)?.map_or(0, |version| version.value())),
        Err(::redb::TableError::TableDoesNotExist(_)) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

fn upgrade(database: &Database, pending: impl Iterator<Item = Migration>) -> Result<(), ::redb::Error> {
    let transaction = database.begin_write()?;
    for migration in pending {
        for table in migration.new_tables() {
            transaction.open_table(definition(*table))?;
        }
    }
    transaction.open_table(SCHEMA)?.insert(VERSION, SCHEMA_VERSION)?;
    Ok(transaction.commit()?)
}

/// The writer: commits until every sender is gone.
fn write_all(database: &Database, commits: &mpsc::Receiver<Commit>) {
    while let Ok(first) = commits.recv() {
        let mut group = vec![first];
        group.extend(commits.try_iter().take(GROUP_LIMIT - 1));
        commit_group(database, group);
    }
}

/// Commits a group in one transaction; if that fails, each batch alone, so that one batch that cannot be
/// stored does not take others with it.
fn commit_group(database: &Database, group: Vec<Commit>) {
    let together = write(database, group.iter().map(|commit| &commit.batch));
    let alone = group.len() > 1 && together.is_err();
    for Commit { batch, done } in group {
        let result = if alone {
            write(database, [&batch].into_iter())
        } else {
            together.clone()
        };
        // Whoever asked may have gone away; the batch is stored all the same.
        let _ = done.send(result);
    }
}

fn write<'a>(database: &Database, batches: impl Iterator<Item = &'a WriteBatch>) -> Result<(), StoreError> {
    let write = || -> Result<bool, ::redb::Error> {
        let transaction = database.begin_write()?;
        if !apply(&transaction, batches.flat_map(WriteBatch::ops))? {
            transaction.abort()?;
            return Ok(false);
        }
        transaction.commit()?;
        Ok(true)
    };
    if write().map_err(failure)? {
        Ok(())
    } else {
        Err(StoreError::Exists)
    }
}

/// Places every write, unless one inserts what is there already: then says `false`.
fn apply<'a>(
    transaction: &WriteTransaction,
    ops: impl Iterator<Item = &'a WriteOp>,
) -> Result<bool, ::redb::Error> {
    let mut tables = BTreeMap::new();
    for op in ops {
        let entries = match tables.entry(op.table()) {
            btree_map::Entry::Occupied(open) => open.into_mut(),
            btree_map::Entry::Vacant(closed) => {
                closed.insert(transaction.open_table(definition(op.table()))?)
            }
        };
        let before = match op {
            WriteOp::Put(_, key, value) | WriteOp::Insert(_, key, value) => {
                entries.insert(key.as_slice(), value.as_slice())?
            }
            WriteOp::Delete(_, key) => entries.remove(key.as_slice())?,
        };
        if matches!(op, WriteOp::Insert(..)) && before.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn failure(error: ::redb::Error) -> StoreError {
    use ::redb::Error;
    match error {
        Error::Io(error) if is_full(&error) => StoreError::Full,
        Error::DatabaseAlreadyOpen => StoreError::Closed("another process has the file open".into()),
        Error::DatabaseClosed => StoreError::Closed("the file was closed".into()),
        error => StoreError::Backend(error.to_string()),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn write_version(path: &Path, version: u32, tables: &[Table]) {
        let database = Database::create(path).unwrap();
        let transaction = database.begin_write().unwrap();
        for table in tables {
            let mut entries = transaction.open_table(definition(*table)).unwrap();
            entries
                .insert(b"old".as_slice(), table.name().as_bytes())
                .unwrap();
        }
        transaction
            .open_table(SCHEMA)
            .unwrap()
            .insert(VERSION, version)
            .unwrap();
        transaction.commit().unwrap();
    }

    #[tokio::test]
    async fn a_database_of_version_1_keeps_its_data_and_gains_the_new_table() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v1.redb");
        write_version(&path, 1, Migration::Initial.new_tables());

        let store = RedbStore::open(&path).unwrap();
        for table in Migration::Initial.new_tables() {
            assert_eq!(
                store.get(*table, b"old").await.unwrap(),
                Some(table.name().into()),
                "{table:?}"
            );
        }
        assert_eq!(store.get(Table::Keys, b"old").await.unwrap(), None);
        let mut batch = WriteBatch::new();
        batch.put(Table::Keys, b"new".as_slice(), b"key".as_slice());
        store.commit(batch).await.unwrap();
        assert_eq!(version(&store.database).unwrap(), SCHEMA_VERSION);
    }

    #[test]
    fn a_database_of_a_newer_release_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("newer.redb");
        write_version(&path, SCHEMA_VERSION + 1, &[Table::Meta]);

        let refused = RedbStore::open(&path).err();
        assert_eq!(
            refused,
            Some(StoreError::NewerSchema {
                found: SCHEMA_VERSION + 1,
                known: SCHEMA_VERSION
            })
        );
        let database = Database::create(&path).unwrap();
        assert_eq!(version(&database).unwrap(), SCHEMA_VERSION + 1);
        let meta = database
            .begin_read()
            .unwrap()
            .open_table(definition(Table::Meta))
            .unwrap();
        assert_eq!(meta.get(b"old".as_slice()).unwrap().unwrap().value(), b"meta");
        assert!(
            database
                .begin_read()
                .unwrap()
                .open_table(definition(Table::Keys))
                .is_err()
        );
    }

    #[test]
    fn a_file_that_is_open_elsewhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("open.redb");
        let _held = Database::create(&path).unwrap();
        assert!(matches!(
            RedbStore::open(&path).err(),
            Some(StoreError::Closed(_))
        ));
    }
}
