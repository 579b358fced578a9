//! Joining large rooms without their members, who come behind.

mod answers;
mod completion;
mod meanwhile;
mod recheck;
mod returning;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use hearth_rooms::{Pdu, RoomVersion};
use hearth_sim::{
    Client, World,
    synthetic::{SyntheticRoom, Utterance},
};
use hearth_storage::{Direction, KeyRange, Table};
use ruma_common::OwnedEventId;
use serde_json::{Value, json};

use crate::{
    outsider::{Outsider, encode},
    world,
};

/// A world of `servers` servers in which alice, on the first, is in a synthetic room.
pub(crate) fn large_room(
    seed: u64,
    servers: usize,
    members: usize,
) -> (World, Vec<Client>, Arc<SyntheticRoom>) {
    let (world, clients) = world(seed, servers);
    let room = Arc::new(SyntheticRoom::new(
        seed,
        RoomVersion::V12,
        members,
        members.min(20),
    ));
    let answering = room.clone();
    world.stand_in(room.founder_server(), move |uri, body| {
        Some((200, answering.answer(uri, body)?))
    });
    clients[0]
        .join(&world, room.room_id.as_str(), &[room.founder_server()])
        .expect(200);
    (world, clients, room)
}

fn types(events: &Value) -> BTreeSet<(String, String)> {
    let events = events.as_array().unwrap().iter();
    let text = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
    events
        .map(|event| (text(event, "type"), text(event, "state_key")))
        .collect()
}

/// Keeps the servers of a world from giving each other states, as long as it is shut.
#[derive(Clone)]
struct Gate(Arc<AtomicBool>);

impl Gate {
    /// A shut gate before server number `server`.
    fn shut(world: &World, server: usize) -> Self {
        let gate = Self(Arc::new(AtomicBool::new(true)));
        let shut = gate.0.clone();
        world.stand_in(world.server(server).name(), move |uri, _| {
            let gives_state = uri.contains("/state") || uri.contains("org.hearth/events");
            (gives_state && shut.load(Ordering::Relaxed)).then(|| (503, json!({"errcode": "M_UNKNOWN"})))
        });
        gate
    }

    fn open(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

const LAZY: &str = "%7B%22room%22%3A%7B%22state%22%3A%7B%22lazy_load_members%22%3Atrue%7D%7D%7D";

/// What a lazily loading client is told of the room.
fn lazy_sync(world: &World, client: &Client, room: &str, since: Option<&str>) -> (Value, String) {
    let since = since
        .map(|since| format!("&since={}", encode(since)))
        .unwrap_or_default();
    let answer = client.get(world, &format!("/sync?timeout=0&filter={LAZY}{since}"));
    let next = answer["next_batch"].as_str().unwrap().to_owned();
    (answer.expect(200)["rooms"]["join"][room].clone(), next)
}

fn joined(world: &World, client: &Client, room: &str) -> Value {
    client.sync(world, None)["rooms"]["join"][room].clone()
}

/// The joined members that a client is told of when it asks.
fn members(world: &World, client: &Client, room: &str) -> BTreeSet<String> {
    let answer = client.get(world, &format!("/rooms/{}/joined_members", encode(room)));
    let joined = answer.expect(200)["joined"].as_object().unwrap();
    joined.keys().cloned().collect()
}

/// A message of a member of a synthetic room, after the join that `client` made last.
fn say(world: &World, client: &Client, room: &SyntheticRoom, member: usize, text: &str) -> Pdu {
    let history = client.history(world, room.room_id.as_str());
    let last = history
        .iter()
        .max_by_key(|event| event["origin_server_ts"].as_u64())
        .unwrap();
    room.event(Utterance {
        member,
        kind: "m.room.message",
        state_key: None,
        content: json!({"msgtype": "m.text", "body": text}),
        prev_events: vec![last["event_id"].as_str().unwrap().try_into().unwrap()],
        auth_events: Vec::new(),
        depth: room.member_count() as u64 + 50,
    })
}

/// The rows that server number `server` keeps of a room's members: what their keys end in, and what they say.
fn member_rows(world: &World, server: usize, room: &str) -> Vec<(String, Value)> {
    let store = world.server(server).store().clone();
    let prefix = format!("r\0{room}\0");
    let range = KeyRange::prefix(prefix.as_bytes());
    let rows = world.block_on(async move {
        store
            .scan(Table::Memberships, range, Direction::Forward, usize::MAX)
            .await
    });
    let row = |(key, value): (Vec<u8>, Vec<u8>)| {
        let user = String::from_utf8(key).unwrap().split_off(prefix.len());
        (user, serde_json::from_slice(&value).unwrap())
    };
    rows.unwrap().into_iter().map(row).collect()
}

/// Asserts that the rows of a room's members on the server of `client` say what its state says.
fn rows_fit_state(world: &World, server: usize, client: &Client, room: &str) {
    let answer = client.get(world, &format!("/rooms/{}/members", encode(room)));
    let row = |event: &Value| {
        let user = event["state_key"].as_str().unwrap().to_owned();
        let membership = &event["content"]["membership"];
        (
            user,
            json!({ "membership": membership, "event_id": event["event_id"] }),
        )
    };
    let mut state: Vec<_> = answer.expect(200)["chunk"]
        .as_array()
        .unwrap()
        .iter()
        .map(row)
        .collect();
    state.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(member_rows(world, server, room), state);
}

fn by(room: &SyntheticRoom, member: usize) -> Outsider {
    Outsider::of(room.server_of(member).seed(), room.user_id(member).as_str())
}

/// The newest event of the room, as `client` sees it.
fn newest(world: &World, client: &Client, room: &str) -> OwnedEventId {
    let history = client.history(world, room);
    let newest = history
        .iter()
        .max_by_key(|event| event["origin_server_ts"].as_u64());
    newest.unwrap()["event_id"].as_str().unwrap().try_into().unwrap()
}
