//! What sliding sync tells beside rooms.

use hearth_rooms::ordered;
use std::collections::{BTreeMap, BTreeSet};

use ruma_common::{DeviceId, OwnedRoomId, OwnedUserId, RoomId, UserId};

use super::{
    super::{
        Context, SyncToken, account_data_events,
        changes::Changes,
        joined::{receipts_event, typing_event},
        response::{KeysPart, RoomEvent},
    },
    Turn,
    connection::Sent,
    request, response,
};
use crate::{
    Error, Homeserver, JsonObject, encryption::to_device::MAX_TOLD, ordered::map, receipts::RoomReceipts,
    thread_subscriptions::SubscriptionChanges,
};

/// For how many log entries it is looked up whose receipts have moved in a room that comes back. If it was away for
/// more, all are told.
const MAX_AWAY: u64 = 1_024;
/// The most changes of thread subscriptions of one answer, and how many if the client does not say.
const MAX_SUBSCRIPTIONS: usize = 100;
/// Among how many events it is looked for what the user has encrypted.
const MAX_SAID: usize = 100;

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
    /// What the client has been told of the room, if it is not told all of it anew.
    fn known(&self, room_id: &RoomId) -> Option<&Sent> {
        let is_initial = self.rooms.get(room_id).is_some_and(|room| room.initial);
        self.sent.get(room_id).filter(|_| !is_initial)
    }

    /// Whether the client has been told everything of the room up to the last answer.
    fn is_live(&self, room_id: &RoomId) -> bool {
        self.known(room_id).is_some_and(|sent| sent.upto.is_none())
    }

    /// The log position up to which the client has been told everything of a room that comes back.
    fn upto(&self, room_id: &RoomId) -> Option<u64> {
        self.known(room_id).and_then(|sent| sent.upto)
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
        // A token from after the present is of a database that is no more: nothing was told of this one.
        let from = Some(message_token(asked)?)
            .filter(|from| *from <= to)
            .unwrap_or_default();
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
        let keys = self.keys_part(context, changes, device_id).await?;
        let has_encrypted = self.has_encrypted(context, changes).await?;
        Ok(Some(KeysPart {
            has_encrypted,
            ..keys
        }))
    }

    /// Whether the user has sent something encrypted, or so much has happened that it is not looked at.
    async fn has_encrypted(&self, context: &Context<'_>, changes: &Changes) -> Result<bool, Error> {
        let said = changes.rooms.values().flat_map(|room| &room.events);
        let said: Vec<_> = said.take(MAX_SAID).cloned().collect();
        let own = self.stored_events(&said).await?;
        let mut own = own
            .iter()
            .filter(|event| event.sender() == context.viewer.user_id);
        Ok(said.len() == MAX_SAID || own.any(|event| event.kind() == "m.room.encrypted"))
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
        let rooms = asked.rooms(windows.lists, windows.subscribed);
        let (since, missed) = self.missed(context, windows, &rooms).await?;
        let nobody = BTreeSet::new();
        for room_id in rooms {
            let upto = windows.upto(room_id);
            let changes = if upto.is_some() { &missed } else { changes };
            let moved = changes.rooms.get(room_id).map(|changes| &changes.receipts);
            // Whose moved is not known of a room that was away for too long.
            let moved = upto
                .is_none_or(|upto| upto >= since)
                .then_some(moved.unwrap_or(&nobody));
            let shows_older = |room: &&response::RoomData| room.initial || room.unstable_expanded_timeline;
            let told = windows.rooms.get(room_id);
            let found = match (told.filter(shows_older), moved) {
                (Some(room), Some(moved)) => {
                    let receipts = self.room_receipts(room_id).await?;
                    let near = near(&receipts, user_id, &room.timeline, moved);
                    receipts_event(&near, user_id, None)
                }
                _ if moved == Some(&nobody) || windows.known(room_id).is_none() => None,
                _ => receipts_event(&*self.room_receipts(room_id).await?, user_id, moved),
            };
            part.rooms.extend(found.map(|event| (room_id.clone(), event)));
        }
        Ok(part)
    }

    /// What has changed since those of `rooms` that come back were last told of, and from where on that was looked at.
    async fn missed(
        &self,
        context: &Context<'_>,
        windows: &Windows<'_>,
        rooms: &BTreeSet<&OwnedRoomId>,
    ) -> Result<(u64, Changes), Error> {
        let to = context.to.position;
        let since = rooms.iter().filter_map(|room_id| windows.upto(room_id));
        let since = since.filter(|upto| to.saturating_sub(*upto) <= MAX_AWAY);
        let Some(since) = since.min() else {
            return Ok((to, Changes::default()));
        };
        let memberships = self.memberships(context.viewer.user_id);
        let missed = self.changes(context.viewer, &memberships, since, to).await?;
        Ok((since, missed))
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
            let notice = match windows.upto(room_id) {
                // What the client was told may have ended while the room was outside all windows.
                Some(_) => Some(typing_event(&self.typing.room(room_id))),
                None => self.typing_news(room_id, context.from.filter(|_| windows.is_live(room_id))),
            };
            part.rooms.extend(notice.map(|notice| (room_id.clone(), notice)));
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
    moved: &BTreeSet<OwnedUserId>,
) -> RoomReceipts {
    let ids: BTreeSet<_> = ordered::set(timeline.iter().filter_map(RoomEvent::event_id));
    let near = receipts.iter().filter(|(key, receipt)| {
        key.user_id == user_id || moved.contains(&key.user_id) || ids.contains(receipt.event_id.as_str())
    });
    map(near.map(|(key, receipt)| (key.clone(), receipt.clone())))
}
