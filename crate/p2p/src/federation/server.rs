//! Serves the requests of other servers.

use std::{
    collections::HashMap,
    future::pending,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::{
    AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _,
    future::{Either, select},
};
use hearth_homeserver::{Clock, deadline::within};
use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use libp2p::{PeerId, Stream};

use super::frame::{FrameError, Message, read_chunk, read_request_head, write_response};
use crate::{Answer, Config, Handler};

/// Refusals that are written at once; above that streams are reset.
const MAX_REFUSALS: usize = 64;
/// The part of all bytes that one peer may take, one in so many.
const PEER_PART: usize = 4;
/// The part that a stranger has of what another peer has, one in so many.
const STRANGER_PART: usize = 4;
/// How often an answer that waits for room looks for it.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers streams with a [`Handler`], within limits of time, size and number.
pub(crate) struct Server {
    clock: Arc<dyn Clock>,
    head_timeout: Duration,
    body_timeout: Duration,
    limits: Limits,
    load: Mutex<Load>,
}

struct Limits {
    body: usize,
    buffered: usize,
    per_peer: usize,
    all: usize,
}

/// What is being served.
#[derive(Default)]
struct Load {
    /// What requests take by peer.
    peers: HashMap<PeerId, Share>,
    /// What those of all peers take.
    all: Share,
    /// What those of strangers take of it: half of what there is, at most.
    strangers: Share,
    refusals: usize,
}

#[derive(Default)]
struct Share {
    requests: usize,
    /// Bytes of requests that are being read or answered, and of pieces of answers that are being written.
    buffered: usize,
}

impl Share {
    /// Whether `bytes` more fit into `limit`. A single piece always does.
    fn has_room(&self, bytes: usize, limit: usize) -> bool {
        self.buffered == 0 || self.buffered + bytes <= limit
    }
}

/// A request's place among those being served.
struct Admission<'a> {
    server: &'a Server,
    peer: PeerId,
    is_stranger: bool,
    buffered: usize,
}

/// Why a request is not handed to the handler.
enum Refusal {
    /// The stream is broken or not of the protocol: reset, no answer.
    Reset(String),
    /// An answer with this status.
    Status(StatusCode),
}

impl Server {
    pub(crate) fn new(config: &Config, clock: Arc<dyn Clock>) -> Self {
        let limits = Limits {
            body: config.max_request,
            buffered: config.max_buffered,
            per_peer: config.max_inbound_per_peer,
            all: config.max_inbound,
        };
        Self {
            clock,
            head_timeout: config.read_timeout,
            body_timeout: config.request_timeout,
            limits,
            load: Mutex::default(),
        }
    }

    /// Reads the request on `stream` of the server `name`, whose peer id is `peer`, and answers it. Strangers leave half
    /// of all places to others, and each has only a few.
    ///
    /// Dropping the stream before it is closed resets it.
    pub(crate) async fn serve(
        &self,
        peer: PeerId,
        name: String,
        is_stranger: bool,
        mut stream: Stream,
        handler: Option<Arc<dyn Handler>>,
    ) {
        match self.answer(peer, name, is_stranger, &mut stream, handler).await {
            Ok(()) => {}
            Err(Refusal::Reset(why)) => tracing::debug!(%peer, why, "reset a stream"),
            Err(Refusal::Status(status)) => self.refuse(stream, status).await,
        }
    }

    async fn answer(
        &self,
        peer: PeerId,
        name: String,
        is_stranger: bool,
        stream: &mut Stream,
        handler: Option<Arc<dyn Handler>>,
    ) -> Result<(), Refusal> {
        let handler = handler.ok_or(Refusal::Status(StatusCode::SERVICE_UNAVAILABLE))?;
        let mut admission = self.admit(peer, is_stranger)?;
        let request = self.read_request(stream, &mut admission).await?;
        let work = within(&*self.clock, self.body_timeout, handler.handle(name, request));
        let response = match select(pin!(work), pin!(given_up(stream))).await {
            Either::Left((response, _)) => response.map_err(|_| Refusal::late())?,
            Either::Right(_) => return Err(Refusal::Reset("nobody waits for the answer".into())),
        };
        admission.give_back(admission.buffered);
        self.write(stream, response, &mut admission).await
    }

    async fn read_request(
        &self,
        stream: &mut Stream,
        admission: &mut Admission<'_>,
    ) -> Result<Request<Bytes>, Refusal> {
        let head = within(&*self.clock, self.head_timeout, read_request_head(stream)).await;
        let parts = head.map_err(|_| Refusal::late())??;
        let body = within(&*self.clock, self.body_timeout, self.read_body(stream, admission)).await;
        Ok(Request::from_parts(
            parts,
            body.map_err(|_| Refusal::late())??.into(),
        ))
    }

    async fn read_body(
        &self,
        stream: &mut Stream,
        admission: &mut Admission<'_>,
    ) -> Result<Vec<u8>, Refusal> {
        let mut body = Vec::new();
        loop {
            let chunk = within(&*self.clock, self.head_timeout, read_chunk(stream)).await;
            let Some(chunk) = chunk.map_err(|_| Refusal::late())?? else {
                return Ok(body);
            };
            if body.len() + chunk.len() > self.limits.body {
                return Err(Refusal::Status(StatusCode::PAYLOAD_TOO_LARGE));
            }
            admission.buffer(chunk.len())?;
            body.extend_from_slice(&chunk);
        }
    }

