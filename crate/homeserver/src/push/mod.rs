//! Push rules: what an event means to a user's attention, and how much of that is unread.
//!
//! It does *not* store rules (they are account data) and sends no push notifications to gateways.

mod condition;
mod evaluation;
pub mod notifications;
mod pattern;
pub mod unread;

pub use evaluation::{Attention, RoomContext, attention};
pub(crate) use pattern::MAX_PATTERN;
