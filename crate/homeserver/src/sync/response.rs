//! The answer of `/sync`, field by field as the spec has it. Empty parts are left out.

use std::collections::{BTreeMap, BTreeSet};

use hearth_rooms::client_event::ClientEvent;
use ruma_common::OwnedRoomId;
use serde::Serialize;

use super::{Filter, StateForm};
use crate::{
    JsonObject,
    encryption::DeviceLists,
    push::unread::{ThreadCounts, UnreadCounts},
};

/// The body of the answer of `GET /sync`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SyncResponse {
    /// The token to go on from.
    pub next_batch: String,
    /// Global account data.
    #[serde(skip_serializing_if = "Events::is_empty")]
    pub account_data: Events,
    /// Who came and went.
    #[serde(skip_serializing_if = "Events::is_empty")]
    pub presence: Events,
    /// What is new in rooms.
    #[serde(skip_serializing_if = "Rooms::is_empty")]
    pub rooms: Rooms,
    /// What is new for end-to-end encryption.
    #[serde(flatten)]
    pub encryption: EncryptionPart,
}

/// What an answer tells a device for its end-to-end encryption.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EncryptionPart {
    /// Messages for the device.
    #[serde(skip_serializing_if = "Events::is_empty")]
    pub to_device: Events,
    /// What is new of keys.
    #[serde(flatten)]
    pub keys: KeysPart,
}

/// What an answer tells a device of its own keys and of other devices.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KeysPart {
    /// Whose devices changed.
    #[serde(skip_serializing_if = "DeviceLists::is_empty")]
    pub device_lists: DeviceLists,
    /// How many one-time keys the device has left, by algorithm.
    pub device_one_time_keys_count: BTreeMap<String, u64>,
    /// The algorithms whose fallback key was not given away.
    pub device_unused_fallback_key_types: BTreeSet<String>,
    /// Whether keys were given away since the last answer: then the counts are news.
    #[serde(skip)]
    pub keys_claimed: bool,
    /// Whether the user has encrypted something. The counts may be the same, but matrix-rust-sdk puts the keys of what it
    /// sends into the backup when it is told of them.
    #[serde(skip)]
    pub has_encrypted: bool,
}

/// The rooms of an answer by the user's membership.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Rooms {
    /// Rooms that the user is in.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub join: BTreeMap<OwnedRoomId, JoinedRoom>,
    /// Rooms that the user is invited to.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub invite: BTreeMap<OwnedRoomId, InvitedRoom>,
    /// Rooms that the user has knocked on.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub knock: BTreeMap<OwnedRoomId, KnockedRoom>,
    /// Rooms that the user has left or was removed from.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub leave: BTreeMap<OwnedRoomId, LeftRoom>,
}

/// A list of events.
#[derive(Clone, Debug, Serialize)]
pub struct Events<E = JsonObject> {
    /// The events.
    pub events: Vec<E>,
}

/// An event of a room, in the form and with the fields that the filter asks for.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum RoomEvent {
    /// All of it, as clients see it.
    Whole(ClientEvent),
    /// Any other form.
    Object(JsonObject),
}

/// A part of a room's timeline.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Timeline {
    /// The events, oldest first.
    pub events: Vec<RoomEvent>,
    /// Whether there are events between what the client has and these.
    pub limited: bool,
    /// Where to go on with `/messages` to see the events before these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_batch: Option<String>,
}

/// A room that the user is in.
#[derive(Clone, Debug, Default, Serialize)]
pub struct JoinedRoom {
    /// What names and counts the members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// State changes.
    #[serde(flatten)]
    pub state: State,
    /// New events.
    pub timeline: Timeline,
    /// Receipts and typing notices.
    pub ephemeral: Events,
    /// The user's account data for the room.
    pub account_data: Events,
    /// What the user has not read.
    pub unread_notifications: UnreadCounts,
    /// What the user has not read of threads, if they are counted apart.
    #[serde(skip_serializing_if = "ThreadCounts::is_empty")]
    pub unread_thread_notifications: ThreadCounts,
}

