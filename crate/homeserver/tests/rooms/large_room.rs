//! Rooms of any size, written into the store by hand.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, LazyLock},
};

use hearth_homeserver::Identity;
use hearth_rooms::{
    Pdu, RoomVersion,
    state_tree::{Change, Node, NodeHash, apply},
};
use hearth_storage::{Direction, KeyRange, Store, Table, WriteBatch};
use ruma_common::RoomId;
use serde_json::{Value, json};

use crate::support::Server;

/// How many other servers the members are of.
pub const SERVERS: u8 = 3;

/// How rooms are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As the first release stored them: without counts of members.
    Uncounted,
    /// As they are stored now.
    Counted,
}

/// A restarted `server` in whose `room` there are `members` more, joined from a few other servers.
pub async fn with_members(server: Server, room: &RoomId, members: usize, form: Form) -> Server {
    let store = &server.store.rows;
    let mut batch = WriteBatch::new();
    let row = store.get(Table::Rooms, room.as_bytes()).await.unwrap().unwrap();
    let mut record: Value = serde_json::from_slice(&row).unwrap();
    let mut changes = Vec::new();
    for number in 0..members {
        let member = member(room, number, "join");
        put_event(&mut batch, room, &member);
        let user = member.state_key().unwrap();
        put_row(&mut batch, room, user, "join", &member);
        changes.push(Change {
            event_type: "m.room.member".into(),
            state_key: user.to_owned(),
            event_id: Some(member.event_id().to_owned()),
        });
    }
    let nodes = stored_nodes(store).await;
    let root: [u8; 32] = hex(record["state"].as_str().unwrap()).try_into().unwrap();
    let changed = apply(&nodes, &NodeHash::from_bytes(root), changes).unwrap();
    for (hash, node) in changed.nodes {
        batch.put(Table::State, hash.as_bytes().as_slice(), node.encode());
    }
    record["state"] = changed
        .root
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>()
        .into();
    match form {
        Form::Uncounted => {
            record.as_object_mut().unwrap().remove("members");
            forget_servers(&mut batch, store, room).await;
        }
        Form::Counted => {
            record["members"] = json!({ "j": members + 1, "i": 0, "l": 1, "a": members + 1 });
            count_servers(&mut batch, room, members);
        }
    }
    batch.put(
        Table::Rooms,
        room.as_bytes(),
        serde_json::to_vec(&record).unwrap(),
    );
    store.commit(batch).await.unwrap();
    server.restarted().await
}

async fn forget_servers(batch: &mut WriteBatch, store: &dyn Store, room: &RoomId) {
    let servers = KeyRange::prefix(format!("s\0{room}\0"));
    let rows = store.scan(Table::Memberships, servers, Direction::Forward, 100);
    for (key, _) in rows.await.unwrap() {
        batch.delete(Table::Memberships, key);
    }
}

fn count_servers(batch: &mut WriteBatch, room: &RoomId, members: usize) {
    let mut servers = BTreeMap::<String, u64>::new();
    for number in 0..members {
        let user = user(number);
        let (_, server) = user.split_once(':').unwrap();
        *servers.entry(server.to_owned()).or_default() += 1;
    }
    for (server, count) in servers {
        batch.put(
            Table::Memberships,
            format!("s\0{room}\0{server}"),
            count.to_string(),
        );
    }
}

/// The user of one of the other servers with this number.
pub fn user(number: usize) -> String {
    static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| (100..100 + SERVERS).map(name).collect());
    format!("@user{number}:{}", NAMES[number % usize::from(SERVERS)])
}

fn name(seed: u8) -> String {
    Identity::from_seed([seed; 32]).unwrap().server_name().to_owned()
}

fn member(room: &RoomId, number: usize, membership: &str) -> Pdu {
    let user = user(number);
    let event = json!({
        "room_id": room, "type": "m.room.member", "sender": user, "state_key": user,
        "content": { "membership": membership, "displayname": format!("User {number}") },
        "auth_events": [], "prev_events": [], "depth": 1, "origin_server_ts": number,
        "hashes": { "sha256": "" }, "signatures": {},
    });
    Pdu::from_value(RoomVersion::V12, event).unwrap()
}

fn put_event(batch: &mut WriteBatch, room: &RoomId, event: &Pdu) {
    let row = format!(r#"{{"d":{{"r":"{room}"}},"v":"12","p":{}}}"#, event.json());
    batch.put(Table::Events, event.event_id().as_bytes(), row);
}

/// Puts the row of a member.
pub fn put_row(batch: &mut WriteBatch, room: &RoomId, user: &str, membership: &str, event: &Pdu) {
    let row = json!({ "membership": membership, "event_id": event.event_id() });
    batch.put(Table::Memberships, format!("r\0{room}\0{user}"), row.to_string());
}

/// The row of a member who is none: what the first release left behind when resolution removed somebody.
pub async fn leave_stale_row(server: &Server, room: &RoomId, number: usize) {
    let mut batch = WriteBatch::new();
    put_row(
        &mut batch,
        room,
        &user(number),
        "join",
        &member(room, number, "join"),
    );
    server.store.rows.commit(batch).await.unwrap();
}

async fn stored_nodes(store: &dyn Store) -> HashMap<NodeHash, Arc<Node>> {
    let rows = store
        .scan(Table::State, KeyRange::all(), Direction::Forward, usize::MAX)
        .await
        .unwrap();
    let node = |(key, value): &(Vec<u8>, Vec<u8>)| {
        let hash = NodeHash::from_bytes(key.as_slice().try_into().unwrap());
        (hash, Arc::new(Node::decode(&hash, value).unwrap()))
    };
    rows.iter().map(node).collect()
}

fn hex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}
