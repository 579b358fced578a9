//! Whether an event was allowed. Spec: Server-Server API, "Authorization rules" and each room version.
//!
//! The rules are ruma's. An event is checked against the events it lists itself ([`check_auth_events`]), then
//! against the state before it and, for soft failure, against the current state ([`check_state`]).
//! Signatures are not looked at; see [`crate::signatures`].

use ruma_common::{EventId, OwnedEventId, RoomId};
use ruma_events::{StateEventType, TimelineEventType};
use ruma_state_res::{check_state_dependent_auth_rules, check_state_independent_auth_rules};

use crate::{Pdu, RoomVersion};

/// Why an event is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not allowed: {0}")]
pub struct Rejection(pub String);

/// The id of the create event that `room_id` is the hash of, in versions where it is.
pub fn create_event_id(version: RoomVersion, room_id: &RoomId) -> Option<OwnedEventId> {
    let by_hash = version.room_id_is_create_hash();
    by_hash
        .then(|| EventId::new_v2_or_v3(room_id.strip_sigil()).ok())
        .flatten()
}

/// The events that [`check_auth_events`] looks up: the listed ones and, from version 12 on, the create event.
pub fn needed_events(pdu: &Pdu) -> Vec<OwnedEventId> {
    let mut needed = pdu.auth_events().to_vec();
    if *pdu.event_type() != TimelineEventType::RoomCreate {
        needed.extend(create_event_id(pdu.version(), pdu.room_id()));
    }
    needed
}

/// Checks `pdu` against its own `auth_events`, which `event` looks up (see [`needed_events`]).
///
/// # Errors
/// [`Rejection`] if one of them is missing, rejected, of another room or not called for, or if together they
/// do not allow the event.
pub fn check_auth_events(pdu: &Pdu, event: impl Fn(&EventId) -> Option<Pdu>) -> Result<(), Rejection> {
    // The rules are compiled once, not for each caller.
    let event: &dyn Fn(&EventId) -> Option<Pdu> = &event;
    check_create(pdu, event)?;
    let rules = &pdu.version().rules().authorization;
    check_state_independent_auth_rules(rules, pdu, event).map_err(Rejection)?;
    let listed: Vec<Pdu> = needed_events(pdu).iter().filter_map(|id| event(id)).collect();
    check_state(pdu, |event_type, state_key| {
        listed
            .iter()
            .find(|listed| is_state(listed, event_type, state_key))
            .cloned()
    })
}

/// Checks `pdu` against a state of the room, which `state` looks up.
///
/// # Errors
/// [`Rejection`] if that state does not allow the event, or is of a room of another version.
pub fn check_state(pdu: &Pdu, state: impl Fn(&StateEventType, &str) -> Option<Pdu>) -> Result<(), Rejection> {
    let state: &dyn Fn(&StateEventType, &str) -> Option<Pdu> = &state;
    let create = state(&StateEventType::RoomCreate, "");
    if create.is_some_and(|create| create.version() != pdu.version()) {
        return Err(Rejection("the room is of another version".into()));
    }
    check_state_dependent_auth_rules(&pdu.version().rules().authorization, pdu, state).map_err(Rejection)
}

/// What ruma leaves to its caller about the create event: that its own version is the room's, and that the
/// event which a room id is the hash of is a create event at all.
fn check_create(pdu: &Pdu, event: &dyn Fn(&EventId) -> Option<Pdu>) -> Result<(), Rejection> {
    if *pdu.event_type() == TimelineEventType::RoomCreate {
        return check_create_itself(pdu);
    }
    let Some(create_id) = create_event_id(pdu.version(), pdu.room_id()) else {
        return Ok(());
    };
    match event(&create_id) {
        Some(create) if create.is_state(&TimelineEventType::RoomCreate, "") => Ok(()),
        _ => Err(Rejection(
            "the room id is not the hash of a known create event".into(),
        )),
    }
}

fn check_create_itself(pdu: &Pdu) -> Result<(), Rejection> {
    #[derive(serde::Deserialize)]
    struct Create {
        room_version: Option<String>,
    }
    if pdu.state_key() != Some("") {
        return Err(Rejection("the create event has no empty state key".into()));
    }
    let content = pdu
        .content_as::<Create>()
        .ok_or_else(|| Rejection("the room version is no string".into()))?;
    if content.room_version.as_deref().unwrap_or("1") != pdu.version().as_str() {
        return Err(Rejection("the create event is of another room version".into()));
    }
    Ok(())
}

fn is_state(pdu: &Pdu, event_type: &StateEventType, state_key: &str) -> bool {
    pdu.state_key() == Some(state_key) && pdu.event_type().to_string() == event_type.to_string()
}
