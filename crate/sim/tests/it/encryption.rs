//! Keys and messages of devices between servers: over links that are cut, through restarts, and sent twice.

use std::collections::BTreeSet;

use hearth_sim::{Client, World};
use serde_json::{Value, json};

use crate::{
    outsider::{Outsider, encode},
    soon, world, world_with_room,
};

/// The device of a client.
fn device(world: &World, client: &Client) -> String {
    let who = client.get(world, "/account/whoami");
    who.expect(200)["device_id"].as_str().unwrap().to_owned()
}

/// Uploads identity keys whose signatures nobody checks, and `count` one-time keys.
fn upload(world: &World, client: &Client, key: &str, count: usize) {
    let (user_id, device_id) = (&client.user_id, device(world, client));
    let one_time: serde_json::Map<_, _> = (0..count)
        .map(|number| {
            (
                format!("signed_curve25519:{number}"),
                json!({"key": format!("{key}{number}"), "signatures": {}}),
            )
        })
        .collect();
    let body = json!({
        "device_keys": {
            "user_id": user_id, "device_id": device_id, "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
            "keys": {format!("ed25519:{device_id}"): key}, "signatures": {user_id: {}},
        },
        "one_time_keys": one_time,
    });
    client.post(world, "/keys/upload", &body).expect(200);
}

/// What `client` gets to know of the keys of `other`.
fn query(world: &World, client: &Client, other: &Client) -> Value {
    let body = json!({"device_keys": {&other.user_id: []}, "timeout": 5000});
    client.post(world, "/keys/query", &body).expect(200).clone()
}

