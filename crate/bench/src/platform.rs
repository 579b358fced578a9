//! What a benchmark's homeserver runs on: a real store and real time of day, and no timers, so that nothing runs
//! beside what is measured.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hearth_homeserver::{Clock, Federation, NoImages, Rng, Seams, Spawner};
use hearth_storage::{BoxFuture, Store};
use sha2::{Digest, Sha256};

/// Where it is measured.
#[derive(Clone)]
pub struct Platform {
    /// An empty store.
    pub store: Arc<dyn Store>,
    /// Background tasks.
    pub spawner: Arc<dyn Spawner>,
    /// Milliseconds since the Unix epoch.
    pub now: fn() -> u64,
    /// Milliseconds since some moment, with fractions, never going back.
    pub stopwatch: fn() -> f64,
}

impl Platform {
    pub(crate) fn seams(&self, federation: Arc<dyn Federation>) -> Seams {
        Seams {
            store: self.store.clone(),
            federation,
            clock: Arc::new(StillClock(self.now)),
            rng: Arc::new(CountingRng::default()),
            spawner: self.spawner.clone(),
            images: Arc::new(NoImages),
        }
    }
}

/// A clock whose timers never fire, but for those that let others run.
struct StillClock(fn() -> u64);

impl Clock for StillClock {
    fn now(&self) -> u64 {
        (self.0)()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration.is_zero() {
            Box::pin(std::future::ready(()))
        } else {
            Box::pin(std::future::pending())
        }
    }
}

/// The same bytes in every run. No secret of a benchmark guards anything.
#[derive(Default)]
struct CountingRng(Mutex<u64>);

impl Rng for CountingRng {
    fn fill(&self, bytes: &mut [u8]) {
        let mut count = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in bytes.chunks_mut(32) {
            *count += 1;
            let random = Sha256::digest(count.to_be_bytes());
            chunk.iter_mut().zip(random).for_each(|(to, from)| *to = from);
        }
    }
}
