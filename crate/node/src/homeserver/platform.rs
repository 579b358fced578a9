//! The homeserver's clock, randomness and tasks on this machine.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hearth_homeserver::{Clock, Rng, Spawner};
use hearth_storage::BoxFuture;

/// The system's clock and tokio's timers.
pub(super) struct TokioClock;

impl Clock for TokioClock {
    fn now(&self) -> u64 {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// The operating system's random numbers.
pub(super) struct OsRng;

impl Rng for OsRng {
    #[allow(
        clippy::expect_used,
        reason = "without randomness no key or token is safe: better to end"
    )]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives random numbers");
    }
}

/// Tokio's tasks.
pub(super) struct TokioSpawner;

impl Spawner for TokioSpawner {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }
}
