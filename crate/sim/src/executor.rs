//! Runs tasks one at a time, in an order that the seed decides.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures::channel::oneshot;
use hearth_homeserver::Spawner;
use hearth_storage::BoxFuture;

use crate::{clock::VirtualClock, random::Random};

/// Whose task it is: one run of one server, or the simulation itself. Tasks of an owner are killed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owner(pub(crate) u64);

/// The simulation itself as an owner.
pub(crate) const NOBODY: Owner = Owner(0);

/// A single-threaded executor. Clones are the same executor.
#[derive(Clone)]
pub(crate) struct Executor {
    shared: Arc<Shared>,
}

struct Shared {
    clock: VirtualClock,
    random: Random,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    serial: u64,
    /// In order, so that those killed together are dropped in the same order whenever a seed is repeated.
    alive: BTreeMap<u64, Arc<Task>>,
    ready: Vec<Arc<Task>>,
}

struct Task {
    id: u64,
    owner: Owner,
    future: Mutex<Option<BoxFuture<'static, ()>>>,
    queued: AtomicBool,
    executor: Weak<Shared>,
}

impl Executor {
    pub(crate) fn new(clock: VirtualClock, random: Random) -> Self {
        Self {
            shared: Arc::new(Shared {
                clock,
                random,
                tasks: Mutex::default(),
            }),
        }
    }

    /// Runs `future` as a task of `owner`.
    pub(crate) fn spawn(&self, owner: Owner, future: BoxFuture<'static, ()>) {
        let mut tasks = self.shared.tasks();
        tasks.serial += 1;
        let task = Arc::new(Task {
            id: tasks.serial,
            owner,
            future: Mutex::new(Some(future)),
            queued: AtomicBool::new(true),
            executor: Arc::downgrade(&self.shared),
        });
        tasks.alive.insert(task.id, task.clone());
        tasks.ready.push(task);
    }

    /// What spawns tasks of `owner`.
    pub(crate) fn spawner(&self, owner: Owner) -> Arc<dyn Spawner> {
        Arc::new(OwnedSpawner {
            executor: self.clone(),
            owner,
        })
    }

    /// Drops all tasks of `owner` wherever they are, as a crash does.
    pub(crate) fn kill(&self, owner: Owner) {
        let mut tasks = self.shared.tasks();
        let of_owner = tasks.alive.values().filter(|task| task.owner == owner);
        let killed: Vec<_> = of_owner.cloned().collect();
        tasks.alive.retain(|_, task| task.owner != owner);
        tasks.ready.retain(|task| task.owner != owner);
        drop(tasks);
        for task in killed {
            task.take();
        }
    }

    /// Runs everything, letting time pass as needed, until `future` is done. `None` if that never happens:
    /// nobody has anything left to do or to wait for.
    pub(crate) fn block_on<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (done, mut outcome) = oneshot::channel();
        let main = async move {
            // The receiver lives until the end of this function.
            let _ = done.send(future.await);
        };
        self.spawn(NOBODY, Box::pin(main));
        loop {
            if let Ok(Some(value)) = outcome.try_recv() {
                return Some(value);
            }
            if !self.step() {
                self.shared.clock.advance_to(self.shared.clock.next_timer()?);
            }
        }
    }

    /// Runs at most `count` steps of ready tasks, letting time pass where none is ready.
    pub(crate) fn run_steps(&self, count: usize) {
        for _ in 0..count {
            if self.step() {
                continue;
            }
            match self.shared.clock.next_timer() {
                Some(next) => self.shared.clock.advance_to(next),
                None => return,
            }
        }
    }

    /// Runs everything for `duration` of virtual time.
    pub(crate) fn run_for(&self, duration: Duration) {
        let clock = &self.shared.clock;
        let end = clock.elapsed().saturating_add(duration);
        loop {
            while self.step() {}
            match clock.next_timer().filter(|next| *next <= end) {
                Some(next) => clock.advance_to(next),
                None => break,
            }
        }
        clock.advance_to(end);
    }

    /// Runs one ready task for one step; `false` if there is none.
    fn step(&self) -> bool {
        let mut tasks = self.shared.tasks();
        let Some(last) = tasks.ready.len().checked_sub(1) else {
            return false;
        };
        let choice = self.shared.random.below(last as u64 + 1);
        let task = tasks
            .ready
            .swap_remove(usize::try_from(choice).unwrap_or_default().min(last));
        drop(tasks);
        task.queued.store(false, Ordering::Relaxed);
        let _span =
            tracing::info_span!("run", of = task.owner.0, at = ?self.shared.clock.elapsed()).entered();
        if task.run() {
            self.shared.tasks().alive.remove(&task.id);
        }
        true
    }
}

impl Shared {
    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task {
    fn take(&self) -> Option<BoxFuture<'static, ()>> {
        self.future.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Polls the task; `true` once it is done. A task that kills itself is not put back.
    fn run(self: &Arc<Self>) -> bool {
        let Some(mut future) = self.take() else {
            return true;
        };
        let waker = Waker::from(self.clone());
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(()) => true,
            Poll::Pending => {
                *self.future.lock().unwrap_or_else(PoisonError::into_inner) = Some(future);
                false
            }
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let Some(shared) = self.executor.upgrade() else {
            return;
        };
        let mut tasks = shared.tasks();
        if tasks.alive.contains_key(&self.id) && !self.queued.swap(true, Ordering::Relaxed) {
            tasks.ready.push(self);
        }
    }
}

struct OwnedSpawner {
    executor: Executor,
    owner: Owner,
}

impl Spawner for OwnedSpawner {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.executor.spawn(self.owner, task);
    }
}
