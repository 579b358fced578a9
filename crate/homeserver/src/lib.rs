//! Everything that a homeserver knows: accounts, devices, rooms, sync, receipts, profiles, federation.
//!
//! It is async over the seams of [`seams`]: a store, outbound federation, a clock, randomness and a way to
//! spawn tasks. It does *not* know HTTP servers, libp2p, browsers or sockets; whoever embeds it brings those.

pub mod error;
pub mod identity;
pub mod seams;

pub use error::Error;
pub use identity::Identity;
pub use seams::{Clock, Federation, FederationError, Rng, Seams, Spawner};
