//! Rooms in an answer of sliding sync that the user is no longer in.
//!
//! A connection is told once that a room has ended, whatever its lists are. One that begins does not say what its client
//! knows from before: of rooms that the user was removed from meanwhile it may still think that they are in them.

use hearth_rooms::ordered;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use ruma_common::{OwnedRoomId, RoomId};

use super::{
    super::{Context, EventFilter, Filter, StateForm, SyncRequest, filter::RoomFilter},
    Turn,
    response::RoomData,
    room::{Asked, News},
};
use crate::{Error, Homeserver, rooms::memberships::UserMembership};

/// The most rooms that a new connection is told of as ended: those that ended last.
const MAX_REMOVED: usize = 100;

impl Homeserver {
    /// The rooms that somebody else has removed the user from, and that the user has not forgotten.
    pub(super) async fn removed_from<'m>(
        &self,
        context: &Context<'_>,
        memberships: &'m BTreeMap<OwnedRoomId, UserMembership>,
    ) -> Result<BTreeSet<&'m RoomId>, Error> {
        let mut ended: Vec<_> = memberships
            .iter()
            .filter(|(_, own)| own.joined_at.is_some() && own.has_ended())
            .collect();
        ended.sort_by_key(|(_, own)| Reverse(own.position));
        let ids: Vec<_> = ended.iter().map(|(_, own)| own.event_id.clone()).collect();
        let by_others: BTreeSet<_> = ordered::set(
            self.stored_events(&ids)
                .await?
                .into_iter()
                .filter(|event| event.sender() != context.viewer.user_id)
                .map(|event| event.event_id.clone()),
        );
        let removed = ended
            .into_iter()
            .filter(|(_, own)| by_others.contains(&own.event_id));
        Ok(ordered::set(
            removed.take(MAX_REMOVED).map(|(room_id, _)| &**room_id),
        ))
    }

    /// A room that the user has left since the client was told of it, or that it may not know to have ended.
    pub(super) async fn left_data(
        &self,
        turn: &Turn<'_>,
        asked: Asked<'_>,
    ) -> Result<Option<RoomData>, Error> {
        let context = turn.context;
        let is_news = asked.sent.is_none() || asked.membership.position > News::new(context, asked).base();
        if !is_news {
            return Ok(None);
        }
        let request = SyncRequest {
            filter: Filter {
                room: RoomFilter {
                    state: EventFilter {
                        types: asked.config.types(),
                        lazy_load_members: !asked.config.wants_all_members(),
                        ..EventFilter::default()
                    },
                    timeline: EventFilter {
                        limit: Some(asked.config.timeline_limit),
                        ..EventFilter::default()
                    },
                    ..RoomFilter::default()
                },
                ..Filter::default()
            },
            state_form: StateForm::After,
            ..SyncRequest::default()
        };
        let from = context.from.filter(|_| asked.sent.is_some());
        let own = Context::new(
            context.viewer,
            &request,
            from,
            context.to,
            context.refusals.clone(),
        );
        let left = self.left_room(&own, asked.room_id, asked.membership).await?;
        let leaving = &asked.membership.event_id;
        let mut required_state = self.own_leaving(&own, asked.membership).await?;
        let others = left.state.into_events().into_iter();
        required_state.extend(others.filter(|event| event.event_id() != Some(leaving.as_str())));
        Ok(Some(RoomData {
            initial: asked.sent.is_none(),
            required_state,
            num_live: Some(left.timeline.events.len()),
            timeline: left.timeline.events,
            limited: left.timeline.limited,
            prev_batch: left.timeline.prev_batch,
            ..RoomData::default()
        }))
    }
}
