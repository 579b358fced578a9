//! What other servers say of rooms and of what spaces list: read, bounded and remembered for a while.
//!
//! Spec: Server-Server API, section 'Spaces'. Who is asked, and what is told of it, is *not* decided here.

use std::sync::Arc;

use ruma_common::{OwnedRoomId, OwnedServerName, RoomAliasId, RoomId, RoomVersionId, ServerName};
use serde_json::Value;

use crate::{
    JsonObject, cache::Cache, federation::received::take_array, rooms::summary::SPACE, stored::to_vec,
};

/// What a server says of the rooms that a space lists, in its answer and in what is remembered of it.
pub(super) const CHILDREN: &str = "children";
/// The state events of a space that list rooms, in what is said of it.
pub(super) const CHILDREN_STATE: &str = "children_state";
/// The type of the state events that list rooms.
pub(super) const CHILD: &str = "m.space.child";
/// The most children of one space that are looked at.
pub(super) const MAX_CHILDREN: usize = 500;
/// How long the answer of another server is remembered, in milliseconds,
pub(super) const REMEMBERED: u64 = 5 * 60 * 1000;
/// and that it gave none, for who asks anew.
pub(super) const SILENCE: u64 = 20 * 1000;
/// The most bytes that are kept of the answer of another server,
const MAX_ANSWER: usize = 512 * 1024;
/// and of all that are remembered.
const MAX_REMEMBERED: usize = 8 * 1024 * 1024;
/// What an answer costs beside its bytes.
const ENTRY: usize = 1024;
/// The most names of servers or rooms that are kept of one list of them.
const MAX_NAMES: usize = 50;

/// What each server has said of rooms. Nobody else's word counts for who asks that server.
pub(crate) struct Remembered(Cache<Saying, Said>);

/// Who said something, and of which room.
type Saying = (OwnedServerName, OwnedRoomId);

/// What was said, as JSON, which is much smaller than what is made of it; `None` for what a server would not tell or
/// does not know, or did not answer.
pub(super) type Told = Option<Arc<[u8]>>;

/// When it was said, for how long that counts for who asks anew, and what it was.
type Said = (u64, u64, Told);

impl Default for Remembered {
    fn default() -> Self {
        Self(Cache::new(MAX_REMEMBERED))
    }
}

impl Remembered {
    /// What the first of `servers` has said that has told something, or that none of them would. Who `goes_on` with what
    /// they began lately hears the same again of those who did not answer then.
    pub(super) fn get(
        &self,
        room_id: &RoomId,
        servers: &[OwnedServerName],
        now: u64,
        goes_on: bool,
    ) -> Option<Told> {
        let mut nobody_would = true;
        for server in servers {
            let said = self.0.get(&(server.clone(), room_id.to_owned()));
            let counts = |(at, valid, _): &Said| now < at + if goes_on { REMEMBERED } else { *valid };
            match said.filter(counts) {
                Some((.., Some(told))) => return Some(Some(told)),
                said => nobody_would &= said.is_some(),
            }
        }
        nobody_would.then_some(None)
    }

    /// Notes what `server` says at the time `now`, which counts for `valid` milliseconds for who asks anew.
    pub(super) fn put(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        (now, valid): (u64, u64),
        told: Option<&JsonObject>,
    ) {
        let told: Told = told.and_then(|told| Some(to_vec(told).ok()?.into()));
        let weight = ENTRY + told.as_ref().map_or(0, |told| told.len());
        self.0.put(
            (server.to_owned(), room_id.to_owned()),
            (now, valid, told),
            weight,
        );
    }
}

