//! The memory store against the suite that every store must pass.
#![cfg(not(target_family = "wasm"))]

use hearth_storage::{MemoryStore, conformance_tests};

async fn open() -> MemoryStore {
    MemoryStore::new()
}

conformance_tests!(open, #[tokio::test]);
