//! Many events in one answer, for other servers. A list may be as long as a room has members, so its events are read
//! while the answer is written, in slices, with others' turns in between. Who may ask for what is *not* looked at here.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, stream};
use ruma_common::{OwnedEventId, RoomId, ServerName};
use serde_json::{Value, json};

use crate::{Error, Homeserver};

/// How many events are read before others get their turn.
const SLICE: usize = 100;
/// The most events that are given by their ids at once.
pub(crate) const MAX_EVENTS: usize = 200;

/// An answer with many events, of which only the ids are known as yet.
#[derive(Debug)]
pub struct BulkAnswer {
    /// An object of the fields that are no lists of events.
    pub fields: Value,
    /// The fields that are, by their names. Events that are not held here are left out.
    pub lists: Vec<(&'static str, Vec<OwnedEventId>)>,
}

/// A piece of an answer: text, and events after it.
type Part = (String, Vec<OwnedEventId>);

impl BulkAnswer {
    fn parts(self) -> Vec<Part> {
        let mut text = self.fields.to_string();
        text.pop();
        let mut parts = Vec::new();
        for (name, event_ids) in self.lists {
            if text != "{" {
                text.push(',');
            }
            text += &format!("\"{name}\":[");
            for slice in event_ids.chunks(SLICE) {
                parts.push((std::mem::take(&mut text), slice.to_vec()));
            }
            text.push(']');
        }
        parts.push((text + "}", Vec::new()));
        parts
    }
}

impl Homeserver {
    /// The JSON of `answer` in pieces, each of which is made when it is asked for.
    pub fn written(self: Arc<Self>, answer: BulkAnswer) -> impl Stream<Item = Result<Bytes, Error>> {
        let parts = answer.parts().into_iter();
        stream::try_unfold(
            (self, parts, ""),
            |(homeserver, mut parts, separator)| async move {
                let Some(part) = parts.next() else {
                    return Ok(None);
                };
                let (text, separator) = homeserver.write_part(part, separator).await?;
                Ok(Some((text.into(), (homeserver, parts, separator))))
            },
        )
    }

    /// The JSON of `part`, and what goes before the next event. `separator` goes before the first, unless it begins a list.
    async fn write_part(
        &self,
        (mut text, event_ids): Part,
        mut separator: &'static str,
    ) -> Result<(String, &'static str), Error> {
        if !text.is_empty() {
            separator = "";
        }
        for event in self.stored_events(&event_ids).await? {
            text.push_str(separator);
            text.push_str(self.given_out(&event)?.json());
            separator = ",";
        }
        self.give_way().await;
        Ok((text, separator))
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
    ) -> Result<BulkAnswer, Error> {
        if event_ids.len() > MAX_EVENTS {
            return Err(Error::InvalidParam(format!("more than {MAX_EVENTS} events")));
        }
        let events = self.stored_events(event_ids).await?;
        let is_in_room = self.check_past_access(origin, room_id, &events).await?;
        let mut allowed = Vec::with_capacity(events.len());
        for event in events {
            if event.room_id() == room_id && self.may_have(origin, is_in_room, &event).await? {
                allowed.push(event.event_id.clone());
            }
        }
        Ok(BulkAnswer {
            fields: json!({}),
            lists: vec![("pdus", allowed)],
        })
    }

    /// Lets others have their turn, amid work that takes long.
    pub(crate) async fn give_way(&self) {
        self.seams.clock.sleep(Duration::ZERO).await;
    }
}
