//! How the members come, whatever the servers do that have them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hearth_storage::Table;
use serde_json::{Value, json};

use super::{Gate, large_room, members, rows_fit_state};
use crate::{same_state, soon};

#[test]
fn who_has_just_joined_does_not_look_for_what_cannot_be_there() {
    let (world, clients, room) = large_room(86, 2, 600);
    let (bob, room) = (&clients[1], room.room_id.as_str());
    let before = world.server(1).lookups(Table::Events);
    bob.join(&world, room, &[world.server(0).name()]).expect(200);
    world.settle();
    let looked_up = world.server(1).lookups(Table::Events) - before;
    assert!(looked_up < 200, "{looked_up} events were looked up");
    assert_eq!(members(&world, bob, room).len(), 603);
}

#[test]
fn what_comes_twice_to_who_has_just_joined_is_stored_once() {
    let (world, clients, room) = large_room(87, 2, 600);
    let (bob, room) = (&clients[1], room.room_id.as_str());
    let (first, answers) = (std::sync::Mutex::new(Vec::new()), Arc::new(AtomicUsize::new(0)));
    let counted = answers.clone();
    world.tamper(world.server(0).name(), move |uri, answer| {
        if uri.contains("org.hearth/events") {
            counted.fetch_add(1, Ordering::Relaxed);
            let pdus = answer["pdus"].as_array_mut().unwrap();
            let mut first = first.lock().unwrap();
            pdus.extend(first.iter().cloned());
            first.extend(pdus.first().cloned());
        }
    });
    bob.join(&world, room, &[world.server(0).name()]).expect(200);
    world.settle();
    assert!(answers.load(Ordering::Relaxed) > 2);
    assert_eq!(members(&world, bob, room).len(), 603);
    same_state(&world, &clients, room);
}

#[test]
fn a_helper_that_dies_is_replaced() {
    let (mut world, clients, room) = large_room(67, 3, 80);
    let id = room.room_id.as_str();
    let names: Vec<_> = (0..3)
        .map(|server| world.server(server).name().to_owned())
        .collect();
    clients[1].join(&world, id, &[&names[0]]).expect(200);
    world.settle();
    let gate = Gate::shut(&world, 0);
    clients[2].join(&world, id, &[&names[0]]).expect(200);
    soon(&world);
    world.crash(0);
    gate.open();
    for _ in 0..6 {
        world.settle();
    }
    assert_eq!(members(&world, &clients[2], id).len(), 84);
    same_state(&world, &clients[1..], id);
}

#[test]
fn a_restart_at_any_step_goes_on_where_it_was() {
    let (mut world, clients, room) = large_room(68, 2, 250);
    let (bob, room) = (&clients[1], room.room_id.as_str());
    world.set_delay(Duration::from_millis(20), Duration::from_millis(50));
    bob.join(&world, room, &[world.server(0).name()]).expect(200);
    let mut kills = 0;
    for _ in 0..12 {
        world.run_steps(1 + world.random(60));
        world.restart(1);
        kills += 1;
        bob.send(&world, room, &format!("{kills}")).expect(200);
    }
    world.settle();
    assert_eq!(members(&world, bob, room).len(), 253);
    same_state(&world, &clients, room);
    rows_fit_state(&world, 1, bob, room);
    let sent: Vec<_> = (1..=kills).map(|kill| kill.to_string()).collect();
    assert_eq!(bob.messages(&world, room), sent);
    // What is stored is not asked for again: 252 members and a few settings come in two slices, and each restart
    // may cost the slice that was under way.
    let slices = world.traffic();
    let slices = slices
        .iter()
        .filter(|one| one.request.contains("org.hearth/events") && one.status == Some(200));
    assert!(slices.count() <= 3);
}

#[test]
fn a_state_that_lacks_members_is_not_taken_where_another_has_them() {
    let (world, clients, room) = large_room(69, 3, 80);
    let id = room.room_id.as_str();
    let names: Vec<_> = (0..3)
        .map(|server| world.server(server).name().to_owned())
        .collect();
    clients[1].join(&world, id, &[&names[0]]).expect(200);
    world.settle();
    let kept: Vec<_> = room
        .settings()
        .iter()
        .map(|event| json!(event.event_id()))
        .collect();
    world.tamper(&names[0], move |uri, answer| {
        if uri.contains("/state_ids/") {
            let known = kept.clone();
            answer["pdu_ids"]
                .as_array_mut()
                .unwrap()
                .retain(|id| known.contains(id));
        }
    });
    clients[2].join(&world, id, &[&names[0]]).expect(200);
    for _ in 0..4 {
        world.settle();
    }
    assert_eq!(members(&world, &clients[2], id).len(), 84);
    same_state(&world, &clients, id);
}

#[test]
fn a_server_that_knows_no_slices_gives_its_state_whole() {
    let (world, clients, room) = large_room(70, 2, 80);
    let (bob, room) = (&clients[1], room.room_id.as_str());
    world.stand_in(world.server(0).name(), |uri, _| {
        uri.contains("org.hearth/events")
            .then(|| (404, json!({"errcode": "M_UNRECOGNIZED"})))
    });
    bob.join(&world, room, &[world.server(0).name()]).expect(200);
    world.settle();
    assert_eq!(members(&world, bob, room).len(), 83);
    same_state(&world, &clients, room);
}

#[test]
fn a_helper_that_names_servers_that_are_not_there_does_not_keep_a_room_partial() {
    let (world, clients, room) = large_room(76, 2, 60);
    let (bob, id) = (&clients[1], room.room_id.as_str());
    world.tamper(world.server(0).name(), |uri, answer| {
        if uri.contains("/send_join/") {
            answer["servers_in_room"] = json!(["nobody.example", 7, "not a server name", world_of_lies()]);
        }
    });
    bob.join(&world, id, &[world.server(0).name()]).expect(200);
    bob.send(&world, id, "to whoever is there").expect(200);
    for _ in 0..3 {
        world.settle();
    }
    assert_eq!(members(&world, bob, id).len(), 63);
    same_state(&world, &clients, id);
}

#[test]
fn no_more_servers_are_believed_to_be_in_a_room_than_the_largest_have() {
    let (world, clients, room) = large_room(89, 2, 20);
    let room = room.room_id.as_str();
    world.tamper(world.server(0).name(), |uri, answer| {
        if uri.contains("/send_join/") {
            let invented = (0..30_000).map(|number| format!("{number:064x}"));
            answer["servers_in_room"] = ["nobody.example".to_owned()]
                .into_iter()
                .chain(invented)
                .collect();
        }
    });
    let _gate = Gate::shut(&world, 0);
    clients[1]
        .join(&world, room, &[world.server(0).name()])
        .expect(200);
    let (store, key) = (
        world.server(1).store().clone(),
        [b"w\0", room.as_bytes()].concat(),
    );
    let row = world.block_on(async move { store.get(Table::Federation, &key).await });
    let row: Value = serde_json::from_slice(&row.unwrap().unwrap()).unwrap();
    let believed = row["servers"].as_array().unwrap();
    assert_eq!(believed.len(), 20_000);
    assert!(!believed.contains(&json!("nobody.example")));
}

fn world_of_lies() -> String {
    "a".repeat(64)
}
