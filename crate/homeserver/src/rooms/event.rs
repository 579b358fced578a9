//! Events as they are stored: the PDU and what was decided about it.

use std::sync::{Arc, OnceLock};

use hearth_rooms::{Pdu, UnsupportedVersion};
use hearth_storage::Table;
use ruma_common::{EventId, OwnedDeviceId, OwnedEventId, OwnedRoomId, RoomId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    Error, Homeserver, JsonObject,
    cache::Cache,
    rooms::extremities::DUMMY,
    stored::{from_slice, to_vec},
};

/// About how many bytes of events are kept in memory.
const CACHED_BYTES: usize = 24 << 20;
/// How many events are read at once. Where reading waits, others have their turn in between.
const PAGE: usize = 200;
/// Who reads more events than this at once reads all of a state, and not soon again: they are not kept.
const MANY: usize = 512;

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
    /// The root of the room's current state once the event was appended live, if that is another one than
    /// `state_before`.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub state_now: Option<String>,
    /// The place of a state event in the chain cover of its room, in base64.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
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
    /// The state before it lacks members, because the room was joined without them and they have not come yet.
    #[serde(rename = "m", default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// What came before it was missed: in the timeline there is a gap before it, which may have been filled since.
    #[serde(rename = "g", default, skip_serializing_if = "std::ops::Not::not")]
    pub after_gap: bool,
    /// A redaction that takes no effect, or none yet: clients do not see it.
    #[serde(rename = "h", default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// The device and transaction id that a local user sent it with.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<(OwnedDeviceId, String)>,
}

impl Decision {
    /// Nothing is decided yet.
    pub(crate) fn new(room_id: &RoomId) -> Self {
        Self {
            room_id: room_id.to_owned(),
            order: None,
            state_before: None,
            state_now: None,
            position: None,
            replaces: None,
            redacted_by: None,
            rejected: false,
            soft_failed: false,
            partial: false,
            after_gap: false,
            held: false,
            transaction: None,
        }
    }
}

/// An event as stored. Cheap to clone.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// Its id.
    pub event_id: OwnedEventId,
    /// The PDU, redacted if a redaction was applied.
    pub pdu: Pdu,
    /// What was decided about it.
    pub decision: Decision,
    kind: String,
    /// The content, once somebody has asked for it.
    content: OnceLock<JsonObject>,
}

/// The row of an event in `Table::Events`.
#[derive(Serialize, Deserialize)]
struct Row<D, P> {
    #[serde(rename = "d")]
    decision: D,
    #[serde(rename = "v")]
    version: String,
    #[serde(rename = "p")]
    pdu: P,
}

impl StoredEvent {
    /// An event to be stored with `decision`.
    pub(crate) fn new(pdu: Pdu, decision: Decision) -> Self {
        let pdu = pdu.with_rejected(decision.rejected);
        Self {
            event_id: pdu.event_id().to_owned(),
            kind: pdu.event_type().to_string(),
            content: OnceLock::new(),
            pdu,
            decision,
        }
    }

    /// The same event with another decision.
    pub(crate) fn decided(&self, decision: Decision) -> Self {
        Self::new(self.pdu.clone(), decision)
    }

    /// The room.
    pub fn room_id(&self) -> &RoomId {
        &self.decision.room_id
    }

    /// The event type.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The state key, if it is a state event.
    pub fn state_key(&self) -> Option<&str> {
        self.pdu.state_key()
    }

    /// The sender.
    pub fn sender(&self) -> &UserId {
        self.pdu.sender()
    }

    /// Milliseconds since the Unix epoch, as the sender's server says.
    pub fn origin_server_ts(&self) -> u64 {
        self.pdu.origin_server_ts()
    }

    /// The depth that the sender's server gave it.
    pub fn depth(&self) -> u64 {
        self.pdu.depth()
    }

    /// The content.
    pub fn content(&self) -> &JsonObject {
        self.content
            .get_or_init(|| self.pdu.content_as().unwrap_or_default())
    }

    /// A string field of the content.
    pub fn content_text(&self, field: &str) -> Option<&str> {
        self.content().get(field)?.as_str()
    }

    /// Whether clients may be shown it at all.
    pub fn is_shown(&self) -> bool {
        !self.is_refused() && !self.decision.held && self.kind != DUMMY
    }

    /// Whether it is kept, but neither shown nor followed by events that are made here.
    pub(crate) fn is_refused(&self) -> bool {
        self.decision.rejected || self.decision.soft_failed
    }

