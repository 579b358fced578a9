//! `GET /events`: the events of a room, or of all rooms of a user, as they come. Spec: Client-Server API, section
//! 'Room Previews', and the deprecated endpoint of that name.
//!
//! Room events alone are told, as the specification has it: no typing notices, receipts or presence. Nothing is left
//! out between two answers, so there is nothing to page back for; a client that is far behind gets many short answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::future::{Either, FutureExt, select};
use hearth_rooms::{client_event::ClientEvent, ordered};
use ruma_common::{DeviceId, OwnedEventId, OwnedRoomId, RoomId, UserId};
use serde::Serialize;

use super::{MAX_WAIT, SyncToken};
use crate::{
    Error, Homeserver, LogEntry,
    presence::PresenceState,
    rooms::{client_event::Viewer, event::StoredEvent, memberships::UserMembership, view::MEMBER},
};

/// How many log entries are read for one answer.
const PAGE: usize = 1024;
/// The most events of one answer.
const MAX_EVENTS: usize = 100;

/// What a client asks of `/events`.
#[derive(Clone, Debug, Default)]
pub struct EventStreamRequest {
    /// Where the last answer, or an initial sync, ended; by default now.
    pub from: Option<SyncToken>,
    /// How long to wait if there is nothing to tell.
    pub timeout: Duration,
    /// The one room to tell of; by default those that the user is in.
    pub room_id: Option<OwnedRoomId>,
}

/// A part of the stream, as the spec has it.
#[derive(Clone, Debug, Serialize)]
pub struct EventStreamPart {
    /// Where it begins.
    pub start: String,
    /// Where to go on.
    pub end: String,
    /// The events, oldest first.
    pub chunk: Vec<ClientEvent>,
}

