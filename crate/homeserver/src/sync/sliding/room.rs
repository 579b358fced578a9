//! One room in an answer of sliding sync.

use hearth_rooms::ordered;
use std::collections::BTreeSet;

use ruma_common::{RoomId, UserId};
use serde_json::Value;

use super::{
    super::{
        Context, EventFilter, Filter, SyncRequest,
        changes::RoomChanges,
        filter::RoomFilter,
        joined::place,
        members::needed_members,
        response::RoomEvent,
        state::{Extent, Scope},
        timeline::{Span, Window},
    },
    Turn,
    connection::Sent,
    request::RoomConfig,
    response::{Hero, RoomData},
};
use crate::{
    Error, Homeserver,
    rooms::{
        event::StoredEvent,
        memberships::UserMembership,
        room::Snapshot,
        view::{AVATAR, MEMBER, NAME},
    },
};

/// What is to be told of a room.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) room_id: &'a RoomId,
    pub(super) membership: &'a UserMembership,
    pub(super) config: &'a RoomConfig,
    /// What the client has been told before.
    pub(super) sent: Option<Sent>,
    /// What has changed since the last answer.
    pub(super) changes: Option<&'a RoomChanges>,
    pub(super) bump_stamp: u64,
}

/// What the client is told anew.
pub(super) struct News<'a> {
    asked: Asked<'a>,
    context: &'a Context<'a>,
    span: Span,
    /// The client knows nothing of the room.
    is_initial: bool,
    /// More events are asked for than before.
    is_expanded: bool,
    /// Other state is asked for than before.
    is_other_state: bool,
    /// All events of the span are those of the changes.
    is_live: bool,
}

