//! The homeserver as a WebAssembly module: `fetch` requests in, `Response`s out.
//!
//! It brings what a browser's service worker has to the seams of the crates below: IndexedDB, timers,
//! randomness, WebSockets; and it answers `/_hearth/**`, the page's view of the worker itself. It does *not*
//! listen for events, cache files or decide which requests are its own: the TypeScript in `service-worker/`
//! does. On targets other than wasm the crate is empty.

#![cfg(target_family = "wasm")]

mod addresses;
mod boot;
pub mod canvas;
mod clock;
pub mod fetch;
mod hearth;
mod inbound;
mod log;
mod origin;
mod panic;
mod rng;
mod routes;
mod spawner;
mod status;

pub use boot::{Config, start};
pub use hearth::Hearth;