    async fn write(
        &self,
        stream: &mut Stream,
        response: Response<Answer>,
        admission: &mut Admission<'_>,
    ) -> Result<(), Refusal> {
        let write = async {
            let mut message = Message::answer(&response)?;
            let Answer(mut body) = response.into_body();
            let mut has_begun = false;
            while let Some(piece) = body.next().await {
                let piece = piece.map_err(FrameError::from)?;
                while let Err(refusal) = admission.buffer(piece.len()) {
                    // What has begun can be refused no more.
                    if !has_begun {
                        return Err(refusal);
                    }
                    self.clock.sleep(PAUSE).await;
                }
                has_begun = true;
                message.add(stream, &piece).await?;
                admission.give_back(piece.len());
            }
            message.end(stream).await?;
            Ok::<_, Refusal>(stream.close().await.map_err(FrameError::from)?)
        };
        within(&*self.clock, self.body_timeout, write)
            .await
            .map_err(|_| Refusal::late())?
    }

    /// Answers with an error of the API, if not too many are being answered so. What the peer still sends is
    /// not read, but it may take it a moment to notice: the stream stays until it does.
    async fn refuse(&self, mut stream: Stream, status: StatusCode) {
        if !self.start_refusal() {
            return;
        }
        if self.write_refusal(&mut stream, status).await.is_ok() {
            let mut end = [0; 1];
            drop(within(&*self.clock, Duration::from_secs(1), stream.read(&mut end)).await);
        }
        self.load().refusals -= 1;
    }

    async fn write_refusal(&self, stream: &mut Stream, status: StatusCode) -> Result<(), Refusal> {
        let write = async {
            write_response(stream, &refusal(status)).await?;
            Ok::<_, FrameError>(stream.close().await?)
        };
        Ok(within(&*self.clock, self.body_timeout, write)
            .await
            .map_err(|_| Refusal::late())??)
    }

    fn start_refusal(&self) -> bool {
        let mut load = self.load();
        let free = load.refusals < MAX_REFUSALS;
        load.refusals += usize::from(free);
        free
    }

    fn admit(&self, peer: PeerId, is_stranger: bool) -> Result<Admission<'_>, Refusal> {
        let mut load = self.load();
        if load.all.requests >= self.limits.all
            || is_stranger && load.strangers.requests >= self.limits.all / 2
        {
            return Err(Refusal::Status(StatusCode::SERVICE_UNAVAILABLE));
        }
        let per_peer = match is_stranger {
            true => (self.limits.per_peer / STRANGER_PART).max(1),
            false => self.limits.per_peer,
        };
        let of_peer = load.peers.get(&peer);
        if of_peer.is_some_and(|share| share.requests >= per_peer) {
            return Err(Refusal::Status(StatusCode::TOO_MANY_REQUESTS));
        }
        let shares = load.shares(peer, is_stranger);
        shares.into_iter().for_each(|(share, _)| share.requests += 1);
        Ok(Admission {
            server: self,
            peer,
            is_stranger,
            buffered: 0,
        })
    }

    fn load(&self) -> MutexGuard<'_, Load> {
        self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Load {
    /// The shares that a request of `peer` counts in, and the part of all bytes that each may take, one in so many.
    fn shares(&mut self, peer: PeerId, is_stranger: bool) -> Vec<(&mut Share, usize)> {
        let of_peer = self.peers.entry(peer).or_default();
        match is_stranger {
            true => vec![
                (&mut self.all, 1),
                (&mut self.strangers, 2),
                (of_peer, PEER_PART * STRANGER_PART),
            ],
            false => vec![(&mut self.all, 1), (of_peer, PEER_PART)],
        }
    }
}

impl Admission<'_> {
    /// Accounts for `bytes` more in memory.
    fn buffer(&mut self, bytes: usize) -> Result<(), Refusal> {
        let mut load = self.server.load();
        let limit = self.server.limits.buffered;
        let mut shares = load.shares(self.peer, self.is_stranger);
        if !shares
            .iter()
            .all(|(share, part)| share.has_room(bytes, limit / part))
        {
            return Err(Refusal::Status(StatusCode::SERVICE_UNAVAILABLE));
        }
        shares.iter_mut().for_each(|(share, _)| share.buffered += bytes);
        self.buffered += bytes;
        Ok(())
    }

    /// So many bytes are not in memory any more.
    fn give_back(&mut self, bytes: usize) {
        let mut load = self.server.load();
        for (share, _) in load.shares(self.peer, self.is_stranger) {
            share.buffered = share.buffered.saturating_sub(bytes);
        }
        self.buffered -= bytes;
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        self.give_back(self.buffered);
        let mut load = self.server.load();
        for (share, _) in load.shares(self.peer, self.is_stranger) {
            share.requests = share.requests.saturating_sub(1);
        }
        if load
            .peers
            .get(&self.peer)
            .is_some_and(|share| share.requests == 0)
        {
            load.peers.remove(&self.peer);
        }
    }
}

impl Refusal {
    fn late() -> Self {
        Self::Reset("it took too long".into())
    }
}

impl From<FrameError> for Refusal {
    fn from(error: FrameError) -> Self {
        Self::Reset(error.to_string())
    }
}

/// Ends when the peer has given up `stream`. That it has no more to send means nothing.
async fn given_up(stream: &mut Stream) {
    let is_open = stream.read(&mut [0]).await.is_ok() && stream.write(&[]).await.is_ok();
    if is_open {
        pending().await
    }
}

/// The error of the API that `status` is.
fn refusal(status: StatusCode) -> Response<Bytes> {
    let body: &[u8] = match status {
        StatusCode::TOO_MANY_REQUESTS => {
            br#"{"errcode":"M_LIMIT_EXCEEDED","error":"Too many requests at once"}"#
        }
        StatusCode::PAYLOAD_TOO_LARGE => br#"{"errcode":"M_TOO_LARGE","error":"The body is too large"}"#,
        _ => br#"{"errcode":"M_UNKNOWN","error":"The server is busy or starting"}"#,
    };
    let mut response = Response::new(Bytes::from_static(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}
