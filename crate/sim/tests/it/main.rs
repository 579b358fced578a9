//! Real homeservers federate with each other, and with one that lies.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failing test may panic"
)]

mod accounts;
mod acl;
mod crash;
mod device_lists;
mod directory;
mod encryption;
mod episodes;
mod false_past;
mod gaps;
mod heads;
mod held;
mod helpers;
mod hostile;
mod knock;
mod media;
mod outside;
mod outsider;
mod partial;
mod partition;
mod presence;
mod random;
mod reading;
mod redactions;
mod restricted;
mod rooms;
mod spaces;
mod strangers;
mod versions;

use std::time::Duration;

use hearth_sim::{Client, World};
use ruma_common::{OwnedEventId, RoomId};
use serde_json::{Value, json};

/// A world with one user on each server: the first one is alice.
fn world(seed: u64, servers: usize) -> (World, Vec<Client>) {
    let world = World::new(seed, servers);
    let names = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"];
    let clients = names
        .iter()
        .take(servers)
        .enumerate()
        .map(|(server, name)| world.register(server, name))
        .collect();
    (world, clients)
}

/// A world whose users have all joined a public room of alice's.
fn world_with_room(seed: u64, servers: usize) -> (World, Vec<Client>, String) {
    let (world, clients) = world(seed, servers);
    let room = clients[0].create_room(&world, &json!({"preset": "public_chat"}));
    for client in &clients[1..] {
        client.join(&world, &room, &[world.server(0).name()]).expect(200);
    }
    soon(&world);
    (world, clients, room)
}

/// The forward extremities of a room as `server` has them.
fn extremities(world: &World, server: usize, room: &str) -> Vec<OwnedEventId> {
    let homeserver = world.server(server).homeserver().unwrap().clone();
    let room_id = RoomId::parse(room).unwrap();
    let room = world.block_on(async move { homeserver.room(&room_id).await });
    room.unwrap().unwrap().snapshot().record.extremities.clone()
}

/// Long enough for everything that is under way on working links.
fn soon(world: &World) {
    world.run_for(Duration::from_secs(5));
}

/// Asserts that all users see the same state, and returns it.
fn same_state(world: &World, clients: &[Client], room: &str) -> Vec<(String, String, String)> {
    let state = clients[0].state(world, room);
    for client in &clients[1..] {
        assert_eq!(
            client.state(world, room),
            state,
            "{} and {}",
            clients[0].user_id,
            client.user_id
        );
    }
    state
}

/// The membership of `user` in the room, as `client` sees it.
fn membership(world: &World, client: &Client, room: &str, user: &Client) -> Option<String> {
    let members = client.get(world, &format!("/rooms/{}/members", room.replace('!', "%21")));
    let events = members.expect(200)["chunk"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let event = events
        .into_iter()
        .find(|event| event["state_key"] == user.user_id.as_str())?;
    Some(event["content"]["membership"].as_str()?.to_owned())
}

/// The timeline of a room in the answer to `/sync`.
fn timeline(sync: &Value, room: &str) -> Vec<Value> {
    sync["rooms"]["join"][room]["timeline"]["events"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}