    /// As it is stored in `Table::Events` under its id.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Error> {
        let version = self.pdu.version().to_string();
        to_vec(&Row {
            decision: &self.decision,
            version,
            pdu: self.pdu.raw_json(),
        })
    }

    /// About how many bytes it takes in memory.
    fn weight(&self) -> usize {
        const PARTS: usize = 1024;
        2 * self.pdu.json().len() + PARTS
    }

    /// Reads the row `value` of the key `key`.
    fn decode(key: &[u8], value: &[u8]) -> Result<Self, Error> {
        let damaged = |error: String| Error::Damaged(format!("stored event: {error}"));
        let Row {
            decision,
            version,
            pdu,
        } = from_slice::<Row<Decision, Box<RawValue>>>(value)?;
        let version = version
            .parse()
            .map_err(|error: UnsupportedVersion| damaged(error.to_string()))?;
        let event_id = str::from_utf8(key).ok().and_then(|id| EventId::parse(id).ok());
        let event_id = event_id.ok_or_else(|| damaged("its key is no event id".into()))?;
        let pdu = Pdu::restore(version, event_id, pdu).map_err(|error| damaged(error.to_string()))?;
        Ok(Self::new(pdu, decision))
    }
}

/// The events that were written or read last, as they are stored.
pub(crate) struct EventCache {
    events: Cache<OwnedEventId, Arc<StoredEvent>>,
}

impl Default for EventCache {
    fn default() -> Self {
        Self {
            events: Cache::new(CACHED_BYTES),
        }
    }
}

impl EventCache {
    /// Keeps `event`, which has just been committed, in place of an earlier copy.
    pub(crate) fn keep(&self, event: Arc<StoredEvent>) {
        let weight = event.weight();
        self.events.put(event.event_id.clone(), event, weight);
    }

    /// Forgets an event that may just have been deleted.
    pub(crate) fn forget(&self, event_id: &EventId) {
        self.events.remove(event_id);
    }
}

impl Homeserver {
    /// The event `event_id` as stored, whether or not anybody may see it.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn stored_event(&self, event_id: &EventId) -> Result<Option<Arc<StoredEvent>>, Error> {
        Ok(self.stored_events(&[event_id.to_owned()]).await?.pop())
    }

    /// The events `event_ids` that are stored, in the order asked for; those not stored are left out.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn stored_events(&self, event_ids: &[OwnedEventId]) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let kept = |event_id| self.events.events.get(event_id);
        let mut events: Vec<_> = event_ids.iter().map(kept).collect();
        let missing = event_ids.iter().zip(&events).filter(|(_, event)| event.is_none());
        let keys: Vec<_> = missing
            .map(|(event_id, _)| event_id.as_bytes().to_vec())
            .collect();
        if !keys.is_empty() {
            let mut read = self.read_events(&keys).await?.into_iter();
            for event in events.iter_mut().filter(|event| event.is_none()) {
                *event = read.next().flatten();
            }
        }
        Ok(events.into_iter().flatten().collect())
    }

    /// Reads the events of `keys` from the store, and keeps them in memory if they are not very many.
    async fn read_events(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Arc<StoredEvent>>>, Error> {
        let before = self.events.events.moment();
        let decode = |(key, value): (&Vec<u8>, Option<Vec<u8>>)| {
            value.map(|value| StoredEvent::decode(key, &value).map(Arc::new))
        };
        let mut read = Vec::with_capacity(keys.len());
        for keys in keys.chunks(PAGE) {
            let values = self.seams.store.get_many(Table::Events, keys).await?;
            for row in keys.iter().zip(values) {
                read.push(decode(row).transpose()?);
            }
        }
        if keys.len() <= MANY {
            let found = read.iter().flatten();
            let found = found.map(|event| (event.event_id.clone(), event.clone(), event.weight()));
            self.events.events.fill(before, found);
        }
        Ok(read)
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
        let not_found = || Error::NotFound("no such event, or it is not shown to you".into());
        let event = self.stored_event(event_id).await?.ok_or_else(not_found)?;
        if event.room_id() != room_id || !event.is_shown() {
            return Err(not_found());
        }
        self.visible_events(user_id, vec![event])
            .await?
            .pop()
            .ok_or_else(not_found)
    }

    /// The event `event_id`, in whichever room, if `user_id` may see it.
    ///
    /// # Errors
    /// [`Error::NotFound`] as [`Homeserver::event_for`].
    pub async fn event_anywhere(
        &self,
        user_id: &UserId,
        event_id: &EventId,
    ) -> Result<Arc<StoredEvent>, Error> {
        let event = self.stored_event(event_id).await?;
        let event = event.ok_or_else(|| Error::NotFound("no such event".into()))?;
        self.event_for(user_id, event.room_id(), event_id).await
    }
}