/// The identity keys of the devices of `other`, as `client` gets to know them.
fn keys_of(world: &World, client: &Client, other: &Client) -> Vec<String> {
    let answer = query(world, client, other);
    let devices = answer["device_keys"][&other.user_id].as_object().cloned();
    devices
        .unwrap_or_default()
        .into_iter()
        .map(|(device_id, keys)| {
            keys["keys"][format!("ed25519:{device_id}")]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

fn claim(world: &World, client: &Client, other: &Client, device_id: &str) -> Value {
    let body = json!({"one_time_keys": {&other.user_id: {device_id: "signed_curve25519"}}});
    let answer = client.post(world, "/keys/claim", &body);
    answer.expect(200)["one_time_keys"][&other.user_id][device_id].clone()
}

fn send(world: &World, from: &Client, to: &Client, text: &str) {
    let body = json!({"messages": {&to.user_id: {"*": {"text": text}}}});
    from.put(world, &format!("/sendToDevice/m.test/{}", encode(text)), &body)
        .expect(200);
}

/// The texts of the messages in an answer to `/sync`.
fn messages(sync: &Value) -> Vec<String> {
    let events = sync["to_device"]["events"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    events
        .iter()
        .map(|event| event["content"]["text"].as_str().unwrap().to_owned())
        .collect()
}

/// All messages that wait for the client.
fn received(world: &World, client: &Client) -> Vec<String> {
    let (mut texts, mut since) = (Vec::new(), None::<String>);
    loop {
        let sync = client.sync(world, since.as_deref());
        let news = messages(sync.expect(200));
        if news.is_empty() && since.is_some() {
            return texts;
        }
        texts.extend(news);
        since = sync["next_batch"].as_str().map(str::to_owned);
    }
}

/// Whose devices changed, as an answer to `/sync` tells.
fn changed(sync: &Value) -> BTreeSet<String> {
    let users = sync["device_lists"]["changed"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    users
        .iter()
        .filter_map(|user| Some(user.as_str()?.to_owned()))
        .collect()
}

/// How often `path` was asked for between servers.
fn asked(world: &World, path: &str) -> usize {
    let traffic = world.traffic().into_iter();
    traffic.filter(|traffic| traffic.request.contains(path)).count()
}

#[test]
fn keys_of_other_servers_users_are_asked_for_once_and_kept_current() {
    let (world, clients, _) = world_with_room(300, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    upload(&world, bob, "first", 0);
    soon(&world);
    for _ in 0..3 {
        assert_eq!(keys_of(&world, alice, bob), ["first"]);
    }
    assert_eq!(asked(&world, "/user/devices/"), 1);
    let before = alice.sync(&world, None);
    upload(&world, bob, "second", 0);
    soon(&world);
    let after = alice.sync(&world, before["next_batch"].as_str());
    assert!(changed(after.expect(200)).contains(&bob.user_id));
    assert_eq!(keys_of(&world, alice, bob), ["second"]);
    assert_eq!(asked(&world, "/user/devices/"), 1, "the update brought the keys");
}

#[test]
fn keys_of_strangers_are_not_kept() {
    let (world, clients) = world(301, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    upload(&world, bob, "first", 0);
    assert_eq!(keys_of(&world, alice, bob), ["first"]);
    upload(&world, bob, "second", 0);
    assert_eq!(keys_of(&world, alice, bob), ["second"]);
    assert_eq!(asked(&world, "/user/keys/query"), 2);
}

#[test]
fn a_list_is_asked_for_again_after_the_servers_had_parted() {
    let (world, clients, room) = world_with_room(302, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    upload(&world, bob, "first", 0);
    soon(&world);
    assert_eq!(keys_of(&world, alice, bob), ["first"]);
    let before = alice.sync(&world, None);
    bob.leave(&world, &room).expect(200);
    soon(&world);
    let apart = alice.sync(&world, before["next_batch"].as_str());
    assert_eq!(apart["device_lists"]["left"], json!([bob.user_id]));
    upload(&world, bob, "second", 0);
    soon(&world);
    bob.join(&world, &room, &[world.server(0).name()]).expect(200);
    soon(&world);
    let again = alice.sync(&world, apart["next_batch"].as_str());
    assert!(changed(again.expect(200)).contains(&bob.user_id));
    assert_eq!(keys_of(&world, alice, bob), ["second"]);
}

#[test]
fn updates_wait_for_a_server_that_is_away_and_for_restarts() {
    let (mut world, clients, _) = world_with_room(303, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    upload(&world, bob, "first", 0);
    soon(&world);
    assert_eq!(keys_of(&world, alice, bob), ["first"]);
    let before = alice.sync(&world, None);
    world.crash(0);
    upload(&world, bob, "second", 0);
    upload(&world, bob, "third", 0);
    send(&world, bob, alice, "hello");
    soon(&world);
    world.restart(1);
    soon(&world);
    world.start(0);
    soon(&world);
    let after = alice.sync(&world, before["next_batch"].as_str());
    assert!(changed(after.expect(200)).contains(&bob.user_id));
    assert_eq!(messages(after.expect(200)), ["hello"]);
    assert_eq!(keys_of(&world, alice, bob), ["third"]);
    assert_eq!(asked(&world, "/user/devices/"), 1, "nothing was missed");
}

#[test]
fn a_missed_update_is_noticed_and_repaired() {
    let (world, clients, room) = world_with_room(304, 3);
    let [alice, bob, _] = &clients[..] else { panic!() };
    upload(&world, bob, "first", 0);
    soon(&world);
    assert_eq!(keys_of(&world, alice, bob), ["first"]);
    // A second room, in which alice is not: what is sent while they share none does not reach her server.
    let other = bob.create_room(&world, &json!({"preset": "public_chat"}));
    clients[2]
        .join(&world, &other, &[world.server(1).name()])
        .expect(200);
    soon(&world);
    world.cut(0, 1);
    bob.leave(&world, &room).expect(200);
    upload(&world, bob, "missed", 0);
    bob.join(&world, &room, &[world.server(2).name()]).expect(200);
    upload(&world, bob, "third", 0);
    world.settle();
    world.heal(0, 1);
    world.settle();
    assert_eq!(keys_of(&world, alice, bob), ["third"]);
}

#[test]
fn a_server_that_cannot_be_reached_is_a_failure_and_its_last_keys_are_told() {
    let (world, clients, _) = world_with_room(305, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    upload(&world, bob, "first", 1);
    soon(&world);
    world.cut(0, 1);
    let answer = query(&world, alice, bob);
    assert!(answer["failures"][world.server(1).name()].is_object(), "{answer}");
    assert_eq!(answer["device_keys"], json!({}));
    let body = json!({"one_time_keys": {&bob.user_id: {"X": "signed_curve25519"}}});
    let answer = alice.post(&world, "/keys/claim", &body);
    assert!(answer.expect(200)["failures"][world.server(1).name()].is_object());
    world.heal(0, 1);
    soon(&world);
    assert_eq!(keys_of(&world, alice, bob), ["first"]);
    world.cut(0, 1);
    assert_eq!(keys_of(&world, alice, bob), ["first"]);
}

#[test]
fn no_one_time_key_is_given_away_twice_whenever_the_server_crashes() {
    let (mut world, clients) = world(306, 3);
    let [alice, bob, carol] = &clients[..] else {
        panic!()
    };
    upload(&world, bob, "key", 40);
    let device_id = device(&world, bob);
    let mut given = Vec::new();
    for steps in 0..30 {
        let body = json!({"one_time_keys": {&bob.user_id: {&device_id: "signed_curve25519"}}}).to_string();
        let body = serde_json::from_str(&body).unwrap();
        let path = "/_matrix/client/v3/keys/claim";
        let mut claiming = world.begin(alice.server, "POST", path, Some(&alice.token), Some(&body));
        world.run_steps(steps);
        world.restart(1);
        soon(&world);
        let answer = claiming.answer().map(|answer| answer.body).unwrap_or_default();
        given.push(answer["one_time_keys"][&bob.user_id][&device_id].clone());
        given.push(claim(&world, carol, bob, &device_id));
    }
    given.retain(|key| !key.is_null());
    let distinct: BTreeSet<String> = given.iter().map(Value::to_string).collect();
    assert_eq!(distinct.len(), given.len());
    assert!(given.len() > 30, "{}", given.len());
}

#[test]
fn messages_arrive_once_and_in_order_whichever_server_crashes() {
    for (seed, crashing) in [(307, 0), (308, 1)] {
        let (mut world, clients) = world(seed, 2);
        let [alice, bob] = &clients[..] else { panic!() };
        let mut sent = Vec::new();
        for steps in (0..60).step_by(3) {
            let text = format!("message {steps}");
            send(&world, alice, bob, &text);
            sent.push(text);
            world.run_steps(steps);
            world.restart(crashing);
        }
        world.settle();
        assert_eq!(received(&world, bob), sent, "crashing {crashing}");
        assert_eq!(received(&world, bob), [""; 0]);
    }
}

#[test]
fn a_repeated_request_sends_nothing() {
    let (mut world, clients) = world(309, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    send(&world, alice, bob, "once");
    world.restart(0);
    send(&world, alice, bob, "once");
    world.settle();
    assert_eq!(received(&world, bob), ["once"]);
}

#[test]
fn many_messages_wait_for_a_server_that_is_away() {
    let (world, clients) = world(310, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    world.cut(0, 1);
    let sent: Vec<String> = (0..230).map(|number| number.to_string()).collect();
    for text in &sent {
        send(&world, alice, bob, text);
    }
    world.settle();
    assert_eq!(received(&world, bob), [""; 0]);
    world.heal(0, 1);
    soon(&world);
    assert_eq!(received(&world, bob), sent);
}

#[test]
fn large_messages_wait_for_a_server_that_is_away() {
    let (world, clients, room) = world_with_room(313, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    world.cut(0, 1);
    let padding = "x".repeat(60_000);
    let sent: Vec<String> = (0..40).map(|number| format!("{number} {padding}")).collect();
    for (number, text) in sent.iter().enumerate() {
        let body = json!({"messages": {&bob.user_id: {"*": {"text": text}}}});
        alice
            .put(&world, &format!("/sendToDevice/m.test/{number}"), &body)
            .expect(200);
        alice.send(&world, &room, text).expect(200);
    }
    world.settle();
    world.heal(0, 1);
    world.settle();
    assert!(received(&world, bob) == sent);
}

#[test]
fn a_request_for_many_devices_arrives() {
    let (world, clients) = world(314, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let mut contents: serde_json::Map<_, _> = (0..2_000)
        .map(|number| (format!("D{number}"), json!({"text": "other"})))
        .collect();
    contents.insert("*".into(), json!({"text": "hello"}));
    let body = json!({"messages": {&bob.user_id: contents}});
    alice.put(&world, "/sendToDevice/m.test/1", &body).expect(200);
    soon(&world);
    assert_eq!(received(&world, bob), ["hello"]);
}

#[test]
fn no_answer_holds_more_than_a_megabyte_of_messages_and_none_is_larger_than_ours() {
    let (world, clients) = world(315, 1);
    let (alice, mallory) = (&clients[0], Outsider::new(9));
    // Of strangers not so much is taken.
    let room = alice.create_room(&world, &json!({"preset": "public_chat"}));
    mallory.join(&world, &room);
    let edu = |number: usize, bytes: usize| {
        json!({"edu_type": "m.direct_to_device", "content": {
            "sender": mallory.user_id, "type": "m.test", "message_id": number.to_string(),
            "messages": {&alice.user_id: {"*": {"text": format!("{number} {}", "x".repeat(bytes))}}},
        }})
    };
    let mut edus: Vec<_> = (0..50).map(|number| edu(number, 60_000)).collect();
    edus.push(edu(50, 70_000));
    let transaction = json!({
        "origin": mallory.identity.server_name(), "origin_server_ts": 1, "pdus": [], "edus": edus,
    });
    mallory
        .ask(&world, "PUT", "/_matrix/federation/v1/send/1", Some(transaction))
        .expect(200);
    let (mut told, mut since) = (0, None::<String>);
    loop {
        let sync = alice.sync(&world, since.as_deref());
        let news = messages(sync.expect(200));
        if news.is_empty() {
            break;
        }
        assert!(news.iter().map(String::len).sum::<usize>() < 1024 * 1024);
        for text in news {
            assert!(text.starts_with(&format!("{told} ")));
            told += 1;
        }
        since = sync["next_batch"].as_str().map(str::to_owned);
    }
    assert_eq!(told, 50);
}

#[test]
fn cross_signing_keys_reach_the_other_server() {
    let (world, clients, _) = world_with_room(311, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let key = |usage: &str, public: &str| json!({"user_id": bob.user_id, "usage": [usage], "keys": {format!("ed25519:{public}"): public}});
    upload(&world, bob, "first", 0);
    soon(&world);
    assert_eq!(query(&world, alice, bob)["master_keys"], json!({}));
    let before = alice.sync(&world, None);
    let body = json!({"master_key": key("master", "public")});
    bob.post(&world, "/keys/device_signing/upload", &body).expect(200);
    soon(&world);
    let after = alice.sync(&world, before["next_batch"].as_str());
    assert!(changed(after.expect(200)).contains(&bob.user_id));
    let found = query(&world, alice, bob);
    assert_eq!(found["master_keys"][&bob.user_id], key("master", "public"));
    assert_eq!(found["user_signing_keys"], json!({}));
}

#[test]
fn a_deleted_device_is_gone_everywhere() {
    let (world, clients, _) = world_with_room(312, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    upload(&world, bob, "first", 0);
    soon(&world);
    assert_eq!(keys_of(&world, alice, bob), ["first"]);
    let before = alice.sync(&world, None);
    bob.post(&world, "/logout", &json!({})).expect(200);
    soon(&world);
    let after = alice.sync(&world, before["next_batch"].as_str());
    assert!(changed(after.expect(200)).contains(&bob.user_id));
    assert_eq!(keys_of(&world, alice, bob), [""; 0]);
}
