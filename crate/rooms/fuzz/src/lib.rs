//! What is checked of any bytes. A check panics where an invariant does not hold.
//!
//! The modules are part of the tests of `hearth-rooms` too, which run each seed once.

pub mod authorisation;
pub mod events;
pub mod pdu;
pub mod resolution;
pub mod state_tree;
