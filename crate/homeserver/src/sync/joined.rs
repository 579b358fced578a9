//! A joined room in an answer of `/sync`.

use hearth_rooms::ordered;
use std::{collections::BTreeSet, sync::Arc};

use ruma_common::{OwnedUserId, RoomId, UserId};
use serde_json::{Value, json};

use super::{
    Context, SyncToken, account_data_events,
    changes::RoomChanges,
    event,
    members::needed_members,
    response::{Events, JoinedRoom, RoomEvent, State, Summary},
    state::{Extent, Scope},
    timeline::{Span, Window},
};
use crate::{
    Error, Homeserver, JsonObject,
    push::unread::{ThreadCounts, UnreadCounts},
    receipts::{ReceiptKind, RoomReceipts},
    rooms::{event::StoredEvent, memberships::UserMembership, room::Snapshot, view::MEMBER},
};

/// What is to be told of one joined room.
struct Telling<'a> {
    context: &'a Context<'a>,
    room_id: &'a RoomId,
    changes: Option<&'a RoomChanges>,
    /// Whether the room is new to the client, which must be told all of it.
    is_new: bool,
    span: Span,
}

impl Homeserver {
    /// What is new in a room that the user is in; `None` if nothing is.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(super) async fn joined_room(
        &self,
        context: &Context<'_>,
        room_id: &RoomId,
        membership: &UserMembership,
        changes: Option<&RoomChanges>,
    ) -> Result<Option<JoinedRoom>, Error> {
        let mut telling = Telling::new(context, room_id, membership, changes);
        let told = context.from.filter(|_| !telling.is_new);
        let typing = self.typing_news(room_id, told);
        if !telling.is_whole() && changes.is_none() && typing.is_none() {
            return Ok(None);
        }
        let Some(room) = self.room(room_id).await? else {
            return Ok(None);
        };
        let snapshot = room.snapshot();
        if !context.request.filter.room.state.lazy_load_members {
            // Who is told of all members is told of a room when all are there: once, so not before the answer's
            // end has come to that moment.
            if snapshot.is_partial() || snapshot.record.whole_since > Some(context.to.position) {
                return Ok(None);
            }
            telling.begin_when_whole(&snapshot);
        }
        let told = self.tell(&telling, &snapshot, typing).await?;
        Ok(Some(told).filter(|told| telling.is_whole() || telling.own_receipt_moved() || has_news(told)))
    }

    async fn tell(
        &self,
        telling: &Telling<'_>,
        snapshot: &Snapshot,
        typing: Option<JsonObject>,
    ) -> Result<JoinedRoom, Error> {
        let context = telling.context;
        let mut window = self
            .window(context, telling.room_id, telling.span, telling.recent())
            .await?;
        // The client may hold an older part of the timeline, from before the user left and came back.
        window.limited |= telling.is_new && context.from.is_some();
        let members_changed =
            telling.state_changed() || window.limited || window.has_members() || window.has_names();
        let summary = match members_changed {
            true => Some(self.summary(snapshot, context.viewer.user_id).await?),
            false => None,
        };
        let state = self
            .told_state(telling, snapshot, &window, summary.as_ref())
            .await?;
        let mut room = JoinedRoom {
            summary,
            state: State::new(context.request.state_form, state),
            timeline: self.timeline(context, &window, telling.span).await?,
            ephemeral: self.ephemeral(telling, typing).await?,
            account_data: self.room_account_data(telling).await?,
            ..JoinedRoom::default()
        };
        let user_id = context.viewer.user_id;
        let unread = self
            .unread_counts(user_id, telling.room_id, snapshot, telling.span.upto)
            .await?;
        telling.add_unread(&mut room, unread);
        Ok(room)
    }

    async fn told_state(
        &self,
        telling: &Telling<'_>,
        snapshot: &Snapshot,
        window: &Window,
        summary: Option<&Summary>,
    ) -> Result<Events<RoomEvent>, Error> {
        let context = telling.context;
        let filter = &context.request.filter.room.state;
        if !filter.allows_room(telling.room_id) {
            return Ok(Events::default());
        }
        let extent = if telling.state_changed() {
            Extent::Whole
        } else {
            Extent::Since(telling.span.after)
        };
        let is_whole = extent == Extent::Whole;
        let user_id = context.viewer.user_id;
        let needed = filter
            .lazy_load_members
            .then(|| needed_members(&window.events, user_id, summary, is_whole));
        let scope = Scope {
            snapshot,
            window: context.beside(window),
            upto: telling.span.upto,
            extent,
            members: needed.as_ref(),
            filter: Some(filter),
        };
        let mut told = self.state_beside(&scope).await?;
        if let Some(needed) = needed.filter(|_| !is_whole) {
            self.add_members(&mut told, context, snapshot, window, &needed)
                .await?;
        }
        told.retain(|event| filter.allows(event.kind(), event.sender().as_str(), event.content()));
        let told = self.related(user_id, told, filter).await?;
        Ok(self.rendered(context, &told).await?.into())
    }

    /// Adds the needed members as they are now, but those whom the answer tells of already: of whom the timeline tells,
    /// what they were before it, if the state is told as of then.
    async fn add_members(
        &self,
        told: &mut Vec<Arc<StoredEvent>>,
        context: &Context<'_>,
        snapshot: &Snapshot,
        window: &Window,
        needed: &BTreeSet<String>,
    ) -> Result<(), Error> {
        let keys: Vec<_> = needed.iter().map(|user| (MEMBER, user.as_str())).collect();
        let members = self.view(snapshot, &keys).await?;
        let ids = window.ids();
        let (within, mut beside): (Vec<_>, Vec<_>) = members
            .iter()
            .cloned()
            .partition(|member| ids.contains(&*member.event_id));
        if let Some(window) = context.beside(window) {
            beside.extend(self.before_window(Extent::Whole, window, within).await?);
        }
        let known: BTreeSet<_> = ordered::set(told.iter().map(|event| event.event_id.clone()));
        beside.retain(|member| !known.contains(&member.event_id));
        told.append(&mut beside);
        Ok(())
    }

    async fn ephemeral(&self, telling: &Telling<'_>, typing: Option<JsonObject>) -> Result<Events, Error> {
        let filter = &telling.context.request.filter.room.ephemeral;
        let mut events = Vec::from_iter(typing);
        if telling.is_new
            || telling
                .changes
                .is_some_and(|changes| !changes.receipts.is_empty())
        {
            let receipts = self.room_receipts(telling.room_id).await?;
            let told = (!telling.is_new)
                .then_some(telling.changes)
                .flatten()
                .map(|changes| &changes.receipts);
            events.extend(receipts_event(&receipts, telling.context.viewer.user_id, told));
        }
        events.retain(|event| {
            let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
            filter.allows_room(telling.room_id) && filter.allows_type(kind)
        });
        Ok(events.into())
    }

    /// The typing notice of a room, if it is news to who was told of typing up to `from`; if nothing was told (`None`),
    /// it is if somebody types.
    pub(super) fn typing_news(&self, room_id: &RoomId, from: Option<SyncToken>) -> Option<JsonObject> {
        if from.is_some_and(|from| !self.typing.has_changed(room_id, &from)) {
            return None;
        }
        let users = self.typing.room(room_id);
        (from.is_some() || !users.is_empty()).then(|| typing_event(&users))
    }

    async fn room_account_data(&self, telling: &Telling<'_>) -> Result<Events, Error> {
        let changed = telling.changes.map(|changes| &changes.account_data);
        if !telling.is_new && changed.is_none_or(BTreeSet::is_empty) {
            return Ok(Events::default());
        }
        let filter = &telling.context.request.filter.room.account_data;
        let all = self
            .account_data_for(telling.context, Some(telling.room_id))
            .await?;
        let nothing = BTreeSet::new();
        let changed = changed.unwrap_or(&nothing);
        let told = |kind: &str| telling.is_new || changed.contains(kind);
        let allowed = |kind: &str| filter.allows_room(telling.room_id) && filter.allows_type(kind);
        Ok(account_data_events(all, changed, |kind| {
            told(kind) && allowed(kind)
        }))
    }
}

