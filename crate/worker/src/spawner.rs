//! Background tasks: the browser's microtask queue.

use hearth_homeserver::Spawner;
use hearth_storage::BoxFuture;

/// Runs tasks on the worker's only thread.
pub(crate) struct BrowserSpawner;

impl Spawner for BrowserSpawner {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        wasm_bindgen_futures::spawn_local(task);
    }
}
