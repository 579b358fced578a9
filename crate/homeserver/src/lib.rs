//! Everything that a homeserver knows: accounts, devices, rooms, sync, receipts, profiles, federation.
//!
//! It is async over the seams of [`seams`]: a store, outbound federation, a clock, randomness and a way to
//! spawn tasks. It does *not* know HTTP servers, libp2p, browsers or sockets; whoever embeds it brings those.

pub mod accounts;
mod cache;
pub mod config;
pub mod deadline;
pub mod encryption;
pub mod error;
pub mod federation;
pub mod homeserver;
pub mod identity;
pub mod log;
pub mod media;
pub mod messages;
mod policy;
pub mod presence;
pub mod push;
pub mod receipts;
pub mod relations;
pub mod rooms;
pub mod seams;
pub mod search;
mod stored;
pub mod sync;
pub mod thread_subscriptions;
pub mod timestamps;
pub mod turn;
pub mod typing;

pub use config::Config;
pub use error::Error;
pub use hearth_rooms::{
    RoomVersion, UnsupportedVersion, ordered,
    pdu::{MAX_NESTING, nesting_within},
};
pub use homeserver::Homeserver;
pub use identity::Identity;
pub use log::{Log, LogEntry};
pub use seams::{
    AnswerLimit, Clock, Federation, FederationError, Images, NoImages, Picture, Rng, Scaled, Scaling, Seams,
    Spawner,
};

/// A JSON object.
pub type JsonObject = serde_json::Map<String, serde_json::Value>;
