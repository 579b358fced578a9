//! Pages of a room's history. Spec: Client-Server API, section 'Getting events for a room'.
//!
//! History is read from the local timeline; where that ends and the room is older, more is fetched from other
//! servers. What a user may not see is left out of a page and does not shorten the history.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hearth_rooms::{client_event::ClientEvent, ordered};
use ruma_common::{EventId, RoomId, UserId};
use serde::Serialize;

use crate::{
    Error, Homeserver, JsonObject,
    rooms::{
        client_event::Viewer,
        event::StoredEvent,
        state::put_after,
        timeline::TimelineEvent,
        view::{HISTORY_VISIBILITY, MEMBER, member},
    },
    sync::{EventFilter, PageToken},
};

/// The number of events in a page if the request does not say.
const DEFAULT_LIMIT: usize = 10;
/// The greatest number of events in a page, whatever the request says.
const MAX_LIMIT: usize = 1000;
/// How many times a page is filled up with more of the local timeline where events do not pass.
const MAX_READS: usize = 10;
/// How many times other servers are asked for history for one page.
const MAX_FETCHES: usize = 3;
/// The fewest events to ask other servers for.
const FETCH: usize = 50;
/// How many members are looked at before others get their turn.
const SLICE: usize = 500;

/// The direction of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PageDirection {
    /// To older events.
    #[default]
    Backward,
    /// To newer events.
    Forward,
}

/// Which page of a room's history is asked for.
#[derive(Clone, Debug, Default)]
pub struct MessagesRequest {
    /// Where it begins: by default at the end that lies opposite to the direction.
    pub from: Option<PageToken>,
    /// Where it ends at the latest.
    pub to: Option<PageToken>,
    /// Its direction.
    pub direction: PageDirection,
    /// The greatest number of events.
    pub limit: Option<usize>,
    /// What to leave out.
    pub filter: EventFilter,
}

/// A page of a room's history, as the spec has it.
#[derive(Clone, Debug, Serialize)]
pub struct Messages {
    /// Where it begins.
    pub start: String,
    /// Where to go on; `None` at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// The events, in the order of the direction.
    pub chunk: Vec<ClientEvent>,
    /// The members who sent them, if members are loaded lazily.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<ClientEvent>,
}

/// An event and what happened around it, as the spec has it.
#[derive(Clone, Debug, Serialize)]
pub struct EventContext {
    /// Where to go on backwards.
    pub start: String,
    /// Where to go on forwards.
    pub end: String,
    /// The event.
    pub event: ClientEvent,
    /// The events before it, newest first.
    pub events_before: Vec<ClientEvent>,
    /// The events after it, oldest first.
    pub events_after: Vec<ClientEvent>,
    /// The state at the last of the events.
    pub state: Vec<ClientEvent>,
}

/// What is in a timeline around an event, whoever may see it.
pub(crate) struct Around {
    /// The events before it, newest first.
    pub(crate) older: Vec<TimelineEvent>,
    /// The events after it, oldest first.
    pub(crate) newer: Vec<TimelineEvent>,
    /// Where to go on backwards.
    pub(crate) start: PageToken,
    /// Where to go on forwards.
    pub(crate) end: PageToken,
}

/// Which members of a room are asked for.
#[derive(Clone, Debug, Default)]
pub struct MembersRequest {
    /// When; by default now.
    pub at: Option<PageToken>,
    /// The only membership to return.
    pub membership: Option<String>,
    /// A membership not to return.
    pub not_membership: Option<String>,
}

/// How far a page has got.
struct Page<'a> {
    viewer: Viewer<'a>,
    room_id: &'a RoomId,
    request: &'a MessagesRequest,
    limit: usize,
    events: Vec<Arc<StoredEvent>>,
    /// The place from which to read on.
    at: PageToken,
    /// Whether there is nothing beyond.
    ended: bool,
}

impl Homeserver {
    /// A page of the room's history, as far as `viewer` may see it.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if they may see nothing of the room.
    pub async fn messages(
        &self,
        viewer: Viewer<'_>,
        room_id: &RoomId,
        request: MessagesRequest,
    ) -> Result<Messages, Error> {
        self.check_reader(viewer.user_id, room_id).await?;
        let mut page = Page::new(viewer, room_id, &request);
        let start = page.at;
        match request.direction {
            PageDirection::Backward => self.read_backward(&mut page).await?,
            PageDirection::Forward => self.read_forward(&mut page).await?,
        }
        let state = if request.filter.lazy_load_members {
            self.senders(viewer.user_id, room_id, &page.events).await?
        } else {
            Vec::new()
        };
        Ok(Messages {
            start: start.to_string(),
            end: (!page.ended).then(|| page.at.to_string()),
            chunk: self.bundled_events(&page.events, viewer).await?,
            state: self.client_events(&state, viewer).await?,
        })
    }

