//! Which state an event needs in its `auth_events`. Spec: Server-Server API, "Auth events selection".

use ruma_common::{OwnedEventId, UserId};
use ruma_events::{StateEventType, TimelineEventType};
use ruma_state_res::auth_types_for_event;
use serde_json::value::RawValue;

use crate::{Pdu, Rejection, RoomVersion, StateKey};

/// The types and state keys that authorise an event with these parts.
///
/// From version 12 on the create event is not among them, because the room id implies it.
///
/// # Errors
/// [`Rejection`] if a membership event has no state key or a malformed content.
pub fn auth_types(
    version: RoomVersion,
    event_type: &TimelineEventType,
    sender: &UserId,
    state_key: Option<&str>,
    content: &RawValue,
) -> Result<Vec<StateKey>, Rejection> {
    let rules = &version.rules().authorization;
    auth_types_for_event(event_type, sender, state_key, content, rules).map_err(Rejection)
}

/// The types and state keys that authorise `pdu`.
///
/// # Errors
/// As [`auth_types`].
pub fn auth_types_of(pdu: &Pdu) -> Result<Vec<StateKey>, Rejection> {
    auth_types(
        pdu.version(),
        pdu.event_type(),
        pdu.sender(),
        pdu.state_key(),
        pdu.content(),
    )
}

/// The `auth_events` of an event with these parts, taken from the state that `state` looks up.
///
/// # Errors
/// As [`auth_types`].
pub fn select(
    version: RoomVersion,
    event_type: &TimelineEventType,
    sender: &UserId,
    state_key: Option<&str>,
    content: &RawValue,
    state: impl Fn(&StateEventType, &str) -> Option<OwnedEventId>,
) -> Result<Vec<OwnedEventId>, Rejection> {
    let types = auth_types(version, event_type, sender, state_key, content)?;
    Ok(types
        .iter()
        .filter_map(|(event_type, state_key)| state(event_type, state_key))
        .collect())
}
