//! Sends requests to other servers.

use std::{
    collections::{HashMap, HashSet},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
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
use hearth_homeserver::{
    AnswerLimit, Clock, FederationError,
    deadline::{Late, within},
};
use http::{Request, Response};
use libp2p::{PeerId, Stream};

use super::frame::{FrameError, read_chunk, read_response_head, write_request};
use crate::{Config, driver::Command};

/// Requests that may be under way at once, over all servers; more wait.
const MAX_REQUESTS: usize = 256;
/// Of these, requests to peers that are not known to be quick: those that never answer leave the others room.
const SLOW_REQUESTS: usize = 128;
/// A peer is quick as long as none of its requests takes longer.
const QUICK: Duration = Duration::from_secs(5);
/// Quick peers that are remembered.
const MAX_QUICK: usize = 4096;
/// The bytes of every answer that have a place, whatever else is on its way.
const SMALL: usize = 256 << 10;
/// Entries of the map of peers at which unused ones are dropped.
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
    /// Bytes of answers of which the rest is still to come, without the first [`SMALL`] of each. At most those of two of
    /// the greatest answers.
    buffered: AtomicUsize,
    per_peer: usize,
    all: Semaphore,
    slow: Semaphore,
    /// The peers whose last request did not take long, whatever came of it.
    quick: Mutex<HashSet<PeerId>>,
    peers: Mutex<HashMap<PeerId, Weak<Lane>>>,
}