impl Homeserver {
    /// What is new in a room; `None` if nothing is.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(super) async fn room_data(
        &self,
        turn: &Turn<'_>,
        asked: Asked<'_>,
    ) -> Result<Option<RoomData>, Error> {
        let context = turn.context;
        let request = SyncRequest {
            filter: Filter {
                room: RoomFilter {
                    timeline: EventFilter {
                        limit: Some(asked.config.timeline_limit),
                        ..EventFilter::default()
                    },
                    ..RoomFilter::default()
                },
                ..Filter::default()
            },
            ..SyncRequest::default()
        };
        let own = Context::new(
            context.viewer,
            &request,
            context.from,
            context.to,
            context.refusals.clone(),
        );
        let data = match context.membership(asked.membership) {
            Some("join") => self.joined_data(&own, asked).await?,
            Some("invite" | "knock") => self.invited_data(&own, asked).await?,
            Some("leave" | "ban") => self.left_data(turn, asked).await?,
            _ => None,
        };
        Ok(data.map(|data| RoomData {
            is_dm: context.refusals.is_direct(asked.room_id),
            bump_stamp: asked.bump_stamp,
            ..data
        }))
    }

    async fn joined_data(&self, context: &Context<'_>, asked: Asked<'_>) -> Result<Option<RoomData>, Error> {
        let news = News::new(context, asked);
        if !news.may_be() {
            return Ok(None);
        }
        let Some(room) = self.room(asked.room_id).await? else {
            return Ok(None);
        };
        let snapshot = room.snapshot();
        let recent = asked.changes.map(|changes| &*changes.events).unwrap_or_default();
        let recent = news.is_live.then_some(recent);
        let window = self.window(context, asked.room_id, news.span, recent).await?;
        let required_state = self.required_state(&news, &snapshot, &window).await?;
        let timeline = self.timeline(context, &window, news.span).await?;
        let data = RoomData {
            initial: news.is_initial,
            limited: timeline.limited,
            unstable_expanded_timeline: news.is_expanded,
            num_live: Some(num_live(context, &window)),
            prev_batch: timeline.prev_batch,
            timeline: timeline.events,
            required_state,
            ..RoomData::default()
        };
        let is_news = news.is_initial
            || news.comes_back()
            || news.state_moved()
            || news.own_receipt_moved()
            || !is_empty(&data);
        if !is_news {
            return Ok(None);
        }
        let data = self.with_description(&news, &snapshot, &window, data).await?;
        self.with_unread(&news, &snapshot, data).await.map(Some)
    }

    /// The state that was asked for: all of it, or what of it has changed.
    async fn required_state(
        &self,
        news: &News<'_>,
        snapshot: &Snapshot,
        window: &Window,
    ) -> Result<Vec<RoomEvent>, Error> {
        let (config, user_id) = (news.asked.config, news.context.viewer.user_id);
        if config.required_state.is_empty() {
            return Ok(Vec::new());
        }
        let lazy = match config.is_lazy() {
            true => needed_members(&window.events, user_id, None, false),
            false => BTreeSet::new(),
        };
        let whole = news.is_initial || news.is_other_state || news.state_moved();
        if !whole && !news.state_may_differ(window) && lazy.is_empty() {
            return Ok(Vec::new());
        }
        let mut members = config.named_members(user_id);
        members.extend(lazy.iter().cloned());
        let types = EventFilter {
            types: config.types(),
            ..EventFilter::default()
        };
        let scope = Scope {
            snapshot,
            window: None,
            upto: news.span.upto,
            extent: match whole {
                true => Extent::Whole,
                false => Extent::Since(news.span.after),
            },
            members: (!config.wants_all_members()).then_some(&members),
            filter: Some(&types),
        };
        let mut told = match whole || news.state_may_differ(window) {
            true => self.state_beside(&scope).await?,
            false => Vec::new(),
        };
        if !whole {
            let missing: BTreeSet<_> = ordered::set(
                lazy.iter()
                    .filter(|user| !told.iter().any(|event| is_member(event, user))),
            );
            let keys: Vec<_> = missing.iter().map(|user| (MEMBER, user.as_str())).collect();
            told.extend(self.view(snapshot, &keys).await?.iter().cloned());
        }
        told.retain(|event| {
            let state_key = event.state_key().unwrap_or_default();
            config.wants(event.kind(), state_key, user_id, &lazy)
        });
        self.rendered(news.context, &told).await
    }

    /// Adds the room's name, picture, heroes and counts, if they may be news.
    async fn with_description(
        &self,
        news: &News<'_>,
        snapshot: &Snapshot,
        window: &Window,
        data: RoomData,
    ) -> Result<RoomData, Error> {
        if !news.is_initial && !news.state_may_differ(window) {
            return Ok(data);
        }
        let state = self.view(snapshot, &[NAME, AVATAR]).await?;
        let name = state.text(NAME, "name").filter(|name| !name.is_empty());
        let avatar = state.text(AVATAR, "url").map(str::to_owned);
        let summary = self.summary(snapshot, news.context.viewer.user_id).await?;
        let heroes = match summary.heroes.filter(|_| name.is_none()) {
            Some(heroes) => Some(self.heroes_of(snapshot, heroes).await?),
            None => None,
        };
        Ok(RoomData {
            name: name.map(str::to_owned),
            avatar: (avatar.is_some() || !news.is_initial).then_some(avatar),
            heroes,
            joined_count: Some(summary.joined_member_count),
            invited_count: Some(summary.invited_member_count),
            ..data
        })
    }

    async fn heroes_of(&self, snapshot: &Snapshot, users: Vec<String>) -> Result<Vec<Hero>, Error> {
        let keys: Vec<_> = users.iter().map(|user| (MEMBER, user.as_str())).collect();
        let members = self.view(snapshot, &keys).await?;
        let text = |user: &str, field| members.text((MEMBER, user), field).map(str::to_owned);
        Ok(users
            .iter()
            .map(|user| Hero {
                user_id: user.clone(),
                displayname: text(user, "displayname"),
                avatar_url: text(user, "avatar_url"),
            })
            .collect())
    }

    async fn with_unread(
        &self,
        news: &News<'_>,
        snapshot: &Snapshot,
        data: RoomData,
    ) -> Result<RoomData, Error> {
        let user_id = news.context.viewer.user_id;
        let threads = self
            .unread_counts(user_id, news.asked.room_id, snapshot, news.span.upto)
            .await?;
        let sum = |count: fn(&crate::push::unread::UnreadCounts) -> u64| threads.values().map(count).sum();
        Ok(RoomData {
            notification_count: Some(sum(|thread| thread.notification_count)),
            highlight_count: Some(sum(|thread| thread.highlight_count)),
            ..data
        })
    }

    async fn invited_data(&self, context: &Context<'_>, asked: Asked<'_>) -> Result<Option<RoomData>, Error> {
        let base = News::new(context, asked);
        if asked.sent.is_some() && asked.membership.position <= base.base() {
            return Ok(None);
        }
        let state = self.invite_state(context.viewer.user_id, asked.room_id).await?;
        let name = state
            .iter()
            .find(|event| event.get("type").and_then(Value::as_str) == Some("m.room.name"));
        let name = name.and_then(|event| event.get("content")?.get("name")?.as_str().map(str::to_owned));
        Ok(Some(RoomData {
            initial: true,
            name,
            invite_state: Some(state),
            ..RoomData::default()
        }))
    }
}

