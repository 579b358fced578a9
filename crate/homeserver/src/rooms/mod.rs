//! Rooms: their events, state, members, aliases, and what their users do in them.
//!
//! Each room has one async lock that serialises its writers ([`room`]); readers use an immutable
//! [`Snapshot`](room::Snapshot) and never wait. What a room's rules are is decided in `hearth-rooms`; this
//! module loads what the rules need, asks them, and commits the outcome.

pub(crate) mod admit;
pub mod aliases;
pub(crate) mod answers;
pub(crate) mod append;
pub(crate) mod chains;
pub(crate) mod change;
pub mod client_event;
mod commit;
pub mod create;
pub mod delayed;
pub(crate) mod description;
pub mod directory;
pub(crate) mod draft;
pub mod event;
pub(crate) mod extremities;
mod former;
mod guests;
pub mod hierarchy;
pub mod member_counts;
mod member_rows;
pub mod membership;
pub mod memberships;
pub(crate) mod outgoing;
pub mod partial;
pub(crate) mod peek;
pub mod power;
mod predecessor;
mod recheck;
mod recount;
pub mod redact;
pub(crate) mod redaction;
pub(crate) mod resolve;
mod restart;
pub(crate) mod restricted;
pub mod room;
pub mod send;
pub mod state;
pub mod summary;
pub mod timeline;
pub(crate) mod tree;
pub mod upgrade;
pub mod view;
pub mod visibility;
