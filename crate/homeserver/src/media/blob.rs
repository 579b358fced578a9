//! Bytes in chunks, written as they come and read as they go.
//!
//! A blob that is written in more than one batch is noted as unfinished first; whoever gives up, or a restart,
//! finds its chunks by that note and removes them.

use std::{
    collections::HashSet,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _, stream};
use hearth_storage::{Direction, KeyRange, Store, Table, WriteBatch};
use sha2::{Digest as _, Sha256};

use crate::{Error, Homeserver, stored::scan_all};

/// The length of a chunk in bytes: with its key it fills a page of redb, which has a power of two of bytes; and Chromium
/// gives values of IndexedDB a file each that are longer than 64 KiB, which takes three times as long.
pub(crate) const CHUNK: u32 = 63 * 1024;
/// The same, for slices.
const LENGTH: usize = CHUNK as usize;
/// How many chunks are committed at once: each commit is waited for.
const COMMITTED: usize = 32;
/// How many chunks are read at once.
const READ: u64 = 32;
/// How many chunks are removed at once.
const REMOVED: usize = 256;
/// What the keys of unfinished blobs begin with.
const UNFINISHED: &[u8] = b"u\0";

/// The name of a blob.
pub(crate) type BlobId = [u8; 16];

/// Where the bytes of a blob are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blob {
    /// Its name.
    pub id: BlobId,
    /// The length of its chunks, in bytes.
    pub chunk: u32,
}

/// The blobs that are being written: what is unfinished beside these was given up.
#[derive(Default)]
pub(crate) struct ActiveBlobs(Mutex<HashSet<BlobId>>);

impl ActiveBlobs {
    fn with<T>(&self, act: impl FnOnce(&mut HashSet<BlobId>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A blob is being written for as long as this lives.
struct Active {
    homeserver: Arc<Homeserver>,
    blob: BlobId,
}

impl Active {
    fn new(homeserver: Arc<Homeserver>) -> Self {
        let mut blob = BlobId::default();
        homeserver.seams.rng.fill(&mut blob);
        homeserver.media.active.with(|active| active.insert(blob));
        Self { homeserver, blob }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        let blob = self.blob;
        self.homeserver.media.active.with(|active| active.remove(&blob));
    }
}

/// Writes a blob. Dropped before [`BlobWriter::finish`], it removes what it wrote.
pub(crate) struct BlobWriter {
    homeserver: Arc<Homeserver>,
    blob: BlobId,
    active: Option<Active>,
    /// The chunks that are not committed yet: all but the last are full.
    waiting: Vec<Vec<u8>>,
    /// How many chunks are committed.
    chunks: u32,
    size: u64,
    limit: u64,
    hash: Sha256,
}

/// A blob all of whose bytes came, with the batch that makes it last.
pub(crate) struct Finished {
    /// Its name, in hex.
    pub blob: String,
    /// Its length in bytes.
    pub size: u64,
    /// The SHA-256 of its bytes.
    pub digest: [u8; 32],
    /// Its last chunks, to be committed with the record that names the blob.
    pub batch: WriteBatch,
    /// Dropped once the batch is committed.
    _active: Option<Active>,
}

impl BlobWriter {
    /// Begins a blob of at most `limit` bytes.
    pub(crate) fn new(homeserver: Arc<Homeserver>, limit: u64) -> Self {
        let active = Active::new(homeserver.clone());
        Self {
            homeserver,
            blob: active.blob,
            active: Some(active),
            waiting: Vec::new(),
            chunks: 0,
            size: 0,
            limit,
            hash: Sha256::new(),
        }
    }

    /// Adds `bytes`.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond the limit, [`Error::Store`].
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.size += bytes.len() as u64;
        if self.size > self.limit {
            return Err(Error::TooLarge(format!(
                "a file has at most {} bytes",
                self.limit
            )));
        }
        self.hash.update(bytes);
        let mut rest = bytes;
        while !rest.is_empty() {
            let last = self.waiting.last_mut().filter(|chunk| chunk.len() < LENGTH);
            let Some(chunk) = last else {
                if self.waiting.len() == COMMITTED {
                    self.flush().await?;
                }
                self.waiting.push(Vec::with_capacity(rest.len().min(LENGTH)));
                continue;
            };
            let (now, later) = rest.split_at(rest.len().min(LENGTH - chunk.len()));
            chunk.extend_from_slice(now);
            rest = later;
        }
        Ok(())
    }

    /// How many bytes came so far.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let mut batch = WriteBatch::new();
        if self.chunks == 0 {
            batch.put(Table::Media, unfinished_key(&self.blob), Vec::new());
        }
        self.put_chunks(&mut batch);
        Ok(self.homeserver.seams.store.commit(batch).await?)
    }

    fn put_chunks(&mut self, batch: &mut WriteBatch) {
        for chunk in self.waiting.drain(..) {
            batch.put(Table::Media, chunk_key(&self.blob, self.chunks), chunk);
            self.chunks += 1;
        }
    }

    /// Ends the blob. It stays unfinished until the batch that is returned is committed; if that never
    /// happens, the next start removes it.
    pub(crate) fn finish(mut self) -> Finished {
        let mut batch = WriteBatch::new();
        if self.chunks > 0 {
            batch.delete(Table::Media, unfinished_key(&self.blob));
        }
        self.put_chunks(&mut batch);
        self.chunks = 0;
        Finished {
            blob: hex::encode(self.blob),
            size: self.size,
            digest: std::mem::take(&mut self.hash).finalize().into(),
            batch,
            _active: self.active.take(),
        }
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if self.chunks == 0 {
            return;
        }
        let blob = self.blob;
        self.homeserver.spawn(move |homeserver| async move {
            homeserver.remove_unfinished(&blob).await;
        });
    }
}

/// The bytes `range` of a blob, chunk by chunk.
pub(crate) fn read_blob(
    store: Arc<dyn Store>,
    blob: Blob,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes, Error>> {
    let groups = stream::try_unfold((store, range), move |(store, range)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        let pieces = read_pieces(&*store, &blob, &range).await?;
        let next = pieces
            .iter()
            .fold(range.start, |next, piece| next + piece.len() as u64);
        Ok::<_, Error>(Some((pieces, (store, next..range.end))))
    });
    groups
        .map_ok(|pieces| stream::iter(pieces.into_iter().map(Ok)))
        .try_flatten()
}

/// The first bytes of `range`, as many as [`READ`] chunks have of them, by chunks.
async fn read_pieces(store: &dyn Store, blob: &Blob, range: &Range<u64>) -> Result<Vec<Bytes>, Error> {
    let damaged = || Error::Damaged("a chunk of a file is missing".into());
    let length = u64::from(blob.chunk);
    let first = range.start.checked_div(length).ok_or_else(damaged)?;
    let numbers = first..range.end.div_ceil(length).min(first + READ);
    let key = |number: u64| Ok(chunk_key(&blob.id, u32::try_from(number).map_err(|_| damaged())?));
    let keys = numbers.clone().map(key).collect::<Result<Vec<_>, Error>>()?;
    let chunks = store.get_many(Table::Media, &keys).await?;
    let piece = |(number, chunk): (u64, Option<Vec<u8>>)| {
        let chunk = Bytes::from(chunk.ok_or_else(damaged)?);
        let base = number * length;
        let place = |at: u64| usize::try_from(at.saturating_sub(base)).unwrap_or(usize::MAX);
        let (start, end) = (place(range.start), place(range.end).min(chunk.len()));
        let is_whole = end == chunk.len() && chunk.len() as u64 == length;
        // Only what is asked for last may be shorter than a chunk.
        if start < end && (is_whole || base + end as u64 == range.end) {
            Ok(chunk.slice(start..end))
        } else {
            Err(damaged())
        }
    };
    numbers.zip(chunks).map(piece).collect()
}

impl Homeserver {
    /// Removes what uploads left behind that never ended.
    pub(crate) async fn remove_all_unfinished(&self) -> Result<(), Error> {
        for (key, _) in scan_all(&*self.seams.store, Table::Media, UNFINISHED).await? {
            let blob = key.get(UNFINISHED.len()..).and_then(|blob| blob.try_into().ok());
            let given_up = |blob: &BlobId| !self.media.active.with(|active| active.contains(blob));
            if let Some(blob) = blob.filter(given_up) {
                self.remove_unfinished(&blob).await;
            }
        }
        Ok(())
    }

