//! What one user's client has been shown by `/sync`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::trace::short_id;

/// A client that asks what is new, time and again.
#[derive(Default)]
pub(crate) struct Reader {
    /// Where the last answer ended.
    pub(crate) since: Option<String>,
    /// Whether an answer is waited for. Another request from the same token would rightly be told the same.
    pub(crate) waits: bool,
    /// The ids of the events in the timelines so far, by room.
    seen: BTreeMap<String, BTreeSet<String>>,
    /// What was told twice.
    pub(crate) doubles: Vec<String>,
}

impl Reader {
    /// Takes in the answer to a `/sync` of `user_id`.
    pub(crate) fn read(&mut self, user_id: &str, answer: &Value) {
        self.since = answer["next_batch"].as_str().map(str::to_owned);
        for kind in ["join", "leave"] {
            for (room_id, room) in answer["rooms"][kind].as_object().into_iter().flatten() {
                self.read_room(user_id, room_id, room);
            }
        }
    }

    fn read_room(&mut self, user_id: &str, room_id: &str, room: &Value) {
        let timeline = events(&room["timeline"]);
        let mut told = timeline.clone().chain(events(&room["state"]));
        let seen = self.seen.entry(room_id.to_owned()).or_default();
        let mut state = events(&room["state"]);
        let is_whole = state.any(|event| event["type"] == "m.room.create");
        if is_whole || told.any(|event| is_membership(event, user_id)) {
            // Who comes into a room (again) is shown it anew, what they saw before included; and so is a room whose
            // members have come.
            seen.clear();
        }
        for event_id in timeline.filter_map(|event| event["event_id"].as_str()) {
            if !seen.insert(event_id.to_owned()) {
                self.doubles.push(format!(
                    "{user_id} is told of {} twice by /sync",
                    short_id(event_id)
                ));
            }
        }
    }
}

fn events(part: &Value) -> impl Iterator<Item = &Value> + Clone {
    part["events"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
}

fn is_membership(event: &Value, user_id: &str) -> bool {
    event["type"] == "m.room.member" && event["state_key"] == user_id
}