impl<'a> Telling<'a> {
    fn new(
        context: &'a Context<'a>,
        room_id: &'a RoomId,
        membership: &UserMembership,
        changes: Option<&'a RoomChanges>,
    ) -> Self {
        let joined_at = membership.joined_at.unwrap_or(membership.position);
        let newly_joined = joined_at > context.position();
        let is_new = context.whole || newly_joined;
        let after = if newly_joined {
            0
        } else {
            place(context.position())
        };
        // Of somebody whose membership has changed since, it is not known whether they were joined all the time.
        let is_current = membership.position <= context.to.position;
        let span = Span {
            after,
            upto: place(context.to.position),
            joined_at: is_current.then(|| place(joined_at)),
        };
        Self {
            context,
            room_id,
            changes,
            is_new,
            span,
        }
    }

    /// Makes the room new to a client that it was kept from until its state was whole, if that is news.
    fn begin_when_whole(&mut self, snapshot: &Snapshot) {
        let whole_since = snapshot.record.whole_since;
        if whole_since.is_some_and(|since| since > self.context.position()) {
            self.is_new = true;
            self.span.after = 0;
        }
    }

    /// Whether the room is told of even if nothing is new.
    fn is_whole(&self) -> bool {
        self.is_new || self.context.request.full_state
    }