/// What `answer` says of a room, so far as it is well-formed and not too much: also of the rooms that it lists, under
/// [`CHILDREN`], but for spaces, because what those list is not told with them.
pub(super) fn description(room_id: &RoomId, mut answer: Value) -> Option<JsonObject> {
    let mut left = MAX_ANSWER;
    let mut fits = |value: &JsonObject| {
        let rest = to_vec(value).ok().and_then(|json| left.checked_sub(json.len()));
        left = rest.unwrap_or_default();
        rest.is_some()
    };
    let room = answer.get_mut("room")?;
    let listed = take_array(room, CHILDREN_STATE, MAX_CHILDREN);
    let room = read_summary(room.take()).filter(|room| id_of(room) == Some(room_id.as_str()));
    let mut room = room.filter(&mut fits)?;
    let listed = listed.into_iter().filter_map(read_child);
    let listed: Vec<_> = listed.filter(&mut fits).collect();
    let children = take_array(&mut answer, CHILDREN, MAX_CHILDREN).into_iter();
    let children = children
        .filter_map(read_summary)
        .filter(|child| child.get("room_type").and_then(Value::as_str) != Some(SPACE) && fits(child));
    room.insert(CHILDREN.into(), children.collect());
    room.insert(CHILDREN_STATE.into(), listed.into());
    Some(room)
}

/// What is kept of a state event by which another server says that a space lists a room.
fn read_child(event: Value) -> Option<JsonObject> {
    let Value::Object(mut event) = Some(event).filter(is_stripped_child)? else {
        return None;
    };
    event.retain(|field, value| match field.as_str() {
        "content" => {
            keep_listing(value);
            true
        }
        "type" | "state_key" | "sender" | "origin_server_ts" => true,
        _ => false,
    });
    Some(event)
}

/// Keeps of the content of such an event what the specification names.
fn keep_listing(content: &mut Value) {
    let Some(content) = content.as_object_mut() else {
        return;
    };
    content.retain(|field, value| match field.as_str() {
        "via" => keep_names(value, |_| true),
        "order" => value.is_string(),
        "suggested" => value.is_boolean(),
        _ => false,
    });
}

/// Keeps the first names of a list that are well-formed. Whether it is one.
fn keep_names(list: &mut Value, is_name: fn(&str) -> bool) -> bool {
    let Some(names) = list.as_array_mut() else {
        return false;
    };
    names.retain(|name| name.as_str().is_some_and(is_name));
    names.truncate(MAX_NAMES);
    true
}

fn is_stripped_child(event: &Value) -> bool {
    let text = |field: &str| event[field].is_string();
    event["type"] == CHILD
        && text("state_key")
        && text("sender")
        && event["content"].is_object()
        && event["origin_server_ts"].is_u64()
}

/// What is kept of a summary, if `value` has what it must have and clients can read it.
pub(super) fn read_summary(value: Value) -> Option<JsonObject> {
    let Value::Object(mut room) = value else {
        return None;
    };
    room.retain(|field, value| match field.as_str() {
        "room_id" | "num_joined_members" | "world_readable" | "guest_can_join" => true,
        "allowed_room_ids" => keep_names(value, |name| RoomId::parse(name).is_ok()),
        "canonical_alias" => value
            .as_str()
            .is_some_and(|alias| RoomAliasId::parse(alias).is_ok()),
        "room_version" => value
            .as_str()
            .is_some_and(|version| RoomVersionId::try_from(version).is_ok()),
        field => TEXTS.contains(&field) && value.is_string(),
    });
    let members = room.get("num_joined_members").and_then(Value::as_u64);
    let fits = id_of(&room).is_some_and(|id| RoomId::parse(id).is_ok())
        && members.is_some_and(|members| members < 1 << 53)
        && room.get("world_readable").is_some_and(Value::is_boolean)
        && room.get("guest_can_join").is_some_and(Value::is_boolean);
    fits.then_some(room)
}

/// The fields of a summary that may be any string.
const TEXTS: [&str; 6] = [
    "name",
    "topic",
    "avatar_url",
    "join_rule",
    "room_type",
    "encryption",
];

