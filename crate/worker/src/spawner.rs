//! Background tasks: the browser's microtask queue.

use std::time::Duration;

use hearth_homeserver::{Clock, Spawner};
use hearth_storage::BoxFuture;

use crate::clock::BrowserClock;

/// How long the thread is left to the first answers.
const HEAD_START: Duration = Duration::from_millis(100);

/// Runs tasks on the worker's only thread.
pub(crate) struct BrowserSpawner;

impl Spawner for BrowserSpawner {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        wasm_bindgen_futures::spawn_local(task);
    }
}

/// Runs nothing at first: for what the page does not wait for when its request woke the worker.
pub(crate) struct LateSpawner {
    /// The time of day from which tasks run, in milliseconds.
    opening: u64,
}

impl LateSpawner {
    /// One that runs tasks after a head start from now.
    pub(crate) fn new() -> Self {
        let head_start = u64::try_from(HEAD_START.as_millis()).unwrap_or_default();
        Self {
            opening: BrowserClock.now() + head_start,
        }
    }
}

impl Spawner for LateSpawner {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let pause = self.opening.saturating_sub(BrowserClock.now());
        // Should the clock be set back meanwhile, nobody waits for long.
        let pause = Duration::from_millis(pause).min(HEAD_START);
        wasm_bindgen_futures::spawn_local(async move {
            if !pause.is_zero() {
                BrowserClock.sleep(pause).await;
            }
            task.await;
        });
    }
}