    /// The event `event_id`, about `limit` events around it, and the state at the last of them.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such event or the user may not see it.
    pub async fn event_context(
        &self,
        viewer: Viewer<'_>,
        room_id: &RoomId,
        event_id: &EventId,
        limit: Option<usize>,
        filter: &EventFilter,
    ) -> Result<EventContext, Error> {
        let event = self.event_for(viewer.user_id, room_id, event_id).await?;
        let not_found = || Error::NotFound("no such event".into());
        event.decision.order.ok_or_else(not_found)?;
        let limit = limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
        let (before, after) = (limit / 2, limit - limit / 2);
        let around = self.around(&event, before, after).await?;
        let older = self.shown(viewer.user_id, around.older, filter).await?;
        let newer = self.shown(viewer.user_id, around.newer, filter).await?;
        let all: Vec<_> = older.iter().chain([&event]).chain(&newer).cloned().collect();
        let state = self
            .context_state(viewer.user_id, newer.last().unwrap_or(&event), &all, filter)
            .await?;
        let mut shown = self.bundled_events(&[event], viewer).await?;
        Ok(EventContext {
            start: around.start.to_string(),
            end: around.end.to_string(),
            event: shown.pop().ok_or_else(not_found)?,
            events_before: self.bundled_events(&older, viewer).await?,
            events_after: self.bundled_events(&newer, viewer).await?,
            state: self.client_events(&state, viewer).await?,
        })
    }

