//! `/sync`: what is new to a client. Spec: Client-Server API, section 'Syncing'.
//!
//! A sync reads the log from the client's token up to a bound that it fixes first, and tells what those entries
//! mean to the user. It does *not* keep anything about clients: the token is all there is. What is not served:
//! presence.

mod changes;
mod encryption;
pub mod filter;
mod joined;
mod left;
mod members;
pub mod response;
mod state;
mod timeline;
pub mod token;

use std::{collections::BTreeMap, time::Duration};

use futures::future::{Either, FutureExt, select};
use ruma_common::{DeviceId, OwnedRoomId, UserId};
use serde_json::{Value, json};

use self::{
    changes::{Changes, RoomChanges},
    response::{Events, InvitedRoom, KnockedRoom, Rooms},
    timeline::Window,
};
pub use self::{
    filter::{EventFilter, Filter},
    response::SyncResponse,
    token::{PageToken, SyncToken},
};
use crate::{
    Error, Homeserver, JsonObject,
    accounts::push_rules::{PUSH_RULES, content_of},
    rooms::{client_event::Viewer, memberships::UserMembership},
};

/// The longest that a sync waits: a browser stops a worker whose event handler takes 30 s.
const MAX_WAIT: Duration = Duration::from_secs(25);
/// A client that missed more log entries than this is told of whole rooms, as in an initial sync.
pub(crate) const MAX_MISSED: u64 = 50_000;

/// What a client asks of `/sync`.
#[derive(Clone, Debug, Default)]
pub struct SyncRequest {
    /// Where the last sync left off; `None` for an initial sync.
    pub since: Option<SyncToken>,
    /// What to leave out.
    pub filter: Filter,
    /// Whether to send the state of every joined room.
    pub full_state: bool,
    /// How long to wait if there is nothing to tell.
    pub timeout: Duration,
    /// As of when state is told.
    pub state_form: StateForm,
}

/// As of when an answer tells the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateForm {
    /// As of the start of the timeline, in `state`.
    #[default]
    Before,
    /// As of its end, in `state_after`.
    After,
    /// As of its end, in the field's name of MSC4222.
    AfterUnstable,
}

/// What one attempt at an answer goes by.
struct Context<'a> {
    viewer: Viewer<'a>,
    request: &'a SyncRequest,
    /// What the client has been told; `None` for an initial sync.
    from: Option<SyncToken>,
    /// What it will have been told.
    to: SyncToken,
    /// Whether the client must be told of whole rooms: an initial sync, or one after too many changes.
    whole: bool,
}

