//! The seams between the homeserver and the platform it runs on.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hearth_storage::{BoxFuture, MaybeSend, MaybeSync, Store};

/// Wall-clock time and timers.
pub trait Clock: MaybeSend + MaybeSync + 'static {
    /// Milliseconds since the Unix epoch.
    fn now(&self) -> u64;

    /// Completes after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// A source of cryptographically secure random bytes.
pub trait Rng: MaybeSend + MaybeSync + 'static {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// Runs tasks in the background.
pub trait Spawner: MaybeSend + MaybeSync + 'static {
    /// Runs `task` to its end, beside whatever spawned it.
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

/// Why a request to another homeserver got no HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FederationError {
    /// No way to the server is known, or it does not answer.
    #[error("the server cannot be reached")]
    Unreachable,
    /// The server did not answer in time.
    #[error("the server did not answer in time")]
    Timeout,
    /// What came back broke the protocol or a limit.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
}

/// Outbound requests of the Matrix Server-Server API.
pub trait Federation: MaybeSend + MaybeSync + 'static {
    /// Sends `request` (already signed; its URI is a path and query) to the server named `destination`.
    ///
    /// Any HTTP status is `Ok`. The implementation bounds the time and the size of the answer.
    fn send<'a>(
        &'a self,
        destination: &'a str,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'a, Result<http::Response<Bytes>, FederationError>>;
}

/// The platform that a homeserver runs on.
#[derive(Clone)]
pub struct Seams {
    /// Durable storage.
    pub store: Arc<dyn Store>,
    /// Requests to other homeservers.
    pub federation: Arc<dyn Federation>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub rng: Arc<dyn Rng>,
    /// Background tasks.
    pub spawner: Arc<dyn Spawner>,
}
