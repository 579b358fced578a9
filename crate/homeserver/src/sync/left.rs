//! A room in an answer of `/sync` that the user has left, was removed from, or whose invite they rejected.

use std::{collections::BTreeSet, sync::Arc};

use ruma_common::{RoomId, UserId};
use serde_json::json;

use super::{
    Context, account_data_events, event,
    joined::place,
    members::needed_members,
    response::{Events, LeftRoom, RoomEvent, State},
    state::{Extent, Scope},
    timeline::Span,
};
use crate::{
    Error, Homeserver, JsonObject,
    rooms::{event::StoredEvent, memberships::UserMembership},
};

impl Homeserver {
    /// What the user is told of a room that they have left: what happened up to then.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(super) async fn left_room(
        &self,
        context: &Context<'_>,
        room_id: &RoomId,
        membership: &UserMembership,
    ) -> Result<LeftRoom, Error> {
        // Whose leaving is told may be invited again by now, which is for the next answer.
        let left = self.last_leaving(membership).await?;
        // What became of the membership after that is all that is told to who knows that they have left.
        let left = left.filter(|left| left.position > context.position());
        let Some((room, left)) = self.room(room_id).await?.zip(left) else {
            return self.rejected_room(context, membership).await;
        };
        let after = place(context.position());
        // Who joined and left since then is told of a room that the client does not know, or not as it has become.
        let came_and_went = membership.joined_at > Some(context.position());
        let span = Span {
            after: if came_and_went { 0 } else { after },
            upto: place(left.position),
            joined_at: None,
        };
        let mut window = self.window(context, room_id, span, None).await?;
        window.limited |= came_and_went && context.from.is_some();
        let extent = if context.whole || came_and_went {
            Extent::Whole
        } else {
            Extent::Since(after)
        };
        let filter = &context.request.filter.room.state;
        let needed = filter
            .lazy_load_members
            .then(|| needed_members(&window.events, context.viewer.user_id, None, true));
        let mut state = self
            .state_beside(&Scope {
                snapshot: &room.snapshot(),
                window: context.beside(&window),
                upto: span.upto,
                extent,
                members: needed.as_ref(),
                filter: Some(filter),
            })
            .await?;
        state.retain(|event| filter.allows(event.kind(), event.sender().as_str(), event.content()));
        if !filter.allows_room(room_id) {
            state.clear();
        }
        let state = self.related(context.viewer.user_id, state, filter).await?;
        let state = Events::from(self.rendered(context, &state).await?);
        let state = State::new(context.request.state_form, state);
        if membership.position > left.position && membership.position <= context.to.position {
            let later = self.stored_event(&membership.event_id).await?;
            // The row is also new if it only says again what it said, as when another user brings the server back.
            let is_later = |later: &Arc<StoredEvent>| {
                later.content_text("membership") == Some(&membership.membership)
                    && later.decision.order.is_none_or(|order| order > span.upto)
            };
            window.events.extend(later.filter(is_later));
        }
        let timeline = self.timeline(context, &window, span).await?;
        Ok(LeftRoom {
            state,
            timeline,
            account_data: self.left_account_data(context, room_id).await?,
        })
    }

    async fn left_account_data(&self, context: &Context<'_>, room_id: &RoomId) -> Result<Events, Error> {
        let filter = &context.request.filter.room.account_data;
        let all = match context.whole && filter.allows_room(room_id) {
            true => self.account_data_for(context, Some(room_id)).await?,
            false => Vec::new(),
        };
        Ok(account_data_events(all, &BTreeSet::new(), |kind| {
            filter.allows_type(kind)
        }))
    }

    /// A room that the user never was in: only their own leaving is told. One that the client was told of before, and
    /// that state resolution has brought back, is no news in the timeline.
    async fn rejected_room(
        &self,
        context: &Context<'_>,
        membership: &UserMembership,
    ) -> Result<LeftRoom, Error> {
        let leaving = self.stored_leaving(membership).await?;
        let order = leaving.as_ref().and_then(|event| event.decision.order);
        let was_told = order.is_some_and(|order| order <= place(context.position()));
        let events = self.shown_leaving(context, membership, leaving).await?;
        let mut left = LeftRoom::default();
        if was_told {
            left.state = State::new(context.request.state_form, Events::from(events));
        } else {
            left.timeline.events = events;
        }
        Ok(left)
    }

    /// The event that says so of a membership that ended, if there is one and it is still stored.
    async fn stored_leaving(&self, membership: &UserMembership) -> Result<Option<Arc<StoredEvent>>, Error> {
        let event = self.stored_event(&membership.event_id).await?;
        Ok(event.filter(|event| event.content_text("membership") == Some(&membership.membership)))
    }

    /// The user's own leaving, as clients are told of it, also where no event says so.
    pub(super) async fn own_leaving(
        &self,
        context: &Context<'_>,
        membership: &UserMembership,
    ) -> Result<Vec<RoomEvent>, Error> {
        let leaving = self.stored_leaving(membership).await?;
        self.shown_leaving(context, membership, leaving).await
    }

    async fn shown_leaving(
        &self,
        context: &Context<'_>,
        membership: &UserMembership,
        leaving: Option<Arc<StoredEvent>>,
    ) -> Result<Vec<RoomEvent>, Error> {
        match leaving {
            Some(event) => self.rendered(context, &[event]).await,
            None => Ok(vec![RoomEvent::Object(
                self.unsent_leaving(context.viewer.user_id, membership),
            )]),
        }
    }

    /// The rejection of an invite that no server of the room could be told of. There is no such event in the
    /// room; clients take no other sign that the invite is gone.
    fn unsent_leaving(&self, user_id: &UserId, membership: &UserMembership) -> JsonObject {
        let content = json!({"membership": membership.membership});
        let mut leaving = event("m.room.member", content);
        leaving.insert("state_key".into(), user_id.as_str().into());
        leaving.insert("sender".into(), user_id.as_str().into());
        leaving.insert(
            "event_id".into(),
            format!("$unsent-{}", membership.position).into(),
        );
        leaving.insert("origin_server_ts".into(), self.now().into());
        leaving
    }
}
