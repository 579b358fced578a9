//! `/sync`: what is new to a client. Spec: Client-Server API, section 'Syncing'.
//!
//! A sync reads the log from the client's token up to a bound that it fixes first, and tells what those entries
//! mean to the user. It does *not* keep anything about clients: the token is all there is.

mod changes;
mod encryption;
mod event_stream;
pub mod filter;
mod initial_sync;
mod joined;
mod left;
mod members;
mod presence;
pub mod response;
pub mod sliding;
mod state;
mod timeline;
pub mod token;

use std::{
    collections::{BTreeMap, BTreeSet},
    slice,
    time::Duration,
};

use futures::future::{Either, FutureExt, select, try_join_all};
use ruma_common::{DeviceId, OwnedRoomId, RoomId, UserId};
use serde_json::{Value, json};

pub(crate) use self::sliding::Sliding;
use self::{
    changes::{Changes, RoomChanges},
    response::{Events, InvitedRoom, JoinedRoom, KnockedRoom, LeftRoom, RoomEvent, Rooms},
    timeline::Window,
};
pub use self::{
    event_stream::{EventStreamPart, EventStreamRequest},
    filter::{EventFilter, Filter},
    initial_sync::{InitialSync, RecentMessages, RoomContent, RoomInfo},
    response::SyncResponse,
    sliding::{SlidingRequest, SlidingResponse, position_of_pos},
    token::{PageToken, SyncToken},
};
use crate::{
    Error, Homeserver, JsonObject,
    accounts::{
        account_data::AllAccountData,
        push_rules::{PUSH_RULES, content_of},
    },
    policy::Refusals,
    presence::PresenceState,
    rooms::{client_event::Viewer, memberships::UserMembership},
};

/// The longest that a sync waits: a browser stops a worker whose event handler takes 30 s.
const MAX_WAIT: Duration = Duration::from_secs(25);
/// A client that missed more log entries than this is told of whole rooms, as in an initial sync.
pub(crate) const MAX_MISSED: u64 = 50_000;

/// How many rooms are looked at side by side.
const AT_ONCE: usize = 64;

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
    /// What the sync says of whether the user is there.
    pub presence: PresenceState,
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
    /// Whom the user does not want to hear from.
    refusals: Refusals,
    /// All of the user's account data, where much of it is needed.
    account_data: Option<AllAccountData>,
}