    /// Whether the whole state is to be told.
    fn state_changed(&self) -> bool {
        self.is_whole() || self.changes.is_some_and(|changes| changes.state)
    }

    fn own_receipt_moved(&self) -> bool {
        self.changes
            .is_some_and(|changes| changes.receipts.contains(self.context.viewer.user_id))
    }

    /// All events of the span, where they are known.
    fn recent(&self) -> Option<&'a [ruma_common::OwnedEventId]> {
        if self.is_new {
            return None;
        }
        Some(self.changes.map(|changes| &*changes.events).unwrap_or_default())
    }

    fn add_unread(&self, room: &mut JoinedRoom, mut threads: ThreadCounts) {
        if self
            .context
            .request
            .filter
            .room
            .timeline
            .unread_thread_notifications
        {
            room.unread_notifications = threads.remove("main").unwrap_or_default();
            room.unread_thread_notifications = threads;
        } else {
            room.unread_notifications = threads
                .into_values()
                .fold(UnreadCounts::default(), |sum, thread| UnreadCounts {
                    notification_count: sum.notification_count + thread.notification_count,
                    highlight_count: sum.highlight_count + thread.highlight_count,
                });
        }
    }
}

fn has_news(room: &JoinedRoom) -> bool {
    room.timeline.limited
        || !room.timeline.events.is_empty()
        || !room.state.is_empty()
        || !room.ephemeral.is_empty()
        || !room.account_data.is_empty()
}

/// The receipts of `users` (`None`: of everybody) that `viewer` may see, as one event. Of several of a user for one event
/// that of the whole room is told (MSC4102), which comes first.
pub(super) fn receipts_event(
    receipts: &RoomReceipts,
    viewer: &UserId,
    users: Option<&BTreeSet<OwnedUserId>>,
) -> Option<JsonObject> {
    let mut content = json!({});
    for (key, receipt) in receipts {
        let visible = key.kind == ReceiptKind::Read || key.user_id == viewer;
        if !visible || users.is_some_and(|users| !users.contains(&key.user_id)) {
            continue;
        }
        let told = &mut content[receipt.event_id.as_str()][key.kind.name()][key.user_id.as_str()];
        if !told.is_null() {
            continue;
        }
        let mut data = json!({"ts": receipt.ts});
        if let Some(thread) = &key.thread {
            data["thread_id"] = json!(thread);
        }
        *told = data;
    }
    let is_empty = content.as_object().is_none_or(JsonObject::is_empty);
    (!is_empty).then(|| event("m.receipt", content))
}

/// The notice that `users` type.
pub(super) fn typing_event(users: &[OwnedUserId]) -> JsonObject {
    event("m.typing", json!({"user_ids": users}))
}

/// The place in a timeline that a log position is.
pub(super) fn place(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}
