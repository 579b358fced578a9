//! The Server-Server API, both sides: what other homeservers ask of this one, and what it asks of them.
//!
//! Functions that answer another server take its name as `origin`, which [`request`] has proven. Their
//! arguments and answers are JSON as the spec has it. Everything that comes in is bounded here.

mod acl;
mod auth_chain;
pub mod backfill;
pub mod bulk;
mod completion;
pub mod event;
pub mod event_auth;
mod fetch_state;
mod gap;
pub(crate) mod handshake;
pub mod heads;
pub(crate) mod held;
pub mod inbound;
mod intake;
pub mod invite;
pub mod join;
pub(crate) mod joins;
pub mod keys;
pub mod knock;
pub mod leave;
pub(crate) mod member_event;
pub mod missing_events;
pub(crate) mod multipart;
pub mod notary;
mod outside;
mod past;
pub mod query;
pub(crate) mod received;
pub mod request;
pub(crate) mod same_id;
pub mod send_join;
pub(crate) mod sendable;
pub mod sender;
pub mod state;
pub(crate) mod uri;
