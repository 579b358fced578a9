//! Links that are cut and heal.

use serde_json::json;

use crate::{same_state, soon, world_with_room};

#[test]
fn a_message_sent_during_a_cut_arrives_when_it_heals() {
    let (world, clients, room) = world_with_room(10, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    world.cut(0, 1);
    alice.send(&world, &room, "from alice").expect(200);
    bob.send(&world, &room, "from bob").expect(200);
    world.settle();
    assert_eq!(alice.messages(&world, &room), ["from alice"]);
    assert_eq!(bob.messages(&world, &room), ["from bob"]);
    world.heal(0, 1);
    soon(&world);
    for client in &clients {
        let mut messages = client.messages(&world, &room);
        messages.sort();
        assert_eq!(messages, ["from alice", "from bob"]);
    }
}

#[test]
fn a_long_cut_is_caught_up_over_many_transactions() {
    let (world, clients, room) = world_with_room(11, 2);
    world.cut(0, 1);
    let sent: Vec<String> = (0..130).map(|n| format!("{n}")).collect();
    for message in &sent {
        clients[0].send(&world, &room, message).expect(200);
    }
    world.settle();
    world.heal(0, 1);
    soon(&world);
    assert_eq!(clients[1].messages(&world, &room), sent);
}

#[test]
fn concurrent_changes_of_one_state_converge() {
    for (seed, version) in [(12, "11"), (13, "12"), (14, "12")] {
        let (world, clients) = crate::world(seed, 3);
        let [alice, bob, _] = &clients[..] else { panic!() };
        let options = json!({
            "preset": "public_chat", "room_version": version,
            "power_level_content_override": {"users_default": 0, "events": {"m.room.topic": 0, "m.room.name": 0}},
        });
        let room = alice.create_room(&world, &options);
        for client in &clients[1..] {
            client.join(&world, &room, &[world.server(0).name()]).expect(200);
        }
        soon(&world);
        world.cut(0, 1);
        world.cut(1, 2);
        alice
            .set_state(&world, &room, "m.room.topic", "", &json!({"topic": "alice"}))
            .expect(200);
        alice
            .set_state(&world, &room, "m.room.name", "", &json!({"name": "alice"}))
            .expect(200);
        bob.set_state(&world, &room, "m.room.topic", "", &json!({"topic": "bob"}))
            .expect(200);
        bob.set_state(&world, &room, "m.test", &bob.user_id, &json!({}))
            .expect(403);
        world.settle();
        assert_ne!(
            alice.state(&world, &room),
            bob.state(&world, &room),
            "the episode diverged"
        );
        world.heal(0, 1);
        world.heal(1, 2);
        world.settle();
        clients[2].send(&world, &room, "joining the branches").expect(200);
        world.settle();
        same_state(&world, &clients, &room);
    }
}

#[test]
fn a_ban_during_a_cut_wins_over_what_the_banned_did_meanwhile() {
    let (world, clients, room) = world_with_room(15, 3);
    let [alice, bob, carol] = &clients[..] else {
        panic!()
    };
    world.cut(0, 1);
    world.cut(1, 2);
    alice.ban(&world, &room, &bob.user_id).expect(200);
    bob.send(&world, &room, "you cannot stop me").expect(200);
    world.settle();
    world.heal(0, 1);
    world.heal(1, 2);
    world.settle();
    for client in [alice, carol] {
        assert!(
            client.messages(&world, &room).is_empty(),
            "soft failure hides it from {}",
            client.user_id
        );
        assert_eq!(
            crate::membership(&world, client, &room, bob).as_deref(),
            Some("ban")
        );
    }
    carol.send(&world, &room, "quiet").expect(200);
    soon(&world);
    assert_eq!(alice.messages(&world, &room), ["quiet"]);
    same_state(&world, &[alice.clone(), carol.clone()], &room);
}

#[test]
fn who_is_out_again_by_resolution_is_told_so() {
    let (world, clients) = crate::world(18, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let carol = world.register(0, "carol");
    let room = bob.create_room(&world, &json!({"preset": "public_chat"}));
    for client in [alice, &carol] {
        client.join(&world, &room, &[world.server(1).name()]).expect(200);
    }
    alice.leave(&world, &room).expect(200);
    world.settle();
    // She comes back while the other server closes the room.
    world.cut(0, 1);
    alice.join(&world, &room, &[]).expect(200);
    bob.set_state(
        &world,
        &room,
        "m.room.join_rules",
        "",
        &json!({"join_rule": "invite"}),
    )
    .expect(200);
    let told = alice.sync(&world, None);
    assert!(told["rooms"]["join"].get(&room).is_some(), "{told:?}");
    world.heal(0, 1);
    world.settle();
    carol.send(&world, &room, "joining the branches").expect(200);
    world.settle();
    let members = crate::membership(&world, &carol, &room, alice);
    assert_eq!(members.as_deref(), Some("leave"));
    let told = alice.sync(&world, told["next_batch"].as_str());
    assert!(told["rooms"]["leave"].get(&room).is_some(), "{told:?}");
}

#[test]
fn a_missed_message_is_fetched_from_a_third_server() {
    let (world, clients, room) = world_with_room(16, 3);
    let [alice, bob, carol] = &clients[..] else {
        panic!()
    };
    // Alice's message reaches carol only; carol's, which follows it, reaches bob.
    world.cut(0, 1);
    alice.send(&world, &room, "first").expect(200);
    soon(&world);
    carol.send(&world, &room, "second").expect(200);
    soon(&world);
    assert_eq!(bob.messages(&world, &room), ["first", "second"]);
}

#[test]
fn more_than_is_kept_for_a_server_that_is_away_is_fetched_by_it() {
    let (world, clients, room) = world_with_room(39, 2);
    let (alice, bob) = (&clients[0], &clients[1]);
    world.cut(0, 1);
    let texts: Vec<_> = (0..520).map(|number| format!("message {number}")).collect();
    for text in &texts {
        alice.send(&world, &room, text).expect(200);
    }
    world.heal(0, 1);
    soon(&world);
    assert_eq!(bob.messages(&world, &room), texts);
    let asked = world.traffic();
    let transactions = asked.iter().filter(|asked| asked.request.contains("/send/"));
    let delivered = transactions.filter(|asked| asked.status == Some(200)).count();
    assert!(delivered < 10, "{delivered} transactions");
}
