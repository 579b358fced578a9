//! The event closest to a moment. Spec: Client-Server API, section 'Jump to date', and Server-Server API,
//! 'Retrieving events'.
//!
//! The times that events say of themselves grow along a timeline, but for those of servers whose clocks are wrong or
//! whose events came late. So the place is found by halving the timeline, and the events around it are looked at one
//! by one.

use std::sync::Arc;

use http::Method;
use ruma_common::{EventId, OwnedEventId, OwnedServerName, RoomId, ServerName, UserId};
use serde::Serialize;
use serde_json::Value;

use crate::{
    Error, Homeserver,
    federation::{backfill::MAX_HELPERS, uri::path},
    messages::PageDirection,
    rooms::{event::StoredEvent, timeline::TimelineEvent},
};

/// How many events on each side of the place are looked at,
const AROUND: usize = 100;
/// and how many times as many are, on the side that is asked for, while none is for the reader to see.
const MAX_PAGES: usize = 20;
/// How many times older history is fetched for one answer.
const MAX_FETCHES: usize = 10;
/// How many events are fetched at once.
const FETCH: usize = 100;

/// The event closest to a moment, as the spec has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClosestEvent {
    /// Its id.
    pub event_id: OwnedEventId,
    /// When it was sent, as its server says, in milliseconds since the Unix epoch.
    pub origin_server_ts: u64,
}

