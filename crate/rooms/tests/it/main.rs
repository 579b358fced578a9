//! The room engine from outside: the specification's vectors, hostile input, trees, rules, resolution.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failing test may panic"
)]

mod auth;
mod auth_cases;
mod canonical_json;
mod cost;
mod events;
mod forks;
mod formats;
mod fuzz;
mod hostile;
mod hostile_events;
mod large_room;
mod msc4297;
mod old_auth;
mod published;
mod redaction;
mod resolution;
mod room;
mod signatures;
mod state_tree;
mod synapse;
mod vectors;
mod version_1;
