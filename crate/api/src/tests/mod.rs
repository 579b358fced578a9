//! Tests through [`Api::handle`](crate::Api::handle): a real homeserver on a store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod accounts;
mod bad_input;
mod chat;
mod coverage;
mod cross_origin;
mod cross_signing;
mod delayed;
mod encryption;
mod federation;
mod leaving;
mod media;
mod peeking;
mod platform;
mod reading;
mod relations;
mod reports;
mod room_keys;
mod schema;
mod search;
mod server;
mod signed;
mod spaces;
mod specification;
mod standing;
mod sync;
mod tokens;
mod visits;
