//! Many events in one answer, for other servers. A list may be as long as a room has members, so it is put
//! together in slices, with others' turns in between. Who may ask for what is *not* looked at here.

use std::time::Duration;

use ruma_common::{OwnedEventId, RoomId, ServerName};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{Error, Homeserver};

/// How many events are read before others get their turn.
const SLICE: usize = 100;
/// The most events that are given by their ids at once.
pub(crate) const MAX_EVENTS: usize = 200;

/// The answer to a request for events by their ids.
#[derive(Debug, Serialize)]
pub struct EventsAnswer {
    /// Those that are held here.
    pub pdus: Box<RawValue>,
}

impl Homeserver {
    /// The events `event_ids` as a JSON array. Those that are not held here are left out.
    pub(crate) async fn pdu_array(&self, event_ids: &[OwnedEventId]) -> Result<Box<RawValue>, Error> {
        let mut text = String::from("[");
        for slice in event_ids.chunks(SLICE) {
            for event in self.stored_events(slice).await? {
                if text.len() > 1 {
                    text.push(',');
                }
                text.push_str(self.given_out(&event)?.json());
            }
            self.give_way().await;
        }
        text.push(']');
        RawValue::from_string(text).map_err(|error| Error::Damaged(error.to_string()))
    }

    /// Answers `POST /events`, an extension of ours: events of the room by their ids, at most 200. It lets a server
    /// that joins fetch a large state piece by piece, and one that missed something fetch that. State events are no
    /// secret to a server in the room: it may ask for the same events with `/state` and `/event_auth`. Others are
    /// left out if it may not see them.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the room is not known here, [`Error::Forbidden`] if the server is not in it and was not
    /// when one of them arrived, [`Error::InvalidParam`] if it asks for too many.
    pub async fn federation_events(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        event_ids: &[OwnedEventId],
    ) -> Result<EventsAnswer, Error> {
        if event_ids.len() > MAX_EVENTS {
            return Err(Error::InvalidParam(format!("more than {MAX_EVENTS} events")));
        }
        let events = self.stored_events(event_ids).await?;
        let is_in_room = self.check_past_access(origin, room_id, &events).await?;
        let mut allowed = Vec::with_capacity(events.len());
        for event in events {
            let is_state = event.state_key().is_some();
            if event.room_id() == room_id && (is_state || self.may_have(origin, is_in_room, &event).await?) {
                allowed.push(event.event_id.clone());
            }
        }
        let pdus = self.pdu_array(&allowed).await?;
        Ok(EventsAnswer { pdus })
    }

    /// Lets others have their turn, amid work that takes long.
    pub(crate) async fn give_way(&self) {
        self.seams.clock.sleep(Duration::ZERO).await;
    }
}
