//! What sliding sync tells beside rooms.

use std::collections::{BTreeMap, BTreeSet};

use ruma_common::{DeviceId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde_json::json;

use super::{
    super::{
        Context, SyncToken, account_data_events,
        changes::Changes,
        event,
        joined::receipts_event,
        response::{KeysPart, RoomEvent},
    },
    Turn,
    connection::Sent,
    request, response,
};
use crate::{
    Error, Homeserver, JsonObject, encryption::to_device::MAX_TOLD, receipts::RoomReceipts,
    thread_subscriptions::SubscriptionChanges,
};

/// The most changes of thread subscriptions of one answer, and how many if the client does not say.
const MAX_SUBSCRIPTIONS: usize = 100;

/// The rooms that are sent, and how.
pub(super) struct Windows<'a> {
    pub(super) lists: &'a BTreeMap<String, BTreeSet<OwnedRoomId>>,
    pub(super) subscribed: &'a BTreeSet<OwnedRoomId>,
    /// What the client has been told before.
    pub(super) sent: &'a BTreeMap<OwnedRoomId, Sent>,
    /// What it is told now.
    pub(super) rooms: &'a BTreeMap<OwnedRoomId, response::RoomData>,
}

impl Windows<'_> {
    /// Whether the client has been told everything of the room up to the last answer.
    fn is_live(&self, room_id: &RoomId) -> bool {
        let is_initial = self.rooms.get(room_id).is_some_and(|room| room.initial);
        !is_initial && self.sent.get(room_id).is_some_and(|sent| sent.upto.is_none())
    }
}

impl Homeserver {
    /// The extensions that were asked for.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`], [`Error::InvalidParam`] if a token is malformed.
    pub(super) async fn extensions(
        &self,
        turn: &Turn<'_>,
        changes: &Changes,
        windows: &Windows<'_>,
    ) -> Result<response::Extensions, Error> {
        let asked = &turn.request.extensions;
        let context = turn.context;
        Ok(response::Extensions {
            to_device: self.to_device_part(context, changes, &asked.to_device).await?,
            e2ee: self.e2ee_part(context, changes, &asked.e2ee).await?,
            account_data: self
                .account_data_part(context, changes, &asked.account_data, windows)
                .await?,
            receipts: self
                .receipts_part(context, changes, &asked.receipts, windows)
                .await?,
            typing: self.typing_part(context, &asked.typing, windows),
            thread_subscriptions: self
                .subscriptions_part(context, changes, &asked.thread_subscriptions)
                .await?,
        })
    }

    async fn to_device_part(
        &self,
        context: &Context<'_>,
        changes: &Changes,
        asked: &request::ToDevice,
    ) -> Result<Option<response::ToDevice>, Error> {
        let Some(device_id) = context.viewer.device_id.filter(|_| asked.enabled) else {
            return Ok(None);
        };
        let (user_id, to) = (context.viewer.user_id, context.to.position);
        let from = message_token(asked)?;
        let some_wait = context.from.is_none() || changes.to_device || from < context.position();
        if !some_wait {
            return Ok(Some(to_device(Vec::new(), to)));
        }
        let limit = asked.limit.and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.unwrap_or(MAX_TOLD).clamp(1, MAX_TOLD);
        let (events, upto) = self.messages_for(user_id, device_id, from, to, limit).await?;
        self.note_told(user_id, device_id, from, if events.is_empty() { 0 } else { upto });
        Ok(Some(to_device(events, upto)))
    }

    /// Deletes the messages that the request shows the client to have.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] if the token is malformed.
    pub(super) async fn acknowledge(
        &self,
        context: (&UserId, &DeviceId),
        asked: &request::ToDevice,
    ) -> Result<(), Error> {
        match asked.enabled {
            true => {
                self.acknowledge_messages(context.0, context.1, message_token(asked)?)
                    .await
            }
            false => Ok(()),
        }
    }

    async fn e2ee_part(
        &self,
        context: &Context<'_>,
        changes: &Changes,
        asked: &request::Extension,
    ) -> Result<Option<KeysPart>, Error> {
        let Some(device_id) = context.viewer.device_id.filter(|_| asked.enabled) else {
            return Ok(None);
        };
        self.keys_part(context, changes, device_id).await.map(Some)
    }

    async fn account_data_part(
        &self,
        context: &Context<'_>,
        changes: &Changes,
        asked: &request::Extension,
        windows: &Windows<'_>,
    ) -> Result<response::AccountData, Error> {
        let mut part = response::AccountData::default();
        if !asked.enabled {
            return Ok(part);
        }
        part.global = self.global_account_data(context, changes).await?.events;
        let nothing = BTreeSet::new();
        for room_id in asked.rooms(windows.lists, windows.subscribed) {
            let is_live = windows.is_live(room_id);
            let changed = changes.rooms.get(room_id).map(|changes| &changes.account_data);
            let changed = changed.unwrap_or(&nothing);
            let is_told = windows.rooms.contains_key(room_id);
            if (is_live || !is_told) && changed.is_empty() {
                continue;
            }
            let all = self.account_data_for(context, Some(room_id)).await?;
            let events = account_data_events(all, changed, |kind| !is_live || changed.contains(kind));
            if !events.is_empty() {
                part.rooms.insert(room_id.clone(), events.events);
            }
        }
        Ok(part)
    }

