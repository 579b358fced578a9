//! The answer of sliding sync, field by field as MSC4186 has it. Empty parts are left out.

use std::collections::BTreeMap;

use ruma_common::OwnedRoomId;
use serde::Serialize;

use super::super::response::{KeysPart, RoomEvent};
use crate::{JsonObject, thread_subscriptions::SubscriptionChanges};

/// The body of the answer.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SlidingResponse {
    /// Where to go on.
    pub pos: String,
    /// What the request had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub txn_id: Option<String>,
    /// How many rooms each list has.
    pub lists: BTreeMap<String, ListCount>,
    /// What is new in rooms.
    pub rooms: BTreeMap<OwnedRoomId, RoomData>,
    /// What else is new.
    pub extensions: Extensions,
}

/// How long a list is.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ListCount {
    /// The number of rooms.
    pub count: usize,
}

/// What is new in a room.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RoomData {
    /// The room's name, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The room's picture; `null` if it has none any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar: Option<Option<String>>,
    /// Members to name a room after that has no name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heroes: Option<Vec<Hero>>,
    /// Whether what the client knows of the room is to be replaced.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub initial: bool,
    /// Whether `m.direct` names the room.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_dm: bool,
    /// What may be seen of a room that the user is invited to, or has knocked on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invite_state: Option<Vec<JsonObject>>,
    /// State that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub required_state: Vec<RoomEvent>,
    /// New events, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub timeline: Vec<RoomEvent>,
    /// Whether there are events between what the client has and these.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub limited: bool,
    /// Whether the timeline holds older events than before, because more were asked for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unstable_expanded_timeline: bool,
    /// Where to go on with `/messages`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_batch: Option<String>,
    /// How many events at the end of the timeline have only just happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_live: Option<usize>,
    /// How many users are joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joined_count: Option<u64>,
    /// How many users are invited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invited_count: Option<u64>,
    /// How many unread events notify.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notification_count: Option<u64>,
    /// How many of them are highlights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub highlight_count: Option<u64>,
    /// The greater, the later something happened in the room.
    pub bump_stamp: u64,
}

/// A member to name a room after.
#[derive(Clone, Debug, Serialize)]
pub struct Hero {
    /// The user.
    pub user_id: String,
    /// Their name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub displayname: Option<String>,
    /// Their picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
}

/// What else is new.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Extensions {
    /// Messages for the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_device: Option<ToDevice>,
    /// Device lists and key counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub e2ee: Option<KeysPart>,
    /// Account data.
    #[serde(skip_serializing_if = "AccountData::is_empty")]
    pub account_data: AccountData,
    /// Receipts.
    #[serde(skip_serializing_if = "RoomEvents::is_empty")]
    pub receipts: RoomEvents,
    /// Typing notices.
    #[serde(skip_serializing_if = "RoomEvents::is_empty")]
    pub typing: RoomEvents,
    /// Thread subscriptions.
    #[serde(
        rename = "io.element.msc4308.thread_subscriptions",
        skip_serializing_if = "SubscriptionChanges::is_empty"
    )]
    pub thread_subscriptions: SubscriptionChanges,
}

/// Messages for the device.
#[derive(Clone, Debug, Serialize)]
pub struct ToDevice {
    /// Where to go on.
    pub next_batch: String,
    /// The messages, oldest first.
    pub events: Vec<JsonObject>,
}

/// Account data.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AccountData {
    /// What is global.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub global: Vec<JsonObject>,
    /// What is of rooms.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rooms: BTreeMap<OwnedRoomId, Vec<JsonObject>>,
}

/// One event for each room.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RoomEvents {
    /// The events.
    pub rooms: BTreeMap<OwnedRoomId, JsonObject>,
}

impl SlidingResponse {
    /// Whether it tells nothing that a client would have to be woken for.
    pub(super) fn is_empty(&self) -> bool {
        self.rooms.is_empty() && self.extensions.is_empty()
    }
}

impl Extensions {
    fn is_empty(&self) -> bool {
        let no_messages = self.to_device.as_ref().is_none_or(|part| part.events.is_empty());
        let no_keys = self.e2ee.as_ref().is_none_or(|part| !part.is_news());
        no_messages
            && no_keys
            && self.account_data.is_empty()
            && self.receipts.is_empty()
            && self.typing.is_empty()
            && self.thread_subscriptions.is_empty()
    }
}

impl AccountData {
    fn is_empty(&self) -> bool {
        self.global.is_empty() && self.rooms.is_empty()
    }
}

impl RoomEvents {
    fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }
}
