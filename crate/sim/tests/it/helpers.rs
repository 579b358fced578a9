//! Which servers are asked for what one lacks, where only few of those in the room have it.

use std::time::Duration;

use hearth_sim::{Client, World};
use serde_json::json;

use crate::{soon, world};

/// A world of eight servers, and its users in the order of their servers' names: in that others are asked whom nothing
/// speaks for.
fn in_order(seed: u64) -> (World, Vec<Client>) {
    let (world, mut clients) = world(seed, 8);
    clients.sort_by_key(|client| world.server(client.server).name().to_owned());
    (world, clients)
}

/// A public room of the second user's to which everybody may give a topic.
fn room_of_second(world: &World, clients: &[Client]) -> String {
    let levels = json!({"events": {"m.room.topic": 0}});
    let wish = json!({"preset": "public_chat", "power_level_content_override": levels});
    clients[1].create_room(world, &wish)
}

/// Lets users join a room through the second one's server, and waits for all that follows from it.
fn join_all(world: &World, room: &str, clients: &[Client], joiners: &[usize]) {
    for joiner in joiners {
        let through = world.server(clients[1].server).name();
        clients[*joiner].join(world, room, &[through]).expect(200);
    }
    // So that nobody compares heads with anybody afterwards.
    world.run_for(Duration::from_secs(60));
}

/// Cuts the links between one user's server and those of others.
fn cut(world: &World, clients: &[Client], one: usize, others: &[usize]) {
    for other in others {
        world.cut(clients[one].server, clients[*other].server);
    }
}

#[test]
fn everybody_in_the_room_is_asked_in_turn_for_the_past_of_a_held_event() {
    let (world, clients) = in_order(120);
    let room = room_of_second(&world, &clients);
    join_all(&world, &room, &clients, &[0, 2, 3, 4, 5, 6, 7]);
    // What the fifth says reaches the sixth and the last; what the sixth says after it, the first.
    cut(&world, &clients, 4, &[0, 1, 2, 3, 6]);
    cut(&world, &clients, 5, &[1, 2, 3, 6]);
    world.stand_in(world.server(clients[5].server).name(), |path, _| {
        let is_ill = !path.contains("/send/");
        is_ill.then(|| (500, json!({"errcode": "M_UNKNOWN", "error": "ill"})))
    });
    clients[4].send(&world, &room, "first").expect(200);
    soon(&world);
    clients[5].send(&world, &room, "second").expect(200);
    soon(&world);
    assert!(clients[0].messages(&world, &room).is_empty());
    world.run_for(Duration::from_secs(120));
    assert_eq!(clients[0].messages(&world, &room), ["first", "second"]);
}

/// A room that the first user left, where the last but one then said something that reached the last alone and, as its end,
/// gave the room a topic. The last user's server has no way to others but these two.
fn said_meanwhile(world: &World, clients: &[Client]) -> String {
    let room = room_of_second(world, clients);
    join_all(world, &room, clients, &[0, 2, 3, 4, 5, 6, 7]);
    clients[0].leave(world, &room).expect(200);
    soon(world);
    cut(world, clients, 6, &[1, 2, 3, 4, 5]);
    cut(world, clients, 7, &[1, 2, 3, 4, 5]);
    clients[6].send(world, &room, "meanwhile").expect(200);
    let topic = json!({"topic": "news"});
    clients[6]
        .set_state(world, &room, "m.room.topic", "", &topic)
        .expect(200);
    soon(world);
    room
}

#[test]
fn whoever_lets_a_server_in_again_is_asked_for_what_it_missed() {
    let (world, clients) = in_order(121);
    let room = said_meanwhile(&world, &clients);
    clients[7].send(&world, &room, "you may come").expect(200);
    soon(&world);
    let through = world.server(clients[7].server).name();
    clients[0].join(&world, &room, &[through]).expect(200);
    soon(&world);
    assert_eq!(clients[0].messages(&world, &room), ["meanwhile", "you may come"]);
}

#[test]
fn whoever_made_what_is_missing_is_asked_for_it() {
    let (mut world, clients) = in_order(122);
    let room = said_meanwhile(&world, &clients);
    let through = world.server(clients[7].server).name().to_owned();
    world.stand_in(&through, |path, _| {
        let is_ill = path.contains("/backfill/");
        is_ill.then(|| (500, json!({"errcode": "M_UNKNOWN", "error": "ill"})))
    });
    clients[0].join(&world, &room, &[&through]).expect(200);
    soon(&world);
    world.crash(clients[7].server);
    assert_eq!(clients[0].messages(&world, &room), ["meanwhile"]);
}

#[test]
fn connected_servers_are_asked_for_history_before_others() {
    let (world, clients) = in_order(123);
    let room = room_of_second(&world, &clients);
    join_all(&world, &room, &clients, &[2, 3, 4, 5, 6, 7]);
    clients[1].send(&world, &room, "long ago").expect(200);
    soon(&world);
    cut(&world, &clients, 0, &[1, 2, 3, 4, 5, 6]);
    world.connect(clients[0].server, clients[7].server);
    let through = world.server(clients[7].server).name();
    clients[0].join(&world, &room, &[through]).expect(200);
    soon(&world);
    assert_eq!(clients[0].messages(&world, &room), ["long ago"]);
}
