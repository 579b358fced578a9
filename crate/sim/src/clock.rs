//! Time that passes when it is told to.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use hearth_homeserver::Clock;
use hearth_storage::BoxFuture;

/// When every world begins, in milliseconds since the Unix epoch.
const BEGINNING: u64 = 1_700_000_000_000;

/// A clock that stands still until it is moved. Clones are the same clock.
#[derive(Clone, Default)]
pub(crate) struct VirtualClock {
    shared: Arc<Mutex<Timers>>,
}

#[derive(Default)]
struct Timers {
    /// Since the beginning.
    now: Duration,
    serial: u64,
    /// Whether a task that sleeps for no time lets others go on before it.
    takes_turns: bool,
    waiting: BTreeMap<(Duration, u64), Waker>,
}

impl VirtualClock {
    /// Since the beginning.
    pub(crate) fn elapsed(&self) -> Duration {
        self.timers().now
    }

    /// From now on a task that sleeps for no time lets others go on before it.
    pub(crate) fn take_turns(&self) {
        self.timers().takes_turns = true;
    }

    /// When the next timer fires, since the beginning.
    pub(crate) fn next_timer(&self) -> Option<Duration> {
        self.timers()
            .waiting
            .first_key_value()
            .map(|((deadline, _), _)| *deadline)
    }

    /// Moves on to `until` and wakes whoever waited for a time up to then. Never moves back.
    pub(crate) fn advance_to(&self, until: Duration) {
        let mut timers = self.timers();
        timers.now = timers.now.max(until);
        let later = timers.waiting.split_off(&(until, u64::MAX));
        let due = std::mem::replace(&mut timers.waiting, later);
        drop(timers);
        due.into_values().for_each(Waker::wake);
    }

    fn timers(&self) -> MutexGuard<'_, Timers> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> u64 {
        let elapsed = u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX);
        BEGINNING.saturating_add(elapsed)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut timers = self.timers();
        timers.serial += 1;
        let key = (timers.now.saturating_add(duration), timers.serial);
        Box::pin(Sleep {
            clock: self.clone(),
            key,
            gives_way: duration.is_zero() && timers.takes_turns,
        })
    }
}

struct Sleep {
    clock: VirtualClock,
    key: (Duration, u64),
    /// Whether the others are still to have their turn.
    gives_way: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::take(&mut self.gives_way) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut timers = self.clock.timers();
        if timers.now >= self.key.0 {
            return Poll::Ready(());
        }
        timers.waiting.insert(self.key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clock.timers().waiting.remove(&self.key);
    }
}
