//! Rooms: making them, sending into them, who is in them, and what outlives a restart.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "tests say what they mean by their names, and a failing one may panic"
)]

mod branches;
mod cost;
mod counting;
mod create;
mod delayed;
mod extremities;
mod federation;
mod floods;
mod forks;
mod full_store;
mod invites;
mod large_room;
mod membership;
mod peer;
mod queue;
mod receipts;
mod recount;
mod redactions;
mod refused;
mod relations;
mod search;
mod send;
mod sliding;
mod stalling;
mod support;
mod to_device;
mod together;
mod upgrade;