/// Who asks.
#[derive(Clone, Copy)]
enum Reader<'a> {
    User(&'a UserId),
    Server(&'a ServerName),
}

impl Homeserver {
    /// The first event at or after the moment `ts`, or the last one at or before it, that `user_id` may see. Where the
    /// history held here may lack it, other servers are asked.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if they may see nothing of the room, [`Error::NotFound`] if there is no such event.
    pub async fn event_at(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        ts: u64,
        direction: PageDirection,
    ) -> Result<ClosestEvent, Error> {
        self.check_reader(user_id, room_id).await?;
        let reader = Reader::User(user_id);
        let mut found = self.closest(reader, room_id, ts, direction).await?;
        if self.may_lie_before(room_id, found.as_ref(), direction).await?
            && self.fetch_until(room_id, ts, direction, found.as_ref()).await?
        {
            found = self.closest(reader, room_id, ts, direction).await?;
        }
        if self.fill_gap_beside(room_id, found.as_ref(), direction).await? {
            found = self.closest(reader, room_id, ts, direction).await?;
        }
        found
            .map(|(_, event)| ClosestEvent::of(&event))
            .ok_or_else(not_found)
    }

    /// Answers `GET /timestamp_to_event/{roomId}` of another server.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the server is not in the room, [`Error::NotFound`] if there is no such event here.
    pub async fn federation_event_at(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        ts: u64,
        direction: PageDirection,
    ) -> Result<ClosestEvent, Error> {
        self.shared_room(origin, room_id).await?;
        let found = self
            .closest(Reader::Server(origin), room_id, ts, direction)
            .await?;
        found
            .map(|(_, event)| ClosestEvent::of(&event))
            .ok_or_else(not_found)
    }

    /// The closest event that is held here.
    async fn closest(
        &self,
        reader: Reader<'_>,
        room_id: &RoomId,
        ts: u64,
        direction: PageDirection,
    ) -> Result<Option<TimelineEvent>, Error> {
        let place = self.place_of(room_id, ts).await?;
        let mut around = self.timeline_before(room_id, place, AROUND).await?;
        around.extend(
            self.timeline_after(room_id, place.saturating_sub(1), AROUND)
                .await?,
        );
        for _ in 0..MAX_PAGES {
            let orders = around.iter().map(|(order, _)| *order);
            let edge = match direction {
                PageDirection::Backward => orders.min(),
                PageDirection::Forward => orders.max(),
            };
            let Some(edge) = edge else { break };
            around.retain(|(_, event)| event.is_shown() && direction.leads_to(ts, event.origin_server_ts()));
            around
                .sort_by_key(|(order, event)| (event.origin_server_ts().abs_diff(ts), order.abs_diff(place)));
            for (order, event) in around {
                if self.is_shown_to(reader, &event).await? {
                    return Ok(Some((order, event)));
                }
            }
            around = match direction {
                PageDirection::Backward => self.timeline_before(room_id, edge, AROUND).await?,
                PageDirection::Forward => self.timeline_after(room_id, edge, AROUND).await?,
            };
        }
        Ok(None)
    }

    async fn is_shown_to(&self, reader: Reader<'_>, event: &Arc<StoredEvent>) -> Result<bool, Error> {
        match reader {
            Reader::User(user_id) => Ok(!self
                .visible_events(user_id, vec![event.clone()])
                .await?
                .is_empty()),
            Reader::Server(server) => self.server_may_see(server, event).await,
        }
    }

    /// The place in the timeline before which events were sent before `ts`, mostly.
    async fn place_of(&self, room_id: &RoomId, ts: u64) -> Result<i64, Error> {
        let first = self.timeline_after(room_id, i64::MIN, 1).await?.pop();
        let last = self.timeline_before(room_id, i64::MAX, 1).await?.pop();
        let Some(((mut low, _), (high, _))) = first.zip(last) else {
            return Ok(0);
        };
        let mut high = high.saturating_add(1);
        while low < high {
            // Below `high` always: `midpoint` rounds to zero, so between places of back-filled events, upwards.
            let middle = low.midpoint(high).min(high.saturating_sub(1));
            match self
                .timeline_after(room_id, middle.saturating_sub(1), 1)
                .await?
                .pop()
            {
                Some((order, event)) if order < high && event.origin_server_ts() < ts => {
                    low = order.saturating_add(1)
                }
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// Whether history that is not held here may have a closer event than `found`: before the oldest that is held.
    async fn may_lie_before(
        &self,
        room_id: &RoomId,
        found: Option<&TimelineEvent>,
        direction: PageDirection,
    ) -> Result<bool, Error> {
        let oldest = self.timeline_after(room_id, i64::MIN, 1).await?.pop();
        let at_the_edge = match (found, direction) {
            (None, PageDirection::Backward) => true,
            (None, PageDirection::Forward) | (Some(_), PageDirection::Backward) => false,
            (Some((order, _)), PageDirection::Forward) => oldest.is_some_and(|(oldest, _)| oldest == *order),
        };
        Ok(at_the_edge && self.lacks_history(room_id).await?)
    }

    /// Fills the gap between the moment and the event that was `found`, if there is one. Returns whether any event came.
    async fn fill_gap_beside(
        &self,
        room_id: &RoomId,
        found: Option<&TimelineEvent>,
        direction: PageDirection,
    ) -> Result<bool, Error> {
        let Some((order, _)) = found else {
            return Ok(false);
        };
        let after = match direction {
            PageDirection::Forward => Some(*order),
            PageDirection::Backward => {
                let next = self.timeline_after(room_id, *order, 1).await?.pop();
                next.map(|(order, _)| order)
            }
        };
        match after {
            Some(after) => Ok(self.close_gap(room_id, after).await? > 0),
            None => Ok(false),
        }
    }

    /// Asks other servers for a closer event, and fetches history back to it. Returns whether any was fetched.
    async fn fetch_until(
        &self,
        room_id: &RoomId,
        ts: u64,
        direction: PageDirection,
        found: Option<&TimelineEvent>,
    ) -> Result<bool, Error> {
        let Some(room) = self.resident_room(room_id).await? else {
            return Ok(false);
        };
        for server in self.helpers(&room, &[], 0, MAX_HELPERS).await? {
            let Some(closer) = self.ask_for_closest(&server, room_id, ts, direction).await else {
                continue;
            };
            let gap = |event: &StoredEvent| event.origin_server_ts().abs_diff(ts);
            if found.is_some_and(|(_, event)| gap(event) <= closer.origin_server_ts.abs_diff(ts)) {
                continue;
            }
            return self.fetch_back_to(room_id, &closer.event_id).await;
        }
        Ok(false)
    }

    /// Fetches history until `event_id` is held here, but not without end. Returns whether any was fetched.
    async fn fetch_back_to(&self, room_id: &RoomId, event_id: &EventId) -> Result<bool, Error> {
        for fetches in 0..MAX_FETCHES {
            let event = self.stored_event(event_id).await?;
            if event.is_some_and(|event| event.decision.order.is_some())
                || self.fetch_history(room_id, FETCH).await? == 0
            {
                return Ok(fetches > 0);
            }
        }
        Ok(true)
    }

    /// What `server` says is closest; `None` if it does not know or its answer is no good.
    async fn ask_for_closest(
        &self,
        server: &OwnedServerName,
        room_id: &RoomId,
        ts: u64,
        direction: PageDirection,
    ) -> Option<ClosestEvent> {
        let query = format!("ts={ts}&dir={}", direction.letter());
        let uri = path("v1/timestamp_to_event", &[room_id.as_str()], &query);
        let answer = self.request(server, Method::GET, &uri, None).await.ok()?;
        let closest = ClosestEvent {
            event_id: EventId::parse(answer.get("event_id")?.as_str()?).ok()?,
            origin_server_ts: answer.get("origin_server_ts").and_then(Value::as_u64)?,
        };
        direction
            .leads_to(ts, closest.origin_server_ts)
            .then_some(closest)
    }
}

impl ClosestEvent {
    fn of(event: &StoredEvent) -> Self {
        Self {
            event_id: event.event_id.clone(),
            origin_server_ts: event.origin_server_ts(),
        }
    }
}

impl PageDirection {
    /// Whether one comes from the moment `ts` to the moment `other` in this direction.
    fn leads_to(self, ts: u64, other: u64) -> bool {
        match self {
            Self::Backward => other <= ts,
            Self::Forward => other >= ts,
        }
    }

    fn letter(self) -> char {
        match self {
            Self::Backward => 'b',
            Self::Forward => 'f',
        }
    }
}

fn not_found() -> Error {
    Error::NotFound("there is no event on that side of the moment".into())
}
