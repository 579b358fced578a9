//! What a server knows of history that it was not there for: relations, words, and what happened when.

use std::time::Duration;

use hearth_sim::{Answer, Client, World};
use serde_json::{Value, json};

use crate::{soon, world};

const ROOMS: &str = "/_matrix/client/v3/rooms";
const V1: &str = "/_matrix/client/v1/rooms";

fn request(world: &World, client: &Client, method: &str, path: &str, body: Option<&Value>) -> Answer {
    world.request(client.server, method, path, Some(&client.token), body)
}

fn get(world: &World, client: &Client, path: &str) -> Answer {
    request(world, client, "GET", path, None)
}

fn send(world: &World, client: &Client, room: &str, txn: &str, content: &Value) -> String {
    let path = format!("{ROOMS}/{room}/send/m.room.message/{txn}");
    let answer = request(world, client, "PUT", &path, Some(content));
    answer.expect(200)["event_id"].as_str().unwrap().to_owned()
}

fn text(body: &str) -> Value {
    json!({"msgtype": "m.text", "body": body})
}

fn in_thread(root: &str, body: &str) -> Value {
    json!({"msgtype": "m.text", "body": body, "m.relates_to": {"rel_type": "m.thread", "event_id": root}})
}

/// The event closest to a moment.
fn closest(world: &World, client: &Client, room: &str, ts: u64, direction: char) -> (u16, Value) {
    let answer = get(
        world,
        client,
        &format!("{V1}/{room}/timestamp_to_event?ts={ts}&dir={direction}"),
    );
    (answer.status, answer.body.clone())
}

fn found(world: &World, client: &Client, word: &str) -> usize {
    let body = json!({"search_categories": {"room_events": {"search_term": word}}});
    let answer = request(world, client, "POST", "/_matrix/client/v3/search", Some(&body));
    let found = &answer.expect(200)["search_categories"]["room_events"];
    found["results"].as_array().unwrap().len()
}

fn bundle(world: &World, client: &Client, room: &str, event_id: &str) -> Value {
    let answer = get(world, client, &format!("{ROOMS}/{room}/event/{event_id}"));
    answer.expect(200)["unsigned"]["m.relations"].clone()
}

#[test]
fn history_is_asked_of_who_is_likely_to_have_it() {
    let (world, mut clients) = world(61, 7);
    // In the order of their names, the one who has all would be the last to be asked.
    clients.sort_by_key(|client| world.server(client.server).name().to_owned());
    let [newcomer, late @ .., first] = &clients[..] else {
        panic!()
    };
    let room = first.create_room(&world, &json!({"preset": "public_chat"}));
    first.send(&world, &room, "before all others").expect(200);
    for client in late {
        client
            .join(&world, &room, &[world.server(first.server).name()])
            .expect(200);
    }
    soon(&world);
    let through = world.server(late[0].server).name();
    newcomer.join(&world, &room, &[through]).expect(200);
    soon(&world);
    assert_eq!(newcomer.messages(&world, &room), ["before all others"]);
}

