//! Servers that are killed and start again from their stores.

use serde_json::json;

use crate::{same_state, soon, world_with_room};

#[test]
fn a_restart_loses_nothing() {
    let (mut world, clients, room) = world_with_room(20, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    alice.send(&world, &room, "one").expect(200);
    bob.send(&world, &room, "two").expect(200);
    soon(&world);
    let before = (alice.state(&world, &room), alice.history(&world, &room).len());
    world.restart(0);
    world.restart(1);
    assert_eq!(
        (alice.state(&world, &room), alice.history(&world, &room).len()),
        before
    );
    assert_eq!(alice.messages(&world, &room).len(), 2);
    alice.send(&world, &room, "three").expect(200);
    bob.send(&world, &room, "four").expect(200);
    soon(&world);
    assert_eq!(bob.messages(&world, &room).len(), 4);
    same_state(&world, &clients, &room);
}

#[test]
fn what_was_queued_for_a_server_survives_a_restart_of_both() {
    let (mut world, clients, room) = world_with_room(21, 2);
    world.crash(1);
    clients[0].send(&world, &room, "for bob").expect(200);
    soon(&world);
    world.restart(0);
    soon(&world);
    world.start(1);
    soon(&world);
    assert_eq!(clients[1].messages(&world, &room), ["for bob"]);
}

#[test]
fn nothing_acknowledged_is_missing_after_a_crash_at_any_moment() {
    for seed in 30..36 {
        let (mut world, clients, room) = world_with_room(seed, 2);
        let mut acknowledged = Vec::new();
        for n in 0..6 {
            let message = format!("message {n}");
            clients[0].send(&world, &room, &message).expect(200);
            acknowledged.push(message);
            if world.random(2) == 0 {
                let server = world.random(2);
                world.restart(server);
            }
        }
        world.settle();
        assert_eq!(clients[0].messages(&world, &room), acknowledged);
        assert_eq!(clients[1].messages(&world, &room), acknowledged, "seed {seed}");
    }
}

#[test]
fn a_repeated_send_after_a_restart_is_the_same_event() {
    let (mut world, clients, room) = world_with_room(22, 2);
    let first = clients[0].send(&world, &room, "once");
    world.restart(0);
    let again = clients[0].send(&world, &room, "once");
    assert_eq!(first.expect(200), again.expect(200));
    soon(&world);
    assert_eq!(clients[1].messages(&world, &room), ["once"]);
    let topic = json!({"topic": "x"});
    clients[0]
        .set_state(&world, &room, "m.room.topic", "", &topic)
        .expect(200);
}
