//! Servers that are in a room without all others there knowing, and such as only pretend to be.

use std::time::Duration;

use hearth_rooms::RoomVersion;
use hearth_sim::{Client, World};
use hearth_storage::{Direction, KeyRange, Table};
use serde_json::json;

use crate::{
    outsider::{Outsider, json_of},
    soon, world, world_with_room,
};

/// A room of alice and carol that bob joins through carol's server, which goes away before alice's hears of it.
fn unknown_joiner(seed: u64) -> (World, Vec<Client>, String) {
    let (mut world, clients) = world(seed, 3);
    let [alice, bob, carol] = &clients[..] else {
        panic!()
    };
    let room = alice.create_room(&world, &json!({"preset": "public_chat", "name": "Named"}));
    carol.join(&world, &room, &[world.server(0).name()]).expect(200);
    soon(&world);
    world.cut(0, 2);
    bob.join(&world, &room, &[world.server(2).name()]).expect(200);
    world.crash(2);
    (world, clients, room)
}

#[test]
fn who_joined_through_a_server_that_went_away_is_heard() {
    let (world, clients, room) = unknown_joiner(90);
    clients[1].send(&world, &room, "hello").expect(200);
    world.run_for(Duration::from_secs(60));
    assert_eq!(clients[0].messages(&world, &room), ["hello"]);
    clients[0].send(&world, &room, "welcome").expect(200);
    soon(&world);
    assert_eq!(clients[1].messages(&world, &room), ["hello", "welcome"]);
}

#[test]
fn who_joined_through_a_server_that_went_away_hears_others_once_they_are_connected() {
    let (world, clients, room) = unknown_joiner(91);
    world.heal(0, 1);
    world.run_for(Duration::from_secs(20));
    clients[0].send(&world, &room, "welcome").expect(200);
    soon(&world);
    assert_eq!(clients[1].messages(&world, &room), ["welcome"]);
}

#[test]
fn nobody_is_asked_on_account_of_a_stranger_but_itself() {
    let (world, clients, room) = world_with_room(92, 2);
    let stranger = Outsider::new(77);
    let state = clients[0].state(&world, &room);
    let levels = state
        .iter()
        .find(|(kind, _, _)| kind == "m.room.power_levels")
        .unwrap();
    let pdus = (0..20).map(|number| {
        let message = json!({
            "type": "m.room.message", "room_id": room, "sender": stranger.user_id, "depth": 50,
            "content": {"msgtype": "m.text", "body": "?"}, "origin_server_ts": 1_700_000_000_000_u64,
            "prev_events": [format!("${number:043}")], "auth_events": [levels.2, format!("$x{number:042}")],
        });
        json_of(&stranger.sign(RoomVersion::V12, message))
    });
    let before = world.request_count();
    stranger.transaction(&world, "1", pdus.collect()).expect(200);
    for number in 0..100 {
        world.run_for(Duration::from_secs(3));
        stranger
            .transaction(&world, &format!("empty-{number}"), Vec::new())
            .expect(200);
    }
    let asked = world.traffic().split_off(before);
    let (own, others): (Vec<_>, Vec<_>) = asked
        .iter()
        .filter(|asked| asked.from == world.server(0).name() && !asked.request.contains("/heads"))
        .partition(|asked| asked.to == stranger.identity.server_name());
    assert!(others.is_empty(), "{others:?}");
    // Once every time, with ever longer pauses, and never for more than what allows it to speak.
    assert!((1..10).contains(&own.len()), "{own:?}");
    assert!(own.iter().all(|asked| asked.request.contains("/event_auth/")));
}

/// How many events server 0 holds.
fn held(world: &World) -> usize {
    let store = world.server(0).store().clone();
    let range = KeyRange::prefix(b"h\0");
    let rows = world.block_on(async move {
        store
            .scan(Table::Federation, range, Direction::Forward, usize::MAX)
            .await
    });
    rows.unwrap().len()
}

#[test]
fn an_event_that_comes_twice_at_once_is_held_once() {
    let world = World::with_slow_commits(93, 1, Duration::from_secs(1));
    let alice = world.register(0, "alice");
    let room = alice.create_room(&world, &json!({"preset": "public_chat"}));
    let stranger = Outsider::new(77);
    let message = |number: usize| {
        let message = json!({
            "type": "m.room.message", "room_id": room, "sender": stranger.user_id, "depth": 50, "content": {},
            "origin_server_ts": 1_700_000_000_000_u64, "prev_events": [format!("${number:043}")], "auth_events": [],
        });
        json_of(&stranger.sign(RoomVersion::V12, message))
    };
    // Half as many as are held of one server.
    let twice: Vec<_> = (0..25)
        .flat_map(|number| [message(number), message(number)])
        .collect();
    let (homeserver, name) = (
        world.server(0).homeserver().unwrap().clone(),
        stranger.identity.server_name().to_owned(),
    );
    world.block_on(async move {
        let receive = |(number, pdu): (usize, serde_json::Value)| {
            let (homeserver, name) = (homeserver.clone(), name.clone());
            async move {
                let body = json!({ "pdus": [pdu] });
                let origin = name.as_str().try_into().unwrap();
                homeserver
                    .receive_transaction(origin, &number.to_string(), body)
                    .await
            }
        };
        futures::future::join_all(twice.into_iter().enumerate().map(receive)).await
    });
    assert_eq!(held(&world), 25);
    let more = stranger.transaction(&world, "more", vec![message(25)]);
    assert!(!more.expect(200).to_string().contains("error"), "{more:?}");
    assert_eq!(held(&world), 26);
    // What was held for long is given up, and nothing is left of it.
    world.run_for(Duration::from_secs(2 * 3600));
    assert_eq!(held(&world), 0);
}
