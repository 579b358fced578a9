//! Events in the form that clients get. Spec: Client-Server API, section 'Room event format'.

use std::{collections::HashMap, sync::Arc};

use hearth_rooms::{
    Pdu,
    client_event::{ClientEvent, RoomIdField, Unsigned, stripped_state},
};
use ruma_common::{DeviceId, EventId, OwnedEventId, UserId};
use serde_json::Value;

use crate::{Error, Homeserver, JsonObject, rooms::event::StoredEvent};

/// Who is to read an event: decides `unsigned.transaction_id`.
#[derive(Clone, Copy, Debug)]
pub struct Viewer<'a> {
    /// The user.
    pub user_id: &'a UserId,
    /// The device, if it is known.
    pub device_id: Option<&'a DeviceId>,
}

impl Viewer<'_> {
    /// Whether this is the user on that device.
    pub fn is_on(&self, user_id: &UserId, device_id: &DeviceId) -> bool {
        self.user_id == user_id && self.device_id == Some(device_id)
    }
}

/// How many events are shown before others get their turn.
const SLICE: usize = 200;

/// Events by their ids.
type Referred<'a> = HashMap<&'a EventId, &'a Arc<StoredEvent>>;

impl Homeserver {
    /// `events` as `viewer` gets them, in order, each with `room_id` and with `unsigned` (`age`,
    /// `transaction_id` for the device that sent it, `prev_content`, `replaces_state`, `redacted_because`).
    ///
    /// Visibility is not checked here: see [`Homeserver::visible_events`].
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn client_events(
        &self,
        events: &[Arc<StoredEvent>],
        viewer: Viewer<'_>,
    ) -> Result<Vec<ClientEvent>, Error> {
        let decisions = events.iter().map(|event| &event.decision);
        let referred = decisions.flat_map(|decision| [&decision.replaces, &decision.redacted_by]);
        let referred: Vec<_> = referred.flatten().cloned().collect();
        let referred = self.stored_events(&referred).await?;
        let referred = referred.iter().map(|event| (&*event.event_id, event)).collect();
        let mut shown = Vec::with_capacity(events.len());
        for slice in events.chunks(SLICE) {
            if !shown.is_empty() {
                self.give_way().await;
            }
            shown.extend(slice.iter().map(|event| {
                let erased = self.erased_for(event, viewer);
                let pdu = erased.unwrap_or_else(|| event.pdu.clone());
                let mut shown = ClientEvent::new(pdu, RoomIdField::Included);
                shown.unsigned = Some(self.unsigned(event, viewer, &referred));
                shown
            }));
        }
        Ok(shown)
    }

    /// What is left of an event for who joined its room after its sender had asked for it to be hidden.
    pub(crate) fn erased_for(&self, event: &StoredEvent, viewer: Viewer<'_>) -> Option<Pdu> {
        let erased_at = self.standing(event.sender()).erased_at?;
        let own = self.user_membership(viewer.user_id, event.room_id());
        let joined_before = own
            .and_then(|own| own.joined_at)
            .is_some_and(|joined_at| joined_at <= erased_at);
        (!joined_before).then(|| event.pdu.redacted().ok())?
    }

    /// `unsigned` of an event; `referred` has the events that its decision refers to.
    fn unsigned(&self, event: &StoredEvent, viewer: Viewer<'_>, referred: &Referred<'_>) -> Unsigned {
        let find = |event_id: &Option<OwnedEventId>| referred.get(event_id.as_deref()?).copied();
        let replaced = find(&event.decision.replaces);
        let redaction = find(&event.decision.redacted_by);
        Unsigned {
            age: Some(self.now().saturating_sub(event.origin_server_ts())),
            transaction_id: transaction_of(event, viewer).map(str::to_owned),
            replaces_state: replaced.map(|replaced| replaced.event_id.clone()),
            prev_content: replaced.map(|replaced| replaced.content().clone()),
            redacted_because: redaction
                .map(|redaction| ClientEvent::new(redaction.pdu.clone(), RoomIdField::Included).into()),
            relations: None,
        }
    }
}

/// The transaction id, if it was the viewer's device that sent the event.
fn transaction_of<'a>(event: &'a StoredEvent, viewer: Viewer<'_>) -> Option<&'a str> {
    let (device_id, txn_id) = event.decision.transaction.as_ref()?;
    let sent_it = event.sender() == viewer.user_id && viewer.device_id == Some(device_id);
    sent_it.then_some(txn_id)
}

/// The stripped form of a state event: `type`, `state_key`, `content` and `sender`.
pub fn stripped(event: &StoredEvent) -> JsonObject {
    match stripped_state(&event.pdu) {
        Value::Object(stripped) => stripped,
        _ => JsonObject::new(),
    }
}