pub(super) fn id_of(summary: &JsonObject) -> Option<&str> {
    summary.get("room_id")?.as_str()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failure is what a test is for")]

    use ruma_common::{room_id, server_name};
    use serde_json::json;

    use super::*;

    fn summary(id: &str) -> Value {
        json!({"room_id": id, "num_joined_members": 1, "world_readable": true, "guest_can_join": false})
    }

    fn child(id: &str) -> Value {
        json!({
            "type": CHILD, "state_key": id, "sender": "@a:x", "origin_server_ts": 1,
            "content": {"via": ["x"], "order": "1", "suggested": true},
        })
    }

    fn with(mut value: Value, field: &str, more: Value) -> Value {
        value[field] = more;
        value
    }

    #[test]
    fn of_an_answer_only_what_is_known_is_kept() {
        let junk = json!([[[[], []]]]);
        let mut listed = with(child("!b:x"), "unsigned", junk.clone());
        listed["content"]["via"] = json!(["x", 7]);
        listed["content"]["more"] = junk.clone();
        let mut room = with(summary("!a:x"), CHILDREN_STATE, json!([listed, junk]));
        room["name"] = "A".into();
        room["more"] = junk.clone();
        let space = with(summary("!c:x"), "room_type", SPACE.into());
        let allowed = json!(["!d:x", 1]);
        let restricted = with(summary("!b:x"), "allowed_room_ids", allowed);
        let children = json!([space, with(restricted, CHILDREN_STATE, junk.clone()), junk]);
        let told = description(room_id!("!a:x"), json!({"room": room, "children": children})).unwrap();
        let mut expected = with(summary("!a:x"), CHILDREN_STATE, json!([child("!b:x")]));
        expected["name"] = "A".into();
        expected[CHILDREN] = json!([with(summary("!b:x"), "allowed_room_ids", json!(["!d:x"]))]);
        assert_eq!(Value::Object(told), expected);
    }

    #[test]
    fn ids_that_clients_cannot_read_are_left_out() {
        let mut room = summary("!a:x");
        room["allowed_room_ids"] = json!(["", "x", "!b:x"]);
        room["room_version"] = "".into();
        let mut expected = summary("!a:x");
        expected["allowed_room_ids"] = json!(["!b:x"]);
        assert_eq!(read_summary(room.clone()).map(Value::Object), Some(expected));
        room["room_version"] = "org.example.1".into();
        assert_eq!(read_summary(room).unwrap()["room_version"], "org.example.1");
    }

    #[test]
    fn of_an_answer_no_more_is_kept_than_fits() {
        let large = |id: usize| with(summary(&format!("!{id}:x")), "topic", "x".repeat(100_000).into());
        let mut answer = json!({"room": summary("!a:x"), "children": (0..20).map(large).collect::<Vec<_>>()});
        let told = description(room_id!("!a:x"), answer.clone()).unwrap();
        assert_eq!(told[CHILDREN].as_array().unwrap().len(), 5);
        answer["room"]["topic"] = "x".repeat(MAX_ANSWER).into();
        assert_eq!(description(room_id!("!a:x"), answer), None);
    }

    #[test]
    fn what_is_remembered_is_bounded_in_bytes() {
        let (remembered, server) = (Remembered::default(), server_name!("x").to_owned());
        let servers = [server.clone()];
        let room = |number: usize| RoomId::parse(format!("!{number}:x")).unwrap();
        let large = with(summary("!a:x"), "topic", "x".repeat(MAX_ANSWER - 200).into());
        let kept = |upto: usize| {
            let is_kept = |number: &usize| remembered.get(&room(*number), &servers, 1, false).is_some();
            (0..upto).filter(is_kept).count()
        };
        for number in 0..40 {
            remembered.put(&server, &room(number), (1, REMEMBERED), large.as_object());
        }
        assert_eq!(kept(40), 15);
        for number in 0..20_000 {
            remembered.put(&server, &room(number), (1, SILENCE), None);
        }
        assert_eq!(kept(20_000), 8_192);
        let last = |now, goes_on| remembered.get(&room(19_999), &servers, now, goes_on);
        assert_eq!(last(1 + SILENCE, false), None, "it is asked again");
        assert_eq!(last(1 + SILENCE, true), Some(None));
        assert_eq!(last(1 + REMEMBERED, true), None);
    }
}
