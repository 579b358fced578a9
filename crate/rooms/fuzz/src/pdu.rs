//! Any bytes as an event: parsing says no, or gives an event that survives writing, reading and redaction.

use hearth_rooms::{
    Pdu, RoomVersion,
    auth_check::{check_auth_events, check_state, needed_events},
    auth_selection::auth_types_of,
    client_event::{ClientEvent, RoomIdField, stripped_state},
    pdu::{MAX_AUTH_EVENTS, MAX_FIELD_BYTES, MAX_PDU_BYTES, MAX_PREV_EVENTS},
    signatures::{Verification, verify},
};

/// The first line says which version, the rest is the event.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Some((version, text)) = text.split_once('\n') else {
        return;
    };
    let Ok(version) = version.parse::<RoomVersion>() else {
        return;
    };
    let Ok(pdu) = Pdu::parse(version, text) else {
        return;
    };
    within_limits(&pdu);
    survives_writing(&pdu);
    survives_redaction(&pdu);
    let verdict = verify(&pdu, |_, _| None::<[u8; 32]>);
    assert!(!matches!(verdict, Verification::Valid), "nobody's key is known");
    assert!(check_auth_events(&pdu, |_| None).is_err() || pdu.auth_events().is_empty());
    let _ = check_state(&pdu, |_, _| None);
    let _ = (auth_types_of(&pdu), needed_events(&pdu), pdu.membership());
    let _ = ClientEvent::new(pdu.clone(), RoomIdField::Included).into_object();
    let _ = stripped_state(&pdu);
}

fn within_limits(pdu: &Pdu) {
    assert!(pdu.json().len() <= MAX_PDU_BYTES);
    assert!(pdu.prev_events().len() <= MAX_PREV_EVENTS);
    assert!(pdu.auth_events().len() <= MAX_AUTH_EVENTS);
    for field in [
        pdu.event_id().as_str(),
        pdu.room_id().as_str(),
        pdu.sender().as_str(),
    ] {
        assert!(field.len() <= MAX_FIELD_BYTES, "{field}");
    }
    assert!(pdu.state_key().is_none_or(|key| key.len() <= MAX_FIELD_BYTES));
    assert!(pdu.event_type().to_string().len() <= MAX_FIELD_BYTES);
}

fn survives_writing(pdu: &Pdu) {
    let again = Pdu::parse(pdu.version(), pdu.json()).expect("what was written can be read");
    assert_eq!(*pdu, again);
    assert_eq!(pdu.event_id(), again.event_id());
}

fn survives_redaction(pdu: &Pdu) {
    let redacted = pdu.redacted().expect("every event can be redacted");
    assert_eq!(redacted.event_id(), pdu.event_id());
    assert_eq!(redacted.prev_events(), pdu.prev_events());
    assert_eq!(redacted.auth_events(), pdu.auth_events());
    assert_eq!(redacted.state_entry(), pdu.state_entry());
    assert!(redacted.json().len() <= pdu.json().len());
    let twice = redacted.redacted().expect("every event can be redacted");
    assert_eq!(redacted, twice);
}
