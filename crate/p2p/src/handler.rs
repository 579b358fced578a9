//! What the network asks of the homeserver it belongs to.

use std::{io, pin::Pin};

use bytes::Bytes;
use futures::{Stream, stream};
use hearth_storage::{BoxFuture, MaybeSend, MaybeSync};
use http::{Request, Response};

/// The body of an answer. A piece is asked for when the one before it was written.
pub struct Answer(pub(crate) Pin<Box<dyn Pieces>>);

/// Pieces of a body, which may cross threads wherever there are threads.
pub(crate) trait Pieces: Stream<Item = io::Result<Bytes>> + MaybeSend {}
impl<T: Stream<Item = io::Result<Bytes>> + MaybeSend> Pieces for T {}

impl Answer {
    /// A body that comes in pieces.
    pub fn stream(pieces: impl Stream<Item = io::Result<Bytes>> + MaybeSend + 'static) -> Self {
        Self(Box::pin(pieces))
    }
}

impl From<Bytes> for Answer {
    fn from(bytes: Bytes) -> Self {
        Self::stream(stream::iter([Ok(bytes)]))
    }
}

/// Answers other servers and hears of them.
pub trait Handler: MaybeSend + MaybeSync + 'static {
    /// Answers a request of the server named `from`.
    ///
    /// The channel has proven that `from` holds the key its name is; the request's own X-Matrix signature has
    /// not been looked at. The URI is a path and query.
    fn handle(&self, from: String, request: Request<Bytes>) -> BoxFuture<'_, Response<Answer>>;

    /// A first connection to `server` now exists. Called on both of its ends; must return quickly.
    fn peer_online(&self, server: &str);

    /// The servers we share rooms with. The first few hundred are those to stay connected with; the first 10,000 have
    /// places of their own among the requests that are served.
    fn peers_of_interest(&self) -> BoxFuture<'_, Vec<String>>;

    /// `server`, which we share a room with, has told us the relays it can be reached through; whoever stores them can
    /// give them to [`Network::add_route`](crate::Network::add_route) after a restart. Called about once a minute at most for
    /// each, however often it tells. Must return quickly.
    fn route_learned(&self, _server: &str, _relays: &[String]) {}
}
