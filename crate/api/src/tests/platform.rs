//! The platform that the tests' homeserver runs on: time as it comes, numbers that repeat, nobody to federate with.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use hearth_homeserver::{Clock, Federation, FederationError, Rng, Spawner};
use hearth_storage::BoxFuture;
use http::{Request, Response};
use sha2::{Digest, Sha256};

/// A clock whose time goes on by a millisecond whenever it is read, and whose timers are real.
#[derive(Default)]
pub(super) struct TestClock(AtomicU64);

impl TestClock {
    /// Lets time pass.
    pub(super) fn advance(&self, duration: Duration) {
        let milliseconds = u64::try_from(duration.as_millis()).unwrap();
        self.0.fetch_add(milliseconds, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> u64 {
        1_700_000_000_000 + self.0.fetch_add(1, Ordering::Relaxed)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Hashes of a counter.
#[derive(Default)]
pub(super) struct TestRng(AtomicU64);

impl Rng for TestRng {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let block = Sha256::digest(self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }
}

/// Tasks of the test's runtime.
pub(super) struct TestSpawner;

impl Spawner for TestSpawner {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }
}

/// No other server can be reached.
pub(super) struct Alone;

impl Federation for Alone {
    fn send<'a>(
        &'a self,
        _: &'a str,
        _: Request<Bytes>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, FederationError>> {
        Box::pin(async { Err(FederationError::Unreachable) })
    }
}
