//! Events as they are stored: the PDU and what was decided about it.

use std::sync::Arc;

use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, OwnedDeviceId, OwnedEventId, OwnedRoomId, RoomId,
    UserId,
};
use serde::{Deserialize, Serialize};

use crate::{Error, Homeserver};

/// What was decided about an event when it was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The room.
    #[serde(rename = "r")]
    pub room_id: OwnedRoomId,
    /// Its place in the room's timeline, if it has one: the log position of a live event, a negative number for
    /// one that was back-filled.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub order: Option<i64>,
    /// The root of the tree of the room's state before the event; `None` where that is not known (outliers).
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub state_before: Option<String>,
    /// The state event that this one replaced when it was appended live.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<OwnedEventId>,
    /// The redaction that was applied to it.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub redacted_by: Option<OwnedEventId>,
    /// The authorisation rules refuse it: clients never see it.
    #[serde(rename = "n", default, skip_serializing_if = "std::ops::Not::not")]
    pub rejected: bool,
    /// Allowed where it stands in the graph, but not by the room's current state: clients do not see it.
    #[serde(rename = "s", default, skip_serializing_if = "std::ops::Not::not")]
    pub soft_failed: bool,
    /// The device and transaction id that a local user sent it with.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<(OwnedDeviceId, String)>,
}

/// An event as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its id.
    pub event_id: OwnedEventId,
    /// The PDU, redacted if a redaction was applied.
    pub pdu: CanonicalJsonObject,
    /// What was decided about it.
    pub decision: Decision,
}

impl StoredEvent {
    /// The room.
    pub fn room_id(&self) -> &RoomId {
        &self.decision.room_id
    }

    /// The event type.
    pub fn kind(&self) -> &str {
        self.text("type").unwrap_or_default()
    }

    /// The state key, if it is a state event.
    pub fn state_key(&self) -> Option<&str> {
        self.text("state_key")
    }

    /// The sender, as it stands in the PDU.
    pub fn sender(&self) -> &str {
        self.text("sender").unwrap_or_default()
    }

    /// Milliseconds since the Unix epoch, as the sender's server says.
    pub fn origin_server_ts(&self) -> u64 {
        self.integer("origin_server_ts")
    }

    /// The depth that the sender's server gave it.
    pub fn depth(&self) -> u64 {
        self.integer("depth")
    }

    /// The content.
    pub fn content(&self) -> &CanonicalJsonObject {
        static EMPTY: CanonicalJsonObject = CanonicalJsonObject::new();
        match self.pdu.get("content") {
            Some(CanonicalJsonValue::Object(content)) => content,
            _ => &EMPTY,
        }
    }

    /// A string field of the content.
    pub fn content_text(&self, field: &str) -> Option<&str> {
        self.content().get(field)?.as_str()
    }

    /// Whether clients may be shown it at all.
    pub fn is_shown(&self) -> bool {
        !self.decision.rejected && !self.decision.soft_failed
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.pdu.get(field)?.as_str()
    }

    fn integer(&self, field: &str) -> u64 {
        let value = self.pdu.get(field).and_then(CanonicalJsonValue::as_integer);
        value
            .and_then(|value| u64::try_from(i64::from(value)).ok())
            .unwrap_or_default()
    }
}

impl Homeserver {
    /// The event `event_id` as stored, whether or not anybody may see it.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn stored_event(&self, event_id: &EventId) -> Result<Option<Arc<StoredEvent>>, Error> {
        todo!()
    }

    /// The events `event_ids` that are stored, in the order asked for; those not stored are left out.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn stored_events(&self, event_ids: &[OwnedEventId]) -> Result<Vec<Arc<StoredEvent>>, Error> {
        todo!()
    }

    /// The event `event_id` of `room_id`, if `user_id` may see it.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such event or the user may not see it.
    pub async fn event_for(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Arc<StoredEvent>, Error> {
        todo!()
    }
}