#[test]
fn history_from_before_the_join_is_read_like_any_other() {
    let (world, clients) = world(51, 2);
    let (alice, bob) = (&clients[0], &clients[1]);
    let room = alice.create_room(&world, &json!({"preset": "public_chat"}));
    let root = send(&world, alice, &room, "root", &text("the root of it"));
    let child = send(&world, alice, &room, "child", &in_thread(&root, "a leaf"));
    let mut times = Vec::new();
    for number in 0..150 {
        world.run_for(Duration::from_secs(60));
        let event_id = send(
            &world,
            alice,
            &room,
            &number.to_string(),
            &text(&format!("minute{number}")),
        );
        let event = get(&world, alice, &format!("{ROOMS}/{room}/event/{event_id}"));
        times.push((event_id, event.expect(200)["origin_server_ts"].as_u64().unwrap()));
    }
    world.run_for(Duration::from_secs(60));
    bob.join(&world, &room, &[world.server(0).name()]).expect(200);
    soon(&world);
    assert_eq!(found(&world, bob, "minute20"), 0, "it is not held yet");
    let (event_id, ts) = &times[20];
    for client in [alice, bob] {
        for (moment, direction) in [(ts - 1, 'f'), (*ts, 'f'), (*ts, 'b'), (ts + 1, 'b')] {
            let (status, body) = closest(&world, client, &room, moment, direction);
            assert_eq!(
                (status, &body["event_id"]),
                (200, &json!(event_id)),
                "{moment} {direction}"
            );
            assert_eq!(body["origin_server_ts"], *ts);
        }
        assert_eq!(closest(&world, client, &room, 1, 'b').0, 404);
        assert_eq!(
            closest(&world, client, &room, u64::from(u32::MAX) << 16, 'f').0,
            404
        );
    }
    // The first search after it puts history into the index.
    assert_eq!(found(&world, bob, "minute20"), 1);
    let first = closest(&world, bob, &room, 1, 'f').1;
    assert_eq!(
        first,
        closest(&world, alice, &room, 1, 'f').1,
        "the room's creation"
    );
    assert_eq!(bundle(&world, bob, &room, &root)["m.thread"]["count"], 1);
    let latest = &bundle(&world, bob, &room, &root)["m.thread"]["latest_event"];
    assert_eq!(latest["event_id"], child.as_str());
    send(&world, bob, &room, "reply", &in_thread(&root, "another leaf"));
    soon(&world);
    for client in [alice, bob] {
        let threads = get(&world, client, &format!("{V1}/{room}/threads"));
        let thread = &threads.expect(200)["chunk"][0]["unsigned"]["m.relations"]["m.thread"];
        assert_eq!(
            (&thread["count"], &thread["latest_event"]["content"]["body"]),
            (&json!(2), &json!("another leaf"))
        );
        assert_eq!(found(&world, client, "leaf"), 2);
    }
    request(
        &world,
        alice,
        "PUT",
        &format!("{ROOMS}/{room}/redact/{child}/gone"),
        Some(&json!({})),
    )
    .expect(200);
    soon(&world);
    for client in [alice, bob] {
        assert_eq!(bundle(&world, client, &room, &root)["m.thread"]["count"], 1);
        assert_eq!(found(&world, client, "leaf"), 1);
    }
}

#[test]
fn of_what_is_found_in_several_rooms_the_newest_comes_first() {
    let (world, clients) = world(44, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let options = json!({"preset": "public_chat"});
    let (theirs, own) = (
        alice.create_room(&world, &options),
        bob.create_room(&world, &options),
    );
    for number in 0..6 {
        let (client, room) = [(bob, &own), (alice, &theirs)][number % 2];
        client.send(&world, room, &format!("word {number}")).expect(200);
        soon(&world);
    }
    // What was said there before is history to bob, and has places before all that he knew.
    bob.join(&world, &theirs, &[world.server(0).name()]).expect(200);
    assert_eq!(bob.messages(&world, &theirs).len(), 3);
    soon(&world);
    let (mut query, mut found) = (String::new(), Vec::new());
    loop {
        let wanted = json!({"search_term": "word", "order_by": "recent", "filter": {"limit": 4}});
        let body = json!({"search_categories": {"room_events": wanted}});
        let path = format!("/_matrix/client/v3/search{query}");
        let answer = request(&world, bob, "POST", &path, Some(&body));
        let page = answer.expect(200)["search_categories"]["room_events"].clone();
        let results = page["results"].as_array().unwrap().iter();
        found.extend(results.map(|one| one["result"]["content"]["body"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_batch"].as_str() else {
            break;
        };
        query = format!("?next_batch={next}");
    }
    let expected: Vec<_> = (0..6).rev().map(|number| format!("word {number}")).collect();
    assert_eq!(found, expected);
}
