//! Rooms that a server comes back to without their members, of whom it knew some.

use std::sync::{Arc, Mutex};

use hearth_sim::{Client, World};
use serde_json::{Value, json};

use super::Gate;
use crate::{membership, outsider::encode, soon, world};

/// A room of the second user's that `users` of the first server have joined and left.
fn room_left_by(world: &World, owner: &Client, users: &[&Client]) -> String {
    let room = owner.create_room(world, &json!({"preset": "public_chat", "name": "Named"}));
    for user in users {
        user.join(world, &room, &[world.server(1).name()]).expect(200);
    }
    soon(world);
    for user in users {
        user.leave(world, &room).expect(200);
    }
    soon(world);
    room
}

#[test]
fn who_is_invited_stays_so_when_somebody_else_brings_the_room_back() {
    let (world, clients) = world(91, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let carol = world.register(0, "carol");
    let room = room_left_by(&world, bob, &[alice, &carol]);
    bob.invite(&world, &room, &carol.user_id).expect(200);
    soon(&world);
    let invited = carol.sync(&world, None);
    let gate = Gate::shut(&world, 1);
    alice.join(&world, &room, &[world.server(1).name()]).expect(200);
    for is_whole in [false, true] {
        if is_whole {
            gate.open();
        }
        world.settle();
        let again = carol.sync(&world, None);
        let told = &again["rooms"]["invite"][&room]["invite_state"]["events"];
        assert!(told[0].is_object(), "{}", again["rooms"]);
        let news = carol.sync(&world, invited["next_batch"].as_str());
        assert!(news["rooms"].get("leave").is_none(), "{}", news["rooms"]);
    }
    carol.leave(&world, &room).expect(200);
    soon(&world);
    for client in [alice, bob] {
        assert_eq!(
            membership(&world, client, &room, &carol).as_deref(),
            Some("leave")
        );
    }
}

#[test]
fn what_a_user_has_forgotten_stays_so_when_somebody_else_brings_the_room_back() {
    let (world, clients) = world(92, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let carol = world.register(0, "carol");
    let room = room_left_by(&world, bob, &[alice, &carol]);
    let path = format!("/rooms/{}/forget", encode(&room));
    carol.post(&world, &path, &json!({})).expect(200);
    let before = carol.sync(&world, None);
    let gate = Gate::shut(&world, 1);
    alice.join(&world, &room, &[world.server(1).name()]).expect(200);
    for is_whole in [false, true] {
        if is_whole {
            gate.open();
        }
        world.settle();
        let news = carol.sync(&world, before["next_batch"].as_str());
        assert_eq!(news["rooms"], Value::Null);
    }
    assert_eq!(membership(&world, alice, &room, &carol).as_deref(), Some("leave"));
}

#[test]
fn who_comes_back_tells_nobody_of_it_who_was_there_before() {
    let (world, clients) = world(93, 3);
    let [alice, bob, carol] = &clients[..] else {
        panic!()
    };
    let room = bob.create_room(&world, &json!({"preset": "public_chat", "name": "Named"}));
    for client in [carol, alice] {
        client.join(&world, &room, &[world.server(1).name()]).expect(200);
        soon(&world);
    }
    alice.leave(&world, &room).expect(200);
    soon(&world);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (hearing, own) = (heard.clone(), world.server(0).name().to_owned());
    world.stand_in(world.server(2).name(), move |_, body| {
        let pdus = body["pdus"].as_array().cloned().unwrap_or_default();
        hearing
            .lock()
            .unwrap()
            .extend(pdus.into_iter().filter(|_| body["origin"] == own.as_str()));
        None
    });
    let _gate = Gate::shut(&world, 1);
    alice.join(&world, &room, &[world.server(1).name()]).expect(200);
    soon(&world);
    assert_eq!(*heard.lock().unwrap(), Vec::<Value>::new());
    assert_eq!(membership(&world, carol, &room, alice).as_deref(), Some("join"));
    alice.send(&world, &room, "back").expect(200);
    soon(&world);
    assert_eq!(heard.lock().unwrap().len(), 1);
}
