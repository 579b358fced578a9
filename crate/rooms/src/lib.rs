//! One Matrix room: event formats, hashing, signing, redaction, authorisation, state trees and resolution.
//!
//! Everything here is synchronous and pure. It does *not* read a clock, store anything, or wait: where a
//! computation needs data that the caller has not given, it says which ([`resolution::Progress::Need`],
//! [`state_tree::TreeError::Missing`]), and the caller loads that and calls again.

pub mod auth_check;
pub mod auth_selection;
pub mod builder;
pub mod canonical_json;
pub mod chain_cover;
pub mod client_event;
pub mod dag;
pub mod event_id;
pub mod ordered;
pub mod pdu;
mod power_levels;
pub mod redaction;
pub mod resolution;
pub mod signatures;
pub mod state_tree;
pub mod version;

pub use auth_check::Rejection;
pub use builder::{BuildError, EventBuilder};
pub use canonical_json::JsonObject;
pub use pdu::{Pdu, PduError};
pub use signatures::Verification;
pub use version::{RoomVersion, UnsupportedVersion};

use ruma_common::OwnedEventId;
use ruma_events::StateEventType;

/// What a state event is looked up by: its type and state key.
pub type StateKey = (StateEventType, String);

/// The state of a room at one point: the event that each type and state key stands for.
pub type StateMap = ruma_state_res::StateMap<OwnedEventId>;