    async fn receipts_part(
        &self,
        context: &Context<'_>,
        changes: &Changes,
        asked: &request::Extension,
        windows: &Windows<'_>,
    ) -> Result<response::RoomEvents, Error> {
        let mut part = response::RoomEvents::default();
        let user_id = context.viewer.user_id;
        if !asked.enabled {
            return Ok(part);
        }
        for room_id in asked.rooms(windows.lists, windows.subscribed) {
            let told = windows.rooms.get(room_id);
            let moved = changes.rooms.get(room_id).map(|changes| &changes.receipts);
            let is_live = windows.is_live(room_id);
            let found = match (is_live, told, moved) {
                (_, Some(room), _) if room.initial || (is_live && room.unstable_expanded_timeline) => {
                    let receipts = self.room_receipts(room_id).await?;
                    let near = near(&receipts, user_id, &room.timeline, moved);
                    receipts_event(&near, user_id, None)
                }
                (true, _, Some(moved)) if !moved.is_empty() => {
                    let receipts = self.room_receipts(room_id).await?;
                    receipts_event(&receipts, user_id, Some(moved))
                }
                // Which of them moved while the room was outside all windows is not remembered.
                (false, Some(_), _) => {
                    let receipts = self.room_receipts(room_id).await?;
                    receipts_event(&receipts, user_id, None)
                }
                _ => None,
            };
            part.rooms.extend(found.map(|event| (room_id.clone(), event)));
        }
        Ok(part)
    }

    fn typing_part(
        &self,
        context: &Context<'_>,
        asked: &request::Extension,
        windows: &Windows<'_>,
    ) -> response::RoomEvents {
        let mut part = response::RoomEvents::default();
        if !asked.enabled {
            return part;
        }
        for room_id in asked.rooms(windows.lists, windows.subscribed) {
            let from = context.from.filter(|_| windows.is_live(room_id));
            let users = match (from, self.typing.room(room_id)) {
                (Some(from), Some((serial, users))) if serial > from.typing => users,
                (Some(from), typing) if from.anyone_typing && self.typing.is_forgotten(from.typing) => {
                    typing.map(|(_, users)| users).unwrap_or_default()
                }
                (None, Some((_, users))) if !users.is_empty() => users,
                _ => continue,
            };
            let notice = event("m.typing", json!({"user_ids": users}));
            part.rooms.insert(room_id.clone(), notice);
        }
        part
    }

    async fn subscriptions_part(
        &self,
        context: &Context<'_>,
        changes: &Changes,
        asked: &request::ThreadSubscriptions,
    ) -> Result<SubscriptionChanges, Error> {
        let is_due = context.from.is_none() || changes.thread_subscriptions;
        if !asked.enabled || !is_due {
            return Ok(SubscriptionChanges::default());
        }
        let limit = asked.limit.and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.unwrap_or(MAX_SUBSCRIPTIONS).clamp(1, MAX_SUBSCRIPTIONS);
        let (user_id, to) = (context.viewer.user_id, context.to.position);
        self.subscription_changes(user_id, context.position(), to, limit)
            .await
    }
}

fn to_device(events: Vec<JsonObject>, upto: u64) -> response::ToDevice {
    response::ToDevice {
        next_batch: upto.to_string(),
        events,
    }
}

/// The log position up to which the client has its messages. A sync token is taken too: clients move from one
/// kind of sync to the other.
fn message_token(asked: &request::ToDevice) -> Result<u64, Error> {
    let Some(since) = &asked.since else { return Ok(0) };
    match since.parse() {
        Ok(position) => Ok(position),
        Err(_) => since.parse::<SyncToken>().map(|token| token.to_device),
    }
}

/// The receipts at the events of `timeline`, those that have `moved`, and the user's own.
fn near(
    receipts: &RoomReceipts,
    user_id: &UserId,
    timeline: &[RoomEvent],
    moved: Option<&BTreeSet<OwnedUserId>>,
) -> RoomReceipts {
    let ids: BTreeSet<_> = timeline.iter().filter_map(RoomEvent::event_id).collect();
    let has_moved = |user: &OwnedUserId| moved.is_some_and(|moved| moved.contains(user));
    let near = receipts.iter().filter(|(key, receipt)| {
        key.user_id == user_id || has_moved(&key.user_id) || ids.contains(receipt.event_id.as_str())
    });
    near.map(|(key, receipt)| (key.clone(), receipt.clone()))
        .collect()
}
