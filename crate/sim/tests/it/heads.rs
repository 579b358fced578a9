//! Heads are compared: what was never sent, or could not be taken in, arrives all the same.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hearth_rooms::RoomVersion;
use hearth_sim::{Client, World};
use hearth_storage::{Direction, KeyRange, Table, WriteBatch};
use serde_json::{Value, json};

use crate::{
    extremities, membership,
    outsider::{Outsider, encode, json_of},
    same_state, soon, timeline, world, world_with_room,
};

const HEADS: &str = "/unstable/org.hearth/heads";

/// Forgets what waits to be sent by a server that is down.
fn lose_mail(world: &World, server: usize) -> usize {
    let store = world.server(server).store().clone();
    world.block_on(async move {
        let mail = KeyRange::prefix(b"o\0".as_slice());
        let rows = store
            .scan(Table::Federation, mail, Direction::Forward, 100)
            .await
            .unwrap();
        let mut batch = WriteBatch::new();
        for (key, _) in &rows {
            batch.delete(Table::Federation, key.clone());
        }
        store.commit(batch).await.unwrap();
        rows.len()
    })
}

#[test]
fn what_was_never_sent_is_fetched_after_reconnecting() {
    let (mut world, clients, room) = world_with_room(70, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    world.cut(0, 1);
    for text in ["first", "second", "third"] {
        alice.send(&world, &room, text).expect(200);
    }
    world.crash(0);
    assert_eq!(lose_mail(&world, 0), 3);
    world.start(0);
    world.settle();
    assert!(bob.messages(&world, &room).is_empty());
    world.heal(0, 1);
    world.run_for(Duration::from_secs(60));
    assert_eq!(bob.messages(&world, &room), ["first", "second", "third"]);
}

#[test]
fn comparing_is_one_request_for_all_rooms_where_nothing_differs() {
    let (world, clients, _) = world_with_room(71, 2);
    for _ in 0..5 {
        let room = clients[0].create_room(&world, &json!({"preset": "public_chat"}));
        clients[1]
            .join(&world, &room, &[world.server(0).name()])
            .expect(200);
    }
    world.settle();
    let before = world.request_count();
    world.cut(0, 1);
    for _ in 0..20 {
        world.heal(0, 1);
        world.run_for(Duration::from_secs(1));
    }
    world.settle();
    let asked = world.traffic().split_off(before);
    assert!(
        asked.iter().all(|asked| asked.request.contains(HEADS)),
        "{asked:?}"
    );
    // Each side asks soon after the first connection, and once more for all that came later.
    assert!(!asked.is_empty() && asked.len() <= 4, "{} requests", asked.len());
}

#[test]
fn an_event_whose_past_cannot_be_had_blocks_nobody_and_is_not_lost() {
    let (world, clients, room) = world_with_room(72, 3);
    let [alice, bob, carol] = &clients[..] else {
        panic!()
    };
    let other = carol.create_room(&world, &json!({"preset": "public_chat"}));
    bob.join(&world, &other, &[world.server(2).name()]).expect(200);
    world.settle();
    let is_ill = Arc::new(AtomicBool::new(true));
    let ill = is_ill.clone();
    world.stand_in(world.server(2).name(), move |path, _| {
        let of_past = ["get_missing_events", "state_ids", "event_auth", "backfill"];
        let refused = ill.load(Ordering::Relaxed) && of_past.iter().any(|part| path.contains(part));
        refused.then(|| (500, json!({"errcode": "M_UNKNOWN", "error": "ill"})))
    });
    // Alice's message reaches carol alone; carol's, which follows it, reaches bob.
    world.cut(0, 1);
    alice.send(&world, &room, "first").expect(200);
    soon(&world);
    let before = world.request_count();
    carol.send(&world, &room, "second").expect(200);
    carol.send(&world, &other, "elsewhere").expect(200);
    soon(&world);
    assert!(bob.messages(&world, &room).is_empty());
    assert_eq!(bob.messages(&world, &other), ["elsewhere"]);
    let sent = world.traffic().split_off(before);
    let own = world.server(2).name();
    let mut sent = sent
        .iter()
        .filter(|asked| asked.from == own && asked.request.contains("/send/"));
    assert!(sent.all(|asked| asked.status == Some(200)));
    is_ill.store(false, Ordering::Relaxed);
    world.run_for(Duration::from_secs(120));
    assert_eq!(bob.messages(&world, &room), ["first", "second"]);
}

#[test]
fn what_is_held_survives_a_restart() {
    let (mut world, clients, room) = world_with_room(73, 3);
    let is_ill = Arc::new(AtomicBool::new(true));
    let ill = is_ill.clone();
    world.stand_in(world.server(2).name(), move |path, _| {
        let is_send = path.contains("/send/");
        let refused = ill.load(Ordering::Relaxed) && !is_send;
        refused.then(|| (500, json!({"errcode": "M_UNKNOWN", "error": "ill"})))
    });
    world.cut(0, 1);
    clients[0].send(&world, &room, "first").expect(200);
    soon(&world);
    clients[2].send(&world, &room, "second").expect(200);
    soon(&world);
    world.restart(1);
    is_ill.store(false, Ordering::Relaxed);
    world.run_for(Duration::from_secs(120));
    assert_eq!(clients[1].messages(&world, &room), ["first", "second"]);
}

#[test]
fn a_server_hears_that_it_was_banned_while_it_joined_elsewhere() {
    let (world, clients) = world(74, 3);
    let [alice, bob, carol] = &clients[..] else {
        panic!()
    };
    let room = alice.create_room(&world, &json!({"preset": "public_chat"}));
    bob.join(&world, &room, &[world.server(0).name()]).expect(200);
    soon(&world);
    world.cut(0, 1);
    world.cut(0, 2);
    alice.ban(&world, &room, &carol.user_id).expect(200);
    carol.join(&world, &room, &[world.server(1).name()]).expect(200);
    carol.send(&world, &room, "here I am").expect(200);
    soon(&world);
    assert_eq!(membership(&world, bob, &room, carol).as_deref(), Some("join"));
    world.heal(0, 1);
    world.heal(0, 2);
    world.settle();
    for client in [alice, bob] {
        assert_eq!(membership(&world, client, &room, carol).as_deref(), Some("ban"));
    }
    carol.send(&world, &room, "still here").expect(403);
}

#[test]
fn what_somebody_says_whose_join_was_missed_is_heard() {
    let (world, clients) = world(75, 4);
    let [alice, bob, carol, dave] = &clients[..] else {
        panic!()
    };
    let room = alice.create_room(&world, &json!({"preset": "public_chat"}));
    dave.join(&world, &room, &[world.server(0).name()]).expect(200);
    soon(&world);
    // Bob joins through alice's server, far from carol, who joins through dave's: neither server hears of the other,
    // and carol's join is so much nearer to the beginning that bob's server takes it for history.
    for (one, other) in [(0, 3), (1, 2), (1, 3)] {
        world.cut(one, other);
    }
    for text in ["one", "two", "three"] {
        alice.send(&world, &room, text).expect(200);
    }
    bob.join(&world, &room, &[world.server(0).name()]).expect(200);
    carol.join(&world, &room, &[world.server(3).name()]).expect(200);
    soon(&world);
    world.cut(0, 1);
    world.heal(0, 3);
    soon(&world);
    carol.send(&world, &room, "here I am").expect(200);
    soon(&world);
    world.heal(0, 1);
    world.run_for(Duration::from_secs(60));
    let synced = bob.sync(&world, None);
    let told = timeline(&synced.body, &room);
    assert!(
        told.iter().any(|event| event["content"]["body"] == "here I am"),
        "{told:?}"
    );
    // What came before it is history, and is there as well when it is asked for.
    let history = bob.history(&world, &room);
    assert!(
        history
            .iter()
            .any(|event| event["state_key"] == carol.user_id.as_str())
    );
}

#[test]
fn a_server_that_comes_back_hears_of_the_ban_that_its_helper_had_missed() {
    let (world, clients, room) = world_with_room(76, 3);
    let [alice, bob, carol] = &clients[..] else {
        panic!()
    };
    world.cut(0, 1);
    alice.ban(&world, &room, &carol.user_id).expect(200);
    soon(&world);
    carol.send(&world, &room, "am I banned?").expect(403);
    // Bob has not heard of it and lets carol in, to whose server the ban is nothing new.
    world.cut(0, 2);
    carol.join(&world, &room, &[world.server(1).name()]).expect(200);
    carol.send(&world, &room, "no").expect(200);
    soon(&world);
    world.heal(0, 1);
    world.run_for(Duration::from_secs(60));
    for client in [alice, bob] {
        assert_eq!(membership(&world, client, &room, carol).as_deref(), Some("ban"));
    }
    carol.send(&world, &room, "still here").expect(403);
}

/// A room of alice's and bob's, each of a server of their own, and a message of mallory's, which says to be at `depth`
/// and is told to `servers`; then bob leaves and joins again.
fn known_before_bob_left(
    seed: u64,
    depth: Option<u64>,
    servers: &[usize],
) -> (World, Vec<Client>, String, Outsider, Value) {
    let (world, clients) = world(seed, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let room = alice.create_room(&world, &json!({"preset": "public_chat", "room_version": "12"}));
    bob.join(&world, &room, &[world.server(0).name()]).expect(200);
    let mallory = Outsider::new(77);
    let join = mallory.join(&world, &room);
    soon(&world);
    let state = alice.state(&world, &room);
    let id = |kind: &str, key: &str| {
        let entry = state.iter().find(|entry| entry.0 == kind && entry.1 == key);
        json!(entry.unwrap().2)
    };
    let own = id("m.room.member", &mallory.user_id);
    let depth = depth.unwrap_or(join["depth"].as_u64().unwrap() + 1);
    let known = mallory.sign(
        RoomVersion::V12,
        json!({
            "type": "m.room.message", "room_id": room, "sender": mallory.user_id, "depth": depth,
            "content": {"msgtype": "m.text", "body": "known"}, "origin_server_ts": 1_700_000_000_000_u64,
            "prev_events": [own], "auth_events": [id("m.room.power_levels", ""), own],
        }),
    );
    let known = json_of(&known);
    for server in servers {
        mallory
            .transaction_to(&world, *server, "1", vec![known.clone()])
            .expect(200);
    }
    bob.leave(&world, &room).expect(200);
    soon(&world);
    bob.join(&world, &room, &[world.server(0).name()]).expect(200);
    soon(&world);
    (world, clients, room, mallory, known)
}

#[test]
fn what_a_server_knew_before_it_left_does_not_wait_for_history() {
    let (world, clients, room, mallory, known) = known_before_bob_left(78, None, &[1]);
    let bob = &clients[1];
    let way = Duration::from_secs(20);
    world.set_delay(way, way);
    let path = format!(
        "/_matrix/client/v3/rooms/{}/messages?dir=b&limit=1000",
        encode(&room)
    );
    let _reading = world.begin(1, "GET", &path, Some(&bob.token), None);
    world.run_for(Duration::from_secs(1));
    assert!(world.is_talking(), "history is being fetched");
    let began = world.elapsed();
    mallory.transaction_to(&world, 1, "2", vec![known]).expect(200);
    assert!(world.elapsed() - began < Duration::from_secs(1));
}

#[test]
fn what_is_in_the_past_of_a_room_is_not_beside_it_however_deep_it_says_it_is() {
    let deepest = (1 << 53) - 1;
    let (world, _, room, mallory, known) = known_before_bob_left(79, Some(deepest), &[0, 1]);
    let heads = || extremities(&world, 1, &room);
    let before = heads();
    assert_eq!(before.len(), 1);
    mallory.transaction_to(&world, 1, "2", vec![known]).expect(200);
    assert_eq!(heads(), before);
}

#[test]
fn a_server_hears_that_branches_together_put_it_out_of_the_room() {
    let (world, clients) = world(77, 4);
    let [alice, bob, carol, dave] = &clients[..] else {
        panic!()
    };
    let room = alice.create_room(&world, &json!({"preset": "public_chat"}));
    bob.join(&world, &room, &[world.server(0).name()]).expect(200);
    soon(&world);
    // Carol joins through alice's server, and dave beside her through bob's. Then the room is closed.
    for (one, other) in [(0, 1), (0, 3), (1, 2), (2, 3)] {
        world.cut(one, other);
    }
    carol.join(&world, &room, &[world.server(0).name()]).expect(200);
    dave.join(&world, &room, &[world.server(1).name()]).expect(200);
    soon(&world);
    alice
        .set_state(
            &world,
            &room,
            "m.room.join_rules",
            "",
            &json!({"join_rule": "invite"}),
        )
        .expect(200);
    soon(&world);
    for (one, other) in [(0, 1), (0, 3), (1, 2), (2, 3)] {
        world.heal(one, other);
    }
    world.run_for(Duration::from_secs(180));
    // Where dave's join came before the closing, the two branches resolve to neither being in. To the others it came
    // after that, and they refuse it: they hear of what the branches come to from an event that follows both.
    for client in [alice, bob] {
        for gone in [carol, dave] {
            assert_eq!(membership(&world, client, &room, gone), None, "{}", gone.user_id);
        }
    }
    for gone in [carol, dave] {
        gone.send(&world, &room, "still here").expect(403);
    }
    same_state(&world, &[alice.clone(), bob.clone()], &room);
}

#[test]
fn who_came_in_beside_the_last_word_of_a_server_hears_of_it_though_nobody_speaks() {
    let (world, clients) = world(82, 3);
    let [alice, bob, carol] = &clients[..] else {
        panic!()
    };
    let room = alice.create_room(&world, &json!({"preset": "public_chat"}));
    bob.join(&world, &room, &[world.server(0).name()]).expect(200);
    soon(&world);
    world.cut(0, 1);
    world.cut(0, 2);
    carol.join(&world, &room, &[world.server(1).name()]).expect(200);
    alice.leave(&world, &room).expect(200);
    world.settle();
    assert_eq!(membership(&world, carol, &room, alice).as_deref(), Some("join"));
    // Who left has mail for bob's server alone.
    world.heal(0, 1);
    world.settle();
    for client in [bob, carol] {
        assert_eq!(membership(&world, client, &room, alice).as_deref(), Some("leave"));
    }
}
