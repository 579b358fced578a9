//! What is checked of any bytes. A check panics where an invariant does not hold.
//!
//! The checks are part of the tests of `hearth-p2p` too, which run each seed once.

#[path = "../../src/federation/frame.rs"]
mod frame;
pub mod framing;