/// The requests to one peer.
struct Lane {
    turns: Semaphore,
    /// What it takes of [`Client::buffered`]: no more than it leaves free, so that others have room too.
    buffered: AtomicUsize,
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
            all: Semaphore::new(MAX_REQUESTS),
            slow: Semaphore::new(SLOW_REQUESTS),
            quick: Mutex::default(),
            peers: Mutex::default(),
        }
    }

    /// Sends `request` to `peer` and waits for the whole answer.
    pub(crate) async fn send(
        &self,
        peer: PeerId,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, FederationError> {
        let lane = self.lane(peer);
        let work = async {
            let _one_of_peer = lane.turns.acquire().await;
            let is_quick = self.quick().contains(&peer);
            let _one_of_slow = match is_quick {
                true => None,
                false => Some(self.slow.acquire().await),
            };
            let _one_of_all = self.all.acquire().await;
            let mut exchange = pin!(self.exchange(peer, &lane, &request));
            let early = within(&*self.clock, QUICK, &mut exchange).await;
            self.note_pace(peer, early.is_ok());
            match early {
                Ok(answer) => answer,
                Err(Late) => exchange.await,
            }
        };
        within(&*self.clock, self.timeout, work)
            .await
            .unwrap_or(Err(FederationError::Timeout))
    }

    /// Notes whether a request to `peer` has ended soon.
    fn note_pace(&self, peer: PeerId, is_quick: bool) {
        let mut quick = self.quick();
        if quick.len() >= MAX_QUICK {
            quick.clear();
        }
        match is_quick {
            true => quick.insert(peer),
            false => quick.remove(&peer),
        };
    }

    fn quick(&self) -> MutexGuard<'_, HashSet<PeerId>> {
        self.quick.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries again if a connection breaks: what looked connected may be gone, and it takes a moment until
    /// that is known everywhere. Every request of the Server-Server API may be repeated.
    async fn exchange(
        &self,
        peer: PeerId,
        lane: &Lane,
        request: &Request<Bytes>,
    ) -> Result<Response<Bytes>, FederationError> {
        for pause in PAUSES {
            match self.attempt(peer, lane, request).await {
                Err(Failure::Broken) => self.clock.sleep(pause).await,
                other => return other.map_err(FederationError::from),
            }
        }
        let last = self.attempt(peer, lane, request).await;
        last.map_err(FederationError::from)
    }

    async fn attempt(
        &self,
        peer: PeerId,
        lane: &Lane,
        request: &Request<Bytes>,
    ) -> Result<Response<Bytes>, Failure> {
        let limit = request.extensions().get();
        let limit = limit.map_or(self.max_body, |AnswerLimit(limit)| self.max_body.min(*limit));
        let stream = self.open(peer).await?;
        let (mut reader, mut writer) = stream.split();
        let answer = {
            let write = pin!(write_request(&mut writer, request));
            let read = pin!(self.read_response(&mut reader, lane, limit));
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
        lane: &Lane,
        limit: usize,
    ) -> Result<Response<Bytes>, Failure> {
        let parts = read_response_head(reader).await?;
        let mut body = Vec::new();
        let mut buffered = Buffered {
            all: &self.buffered,
            of_peer: &lane.buffered,
            own: 0,
        };
        while let Some(chunk) = read_chunk(reader).await? {
            let length = body.len() + chunk.len();
            if length > limit {
                return Err(Failure::Protocol("the answer is too large".into()));
            }
            if !buffered.have_room(length, 2 * self.max_body) {
                return Err(Failure::Protocol("too much of answers is on its way".into()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response::from_parts(parts, body.into()))
    }

    /// The requests to `peer`. It lives as long as one is under way.
    fn lane(&self, peer: PeerId) -> Arc<Lane> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = peers.get(&peer).and_then(Weak::upgrade) {
            return lane;
        }
        if peers.len() >= PRUNE_AT {
            peers.retain(|_, lane| lane.strong_count() > 0);
        }
        let lane = Arc::new(Lane {
            turns: Semaphore::new(self.per_peer),
            buffered: AtomicUsize::new(0),
        });
        peers.insert(peer, Arc::downgrade(&lane));
        lane
    }
}

/// What one answer adds to the bytes of all, and to those of its peer.
struct Buffered<'a> {
    all: &'a AtomicUsize,
    of_peer: &'a AtomicUsize,
    own: usize,
}

impl Buffered<'_> {
    /// Counts the answer with `length` bytes from now on. Whether they have room: the peer leaves as much of `limit` free
    /// as it takes.
    fn have_room(&mut self, length: usize, limit: usize) -> bool {
        let more = length.saturating_sub(SMALL) - self.own;
        self.own += more;
        let [all, of_peer] =
            [self.all, self.of_peer].map(|bytes| bytes.fetch_add(more, Ordering::Relaxed) + more);
        more == 0 || all + of_peer <= limit
    }
}

impl Drop for Buffered<'_> {
    fn drop(&mut self) {
        for bytes in [self.all, self.of_peer] {
            bytes.fetch_sub(self.own, Ordering::Relaxed);
        }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::{sync::Arc, time::Duration};

    use bytes::Bytes;
    use futures::{
        FutureExt as _, StreamExt as _,
        channel::mpsc::{self, UnboundedReceiver},
        stream::FuturesUnordered,
    };
    use hearth_homeserver::{Clock, FederationError};
    use hearth_storage::BoxFuture;
    use http::Request;
    use libp2p::PeerId;

    use super::{Client, Config, SLOW_REQUESTS};
    use crate::{driver::Command, streams::Opened};

    /// A clock that stands still.
    struct Moment;

    impl Clock for Moment {
        fn now(&self) -> u64 {
            0
        }

        fn sleep(&self, _duration: Duration) -> BoxFuture<'static, ()> {
            Box::pin(std::future::pending())
        }
    }

    fn opened(commands: &mut UnboundedReceiver<Command>) -> Option<(PeerId, Opened)> {
        match commands.next().now_or_never()?? {
            Command::Open { peer, opened } => Some((peer, opened)),
            _ => None,
        }
    }

    #[test]
    fn peers_that_never_answer_leave_room_to_those_that_do() {
        let (sender, mut commands) = mpsc::unbounded();
        let client = Client::new(&Config::default(), Arc::new(Moment), sender);
        let friend = PeerId::random();
        let mut first = Box::pin(client.send(friend, Request::default()));
        assert!((&mut first).now_or_never().is_none());
        let (peer, answer) = opened(&mut commands).unwrap();
        assert_eq!(peer, friend);
        assert!(answer.send(None).is_ok());
        let outcome = first.now_or_never().unwrap();
        assert!(matches!(outcome, Err(FederationError::Unreachable)));

        let silent = (0..300).map(|_| client.send(PeerId::random(), Request::<Bytes>::default()));
        let mut silent: FuturesUnordered<_> = silent.collect();
        assert!(silent.next().now_or_never().is_none());
        let asked: Vec<_> = std::iter::from_fn(|| opened(&mut commands)).collect();
        assert_eq!(asked.len(), SLOW_REQUESTS);
        let again = client.send(friend, Request::default()).now_or_never();
        assert!(again.is_none());
        assert_eq!(opened(&mut commands).unwrap().0, friend);
    }
}
