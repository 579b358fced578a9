//! A seeded, deterministic simulation of many homeservers on a virtual network and clock.
//!
//! Each [`World`] runs real homeservers (`hearth-api` over `hearth-homeserver` over the memory store) on one
//! thread. Time is invented: it passes only when nobody has anything left to do. Which of the ready tasks runs
//! next, how long a message takes, and every random number come from the seed, so a run can be repeated. It
//! does *not* simulate libp2p: requests go from one server's `Federation` straight to the other's API.
//!
//! Tests call a world step by step (`tests/it`). [`episode`] lets random things happen in one and checks that every
//! invariant holds whenever all has healed: `cargo xtask sim --seed N --episodes M --servers K` runs episodes on
//! all processors, stops at the first that fails, and prints its seed with the shortest course of events found
//! that breaks the same invariant. `--seed N --episodes 1` with the same options repeats it exactly;
//! `--keep-going` lists all seeds that fail, `--verbose` prints every episode.

mod client;
mod clock;
pub mod episode;
mod executor;
mod network;
mod random;
mod server;
mod store;
pub mod synthetic;
mod visits;
mod world;

pub use client::{Answer, Client};
pub use network::{Traffic, Unreliability};
pub use server::Server;
pub use world::{Pending, World};
