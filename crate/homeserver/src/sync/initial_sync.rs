//! What a client is told that begins without `/sync`: a room (`GET /rooms/{roomId}/initialSync`, with which clients
//! peek), or everything (the deprecated `GET /initialSync`). Spec: Client-Server API, section 'Room Previews'.
//!
//! Both end where [`Homeserver::event_stream`] goes on. Nothing is fetched from other servers for them: whoever pages
//! back from `messages.start` gets what is not held here. Presence is told only to who is in the room.

use std::{collections::BTreeSet, sync::Arc};

use futures::future::try_join_all;
use hearth_rooms::client_event::ClientEvent;
use ruma_common::{OwnedRoomId, RoomId, UserId};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    AT_ONCE, Context, PageToken, SyncRequest, SyncToken, account_data_events,
    changes::Changes,
    event,
    filter::EventFilter,
    joined::{place, receipts_event},
};
use crate::{
    Error, Homeserver, JsonObject,
    rooms::{
        client_event::Viewer, event::StoredEvent, memberships::UserMembership, peek::Reader, view::MEMBER,
    },
};

/// How many messages of a room are told if the request does not say.
const DEFAULT_LIMIT: usize = 10;
/// The most messages of a room, whatever the request says.
const MAX_LIMIT: usize = 100;
/// Of how many members of a room at most it is told whether they are there.
const MAX_PRESENT: usize = 1000;

/// The answer of `GET /initialSync`, as the spec has it.
#[derive(Clone, Debug, Serialize)]
pub struct InitialSync {
    /// Where the event stream goes on.
    pub end: String,
    /// The rooms that the user is in or invited to, and perhaps those that they have left.
    pub rooms: Vec<RoomInfo>,
    /// Who is there of those who share a room with the user.
    pub presence: Vec<JsonObject>,
    /// Global account data.
    pub account_data: Vec<JsonObject>,
}

/// A room, as the spec has it.
#[derive(Clone, Debug, Serialize)]
pub struct RoomInfo {
    /// Its id.
    pub room_id: OwnedRoomId,
    /// The user's membership, if they have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership: Option<String>,
    /// The user's invite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invite: Option<ClientEvent>,
    /// What is in the room, if the user may look into it.
    #[serde(flatten)]
    pub content: Option<RoomContent>,
}

/// What a user may see of a room.
#[derive(Clone, Debug, Serialize)]
pub struct RoomContent {
    /// The newest messages.
    pub messages: RecentMessages,
    /// The state after them.
    pub state: Vec<ClientEvent>,
    /// The user's account data for the room.
    pub account_data: Vec<JsonObject>,
    /// Whether the room is in the directory: `public` or `private`.
    pub visibility: &'static str,
    /// Which members are there.
    pub presence: Vec<JsonObject>,
    /// What has been read.
    pub receipts: Vec<JsonObject>,
}

/// The newest messages of a room.
#[derive(Clone, Debug, Serialize)]
pub struct RecentMessages {
    /// Where the messages before these are found.
    pub start: String,
    /// Where the event stream goes on, or where the user left.
    pub end: String,
    /// The messages, oldest first.
    pub chunk: Vec<ClientEvent>,
}

/// What a room is told by.
#[derive(Clone, Copy)]
struct Telling<'a> {
    viewer: Viewer<'a>,
    room_id: &'a RoomId,
    reader: &'a Reader,
    /// The last that is told of.
    end: SyncToken,
    /// The most messages.
    limit: usize,
}

