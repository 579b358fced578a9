//! Events in the form that clients get. Spec: Client-Server API, section 'Room event format'.

use std::sync::Arc;

use hearth_rooms::client_event::{RoomIdField, client_event, stripped_state};
use ruma_common::{DeviceId, UserId};
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
    ) -> Result<Vec<JsonObject>, Error> {
        let mut shown = Vec::with_capacity(events.len());
        for event in events {
            let unsigned = self.unsigned(event, viewer).await?;
            shown.push(client_event(&event.pdu, RoomIdField::Included, unsigned));
        }
        Ok(shown)
    }

    async fn unsigned(&self, event: &StoredEvent, viewer: Viewer<'_>) -> Result<JsonObject, Error> {
        let mut unsigned = JsonObject::new();
        let age = self.now().saturating_sub(event.origin_server_ts());
        unsigned.insert("age".into(), age.into());
        if let Some(txn_id) = transaction_of(event, viewer) {
            unsigned.insert("transaction_id".into(), txn_id.into());
        }
        if let Some(replaced) = &event.decision.replaces
            && let Some(replaced) = self.stored_event(replaced).await?
        {
            unsigned.insert("replaces_state".into(), replaced.event_id.as_str().into());
            unsigned.insert("prev_content".into(), replaced.content().clone().into());
        }
        if let Some(redaction) = &event.decision.redacted_by
            && let Some(redaction) = self.stored_event(redaction).await?
        {
            let redaction = client_event(&redaction.pdu, RoomIdField::Included, JsonObject::new());
            unsigned.insert("redacted_because".into(), redaction.into());
        }
        Ok(unsigned)
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
