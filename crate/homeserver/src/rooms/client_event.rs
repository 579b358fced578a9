//! Events in the form that clients get. Spec: Client-Server API, section 'Room event format'.

use std::{collections::HashMap, sync::Arc};

use hearth_rooms::{
    Pdu,
    client_event::{ClientEvent, RoomIdField, Unsigned, stripped_state},
};
use ruma_common::{DeviceId, EventId, OwnedEventId, UserId};
use serde_json::Value;

use crate::{
    Error, Homeserver, JsonObject,
    rooms::{
        event::StoredEvent,
        view::{MEMBER, member},
    },
};

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
    /// `transaction_id` for the device that sent it, `prev_content`, `prev_sender`, `replaces_state`, `redacted_because`).
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

    /// The content of an event as `viewer` gets it.
    pub fn client_content(&self, event: &StoredEvent, viewer: Viewer<'_>) -> JsonObject {
        let erased = self.erased_for(event, viewer);
        let left = erased.map(|pdu| pdu.content_as().unwrap_or_default());
        left.unwrap_or_else(|| event.content().clone())
    }

    /// What is left of an event for who joined its room after its sender had asked for it to be hidden. State other than
    /// memberships stays whole, as redactions do, because the room rests on it.
    pub(crate) fn erased_for(&self, event: &StoredEvent, viewer: Viewer<'_>) -> Option<Pdu> {
        let is_theirs = event.state_key().is_none() || event.kind() == MEMBER;
        let is_theirs = is_theirs && event.kind() != "m.room.redaction";
        let erased_at = self.standing(event.sender()).erased_at.filter(|_| is_theirs)?;
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
            prev_sender: replaced.map(|replaced| replaced.sender().to_owned()),
            prev_content: replaced
                .filter(|replaced| {
                    [event, replaced]
                        .iter()
                        .all(|event| self.erased_for(event, viewer).is_none())
                })
                .map(|replaced| replaced.content().clone()),
            redacted_because: redaction
                .map(|redaction| ClientEvent::new(redaction.pdu.clone(), RoomIdField::Included).into()),
            membership: None,
            relations: None,
        }
    }

    /// The user's membership once each of `events` had happened; `None` where the state is not known.
    pub(crate) async fn memberships_at(
        &self,
        events: &[Arc<StoredEvent>],
        user_id: &UserId,
    ) -> Result<Vec<Option<String>>, Error> {
        let mut known = HashMap::new();
        let mut memberships = Vec::with_capacity(events.len());
        for event in events {
            memberships.push(match self.membership_of_late(event, user_id) {
                Some(membership) => Some(membership),
                None => self.membership_before(event, user_id, &mut known).await?,
            });
        }
        Ok(memberships)
    }

    /// The user's membership once `event` had happened, if it is that event which says so or the user has been joined
    /// ever since.
    fn membership_of_late(&self, event: &StoredEvent, user_id: &UserId) -> Option<String> {
        if event.kind() == MEMBER && event.state_key() == Some(user_id.as_str()) {
            return event.content_text("membership").map(str::to_owned);
        }
        let own = self.user_membership(user_id, event.room_id())?;
        let since = own.joined_at.filter(|_| own.membership == "join")?;
        (event.decision.order >= Some(since.cast_signed())).then_some(own.membership)
    }

    /// The user's membership in the state before `event`; `known` are those found so far, by state.
    async fn membership_before<'e>(
        &self,
        event: &'e StoredEvent,
        user_id: &UserId,
        known: &mut HashMap<&'e str, Option<String>>,
    ) -> Result<Option<String>, Error> {
        let Some(root) = event.decision.state_before.as_deref() else {
            return Ok(None);
        };
        if let Some(membership) = known.get(root) {
            return Ok(membership.clone());
        }
        let state = self.view_at(root, &[member(user_id)]).await?;
        let found = state.text(member(user_id), "membership");
        let membership = found.or((!event.decision.partial).then_some("leave"));
        let membership = membership.map(str::to_owned);
        known.insert(root, membership.clone());
        Ok(membership)
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
