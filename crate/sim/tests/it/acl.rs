//! Servers that a room's access list denies.

use std::time::Duration;

use hearth_sim::Answer;
use serde_json::{Value, json};

use crate::{soon, world, world_with_room};

/// What a sync tells of typing and receipts in the room.
fn ephemeral(sync: &Answer, room: &str) -> Value {
    sync["rooms"]["join"][room]["ephemeral"]["events"].clone()
}

#[test]
fn a_denied_server_is_not_heard_and_gets_nothing() {
    let (world, clients) = world(11, 4);
    let [alice, bob, carol, dave] = &clients[..] else {
        panic!()
    };
    let room = alice.create_room(&world, &json!({"preset": "public_chat"}));
    for client in [bob, carol] {
        client.join(&world, &room, &[world.server(0).name()]).expect(200);
    }
    let seen = alice.send(&world, &room, "before").expect(200)["event_id"]
        .as_str()
        .unwrap()
        .to_owned();
    soon(&world);
    let denied = [world.server(1).name(), world.server(3).name()];
    let list = json!({"allow": ["*"], "deny": denied, "allow_ip_literals": true});
    alice
        .set_state(&world, &room, "m.room.server_acl", "", &list)
        .expect(200);
    soon(&world);
    let since = alice.sync(&world, None)["next_batch"]
        .as_str()
        .unwrap()
        .to_owned();

    bob.send(&world, &room, "denied").expect(200);
    let typing = format!("/rooms/{room}/typing/{}", bob.user_id);
    bob.put(&world, &typing, &json!({"typing": true, "timeout": 30_000}))
        .expect(200);
    let receipt = format!("/rooms/{room}/receipt/m.read/{seen}");
    bob.post(&world, &receipt, &json!({})).expect(200);
    carol.send(&world, &room, "allowed").expect(200);
    soon(&world);
    let sync = alice.sync(&world, Some(&since));
    assert_eq!(ephemeral(&sync, &room), json!([]), "neither typing nor receipts");
    assert_eq!(alice.messages(&world, &room), ["before", "allowed"]);
    // One who is let through is heard in all these ways.
    let typing = format!("/rooms/{room}/typing/{}", carol.user_id);
    carol
        .put(&world, &typing, &json!({"typing": true, "timeout": 30_000}))
        .expect(200);
    carol.post(&world, &receipt, &json!({})).expect(200);
    soon(&world);
    let sync = alice.sync(&world, Some(&since));
    assert_eq!(ephemeral(&sync, &room).as_array().unwrap().len(), 2);
    // Nor does one come in who is denied.
    let join = dave.join(&world, &room, &[world.server(0).name()]);
    assert_eq!(join.status, 403);
}

#[test]
fn nothing_is_fetched_from_a_denied_server() {
    let (world, clients, room) = world_with_room(12, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let names = [0, 1].map(|server| world.server(server).name().to_owned());
    let list = json!({"allow": ["*"], "deny": [names[1]], "allow_ip_literals": true});
    alice
        .set_state(&world, &room, "m.room.server_acl", "", &list)
        .expect(200);
    soon(&world);
    bob.send(&world, &room, "denied").expect(200);
    world.run_for(Duration::from_secs(60));
    let before = world.request_count();
    world.cut(0, 1);
    world.heal(0, 1);
    world.run_for(Duration::from_secs(60));
    let asked = world.traffic().split_off(before);
    let names = |from: usize, what: &str| {
        let asked = asked.iter().filter(|asked| asked.from == names[from]);
        asked.filter(|asked| asked.request.contains(what)).count()
    };
    assert!(names(1, "/org.hearth/heads") > 0, "{asked:?}");
    assert_eq!(names(0, "/org.hearth/events"), 0, "{asked:?}");
}
