//! What one user's client has been shown by `/sync`.

use std::collections::{BTreeMap, BTreeSet};

use ruma_common::{EventId, OwnedEventId, RoomId};
use serde_json::Value;

use super::trace::short_id;

/// A client that asks what is new, time and again.
#[derive(Default)]
pub(crate) struct Reader {
    /// Where the last answer ended.
    pub(crate) since: Option<String>,
    /// Whether an answer is waited for. Another request from the same token would rightly be told the same.
    pub(crate) waits: bool,
    /// What was shown of each room.
    rooms: BTreeMap<String, Shown>,
    /// What was told twice.
    pub(crate) doubles: Vec<String>,
}

/// What a client was shown of a room since the user came into it last.
#[derive(Default)]
struct Shown {
    /// The ids of the events in its timelines.
    events: BTreeSet<String>,
    /// Those of the last timeline that was `limited` and of all after it: between them there is nothing else.
    unbroken: BTreeSet<String>,
    /// The ids of those that were told with their content.
    whole: BTreeSet<String>,
    /// The id of the user's own join.
    join: Option<String>,
    /// Whether the client was told that the user is in the room no more.
    is_left: bool,
}

impl Reader {
    /// Takes in the answer to a `/sync` of `user_id`.
    pub(crate) fn read(&mut self, user_id: &str, answer: &Value) {
        self.since = answer["next_batch"].as_str().map(str::to_owned);
        let rooms = |kind: &str| answer["rooms"][kind].as_object().into_iter().flatten();
        for (room_id, room) in rooms("join") {
            let shown = self.rooms.entry(room_id.clone()).or_default();
            shown.come_in(user_id, room);
            self.doubles.extend(shown.add(user_id, room));
        }
        for (room_id, room) in rooms("leave") {
            let shown = self.rooms.entry(room_id.clone()).or_default();
            // The user may have come back before they left.
            shown.come_in(user_id, room);
            self.doubles.extend(shown.add(user_id, room));
            shown.is_left = true;
        }
    }
}

impl Reader {
    /// Which events of `history`, newest first, the client does not know of, although it was told that nothing
    /// lies between those that it knows of.
    pub(crate) fn left_out<'a>(
        &self,
        room_id: &RoomId,
        history: &'a [OwnedEventId],
    ) -> impl Iterator<Item = &'a OwnedEventId> {
        let unbroken = self.rooms.get(room_id.as_str()).map(|shown| &shown.unbroken);
        let is_told =
            move |event_id: &&OwnedEventId| unbroken.is_some_and(|ids| ids.contains(event_id.as_str()));
        let oldest = history.iter().rposition(|event_id| is_told(&event_id));
        let since = history.iter().take(oldest.unwrap_or_default());
        since.filter(move |event_id| !is_told(event_id))
    }

    /// The ids of the events that the client was told of since the user came into the room last.
    pub(crate) fn told(&self, room_id: &RoomId) -> impl Iterator<Item = &str> {
        let shown = self.rooms.get(room_id.as_str());
        shown
            .into_iter()
            .flat_map(|shown| &shown.events)
            .map(String::as_str)
    }

    /// Whether the client was told of an event before it was redacted.
    pub(crate) fn holds_content(&self, room_id: &RoomId, event_id: &EventId) -> bool {
        let shown = self.rooms.get(room_id.as_str());
        shown.is_some_and(|shown| shown.whole.contains(event_id.as_str()))
    }
}

impl Shown {
    /// Forgets what was shown before the user came back: who has left a room and joins it again is shown it anew,
    /// what they have seen before included, and is told by `limited` that it does not follow what they hold.
    ///
    /// For nothing else may an event be told again. An answer holds what happened since its token (Client-Server
    /// API, section 'Syncing'), and so does Synapse's. In particular a room whose members come behind is no
    /// exception: a client that asks for all members is not told of it at all until it is whole.
    fn come_in(&mut self, user_id: &str, room: &Value) {
        let told = events(&room["state"]).chain(events(&room["timeline"]));
        let joins = told.filter(|event| is_join(event, user_id));
        let join = joins.last().and_then(|event| event["event_id"].as_str());
        let is_new = join.is_some_and(|join| self.join.as_deref() != Some(join));
        if (is_new || self.is_left) && room["timeline"]["limited"] == true {
            self.events.clear();
        }
        self.is_left = false;
        self.join = join.map(str::to_owned).or(self.join.take());
    }

    /// Adds what the timeline of `room` shows; returns what it tells again.
    fn add(&mut self, user_id: &str, room: &Value) -> Vec<String> {
        if room["timeline"]["limited"] == true {
            self.unbroken.clear();
        }
        let is_whole = |event: &&Value| event["unsigned"]["redacted_because"].is_null();
        let whole = events(&room["timeline"]).filter(is_whole);
        let whole = whole.filter_map(|event| event["event_id"].as_str());
        self.whole.extend(whole.map(str::to_owned));
        let ids = events(&room["timeline"]).filter_map(|event| event["event_id"].as_str());
        let ids: Vec<_> = ids.map(str::to_owned).collect();
        self.unbroken.extend(ids.iter().cloned());
        let again = ids
            .into_iter()
            .filter(|event_id| !self.events.insert(event_id.clone()));
        again
            .map(|event_id| format!("{user_id} is told of {} twice by /sync", short_id(&event_id)))
            .collect()
    }
}

fn events(part: &Value) -> impl Iterator<Item = &Value> {
    part["events"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
}

fn is_join(event: &Value, user_id: &str) -> bool {
    event["type"] == "m.room.member"
        && event["state_key"] == user_id
        && event["content"]["membership"] == "join"
}
