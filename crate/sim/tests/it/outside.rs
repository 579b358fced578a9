//! Memberships of rooms that a server is not in, while others join them.

use std::time::Duration;

use hearth_rooms::RoomVersion;
use hearth_sim::{Client, Pending, World};
use ruma_common::EventId;
use serde_json::json;

use crate::{
    membership,
    outsider::{Outsider, encode, json_of},
    soon, world,
};

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

/// Server 0 is told of an invite by somebody who has nothing to do with the room.
fn invite_from_nowhere(world: &World, room: &str, target: &Client) {
    let mallory = Outsider::new(7);
    let invite = mallory.sign(
        RoomVersion::V12,
        json!({
            "type": "m.room.member", "state_key": target.user_id, "sender": mallory.user_id, "room_id": room,
            "content": {"membership": "invite"}, "prev_events": [], "auth_events": [], "depth": 5,
            "origin_server_ts": 1_700_000_000_000_u64,
        }),
    );
    let (room, id) = (encode(room), encode(invite.event_id().as_str()));
    let body = json!({"room_version": "12", "event": json_of(&invite), "invite_room_state": []});
    let uri = format!("/_matrix/federation/v2/invite/{room}/{id}");
    mallory.ask(world, "PUT", &uri, Some(body)).expect(200);
}

#[test]
fn an_invite_of_which_the_room_knows_nothing_is_declined_though_somebody_here_is_in_it() {
    let (world, clients) = world(43, 2);
    let (alice, bob) = (&clients[0], &clients[1]);
    let carol = world.register(0, "carol");
    let room = bob.create_room(&world, &json!({"preset": "public_chat"}));
    invite_from_nowhere(&world, &room, &carol);
    alice.join(&world, &room, &[world.server(1).name()]).expect(200);
    world.settle();
    let before = carol.sync(&world, None);
    assert!(before["rooms"]["invite"][&room].is_object(), "{}", before.body);
    carol.leave(&world, &room).expect(200);
    let after = carol.sync(&world, before["next_batch"].as_str());
    let told = &after["rooms"]["leave"][&room]["timeline"]["events"];
    assert_eq!(told[0]["content"]["membership"], "leave", "{}", after.body);
    assert!(carol.sync(&world, None)["rooms"]["invite"][&room].is_null());
    let path = format!("/rooms/{}/forget", encode(&room));
    carol.post(&world, &path, &json!({})).expect(200);
    assert_eq!(carol.leave(&world, &room).status, 403);
}

#[test]
fn an_invite_from_nowhere_is_declined_though_somebody_joins_meanwhile() {
    let (world, clients) = world(44, 2);
    let (alice, bob) = (&clients[0], &clients[1]);
    let carol = world.register(0, "carol");
    let room = bob.create_room(&world, &json!({"preset": "public_chat"}));
    invite_from_nowhere(&world, &room, &carol);
    world.set_delay(Duration::from_secs(10), Duration::from_secs(10));
    let path = format!("/_matrix/client/v3/rooms/{}/leave", encode(&room));
    let mut decline = world.begin(0, "POST", &path, Some(&carol.token), Some(&json!({})));
    world.run_for(Duration::from_millis(10));
    world.set_delay(Duration::ZERO, Duration::ZERO);
    alice.join(&world, &room, &[world.server(1).name()]).expect(200);
    assert!(decline.answer().is_none(), "it waits for who invited");
    world.settle();
    decline.answer().unwrap().expect(200);
    assert!(carol.sync(&world, None)["rooms"]["invite"][&room].is_null());
}

/// Bob is invited, declines, forgets the room if he `forgets`, and takes the next invite. Whether his server has all
/// that the last one rests on when it starts again.
fn keeps_what_an_invite_rests_on(seed: u64, forgets: bool) -> bool {
    let (mut world, clients) = world(seed, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let room = alice.create_room(&world, &json!({"preset": "private_chat"}));
    let mut rested_on = Vec::new();
    let mut note = || {
        let mut own = alice.state(&world, &room).into_iter();
        let own = own.find(|(_, key, _)| *key == bob.user_id).unwrap();
        rested_on.push(EventId::parse(own.2).unwrap());
    };
    alice.invite(&world, &room, &bob.user_id).expect(200);
    note();
    bob.leave(&world, &room).expect(200);
    soon(&world);
    note();
    if forgets {
        let path = format!("/rooms/{}/forget", room.replace('!', "%21"));
        bob.post(&world, &path, &json!({})).expect(200);
    }
    alice.invite(&world, &room, &bob.user_id).expect(200);
    note();
    bob.join(&world, &room, &[]).expect(200);
    soon(&world);
    world.restart(1);
    let homeserver = world.server(1).homeserver().unwrap().clone();
    let count = rested_on.len();
    let stored = world.block_on(async move { homeserver.stored_events(&rested_on).await });
    stored.unwrap().len() == count
}

#[test]
fn what_an_invite_rests_on_is_stored_though_the_user_had_declined_one_before() {
    assert!(keeps_what_an_invite_rests_on(43, false));
    assert!(keeps_what_an_invite_rests_on(44, true));
}
