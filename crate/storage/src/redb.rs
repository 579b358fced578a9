//! The native store: one redb file.
//!
//! A read of a few entries runs where it is asked for: mostly they are in memory, and to wake another thread takes
//! longer. Longer reads run on tokio's blocking threads, so a store is used within a tokio runtime; writes run on one
//! thread that belongs to the store. That thread merges all batches that wait for it into one transaction (group
//! commit). Both durabilities flush: redb's cheaper one keeps commits in the memory of the process, and a
//! killed process would lose what it had acknowledged. Once the disk was full the file is opened anew.

mod file;

use std::{
    collections::{BTreeMap, btree_map},
    io,
    path::Path,
    sync::{Arc, mpsc},
    thread,
};

use ::redb::{AccessGuard, Database, ReadableDatabase, StorageError, TableDefinition, WriteTransaction};
use futures::channel::oneshot;

use self::file::File;
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
    file: Arc<File>,
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
        let path = path.as_ref().to_owned();
        let database = Database::create(&path).map_err(|error| failure(error.into()))?;
        migrate(&database)?;
        // A file that was taken away is not made anew: that would be another homeserver.
        Self::with(File::new(database, move || Database::open(&path)))
    }

    fn with(file: File) -> Result<Self, StoreError> {
        let file = Arc::new(file);
        let (sender, commits) = mpsc::channel();
        let written = Arc::clone(&file);
        let thread = thread::Builder::new()
            .name("hearth-store".into())
            .spawn(move || write_all(&written, &commits))
            .map_err(|error| StoreError::Backend(error.to_string()))?;
        let writer = Arc::new(Writer {
            commits: Some(sender),
            thread: Some(thread),
        });
        Ok(Self { file, writer })
    }

    /// Runs `read`, which reads at most `entries` entries.
    async fn read<T: Send + 'static>(
        &self,
        entries: usize,
        read: impl FnOnce(&Database) -> Result<T, ::redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        if entries <= FEW && self.file.is_at_hand() {
            return self.file.with(read).map_err(failure);
        }
        let file = Arc::clone(&self.file);
        tokio::task::spawn_blocking(move || file.with(read).map_err(failure))
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
fn write_all(file: &File, commits: &mpsc::Receiver<Commit>) {
    while let Ok(first) = commits.recv() {
        let mut group = vec![first];
        group.extend(commits.try_iter().take(GROUP_LIMIT - 1));
        commit_group(file, group);
    }
}

/// Commits a group in one transaction; if that fails, each batch alone, so that one batch that cannot be
/// stored does not take others with it. On a full disk all fail: each try would have the file opened anew.
fn commit_group(file: &File, group: Vec<Commit>) {
    let together = write(file, group.iter().map(|commit| &commit.batch));
    let alone = group.len() > 1 && together.as_ref().is_err_and(|error| *error != StoreError::Full);
    for Commit { batch, done } in group {
        let result = if alone {
            write(file, [&batch].into_iter())
        } else {
            together.clone()
        };
        // Whoever asked may have gone away; the batch is stored all the same.
        let _ = done.send(result);
    }
}

fn write<'a>(file: &File, batches: impl Iterator<Item = &'a WriteBatch>) -> Result<(), StoreError> {
    let written = file.with(|database| {
        let transaction = database.begin_write()?;
        if !apply(&transaction, batches.flat_map(WriteBatch::ops))? {
            transaction.abort()?;
            return Ok(false);
        }
        transaction.commit()?;
        Ok(true)
    });
    match written.map_err(failure) {
        Ok(true) => Ok(()),
        Ok(false) => Err(StoreError::Exists),
        Err(error) => {
            if error == StoreError::Full {
                file.close();
            }
            Err(error)
        }
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

    use std::{
        fs,
        sync::atomic::{AtomicBool, Ordering},
    };

    use ::redb::{StorageBackend, backends::FileBackend};

    use super::*;

    /// A file on a disk on which nothing grows while it is full.
    #[derive(Debug)]
    struct OnDisk {
        file: FileBackend,
        full: Arc<AtomicBool>,
    }

    impl StorageBackend for OnDisk {
        fn len(&self) -> io::Result<u64> {
            self.file.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.file.read(offset, out)
        }

        fn set_len(&self, length: u64) -> io::Result<()> {
            match self.full.load(Ordering::Relaxed) && length > self.len()? {
                true => Err(io::ErrorKind::StorageFull.into()),
                false => self.file.set_len(length),
            }
        }

        fn sync_data(&self) -> io::Result<()> {
            self.file.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.file.write(offset, data)
        }

        fn close(&self) -> io::Result<()> {
            self.file.close()
        }
    }

    fn put(key: &[u8], value: Vec<u8>) -> WriteBatch {
        let mut batch = WriteBatch::new();
        batch.put(Table::Media, key, value);
        batch
    }

    #[tokio::test]
    async fn a_disk_that_was_full_is_written_to_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("full.redb");
        let full = Arc::new(AtomicBool::new(false));
        let disk = Arc::clone(&full);
        let open = move || {
            let file = fs::OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)?;
            let full = Arc::clone(&disk);
            let file = FileBackend::new(file)?;
            Database::builder().create_with_backend(OnDisk { file, full })
        };
        let database = open().unwrap();
        migrate(&database).unwrap();
        let store = RedbStore::with(File::new(database, open)).unwrap();
        let large = vec![7; 16 << 20];
        store.commit(put(b"before", b"1".to_vec())).await.unwrap();

        full.store(true, Ordering::Relaxed);
        let refused = store.commit(put(b"large", large.clone())).await;
        assert_eq!(refused, Err(StoreError::Full));
        assert_eq!(store.get(Table::Media, b"large").await.unwrap(), None);
        assert_eq!(
            store.get(Table::Media, b"before").await.unwrap(),
            Some(b"1".to_vec())
        );
        // There is room for it in the file.
        store.commit(put(b"small", b"2".to_vec())).await.unwrap();

        full.store(false, Ordering::Relaxed);
        store.commit(put(b"large", large.clone())).await.unwrap();
        assert_eq!(store.get(Table::Media, b"large").await.unwrap(), Some(large));
        assert_eq!(
            store.get(Table::Media, b"small").await.unwrap(),
            Some(b"2".to_vec())
        );
    }

    #[tokio::test]
    async fn a_file_that_does_not_open_again_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("held.redb");
        let moved = folder.path().join("moved.redb");
        let store = RedbStore::open(&path).unwrap();
        store.commit(put(b"key", b"value".to_vec())).await.unwrap();
        store.file.close();
        fs::rename(&path, &moved).unwrap();
        store.get(Table::Media, b"key").await.unwrap_err();
        store.commit(WriteBatch::new()).await.unwrap_err();
        assert!(!path.exists());
        fs::rename(&moved, &path).unwrap();
        assert_eq!(
            store.get(Table::Media, b"key").await.unwrap(),
            Some(b"value".to_vec())
        );
    }

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
        assert_eq!(store.file.with(version).unwrap(), SCHEMA_VERSION);
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
