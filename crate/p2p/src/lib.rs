//! The libp2p swarm of a Hearth homeserver: transports, reservations at relays, federation over streams.
//!
//! [`Network`] runs one swarm in a background task. It keeps a reservation at every relay it knows, finds the
//! servers we share rooms with through those relays, carries the requests of the Server-Server API to them
//! (it is the homeserver's [`Federation`](hearth_homeserver::Federation)), and hands theirs to a [`Handler`].
//! The same code runs in a browser's service worker and natively; only [`transport`] differs.
//!
//! It does *not* read or check what a request means, store anything, or act as a relay: the native node does.

mod backoff;
mod behaviour;
mod config;
mod driver;
mod federation;
mod handler;
pub mod name;
mod network;
mod peers;
mod places;
mod relay_address;
mod relays;
mod routes;
mod status;
mod streams;
mod swarm;
pub mod transport;

pub use config::Config;
pub use federation::PROTOCOL;
pub use handler::{Answer, Handler};
pub use network::{Network, StartError};
pub use relay_address::{InvalidRelay, RelayAddress};
pub use status::{PeerStatus, RelayStatus, Status};