impl Homeserver {
    /// What `viewer` may see of a room: all of it if they are joined or everybody may look, else what there was when
    /// they left.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if they may see nothing, [`Error::PartialState`] if the members are not known.
    pub async fn room_initial_sync(
        &self,
        viewer: Viewer<'_>,
        room_id: &RoomId,
        limit: Option<usize>,
    ) -> Result<RoomInfo, Error> {
        self.reader(viewer.user_id, room_id).await?;
        if let Some(room) = self.room(room_id).await? {
            self.whole(&room).await?;
        }
        // Once more: it may have taken a while until the members were there.
        let reader = self.reader(viewer.user_id, room_id).await?;
        let telling = Telling {
            viewer,
            room_id,
            reader: &reader,
            end: self.stream_end(viewer.user_id),
            limit: limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT),
        };
        let membership = self.user_membership(viewer.user_id, room_id);
        Ok(RoomInfo {
            room_id: room_id.to_owned(),
            // The spec's list of memberships ends with `ban`.
            membership: membership.map(|own| own.membership).filter(|own| own != "knock"),
            invite: None,
            content: Some(self.room_content(telling).await?),
        })
    }

    /// Everything that the user has to do with, with the newest messages of every room; `archived` rooms are those
    /// that they have left.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn initial_sync(
        &self,
        viewer: Viewer<'_>,
        limit: Option<usize>,
        archived: bool,
    ) -> Result<InitialSync, Error> {
        let request = SyncRequest::default();
        let end = self.stream_end(viewer.user_id);
        let context = self.context(viewer, &request, None, end).await?;
        let memberships = self.memberships(viewer.user_id);
        let is_told = |own: &UserMembership| {
            matches!(own.membership.as_str(), "join" | "invite") || (archived && own.has_ended())
        };
        let wanted: Vec<_> = memberships.iter().filter(|(_, own)| is_told(own)).collect();
        let mut rooms = Vec::new();
        for some in wanted.chunks(AT_ONCE) {
            let ids: Vec<_> = some.iter().map(|(room_id, _)| &***room_id).collect();
            self.warm_rooms(&ids).await?;
            let infos = some
                .iter()
                .map(|(room_id, own)| self.room_info(&context, room_id, own, limit));
            rooms.extend(try_join_all(infos).await?.into_iter().flatten());
        }
        let presence = self.presence_part(&context, &Changes::default()).await?;
        Ok(InitialSync {
            end: end.to_string(),
            rooms,
            presence: presence.events,
            account_data: self
                .global_account_data(&context, &Changes::default())
                .await?
                .events,
        })
    }

    /// One of the user's rooms; `None` if they do not want to hear of it, or it is gone.
    async fn room_info(
        &self,
        context: &Context<'_>,
        room_id: &RoomId,
        own: &UserMembership,
        limit: Option<usize>,
    ) -> Result<Option<RoomInfo>, Error> {
        let mut info = RoomInfo {
            room_id: room_id.to_owned(),
            membership: Some(own.membership.clone()),
            invite: None,
            content: None,
        };
        let reader = match own.membership.as_str() {
            "join" => Reader::Member,
            "invite" => {
                let is_shown = self.is_invite_shown(&context.refusals, room_id, &own.event_id);
                if !is_shown.await? {
                    return Ok(None);
                }
                let invite = self.stored_events(std::slice::from_ref(&own.event_id)).await?;
                info.invite = self.client_events(&invite, context.viewer).await?.pop();
                return Ok(Some(info));
            }
            _ => match self.leaving(own).await? {
                Some(leaving) => Reader::Former(leaving),
                None => return Ok(Some(info)),
            },
        };
        if self.room(room_id).await?.is_none() {
            return Ok(None);
        }
        let telling = Telling {
            viewer: context.viewer,
            room_id,
            reader: &reader,
            end: context.to,
            limit: limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT),
        };
        info.content = Some(self.room_content(telling).await?);
        Ok(Some(info))
    }

    async fn room_content(&self, telling: Telling<'_>) -> Result<RoomContent, Error> {
        let Telling { viewer, room_id, .. } = telling;
        let messages = self.recent_messages(telling).await?;
        let state = self.told_room_state(telling).await?;
        let account_data = self.account_data_of(viewer.user_id, Some(room_id)).await?;
        let is_public = self.is_published(room_id).await?;
        Ok(RoomContent {
            messages,
            presence: self.present_members(telling.reader, &state),
            state: self.client_events(&state, viewer).await?,
            account_data: account_data_events(account_data, &BTreeSet::new(), |_| true).events,
            visibility: if is_public { "public" } else { "private" },
            receipts: self.told_receipts(telling).await?,
        })
    }

    /// The newest messages that are held here, without a gap.
    async fn recent_messages(&self, telling: Telling<'_>) -> Result<RecentMessages, Error> {
        let Telling { viewer, room_id, .. } = telling;
        let end = match telling.reader {
            Reader::Member | Reader::Peeker => telling.end,
            Reader::Former(left) => SyncToken {
                position: left.position,
                ..SyncToken::default()
            },
        };
        let after = place(end.position).saturating_add(1);
        let mut events = match telling.limit {
            0 => Vec::new(),
            limit => self.timeline_before(room_id, after, limit).await?,
        };
        if let Some(gap) = events.iter().position(|(_, event)| event.decision.after_gap) {
            events.truncate(gap + 1);
        }
        let start = events.last().map_or(after, |(order, _)| *order);
        events.reverse();
        let shown = self
            .shown(viewer.user_id, events, &EventFilter::default())
            .await?;
        Ok(RecentMessages {
            start: PageToken(start).to_string(),
            end: end.to_string(),
            chunk: self.bundled_events(&shown, viewer).await?,
        })
    }

    /// The state as it is, or as it was when the reader left.
    async fn told_room_state(&self, telling: Telling<'_>) -> Result<Vec<Arc<StoredEvent>>, Error> {
        match telling.reader {
            Reader::Member | Reader::Peeker => match self.room(telling.room_id).await? {
                Some(room) => self.whole_state(&room.snapshot().record.state, |_| true).await,
                None => Ok(Vec::new()),
            },
            Reader::Former(left) => match self.stored_event(&left.event_id).await? {
                Some(leaving) => {
                    let ids: Vec<_> = self.state_after(&leaving).await?.into_values().collect();
                    self.stored_events(&ids).await
                }
                None => Ok(Vec::new()),
            },
        }
    }

    /// Who of the joined members in `state` is there, if the reader is one of them.
    fn present_members(&self, reader: &Reader, state: &[Arc<StoredEvent>]) -> Vec<JsonObject> {
        if !matches!(reader, Reader::Member) {
            return Vec::new();
        }
        let now = self.now();
        let joined = state
            .iter()
            .filter(|event| event.kind() == MEMBER && event.content_text("membership") == Some("join"));
        let users = joined.filter_map(|member| UserId::parse(member.state_key()?).ok());
        let present = users.filter_map(|user_id| {
            let mut content = self.presence.content(&user_id, now)?;
            // matrix-js-sdk reads it here, where it was before there was a `sender`.
            content.insert("user_id".into(), user_id.as_str().into());
            let mut presence = event("m.presence", Value::Object(content));
            presence.insert("sender".into(), user_id.as_str().into());
            Some(presence)
        });
        present.take(MAX_PRESENT).collect()
    }

    /// The receipts that the reader may see; who has left sees none.
    async fn told_receipts(&self, telling: Telling<'_>) -> Result<Vec<JsonObject>, Error> {
        if matches!(telling.reader, Reader::Former(_)) {
            return Ok(Vec::new());
        }
        let receipts = self.room_receipts(telling.room_id).await?;
        let mut told = receipts_event(&receipts, telling.viewer.user_id, None);
        if let Some(told) = &mut told {
            told.insert("room_id".into(), json!(telling.room_id));
        }
        Ok(Vec::from_iter(told))
    }
}
