//! Sends requests to other servers.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_lock::Semaphore;
use bytes::Bytes;
use futures::{
    AsyncRead, AsyncReadExt as _, AsyncWriteExt as _,
    channel::{mpsc, oneshot},
    future::{Either, select},
};
use hearth_homeserver::{AnswerLimit, Clock, FederationError, deadline::within};
use http::{Request, Response};
use libp2p::{PeerId, Stream};

use super::frame::{FrameError, read_chunk, read_response_head, write_request};
use crate::{Config, driver::Command};

/// Requests that may be under way at once, over all servers; more wait.
const MAX_REQUESTS: usize = 256;
/// The bytes of answers that may be on their way at once, over all servers.
const MAX_BUFFERED: usize = 128 << 20;
/// Entries of the map of limits at which unused ones are dropped.
const PRUNE_AT: usize = 512;

/// How long to wait before each further attempt of a request whose connection broke.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(10),
    Duration::from_millis(200),
    Duration::from_secs(1),
];

/// Sends one request per stream, within limits of time, size and number.
pub(crate) struct Client {
    clock: Arc<dyn Clock>,
    commands: mpsc::UnboundedSender<Command>,
    timeout: Duration,
    max_body: usize,
    /// Bytes of answers of which the rest is still to come.
    buffered: AtomicUsize,
    per_peer: usize,
    all: Arc<Semaphore>,
    peers: Mutex<HashMap<PeerId, Weak<Semaphore>>>,
}

/// Why one attempt has failed.
enum Failure {
    /// The peer cannot be reached.
    Unreachable,
    /// The connection broke; another attempt may find a new one.
    Broken,
    /// The answer breaks the protocol or a limit.
    Protocol(String),
}

impl Client {
    pub(crate) fn new(
        config: &Config,
        clock: Arc<dyn Clock>,
        commands: mpsc::UnboundedSender<Command>,
    ) -> Self {
        Self {
            clock,
            commands,
            timeout: config.request_timeout,
            max_body: config.max_body,
            buffered: AtomicUsize::new(0),
            per_peer: config.max_outbound_per_peer.max(1),
            all: Arc::new(Semaphore::new(MAX_REQUESTS)),
            peers: Mutex::default(),
        }
    }

    /// Sends `request` to `peer` and waits for the whole answer.
    pub(crate) async fn send(
        &self,
        peer: PeerId,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, FederationError> {
        let limit = self.limit(peer);
        let work = async {
            let _one_of_peer = limit.acquire().await;
            let _one_of_all = self.all.acquire().await;
            self.exchange(peer, &request).await
        };
        within(&*self.clock, self.timeout, work)
            .await
            .unwrap_or(Err(FederationError::Timeout))
    }

    /// Tries again if a connection breaks: what looked connected may be gone, and it takes a moment until
    /// that is known everywhere. Every request of the Server-Server API may be repeated.
    async fn exchange(
        &self,
        peer: PeerId,
        request: &Request<Bytes>,
    ) -> Result<Response<Bytes>, FederationError> {
        for pause in PAUSES {
            match self.attempt(peer, request).await {
                Err(Failure::Broken) => self.clock.sleep(pause).await,
                other => return other.map_err(FederationError::from),
            }
        }
        self.attempt(peer, request).await.map_err(FederationError::from)
    }

    async fn attempt(&self, peer: PeerId, request: &Request<Bytes>) -> Result<Response<Bytes>, Failure> {
        let limit = request.extensions().get();
        let limit = limit.map_or(self.max_body, |AnswerLimit(limit)| self.max_body.min(*limit));
        let stream = self.open(peer).await?;
        let (mut reader, mut writer) = stream.split();
        let answer = {
            let write = pin!(write_request(&mut writer, request));
            let read = pin!(self.read_response(&mut reader, limit));
            match select(write, read).await {
                Either::Left((Ok(()), read)) => read.await,
                // The peer may have refused the request by its head and answered; if not, reading fails too.
                Either::Left((Err(error), read)) => read.await.map_err(|_| Failure::from(error)),
                Either::Right((answer, _)) => answer,
            }
        };
        if answer.is_ok() {
            drop(writer.close().await);
        }
        answer
    }

    /// A new stream to `peer`, over a new connection if there is none.
    async fn open(&self, peer: PeerId) -> Result<Stream, Failure> {
        let (opened, stream) = oneshot::channel();
        let command = Command::Open { peer, opened };
        self.commands
            .unbounded_send(command)
            .map_err(|_| Failure::Unreachable)?;
        stream
            .await
            .map_err(|_| Failure::Broken)?
            .ok_or(Failure::Unreachable)
    }

    async fn read_response(
        &self,
        reader: &mut (impl AsyncRead + Unpin),
        limit: usize,
    ) -> Result<Response<Bytes>, Failure> {
        let parts = read_response_head(reader).await?;
        let mut body = Vec::new();
        let mut buffered = Buffered {
            all: &self.buffered,
            own: 0,
        };
        while let Some(chunk) = read_chunk(reader).await? {
            if body.len() + chunk.len() > limit || !buffered.add(chunk.len()) {
                return Err(Failure::Protocol("the answer is too large".into()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response::from_parts(parts, body.into()))
    }

    /// What limits the requests to `peer`. It lives as long as one is under way.
    fn limit(&self, peer: PeerId) -> Arc<Semaphore> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(limit) = peers.get(&peer).and_then(Weak::upgrade) {
            return limit;
        }
        if peers.len() >= PRUNE_AT {
            peers.retain(|_, limit| limit.strong_count() > 0);
        }
        let limit = Arc::new(Semaphore::new(self.per_peer));
        peers.insert(peer, Arc::downgrade(&limit));
        limit
    }
}

/// What one answer adds to the bytes of all.
struct Buffered<'a> {
    all: &'a AtomicUsize,
    own: usize,
}

impl Buffered<'_> {
    /// Whether there is room for `bytes` more, which count from now on.
    fn add(&mut self, bytes: usize) -> bool {
        self.own += bytes;
        self.all.fetch_add(bytes, Ordering::Relaxed) + bytes <= MAX_BUFFERED
    }
}

impl Drop for Buffered<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(self.own, Ordering::Relaxed);
    }
}

impl From<FrameError> for Failure {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Io(_) => Self::Broken,
            other => Self::Protocol(other.to_string()),
        }
    }
}

impl From<Failure> for FederationError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unreachable | Failure::Broken => Self::Unreachable,
            Failure::Protocol(why) => Self::Protocol(why),
        }
    }
}
