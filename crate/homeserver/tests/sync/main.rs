//! What clients are told: `/sync`, pages of history, receipts, typing and unread counts, on a homeserver with a
//! store in memory, a clock that stands still until told, and no other servers.
#![allow(
    unreachable_pub,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed unwrap is a failed test, and nothing is public in a test"
)]

mod support;

mod filters;
mod history;
mod incremental;
mod initial;
mod memberships;
mod presence;
mod receipts;
mod refusals;
mod sliding;
mod sliding_extensions;
mod waiting;