/// Which events of the log are told.
enum Stream<'a> {
    /// Those of one room.
    Room(&'a RoomId),
    /// Those of a user's rooms, which are these.
    Own(&'a UserId, BTreeMap<OwnedRoomId, UserMembership>),
}

/// What was found in a part of the log.
struct Found {
    /// The events, oldest first, which the user may not be allowed to see.
    ids: Vec<OwnedEventId>,
    /// The last position that was read.
    upto: u64,
}

impl Homeserver {
    /// What has happened since `request.from`. Waits up to the request's timeout, but at most 25 s, until there is
    /// something.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the user may not read the one room, or not any more.
    pub async fn event_stream(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        request: EventStreamRequest,
    ) -> Result<EventStreamPart, Error> {
        match &request.room_id {
            Some(room_id) => self.check_listener(user_id, room_id).await?,
            // Who only peeks says elsewhere, by `/sync`, whether they are there.
            None => self.note_sync(user_id, device_id, PresenceState::Online, request.timeout),
        }
        let viewer = Viewer {
            user_id,
            device_id: Some(device_id),
        };
        let mut timeout = self.seams.clock.sleep(request.timeout.min(MAX_WAIT)).fuse();
        let from = self.stream_start(user_id, request.from);
        let mut at = from;
        let mut has_waited = false;
        loop {
            let changed = self.log.listen();
            let present = self.log.current();
            self.answers.given(user_id, device_id, has_waited).await;
            let found = self.found(user_id, request.room_id.as_deref(), at.position, present);
            let found = found.await?;
            at.position = found.upto;
            let events = self.told_events(user_id, &found.ids).await?;
            let is_behind = found.upto < present;
            if !events.is_empty() || is_behind || request.timeout.is_zero() {
                return self.part(from, at, &events, viewer).await;
            }
            if let Some(room_id) = request.room_id.as_ref().filter(|_| !found.ids.is_empty()) {
                self.check_listener(user_id, room_id).await?;
            }
            if let Either::Right(_) = select(changed, &mut timeout).await {
                return self.part(from, at, &events, viewer).await;
            }
            has_waited = true;
        }
    }

    /// Where a stream begins that is asked for from `from`. A token from after the present comes from a database that
    /// was rolled back, and is taken for the present.
    fn stream_start(&self, user_id: &UserId, from: Option<SyncToken>) -> SyncToken {
        let present = self.stream_end(user_id);
        from.filter(|from| from.position <= present.position)
            .unwrap_or(present)
    }

    /// The token of this moment. It says that no messages were taken for the device: a `/sync` that goes on from
    /// here brings them.
    pub(super) fn stream_end(&self, user_id: &UserId) -> SyncToken {
        SyncToken {
            to_device: 0,
            ..self.present(user_id)
        }
    }

    /// What there may be to tell in the log after `from`, up to `to` at most.
    async fn found(
        &self,
        user_id: &UserId,
        room_id: Option<&RoomId>,
        from: u64,
        to: u64,
    ) -> Result<Found, Error> {
        let stream = match room_id {
            Some(room_id) => Stream::Room(room_id),
            None => Stream::Own(user_id, self.memberships(user_id)),
        };
        let page = self.log.since(from, to, PAGE).await?;
        let is_whole = page.len() < PAGE;
        let mut found = Found {
            ids: Vec::new(),
            upto: from,
        };
        for (position, entry) in page {
            found.ids.extend(stream.event_of(position, entry));
            found.upto = position;
            if found.ids.len() == MAX_EVENTS {
                return Ok(found);
            }
        }
        if is_whole {
            found.upto = to.max(from);
        }
        Ok(found)
    }

    /// Those of the events that the user is shown.
    async fn told_events(
        &self,
        user_id: &UserId,
        ids: &[OwnedEventId],
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let events = self.stored_events(ids).await?;
        let visible = self.visible_events(user_id, events.clone()).await?;
        let visible: BTreeSet<_> = ordered::set(visible.iter().map(|event| event.event_id.clone()));
        let mut shown = Vec::with_capacity(events.len());
        for event in events {
            if visible.contains(&event.event_id) || self.is_own_news(user_id, &event).await? {
                shown.push(event);
            }
        }
        Ok(shown)
    }

    /// Whether the event is what the user's membership rests on, which they hear of in rooms that they cannot see
    /// into: an invite, unless they do not want it, or its end.
    async fn is_own_news(&self, user_id: &UserId, event: &StoredEvent) -> Result<bool, Error> {
        let is_own = event.kind() == MEMBER && event.state_key() == Some(user_id.as_str());
        let row = self.user_membership(user_id, event.room_id());
        if !is_own || row.is_none_or(|row| row.event_id != event.event_id) {
            return Ok(false);
        }
        let refusals = self.refusals(user_id).await?;
        self.is_invite_shown(&refusals, event.room_id(), &event.event_id)
            .await
    }

    async fn part(
        &self,
        from: SyncToken,
        end: SyncToken,
        events: &[Arc<StoredEvent>],
        viewer: Viewer<'_>,
    ) -> Result<EventStreamPart, Error> {
        Ok(EventStreamPart {
            start: from.to_string(),
            end: end.to_string(),
            chunk: self.bundled_events(events, viewer).await?,
        })
    }
}

impl Stream<'_> {
    /// The event that `entry`, at `position`, tells of, if it is of this stream.
    fn event_of(&self, position: u64, entry: LogEntry) -> Option<OwnedEventId> {
        match (self, entry) {
            (
                Self::Room(wanted),
                LogEntry::Event {
                    room_id, event_id, ..
                },
            ) => (room_id == **wanted).then_some(event_id),
            (
                Self::Own(_, rooms),
                LogEntry::Event {
                    room_id, event_id, ..
                },
            ) => {
                let own = rooms.get(&room_id)?;
                let in_time = own.membership == "join" || (own.has_ended() && position <= own.position);
                (in_time || event_id == own.event_id).then_some(event_id)
            }
            (Self::Own(user, rooms), LogEntry::Invite { room_id, user_id }) => {
                let own = rooms.get(&room_id).filter(|_| user_id == **user)?;
                (own.position == position).then(|| own.event_id.clone())
            }
            _ => None,
        }
    }
}