impl<'a> News<'a> {
    pub(super) fn new(context: &'a Context<'a>, asked: Asked<'a>) -> Self {
        let base = match asked.sent {
            Some(sent) => sent.upto.unwrap_or(context.position()),
            None => 0,
        };
        let joined_at = asked.membership.joined_at.unwrap_or(asked.membership.position);
        let is_initial = asked.sent.is_none() || joined_at > base;
        let is_expanded = !is_initial
            && asked
                .sent
                .is_some_and(|sent| sent.limit < asked.config.timeline_limit);
        let is_whole = is_initial || is_expanded;
        Self {
            asked,
            context,
            span: Span {
                after: if is_whole { 0 } else { place(base) },
                upto: place(context.to.position),
                joined_at: Some(place(joined_at)),
            },
            is_initial,
            is_expanded,
            is_other_state: !is_initial
                && asked
                    .sent
                    .is_some_and(|sent| sent.required != asked.config.required_hash()),
            is_live: !is_whole && asked.sent.is_some_and(|sent| sent.upto.is_none()),
        }
    }

    /// The log position up to which the client has been told everything of the room.
    pub(super) fn base(&self) -> u64 {
        let sent = self.asked.sent;
        sent.map_or(0, |sent| sent.upto.unwrap_or(self.context.position()))
    }

    /// Whether there may be news at all.
    fn may_be(&self) -> bool {
        !self.is_live || self.is_other_state || self.asked.changes.is_some()
    }

    /// Whether the state may be another one than the client knows.
    fn state_may_differ(&self, window: &Window) -> bool {
        let in_window = window.events.iter().any(|event| event.state_key().is_some());
        self.state_moved() || in_window || window.limited || window.is_partial || !self.is_live
    }

    /// Whether anything has changed, if only a receipt, while the room was outside all windows.
    fn comes_back(&self) -> bool {
        self.asked.sent.is_some_and(|sent| sent.upto.is_some())
    }

    /// Whether the state has changed without an event: what is in it now may be older than what was told.
    fn state_moved(&self) -> bool {
        let by_changes = self.asked.changes.is_some_and(|changes| changes.state);
        by_changes || self.asked.sent.is_some_and(|sent| sent.state)
    }

    fn own_receipt_moved(&self) -> bool {
        let user_id: &UserId = self.context.viewer.user_id;
        self.asked
            .changes
            .is_some_and(|changes| changes.receipts.contains(user_id))
    }
}

/// Whether there is nothing in it that could be news.
fn is_empty(data: &RoomData) -> bool {
    data.timeline.is_empty() && data.required_state.is_empty() && !data.limited
}

/// How many of the events at the end of the window have happened since the last answer.
fn num_live(context: &Context<'_>, window: &Window) -> usize {
    let Some(from) = context.from else { return 0 };
    let is_live = |event: &&std::sync::Arc<StoredEvent>| event.decision.order > Some(place(from.position));
    window.events.iter().rev().take_while(is_live).count()
}

fn is_member(event: &StoredEvent, user: &str) -> bool {
    event.kind() == MEMBER && event.state_key() == Some(user)
}