/// What is told of one room.
enum Told {
    Joined(Box<JoinedRoom>),
    Invited(InvitedRoom),
    Knocked(KnockedRoom),
    Left(Box<LeftRoom>),
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
        self.note_sync(user_id, device_id, request.presence, request.timeout);
        let at_once = request.since.is_none() || request.full_state || request.timeout.is_zero();
        let mut timeout = self.seams.clock.sleep(request.timeout.min(MAX_WAIT)).fuse();
        let mut has_waited = false;
        let mut from = request.since;
        if let Some(since) = from {
            self.acknowledge_messages(user_id, device_id, since.to_device)
                .await?;
        }
        loop {
            let passing = select(self.typing.listen(), self.presence.listen());
            let changed = select(self.log.listen(), passing);
            // What is stored by now waits for its answers; what comes while it does is for the next answer.
            let to = self.present(user_id);
            self.answers.given(user_id, device_id, has_waited).await;
            let context = self.context(viewer, &request, from, to).await?;
            let response = self.answer(&context).await?;
            if at_once || !response.is_empty() {
                return Ok(response);
            }
            if let Either::Right(_) = select(changed, &mut timeout).await {
                return Ok(response);
            }
            has_waited = true;
            from = Some(to);
        }
    }

    async fn context<'a>(
        &self,
        viewer: Viewer<'a>,
        request: &'a SyncRequest,
        from: Option<SyncToken>,
        to: SyncToken,
    ) -> Result<Context<'a>, Error> {
        let refusals = self.refusals(viewer.user_id).await?;
        let mut context = Context::new(viewer, request, from, to, refusals);
        if let Some(from) = context.from {
            context.whole = self
                .log
                .has_more_than(MAX_MISSED, from.position, to.position)
                .await?;
        }
        if context.whole {
            context.account_data = Some(self.all_account_data(viewer.user_id).await?);
        }
        Ok(context)
    }

    /// The token of this moment.
    fn present(&self, user_id: &UserId) -> SyncToken {
        // The serial first: a change between the two reads is told again, not missed.
        let (typing, presence) = (self.typing.serial(), self.presence.serial());
        let anyone_typing = self.typing.is_anyone_typing(&self.joined_rooms(user_id));
        let position = self.log.current();
        SyncToken {
            position,
            typing,
            anyone_typing,
            presence,
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
        let memberships = match context.from {
            Some(_) => self.with_forgotten(user_id, memberships),
            None => memberships,
        };
        Ok(SyncResponse {
            next_batch: next.to_string(),
            encryption,
            account_data: self.global_account_data(context, &changes).await?,
            presence: self.presence_part(context, &changes).await?,
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
        let filter = &context.request.filter.room;
        let wanted: Vec<_> = memberships
            .iter()
            .filter(|(room_id, membership)| {
                filter.allows_room(room_id) && context.may_tell(membership, changes.rooms.get(*room_id))
            })
            .collect();
        for some in wanted.chunks(AT_ONCE) {
            let ids: Vec<_> = some.iter().map(|(room_id, _)| &***room_id).collect();
            self.warm_rooms(&ids).await?;
            // Side by side: what one room reads need not wait for what another does.
            let told = some.iter().map(|(room_id, membership)| {
                self.told_room(context, room_id, membership, changes.rooms.get(*room_id))
            });
            for (told, (room_id, _)) in try_join_all(told).await?.into_iter().zip(some) {
                rooms.add(room_id, told);
            }
        }
        Ok(rooms)
    }

    async fn told_room(
        &self,
        context: &Context<'_>,
        room_id: &RoomId,
        membership: &UserMembership,
        changes: Option<&RoomChanges>,
    ) -> Result<Option<Told>, Error> {
        Ok(match context.membership(membership) {
            Some("join") => {
                let room = self.joined_room(context, room_id, membership, changes).await?;
                room.map(|room| Told::Joined(Box::new(room)))
            }
            Some("invite") if context.is_news(membership) => {
                let is_shown = self.is_invite_shown(&context.refusals, room_id, &membership.event_id);
                if !is_shown.await? {
                    return Ok(None);
                }
                let invite_state = self.shown_outside(context, room_id, membership).await?;
                Some(Told::Invited(InvitedRoom { invite_state }))
            }
            Some("knock") if context.is_news(membership) => {
                let knock_state = self.shown_outside(context, room_id, membership).await?;
                Some(Told::Knocked(KnockedRoom { knock_state }))
            }
            Some("leave" | "ban") if context.is_leaving_told(membership) => {
                let room = self.left_room(context, room_id, membership).await?;
                Some(Told::Left(Box::new(room)))
            }
            _ => None,
        })
    }

    /// What is shown of a room from outside. The user's own membership, which comes last, is whole: clients show and
    /// sort by its time. MSC4319.
    async fn shown_outside(
        &self,
        context: &Context<'_>,
        room_id: &RoomId,
        membership: &UserMembership,
    ) -> Result<Events<RoomEvent>, Error> {
        let mut stripped = self.invite_state(context.viewer.user_id, room_id).await?;
        let own = self.stored_events(slice::from_ref(&membership.event_id)).await?;
        if !own.is_empty() {
            stripped.pop();
        }
        let own = self.rendered(context, &own).await?;
        let events: Vec<_> = stripped.into_iter().map(RoomEvent::Object).chain(own).collect();
        Ok(events.into())
    }

    async fn global_account_data(&self, context: &Context<'_>, changes: &Changes) -> Result<Events, Error> {
        if !context.whole && changes.account_data.is_empty() {
            return Ok(Events::default());
        }
        let user_id = context.viewer.user_id;
        let mut all = self.account_data_for(context, None).await?;
        // What is stored of push rules are the user's changes: clients get them laid over the defaults.
        all.retain(|(kind, _)| kind != PUSH_RULES);
        all.push((
            PUSH_RULES.to_owned(),
            content_of(&*self.push_rules(user_id).await?)?,
        ));
        let filter = &context.request.filter.account_data;
        let told = |kind: &str| context.whole || changes.account_data.contains(kind);
        Ok(account_data_events(all, &changes.account_data, |kind| {
            told(kind) && filter.allows_type(kind)
        }))
    }

    /// The user's account data of a room, or (`None`) what is global.
    async fn account_data_for(
        &self,
        context: &Context<'_>,
        room_id: Option<&RoomId>,
    ) -> Result<Vec<(String, JsonObject)>, Error> {
        match &context.account_data {
            Some(all) => Ok(all
                .get(&room_id.map(ToOwned::to_owned))
                .cloned()
                .unwrap_or_default()),
            None => self.account_data_of(context.viewer.user_id, room_id).await,
        }
    }
}

impl Rooms {
    fn add(&mut self, room_id: &RoomId, told: Option<Told>) {
        let room_id = room_id.to_owned();
        match told {
            Some(Told::Joined(room)) => drop(self.join.insert(room_id, *room)),
            Some(Told::Invited(room)) => drop(self.invite.insert(room_id, room)),
            Some(Told::Knocked(room)) => drop(self.knock.insert(room_id, room)),
            Some(Told::Left(room)) => drop(self.leave.insert(room_id, *room)),
            None => (),
        }
    }
}

impl<'a> Context<'a> {
    fn new(
        viewer: Viewer<'a>,
        request: &'a SyncRequest,
        from: Option<SyncToken>,
        to: SyncToken,
        refusals: Refusals,
    ) -> Self {
        // A token from after the present comes from a database that was rolled back: what the client was told
        // after that is not known, so it is told everything.
        let from = from.filter(|from| from.position <= to.position);
        Self {
            viewer,
            request,
            from,
            to,
            whole: from.is_none(),
            refusals,
            account_data: None,
        }
    }

    /// Whether there may be something to tell of a room, as far as memory says.
    fn may_tell(&self, membership: &UserMembership, changes: Option<&RoomChanges>) -> bool {
        match membership.membership.as_str() {
            "leave" | "ban" => changes.is_some() || self.is_leaving_told(membership),
            "invite" | "knock" => changes.is_some() || self.is_news(membership),
            _ => true,
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
        let was = |position: u64| position <= self.to.position;
        if let Some(left) = membership.left.as_ref().filter(|left| was(left.position)) {
            return (left.position > self.position()).then_some("leave");
        }
        membership.joined_at.is_some_and(was).then_some("join")
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

/// Account data as events of `/sync`. What has changed and is not there was deleted, which an empty one says.
fn account_data_events(
    all: Vec<(String, JsonObject)>,
    changed: &BTreeSet<String>,
    wanted: impl Fn(&str) -> bool,
) -> Events {
    let gone = |kind: &&String| all.iter().all(|(there, _)| there != *kind);
    let deleted: Vec<_> = changed
        .iter()
        .filter(gone)
        .map(|kind| (kind.clone(), JsonObject::new()))
        .collect();
    let wanted = all.into_iter().chain(deleted).filter(|(kind, _)| wanted(kind));
    wanted
        .map(|(kind, content)| event(&kind, Value::Object(content)))
        .collect::<Vec<_>>()
        .into()
}

/// An event that is not part of a room's history.
fn event(kind: &str, content: Value) -> JsonObject {
    JsonObject::from_iter([("type".to_owned(), json!(kind)), ("content".to_owned(), content)])
}