    /// Removes a blob that nothing will name.
    pub(crate) async fn discard(&self, finished: Finished) -> Result<(), Error> {
        self.remove_blob(&finished.blob).await
    }

    /// Removes the blob of that name.
    pub(crate) async fn remove_blob(&self, blob: &str) -> Result<(), Error> {
        self.try_remove(&parse_blob(blob)?).await
    }

    async fn remove_unfinished(&self, blob: &BlobId) {
        if let Err(error) = self.try_remove(blob).await {
            tracing::warn!(%error, "the rest of an upload remains until the next start");
        }
    }

    /// Removes the chunks of a blob, then the note that it is unfinished.
    async fn try_remove(&self, blob: &BlobId) -> Result<(), Error> {
        loop {
            let range = KeyRange::prefix(chunk_prefix(blob));
            let rows = self
                .seams
                .store
                .scan(Table::Media, range, Direction::Forward, REMOVED)
                .await?;
            let mut batch = WriteBatch::new();
            for (key, _) in &rows {
                batch.delete(Table::Media, key.clone());
            }
            let last = rows.len() < REMOVED;
            if last {
                batch.delete(Table::Media, unfinished_key(blob));
            }
            self.seams.store.commit(batch).await?;
            if last {
                return Ok(());
            }
        }
    }
}

/// The name of a blob as bytes.
///
/// # Errors
/// [`Error::Damaged`] if it is none.
pub(crate) fn parse_blob(blob: &str) -> Result<BlobId, Error> {
    let damaged = || Error::Damaged("the name of a blob".into());
    hex::decode(blob)
        .map_err(|_| damaged())?
        .try_into()
        .map_err(|_| damaged())
}

fn chunk_prefix(blob: &BlobId) -> Vec<u8> {
    [b"b".as_slice(), blob].concat()
}

fn chunk_key(blob: &BlobId, index: u32) -> Vec<u8> {
    [b"b".as_slice(), blob, &index.to_be_bytes()].concat()
}

fn unfinished_key(blob: &BlobId) -> Vec<u8> {
    [UNFINISHED, blob].concat()
}
