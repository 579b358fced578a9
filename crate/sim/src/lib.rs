//! A seeded, deterministic simulation of many homeservers on a virtual network and clock.
//!
//! Each [`World`] runs real homeservers (`hearth-api` over `hearth-homeserver` over the memory store) on one
//! thread. Time is invented: it passes only when nobody has anything left to do. Which of the ready tasks runs
//! next, how long a message takes, and every random number come from the seed, so a run can be repeated. It
//! does *not* simulate libp2p: requests go from one server's `Federation` straight to the other's API.

mod client;
mod clock;
mod executor;
mod network;
mod random;
mod server;
mod world;

pub use client::{Answer, Client};
pub use network::Traffic;
pub use server::Server;
pub use world::{Pending, World};
