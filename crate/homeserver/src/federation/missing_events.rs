//! Filling gaps in the event graph, both sides. Spec: Server-Server API, 'get_missing_events'.

use hearth_rooms::ordered;
use std::collections::{BTreeSet, VecDeque};

use ruma_common::{RoomId, ServerName};
use serde_json::{Value, json};

use crate::{Error, Homeserver, federation::received::event_ids};

/// The most events that are named or returned at once.
pub(crate) const MAX_EVENTS: usize = 50;
/// The most events that are looked at for one request.
const MAX_SEEN: usize = 1000;

impl Homeserver {
    /// Answers `POST /get_missing_events`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`], [`Error::BadJson`].
    pub async fn missing_events(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        body: Value,
    ) -> Result<Value, Error> {
        let latest = event_ids(&body, "latest_events", MAX_EVENTS);
        let earliest: BTreeSet<_> = ordered::set(event_ids(&body, "earliest_events", MAX_EVENTS));
        let number = |field: &str| body.get(field).and_then(Value::as_u64);
        let limit = usize::try_from(number("limit").unwrap_or(10))
            .unwrap_or(MAX_EVENTS)
            .min(MAX_EVENTS);
        let min_depth = number("min_depth").unwrap_or_default();
        let latest = self.stored_events(&latest).await?;
        let is_in_room = self.check_past_access(origin, room_id, &latest).await?;
        let latest = latest.into_iter().filter(|event| event.room_id() == room_id);
        let mut open: VecDeque<_> = latest
            .flat_map(|event| event.pdu.prev_events().to_vec())
            .collect();
        let mut seen = earliest;
        let mut found = Vec::new();
        while let Some(event_id) = open
            .pop_front()
            .filter(|_| found.len() < limit && seen.len() < MAX_SEEN)
        {
            if !seen.insert(event_id.clone()) {
                continue;
            }
            let Some(event) = self.stored_event(&event_id).await? else {
                continue;
            };
            if event.room_id() != room_id || event.depth() < min_depth {
                continue;
            }
            open.extend(event.pdu.prev_events().iter().cloned());
            // What was rejected is not passed on, but what came before it is.
            found.extend(Some(event).filter(|event| !event.decision.rejected));
        }
        found.sort_by_key(|event| event.depth());
        Ok(json!({ "events": self.as_seen_by(origin, is_in_room, &found).await? }))
    }
}
