//! Files of other servers. Spec: Server-Server API, section 'Content Repository' (MSC3916).
//!
//! A file comes in pieces, so that what is in memory stays small and a broken connection costs little; of a server
//! that knows no ranges only files of one piece are taken. Where the id is the hash of the file, any server may have it, and what
//! comes is checked before it is kept.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use ruma_common::{OwnedServerName, ServerName};

use crate::{
    Error, Homeserver,
    federation::{multipart, uri::path},
    media::{
        Description, MediaId, MediaUri,
        blob::{BlobWriter, Finished},
    },
};

/// How many bytes are asked for at once.
const PIECE: u64 = 2 * 1024 * 1024;
/// The fewest bytes that a piece has which is not the last.
const LEAST_PIECE: usize = 64 * 1024;
/// How long one server is asked for one file, in milliseconds.
const PATIENCE: u64 = 15 * 60_000;
/// The most bytes that one piece takes, with what is said of it.
const MAX_ANSWER: usize = PIECE as usize + 64 * 1024;
/// How many other servers are asked for a file whose own server does not give it.
const MAX_HELPERS: usize = 5;

/// The files that are being fetched: a second who wants one waits for the first.
#[derive(Default)]
pub(crate) struct Fetches(Mutex<HashMap<MediaUri, Weak<async_lock::Mutex<()>>>>);

impl Fetches {
    fn lock(&self, uri: &MediaUri) -> Arc<async_lock::Mutex<()>> {
        let mut fetches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        fetches.retain(|_, lock| lock.strong_count() > 0);
        let known = fetches.get(uri).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let lock = Arc::default();
            fetches.insert(uri.clone(), Arc::downgrade(&lock));
            lock
        })
    }
}

/// A piece of a file, as a server gave it.
struct Piece {
    description: Description,
    content: Bytes,
    /// The length of the whole file.
    total: u64,
}

impl Homeserver {
    /// Fetches a file of another server and stores it.
    pub(super) async fn fetch_media(&self, uri: &MediaUri) -> Result<(), Error> {
        let lock = self.media.fetches.lock(uri);
        let _one_at_a_time = lock.lock().await;
        if self.stored_media(uri).await?.is_some() {
            return Ok(());
        }
        let mut failure = Error::NotFound("there is no such file".into());
        for server in self.media_sources(uri).await? {
            match self.fetch_from(&server, uri).await {
                Ok(()) => return Ok(()),
                Err(error @ (Error::Store(_) | Error::TooLarge(_))) => return Err(error),
                Err(error) => {
                    tracing::info!(%server, %uri, %error, "a server did not give a file");
                    failure = error;
                }
            }
        }
        Err(failure)
    }

    /// Who may have the file: its own server first.
    async fn media_sources(&self, uri: &MediaUri) -> Result<Vec<OwnedServerName>, Error> {
        let mut sources = vec![uri.server.clone()];
        if uri.id.is_of_content() {
            let known = self.nearest_servers().await?;
            let others = known.into_iter().filter(|server| *server != uri.server);
            sources.extend(others.take(MAX_HELPERS));
        }
        Ok(sources)
    }

    async fn fetch_from(&self, server: &ServerName, uri: &MediaUri) -> Result<(), Error> {
        let homeserver = self.shared().ok_or_else(|| Error::Damaged("closing".into()))?;
        let mut writer = BlobWriter::new(homeserver, self.config.max_upload_bytes);
        let until = self.now().saturating_add(PATIENCE);
        let first = self.fetch_piece(server, &uri.id, 0).await?;
        if first.total > self.config.max_upload_bytes {
            return Err(Error::TooLarge("the file is larger than is accepted here".into()));
        }
        let (total, description, mut content) = (first.total, first.description, first.content);
        loop {
            writer.write(&content).await?;
            if writer.size() >= total {
                return self.keep_fetched(uri, writer.finish(), description).await;
            }
            if content.len() < LEAST_PIECE || self.now() > until {
                return Err(Error::Unreachable("the file comes too slowly".into()));
            }
            let piece = self.fetch_piece(server, &uri.id, writer.size()).await?;
            if piece.total != total {
                return Err(Error::Unreachable("the file changed while it was sent".into()));
            }
            content = piece.content;
        }
    }

    async fn keep_fetched(
        &self,
        uri: &MediaUri,
        finished: Finished,
        description: Description,
    ) -> Result<(), Error> {
        if uri.id.is_of_content() && MediaId::of_content(finished.digest, &description) != uri.id {
            self.discard(finished).await?;
            return Err(Error::Unreachable(
                "what came is not the file that was asked for".into(),
            ));
        }
        let record = self.record_of(&finished, description, None);
        self.keep_file(uri, finished, &record, false).await
    }

    /// Asks for the bytes from `start` on.
    async fn fetch_piece(&self, server: &ServerName, id: &MediaId, start: u64) -> Result<Piece, Error> {
        let uri = path("v1/media/download", &[id.as_str()], "");
        let range = format!("bytes={start}-{}", start + PIECE - 1);
        let range = HeaderValue::try_from(range).map_err(|error| Error::Unreachable(error.to_string()))?;
        let headers = HeaderMap::from_iter([(header::RANGE, range)]);
        let answer = self.request_file(server, &uri, headers, MAX_ANSWER).await?;
        let malformed = || Error::Unreachable("the server gave a malformed answer".into());
        let file = multipart::file(&answer).ok_or_else(malformed)?;
        let total = match file.headers.get(header::CONTENT_RANGE.as_str()) {
            Some(range) if answer.status() == StatusCode::PARTIAL_CONTENT => {
                total_after(range, start, file.content.len() as u64).ok_or_else(malformed)?
            }
            _ if start == 0 => file.content.len() as u64,
            _ => return Err(malformed()),
        };
        let content_type = file.headers.get(header::CONTENT_TYPE.as_str());
        let disposition = file.headers.get(header::CONTENT_DISPOSITION.as_str());
        let name = disposition.and_then(|value| multipart::file_name(value));
        Ok(Piece {
            description: Description::of_remote(content_type.map(String::as_str), name.as_deref()),
            content: file.content,
            total,
        })
    }
}

/// The whole length that a `Content-Range` tells, if it begins at `start` and is `length` long.
fn total_after(range: &str, start: u64, length: u64) -> Option<u64> {
    let (range, total) = range.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let total: u64 = total.parse().ok()?;
    let fits = first == start && last.checked_sub(first)?.checked_add(1)? == length && last < total;
    fits.then_some(total)
}