    /// At most `before` events before `event` in its timeline and `after` events after it. Between them nothing is
    /// missing: a gap is an end, and is filled when somebody goes on from there.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(crate) async fn around(
        &self,
        event: &StoredEvent,
        before: usize,
        after: usize,
    ) -> Result<Around, Error> {
        let place = event.decision.order.unwrap_or_default();
        let before = if event.decision.after_gap { 0 } else { before };
        let mut older = self.timeline_before(event.room_id(), place, before).await?;
        let mut newer = self.timeline_after(event.room_id(), place, after).await?;
        let gap = |events: &[TimelineEvent]| events.iter().position(|(_, event)| event.decision.after_gap);
        older.truncate(gap(&older).map_or(before, |gap| gap + 1));
        newer.truncate(gap(&newer).unwrap_or(after));
        Ok(Around {
            start: PageToken(older.last().map_or(place, |(order, _)| *order)),
            end: PageToken(newer.last().map_or(place, |(order, _)| *order).saturating_add(1)),
            older,
            newer,
        })
    }

    /// The member events of a room, now or at `request.at`; to who has left, none later than that.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the user was never in the room, or may not know the state at `request.at`.
    pub async fn members(
        &self,
        viewer: Viewer<'_>,
        room_id: &RoomId,
        request: &MembersRequest,
    ) -> Result<Vec<ClientEvent>, Error> {
        let mut members = self.room_members(viewer.user_id, room_id).await?;
        let own = self.user_membership(viewer.user_id, room_id);
        if let Some(PageToken(at)) = request.at
            && let Some((order, last)) = self.timeline_before(room_id, at, 1).await?.pop()
            && last.decision.state_before.is_some()
        {
            // What comes from a branch of the room knows that branch alone: who was in the room by then knows more.
            let was_in = own.as_ref().is_some_and(|own| {
                own.membership == "join" && own.joined_at.is_some_and(|joined| order >= joined.cast_signed())
            });
            if let Some(now) = last.decision.state_now.as_ref().filter(|_| was_in) {
                members = self.members_at(now).await?;
            } else if self.may_know_state(viewer.user_id, &last).await? {
                members = self.members_after(&last).await?;
            } else if own.is_none_or(|own| !own.has_ended()) {
                return Err(Error::Forbidden("you were not in the room then".into()));
            }
        }
        members.retain(|event| request.allows(event));
        self.client_events(&members, viewer).await
    }

    /// The joined members of a room and how they show themselves: the fields of
    /// `GET /rooms/{roomId}/joined_members`.
    ///
    /// # Errors
    /// As [`Homeserver::room_members`].
    pub async fn joined_members(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
    ) -> Result<BTreeMap<String, JsonObject>, Error> {
        let viewer = Viewer {
            user_id,
            device_id: None,
        };
        let mut joined = BTreeMap::new();
        for slice in self.room_members(user_id, room_id).await?.chunks(SLICE) {
            let shown = slice.iter().filter_map(|member| {
                let (user, shown) = joined_member(member)?;
                match self.erased_for(member, viewer) {
                    Some(_) => Some((user, JsonObject::new())),
                    None => Some((user, shown)),
                }
            });
            joined.extend(shown);
            self.give_way().await;
        }
        Ok(joined)
    }

    /// Whoever may see something of a room was in it, or it is open to everybody.
    pub(crate) async fn check_reader(&self, user_id: &UserId, room_id: &RoomId) -> Result<(), Error> {
        let forbidden = || Error::Forbidden("you are not in the room".into());
        let room = self.room(room_id).await?.ok_or_else(forbidden)?;
        let membership = self.user_membership(user_id, room_id);
        let was_joined =
            membership.is_some_and(|entry| entry.joined_at.is_some() || entry.membership == "join");
        let state = self.view(&room.snapshot(), &[HISTORY_VISIBILITY]).await?;
        let visibility = state.text(HISTORY_VISIBILITY, "history_visibility");
        if was_joined || visibility == Some("world_readable") {
            Ok(())
        } else {
            Err(forbidden())
        }
    }

    async fn read_backward(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let stop = page.request.to.map_or(i64::MIN, |to| to.0);
        let mut fetches = 0;
        for _ in 0..MAX_READS {
            self.close_gap(page.room_id, page.at.0).await?;
            let wanted = page.missing();
            let mut events = self.timeline_before(page.room_id, page.at.0, wanted).await?;
            let gap = events.iter().position(|(_, event)| event.decision.after_gap);
            let is_short = events.len() < wanted && gap.is_none();
            events.truncate(gap.map_or(wanted, |gap| gap + 1));
            let reached_stop = events.iter().any(|(order, _)| *order < stop);
            events.retain(|(order, _)| *order >= stop);
            page.at = events.last().map_or(page.at, |(order, _)| PageToken(*order));
            let shown = self
                .shown(page.viewer.user_id, events, &page.request.filter)
                .await?;
            page.events.extend(shown);
            page.ended = reached_stop;
            if page.ended || page.missing() == 0 {
                return Ok(());
            }
            if is_short {
                let is_over = fetches == MAX_FETCHES || !self.fetch_older(page).await?;
                if is_over {
                    return Ok(());
                }
                fetches += 1;
            }
        }
        Ok(())
    }

    /// Fetches history that is not held here. Returns whether there is something new to read. Where the history
    /// begins, or nothing can be had of it, the page has ended.
    async fn fetch_older(&self, page: &mut Page<'_>) -> Result<bool, Error> {
        if !self.lacks_history(page.room_id).await? {
            page.ended = true;
            return Ok(false);
        }
        let added = self
            .fetch_history(page.room_id, page.missing().max(FETCH))
            .await?;
        Ok(added > 0)
    }

    async fn read_forward(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let stop = page.request.to.map_or(i64::MAX, |to| to.0);
        for _ in 0..MAX_READS {
            let wanted = page.missing();
            let after = page.at.0.checked_sub(1);
            let mut events = match after {
                Some(after) => self.timeline_after(page.room_id, after, wanted).await?,
                None => self.timeline_after(page.room_id, i64::MIN, wanted).await?,
            };
            let gap = events.iter().find(|(_, event)| event.decision.after_gap);
            if let Some((order, _)) = gap
                && self.close_gap(page.room_id, *order).await? > 0
            {
                continue;
            }
            events.retain(|(order, _)| *order < stop);
            let is_short = events.len() < wanted;
            page.at = events
                .last()
                .map_or(page.at, |(order, _)| PageToken(order.saturating_add(1)));
            let shown = self
                .shown(page.viewer.user_id, events, &page.request.filter)
                .await?;
            page.events.extend(shown);
            if is_short || page.missing() == 0 {
                // At the live end there may be more later, so only a page without events is the end.
                page.ended = page.events.is_empty() && is_short;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Those of `events` that the user may see and the filter lets through.
    pub(crate) async fn shown(
        &self,
        user_id: &UserId,
        events: Vec<TimelineEvent>,
        filter: &EventFilter,
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let mut events: Vec<_> = events.into_iter().map(|(_, event)| event).collect();
        events.retain(|event| {
            let allowed = filter.allows(event.kind(), event.sender().as_str(), event.content());
            event.is_shown() && allowed && filter.allows_room(event.room_id())
        });
        let events = self.visible_events(user_id, events).await?;
        self.related(user_id, events, filter).await
    }

    /// The member events of those who sent `events`, as they were at the newest of them. Where the members are not
    /// known then, as they are in the last state that the user may know.
    async fn senders(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        events: &[Arc<StoredEvent>],
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let known = events
            .iter()
            .filter(|event| event.decision.state_before.is_some() && !event.decision.partial);
        let newest = known.max_by_key(|event| event.decision.order);
        let root = match newest {
            Some(newest) => newest.decision.state_before.clone(),
            None => self.last_state(user_id, room_id).await?,
        };
        let Some(root) = root else { return Ok(Vec::new()) };
        let senders: BTreeSet<_> = ordered::set(events.iter().map(|event| event.sender()));
        let keys: Vec<_> = senders.into_iter().map(member).collect();
        let mut members = self.view_at(&root, &keys).await?.iter().cloned().collect();
        if let Some(newest) = newest.filter(|newest| newest.kind() == MEMBER) {
            put_after(&mut members, newest);
        }
        Ok(members)
    }

    async fn context_state(
        &self,
        user_id: &UserId,
        last: &Arc<StoredEvent>,
        events: &[Arc<StoredEvent>],
        filter: &EventFilter,
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let root = match &last.decision.state_before {
            Some(root) => Some(root.clone()),
            None => self.last_state(user_id, last.room_id()).await?,
        };
        let Some(root) = root else { return Ok(Vec::new()) };
        let senders: BTreeSet<_> = ordered::set(events.iter().map(|event| event.sender().to_string()));
        let mut state = match filter.lazy_load_members {
            true => self.state_with_members(&root, None, &senders, |_| true).await?,
            false => self.whole_state(&root, |_| true).await?,
        };
        if last.decision.state_before.is_some() {
            put_after(&mut state, last);
        }
        state.retain(|event| {
            let needed = !filter.lazy_load_members || event.kind() != MEMBER || is_of(event, &senders);
            needed && filter.allows(event.kind(), event.sender().as_str(), event.content())
        });
        Ok(state)
    }
}

/// Whether `member` is the member event of one of `users`.
fn is_of(member: &StoredEvent, users: &BTreeSet<String>) -> bool {
    member.state_key().is_some_and(|user| users.contains(user))
}

impl<'a> Page<'a> {
    fn new(viewer: Viewer<'a>, room_id: &'a RoomId, request: &'a MessagesRequest) -> Self {
        let default = match request.direction {
            PageDirection::Backward => PageToken(i64::MAX),
            PageDirection::Forward => PageToken(i64::MIN),
        };
        let limit = request
            .limit
            .or_else(|| request.filter.limit.and_then(|limit| limit.try_into().ok()));
        Self {
            viewer,
            room_id,
            request,
            limit: limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT),
            events: Vec::new(),
            at: request.from.unwrap_or(default),
            ended: false,
        }
    }

    fn missing(&self) -> usize {
        self.limit.saturating_sub(self.events.len())
    }
}

/// The user of a membership event that is a join, and how they show themselves.
fn joined_member(event: &StoredEvent) -> Option<(String, JsonObject)> {
    if event.content_text("membership") != Some("join") {
        return None;
    }
    let mut shown = JsonObject::new();
    for (from, to) in [("displayname", "display_name"), ("avatar_url", "avatar_url")] {
        if let Some(text) = event.content_text(from) {
            shown.insert(to.into(), text.into());
        }
    }
    Some((event.state_key()?.to_owned(), shown))
}

impl MembersRequest {
    fn allows(&self, member: &StoredEvent) -> bool {
        let membership = member.content_text("membership");
        let wanted = self
            .membership
            .as_deref()
            .map(|wanted| membership == Some(wanted));
        let not_unwanted = self
            .not_membership
            .as_deref()
            .map(|unwanted| membership != Some(unwanted));
        match (wanted, not_unwanted) {
            (None, None) => true,
            // Two filters are an 'or'.
            (wanted, not_unwanted) => wanted == Some(true) || not_unwanted == Some(true),
        }
    }
}