impl Homeserver {
    /// What is new to the client on `device_id`. Waits up to the request's timeout, but at most 25 s, until
    /// there is something.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn sync(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        request: SyncRequest,
    ) -> Result<SyncResponse, Error> {
        let viewer = Viewer {
            user_id,
            device_id: Some(device_id),
        };
        let at_once = request.since.is_none() || request.full_state || request.timeout.is_zero();
        let mut timeout = self.seams.clock.sleep(request.timeout.min(MAX_WAIT)).fuse();
        let mut from = request.since;
        if let Some(since) = from {
            self.acknowledge_messages(user_id, device_id, since.to_device)
                .await?;
        }
        loop {
            let changed = select(self.log.listen(), self.typing.listen());
            let to = self.present(user_id);
            let context = Context::new(viewer, &request, from, to);
            let response = self.answer(&context).await?;
            if at_once || !response.is_empty() {
                return Ok(response);
            }
            if let Either::Right(_) = select(changed, &mut timeout).await {
                return Ok(response);
            }
            from = Some(to);
        }
    }

    /// The token of this moment.
    fn present(&self, user_id: &UserId) -> SyncToken {
        // The serial first: a change between the two reads is told again, not missed.
        let typing = self.typing.serial();
        let anyone_typing = self.typing.is_anyone_typing(&self.joined_rooms(user_id));
        let position = self.log.current();
        SyncToken {
            position,
            typing,
            anyone_typing,
            to_device: position,
        }
    }

    async fn answer(&self, context: &Context<'_>) -> Result<SyncResponse, Error> {
        let user_id = context.viewer.user_id;
        let memberships = self.memberships(user_id);
        let changes = if context.whole {
            Changes::default()
        } else {
            self.changes(
                context.viewer,
                &memberships,
                context.position(),
                context.to.position,
            )
            .await?
        };
        let (encryption, to_device) = self.encryption_part(context, &changes).await?;
        let next = SyncToken {
            to_device,
            ..context.to
        };
        Ok(SyncResponse {
            next_batch: next.to_string(),
            encryption,
            account_data: self.global_account_data(context, &changes).await?,
            rooms: self.rooms_of(context, &memberships, &changes).await?,
        })
    }

    async fn rooms_of(
        &self,
        context: &Context<'_>,
        memberships: &BTreeMap<OwnedRoomId, UserMembership>,
        changes: &Changes,
    ) -> Result<Rooms, Error> {
        let mut rooms = Rooms::default();
        let wanted = |room_id: &OwnedRoomId| context.request.filter.room.allows_room(room_id);
        for (room_id, membership) in memberships.iter().filter(|(room_id, _)| wanted(room_id)) {
            let changes = changes.rooms.get(room_id);
            self.add_room(context, &mut rooms, room_id, membership, changes)
                .await?;
        }
        Ok(rooms)
    }

    async fn add_room(
        &self,
        context: &Context<'_>,
        rooms: &mut Rooms,
        room_id: &OwnedRoomId,
        membership: &UserMembership,
        changes: Option<&RoomChanges>,
    ) -> Result<(), Error> {
        let user_id = context.viewer.user_id;
        match context.membership(membership) {
            Some("join") => {
                if let Some(room) = self.joined_room(context, room_id, membership, changes).await? {
                    rooms.join.insert(room_id.clone(), room);
                }
            }
            Some("invite") if context.is_news(membership) => {
                let invite_state = self.invite_state(user_id, room_id).await?.into();
                rooms.invite.insert(room_id.clone(), InvitedRoom { invite_state });
            }
            Some("knock") if context.is_news(membership) => {
                let knock_state = self.invite_state(user_id, room_id).await?.into();
                rooms.knock.insert(room_id.clone(), KnockedRoom { knock_state });
            }
            Some("leave" | "ban") if context.is_leaving_told(membership) => {
                let room = self.left_room(context, room_id, membership).await?;
                rooms.leave.insert(room_id.clone(), room);
            }
            _ => {}
        }
        Ok(())
    }

    async fn global_account_data(&self, context: &Context<'_>, changes: &Changes) -> Result<Events, Error> {
        if !context.whole && changes.account_data.is_empty() {
            return Ok(Events::default());
        }
        let user_id = context.viewer.user_id;
        let mut all = self.account_data_of(user_id, None).await?;
        // What is stored of push rules are the user's changes: clients get them laid over the defaults.
        all.retain(|(kind, _)| kind != PUSH_RULES);
        all.push((
            PUSH_RULES.to_owned(),
            content_of(&*self.push_rules(user_id).await?)?,
        ));
        let filter = &context.request.filter.account_data;
        let told = |kind: &str| context.whole || changes.account_data.contains(kind);
        Ok(account_data_events(all, |kind| {
            told(kind) && filter.allows_type(kind)
        }))
    }
}

impl<'a> Context<'a> {
    fn new(viewer: Viewer<'a>, request: &'a SyncRequest, from: Option<SyncToken>, to: SyncToken) -> Self {
        // A token from after the present can come from a database that was rolled back.
        let from = from.map(|from| SyncToken {
            position: from.position.min(to.position),
            to_device: from.to_device.min(to.position),
            ..from
        });
        let whole = from.is_none_or(|from| to.position - from.position > MAX_MISSED);
        Self {
            viewer,
            request,
            from,
            to,
            whole,
        }
    }

    /// The events beside which state is told: it is as of before them. `None` if it is as of after them.
    fn beside<'w>(&self, window: &'w Window) -> Option<&'w Window> {
        (self.request.state_form == StateForm::Before).then_some(window)
    }

    /// The log position that the client has been told of.
    fn position(&self) -> u64 {
        self.from.map_or(0, |from| from.position)
    }

    /// The user's membership as of the end of this answer. A change after it is left to the next one.
    fn membership<'m>(&self, membership: &'m UserMembership) -> Option<&'m str> {
        if membership.position <= self.to.position {
            return Some(&membership.membership);
        }
        let was_joined = membership
            .joined_at
            .is_some_and(|joined_at| joined_at <= self.to.position);
        was_joined.then_some("join")
    }

    fn is_news(&self, membership: &UserMembership) -> bool {
        self.from.is_none() || membership.position > self.position()
    }

    fn is_leaving_told(&self, membership: &UserMembership) -> bool {
        match self.from {
            None => self.request.filter.room.include_leave,
            Some(from) => membership.position > from.position,
        }
    }
}

/// Account data as events of `/sync`.
fn account_data_events(all: Vec<(String, JsonObject)>, wanted: impl Fn(&str) -> bool) -> Events {
    let wanted = all.into_iter().filter(|(kind, _)| wanted(kind));
    wanted
        .map(|(kind, content)| event(&kind, Value::Object(content)))
        .collect::<Vec<_>>()
        .into()
}

/// An event that is not part of a room's history.
fn event(kind: &str, content: Value) -> JsonObject {
    JsonObject::from_iter([("type".to_owned(), json!(kind)), ("content".to_owned(), content)])
}
