//! Memberships of rooms that a server is not in, while others join them.

use std::time::Duration;

use hearth_sim::{Client, Pending, World};
use serde_json::json;

use crate::{membership, soon, world};

/// A private room of the first user's that the third has joined and all others are invited to.
fn room_with_invites(world: &World, clients: &[Client]) -> String {
    let room = clients[0].create_room(world, &json!({"preset": "private_chat"}));
    for client in &clients[1..] {
        clients[0].invite(world, &room, &client.user_id).expect(200);
    }
    clients[2].join(world, &room, &[]).expect(200);
    soon(world);
    room
}

/// Begins to decline the invite of a server that is about to be away.
fn begin_decline(world: &World, client: &Client, room: &str) -> Pending {
    world.set_slow(0, client.server, Duration::from_secs(50));
    let path = format!("/_matrix/client/v3/rooms/{}/leave", room.replace('!', "%21"));
    let decline = world.begin(
        client.server,
        "POST",
        &path,
        Some(&client.token),
        Some(&json!({})),
    );
    world.run_for(Duration::from_millis(10));
    world.cut(0, client.server);
    decline
}

#[test]
fn an_invite_that_is_declined_for_long_and_taken_meanwhile_is_taken() {
    let (world, clients) = world(41, 3);
    let room = room_with_invites(&world, &clients);
    let bob = &clients[1];
    let mut decline = begin_decline(&world, bob, &room);
    bob.join(&world, &room, &[world.server(2).name()]).expect(200);
    assert!(decline.answer().is_none(), "the join came in between");
    world.settle();
    assert!(decline.answer().is_some());
    let sync = bob.sync(&world, None);
    assert!(sync["rooms"]["join"][&room].is_object(), "{}", sync.body);
    assert_eq!(membership(&world, bob, &room, bob).as_deref(), Some("join"));
}

#[test]
fn an_invite_is_declined_though_somebody_else_joins_meanwhile() {
    let (world, mut clients) = world(42, 3);
    let dave = world.register(1, "dave");
    clients.push(dave);
    let room = room_with_invites(&world, &clients);
    let (bob, dave) = (&clients[1], &clients[3]);
    let mut decline = begin_decline(&world, bob, &room);
    dave.join(&world, &room, &[world.server(2).name()]).expect(200);
    assert!(decline.answer().is_none(), "the join came in between");
    world.settle();
    decline.answer().unwrap().expect(200);
    assert!(bob.sync(&world, None)["rooms"]["invite"][&room].is_null());
    assert_eq!(membership(&world, dave, &room, bob).as_deref(), Some("leave"));
}