/// What names and counts the members of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// A few members to name the room after, if it has no name.
    #[serde(rename = "m.heroes", skip_serializing_if = "Option::is_none")]
    pub heroes: Option<Vec<String>>,
    /// How many users are joined.
    #[serde(rename = "m.joined_member_count")]
    pub joined_member_count: u64,
    /// How many users are invited.
    #[serde(rename = "m.invited_member_count")]
    pub invited_member_count: u64,
}

/// A room that the user is invited to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct InvitedRoom {
    /// What may be seen of the room from outside.
    pub invite_state: Events<RoomEvent>,
}

/// A room that the user has knocked on.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KnockedRoom {
    /// What may be seen of the room from outside.
    pub knock_state: Events<RoomEvent>,
}

/// A room that the user has left.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LeftRoom {
    /// State changes.
    #[serde(flatten)]
    pub state: State,
    /// The events up to the user's leaving.
    pub timeline: Timeline,
    /// The user's account data for the room.
    pub account_data: Events,
}

/// State changes in a room, under the name that says as of when.
#[derive(Clone, Debug, Default, Serialize)]
pub struct State {
    /// Up to the start of the timeline.
    #[serde(rename = "state", skip_serializing_if = "Option::is_none")]
    before: Option<Events<RoomEvent>>,
    /// Up to the end of the timeline.
    #[serde(rename = "state_after", skip_serializing_if = "Option::is_none")]
    after: Option<Events<RoomEvent>>,
    /// Up to the end of the timeline, for clients that know it by its name from before it was in the spec.
    #[serde(
        rename = "org.matrix.msc4222.state_after",
        skip_serializing_if = "Option::is_none"
    )]
    after_unstable: Option<Events<RoomEvent>>,
}

impl State {
    /// `events` under the name of `form`.
    pub fn new(form: StateForm, events: Events<RoomEvent>) -> Self {
        let state = Self::default();
        match form {
            StateForm::Before => Self {
                before: Some(events),
                ..state
            },
            StateForm::After => Self {
                after: Some(events),
                ..state
            },
            StateForm::AfterUnstable => Self {
                after_unstable: Some(events),
                ..state
            },
        }
    }

    /// The events, whatever they are told as.
    pub(super) fn into_events(self) -> Vec<RoomEvent> {
        let forms = [self.before, self.after, self.after_unstable];
        forms.into_iter().flatten().flat_map(|told| told.events).collect()
    }

    /// Whether there are no changes.
    pub fn is_empty(&self) -> bool {
        let mut forms = [&self.before, &self.after, &self.after_unstable]
            .into_iter()
            .flatten();
        forms.all(Events::is_empty)
    }
}

impl SyncResponse {
    /// Whether it tells nothing.
    pub fn is_empty(&self) -> bool {
        self.account_data.is_empty()
            && self.presence.is_empty()
            && self.rooms.is_empty()
            && !self.encryption.is_news()
    }
}

impl EncryptionPart {
    fn is_news(&self) -> bool {
        !self.to_device.is_empty() || self.keys.is_news()
    }
}

impl KeysPart {
    /// Whether it tells anything that a client would have to be woken for.
    pub(super) fn is_news(&self) -> bool {
        !self.device_lists.is_empty() || self.keys_claimed || self.has_encrypted
    }
}

impl Rooms {
    fn is_empty(&self) -> bool {
        self.join.is_empty() && self.invite.is_empty() && self.knock.is_empty() && self.leave.is_empty()
    }
}

impl<E> Events<E> {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

impl<E> Default for Events<E> {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl<E> From<Vec<E>> for Events<E> {
    fn from(events: Vec<E>) -> Self {
        Self { events }
    }
}

impl RoomEvent {
    /// The events with the fields that `filter` asks for.
    pub(super) fn cut_all(events: Vec<ClientEvent>, filter: &Filter) -> Vec<Self> {
        let events = events.into_iter();
        events.map(|event| Self::cut(event, filter)).collect()
    }

    fn cut(event: ClientEvent, filter: &Filter) -> Self {
        match filter.event_fields {
            None => Self::Whole(event),
            Some(_) => Self::Object(filter.cut(event.into_object())),
        }
    }

    /// Its id, if that was asked for.
    pub(super) fn event_id(&self) -> Option<&str> {
        match self {
            Self::Whole(event) => Some(event.pdu().event_id().as_str()),
            Self::Object(event) => event.get("event_id")?.as_str(),
        }
    }
}
