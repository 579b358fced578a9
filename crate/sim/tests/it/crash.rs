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
fn a_crash_at_any_step_of_a_send_loses_nothing_acknowledged_and_doubles_nothing() {
    let (mut world, clients, room) = world_with_room(30, 2);
    let (mut acknowledged, mut unanswered) = (Vec::new(), Vec::new());
    for steps in 0..24 {
        let message = format!("message {steps}");
        let mut sending = clients[0].begin_send(&world, &room, &message);
        world.run_steps(steps);
        world.restart(0);
        match sending.answer() {
            Some(answer) => {
                answer.expect(200);
                acknowledged.push(message);
            }
            None => unanswered.push(message),
        }
    }
    assert!(
        !acknowledged.is_empty() && !unanswered.is_empty(),
        "crashes came both early and late"
    );
    let stored = clients[0].messages(&world, &room);
    assert!(
        acknowledged.iter().all(|message| stored.contains(message)),
        "{acknowledged:?} {stored:?}"
    );
    // A client that got no answer asks again with the same transaction id.
    for message in &unanswered {
        clients[0].send(&world, &room, message).expect(200);
    }
    world.settle();
    let mut expected: Vec<String> = acknowledged.into_iter().chain(unanswered).collect();
    expected.sort();
    for client in &clients {
        let mut messages = client.messages(&world, &room);
        messages.sort();
        assert_eq!(messages, expected, "{}", client.user_id);
    }
}

#[test]
fn a_crash_of_the_receiver_at_any_step_loses_nothing() {
    let (mut world, clients, room) = world_with_room(31, 2);
    let mut sent = Vec::new();
    for steps in (0..60).step_by(3) {
        let message = format!("message {steps}");
        clients[0].send(&world, &room, &message).expect(200);
        sent.push(message);
        world.run_steps(steps);
        world.restart(1);
    }
    world.settle();
    assert_eq!(clients[1].messages(&world, &room), sent);
    same_state(&world, &clients, &room);
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
