//! Random episodes: whatever the order of sends, changes, cuts, heals and crashes, all end up with the same room.

use std::collections::BTreeSet;

use hearth_sim::{Client, Traffic, World};
use serde_json::json;

use crate::{same_state, world_with_room};

/// One random thing that happens in an episode. Sent messages are noted if the server said yes.
fn happen(world: &mut World, clients: &[Client], room: &str, step: usize, sent: &mut BTreeSet<String>) {
    let servers = clients.len();
    let (one, other) = (world.random(servers), world.random(servers));
    let client = &clients[one];
    match world.random(10) {
        0..5 => {
            let message = format!("message {step}");
            if client.send(world, room, &message).status == 200 {
                sent.insert(message);
            }
        }
        5 => {
            let _ = client.set_state(world, room, "m.room.topic", "", &json!({"topic": step}));
        }
        6 if one != other => world.cut(one, other),
        7 if one != other && world.is_cut(one, other) => world.heal(one, other),
        8 => world.restart(one),
        _ => world.run_for(std::time::Duration::from_millis(500)),
    }
}

/// Runs an episode; returns what the servers said to each other, and what is in the room at the end.
fn episode(seed: u64, servers: usize, steps: usize) -> (Vec<Traffic>, Vec<(String, String, String)>) {
    let (mut world, clients, room) = world_with_room(seed, servers);
    let levels = json!({"events": {"m.room.topic": 0}});
    let answer = clients[0].set_state(&world, &room, "m.room.power_levels", "", &levels);
    answer.expect(200);
    crate::soon(&world);
    let mut sent = BTreeSet::new();
    for step in 0..steps {
        happen(&mut world, &clients, &room, step, &mut sent);
    }
    for a in 0..servers {
        for b in 0..a {
            world.heal(a, b);
        }
    }
    world.settle();
    clients[0].send(&world, &room, "the end").expect(200);
    sent.insert("the end".into());
    world.settle();
    for client in &clients {
        let messages = client.messages(&world, &room);
        let distinct: BTreeSet<String> = messages.iter().cloned().collect();
        assert_eq!(
            messages.len(),
            distinct.len(),
            "seed {seed}: {} sees doubles",
            client.user_id
        );
        assert_eq!(distinct, sent, "seed {seed}: {}", client.user_id);
    }
    (world.traffic(), same_state(&world, &clients, &room))
}

#[test]
fn random_episodes_converge() {
    for seed in 100..103 {
        episode(seed, 3, 30);
    }
}

#[test]
fn a_seed_replays_exactly() {
    let (first, second) = (episode(7, 3, 20), episode(7, 3, 20));
    let parted = first.0.iter().zip(&second.0).find(|(one, other)| one != other);
    assert_eq!(parted, None, "the first request that differs");
    assert_eq!(first, second);
}
