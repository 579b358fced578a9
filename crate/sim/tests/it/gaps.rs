//! Events that a server missed, as clients learn of them that already sync.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hearth_sim::{Client, World};
use serde_json::{Value, json};

use crate::{outsider::encode, soon, timeline, world_with_room};

/// More than are asked for with `get_missing_events`.
const MISSED: usize = 120;

/// The first of three servers sends what only the third one gets, and the second one the last of.
fn miss(world: &World, clients: &[Client], room: &str) -> Vec<String> {
    world.cut(0, 1);
    let mut sent: Vec<String> = (0..MISSED).map(|n| format!("{n}")).collect();
    for message in &sent {
        clients[0].send(world, room, message).expect(200);
    }
    soon(world);
    clients[2].send(world, room, "after").expect(200);
    soon(world);
    sent.push("after".into());
    sent
}

/// The text of the messages among `events`.
fn texts<'a>(events: impl IntoIterator<Item = &'a Value>) -> Vec<String> {
    let bodies = events
        .into_iter()
        .filter_map(|event| event["content"]["body"].as_str());
    bodies.map(str::to_owned).collect()
}

/// What a client learns that has synced up to `since`, if it has: by `/sync` and, where that is limited, by paging back
/// to where it was. Returns the texts, oldest first, and how many of them came by `/sync`.
fn catch_up(world: &World, client: &Client, room: &str, since: Option<&str>) -> (Vec<String>, usize) {
    let filter = encode(&json!({"room": {"timeline": {"limit": 1000}}}).to_string());
    let parameter = |name: &str| since.map_or(String::new(), |since| format!("&{name}={}", encode(since)));
    let path = format!("/sync?timeout=0&filter={filter}{}", parameter("since"));
    let sync = client.get(world, &path);
    let told = texts(&timeline(sync.expect(200), room));
    let by_sync = told.len();
    let part = &sync["rooms"]["join"][room]["timeline"];
    let mut newest_first: Vec<String> = told.into_iter().rev().collect();
    let mut from = (part["limited"] == true).then(|| part["prev_batch"].clone());
    while let Some(token) = from.as_ref().and_then(Value::as_str) {
        let (room, token, to) = (encode(room), encode(token), parameter("to"));
        let path = format!("/rooms/{room}/messages?dir=b&limit=30&from={token}{to}");
        let page = client.get(world, &path);
        newest_first.extend(texts(page.expect(200)["chunk"].as_array().unwrap()));
        from = Some(page["end"].clone()).filter(|end| !end.is_null());
    }
    (newest_first.into_iter().rev().collect(), by_sync)
}

/// What a client reads that goes on from `since`.
fn read_on(world: &World, client: &Client, room: &str, since: &str) -> Vec<String> {
    let (room, since) = (encode(room), encode(since));
    let page = client.get(
        world,
        &format!("/rooms/{room}/messages?dir=f&limit=1000&from={since}"),
    );
    texts(page.expect(200)["chunk"].as_array().unwrap())
}

/// Lets the third server give no history as long as the flag is set.
fn refuse_history(world: &World) -> Arc<AtomicBool> {
    let refuses = Arc::new(AtomicBool::new(true));
    let flag = refuses.clone();
    world.stand_in(world.server(2).name(), move |path, _| {
        let is_refused = path.contains("/backfill/") && flag.load(Ordering::Relaxed);
        is_refused.then(|| (500, json!({"errcode": "M_UNKNOWN", "error": "not now"})))
    });
    refuses
}

fn since(world: &World, client: &Client) -> String {
    client.sync(world, None)["next_batch"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn who_syncs_is_told_of_a_gap_and_pages_back_over_it() {
    let (world, clients, room) = world_with_room(30, 3);
    let before = since(&world, &clients[1]);
    let sent = miss(&world, &clients, &room);
    let (learned, by_sync) = catch_up(&world, &clients[1], &room, Some(&before));
    assert_eq!(learned, sent);
    assert!(by_sync < 60, "{by_sync} of {MISSED} followed without a gap");
    assert_eq!(
        catch_up(&world, &clients[1], &room, None),
        (sent.clone(), by_sync)
    );
    assert_eq!(clients[1].messages(&world, &room), sent);
    // The link is back: all that was missed comes once more, and is no news.
    let now = since(&world, &clients[1]);
    world.heal(0, 1);
    soon(&world);
    assert_eq!(catch_up(&world, &clients[1], &room, Some(&now)), (Vec::new(), 0));
    assert_eq!(clients[1].messages(&world, &room), sent);
}

#[test]
fn a_gap_that_nobody_could_fill_is_filled_when_somebody_reads() {
    let (world, clients, room) = world_with_room(31, 3);
    let before = since(&world, &clients[1]);
    let refuses = refuse_history(&world);
    let sent = miss(&world, &clients, &room);
    let (learned, by_sync) = catch_up(&world, &clients[1], &room, Some(&before));
    assert_eq!(learned.len(), by_sync, "nobody gives what is missing");
    assert_eq!(learned, sent[sent.len() - by_sync..]);
    refuses.store(false, Ordering::Relaxed);
    assert_eq!(catch_up(&world, &clients[1], &room, Some(&before)).0, sent);
    assert_eq!(read_on(&world, &clients[1], &room, &before), sent);
}

#[test]
fn who_reads_forward_comes_over_a_gap_that_nobody_had_filled() {
    let (world, clients, room) = world_with_room(32, 3);
    let before = since(&world, &clients[1]);
    let refuses = refuse_history(&world);
    let sent = miss(&world, &clients, &room);
    refuses.store(false, Ordering::Relaxed);
    assert_eq!(read_on(&world, &clients[1], &room, &before), sent);
}

/// What is around the event whose text is `text`: the texts before and after it, and where to go on.
fn context(world: &World, client: &Client, room: &str, text: &str) -> [(Vec<String>, String); 2] {
    let sync = client.sync(world, None);
    let told = timeline(sync.expect(200), room);
    let history = client.history(world, room);
    let mut all = told.iter().chain(&history);
    let event = all.find(|event| event["content"]["body"] == text).unwrap();
    let (room, id) = (encode(room), encode(event["event_id"].as_str().unwrap()));
    let around = client.get(world, &format!("/rooms/{room}/context/{id}?limit=1000"));
    let around = around.expect(200);
    [("events_before", "start"), ("events_after", "end")].map(|(events, token)| {
        let texts = texts(around[events].as_array().unwrap());
        (texts, around[token].as_str().unwrap().to_owned())
    })
}

#[test]
fn what_is_closest_to_a_moment_may_lie_in_a_gap() {
    for direction in ["f", "b"] {
        let (world, clients, room) = world_with_room(36, 3);
        let refuses = refuse_history(&world);
        let sent = miss(&world, &clients, &room);
        let history = clients[0].history(&world, &room);
        let wanted = history
            .iter()
            .find(|event| event["content"]["body"] == sent[20].as_str());
        let ts = &wanted.unwrap()["origin_server_ts"];
        refuses.store(false, Ordering::Relaxed);
        let path = format!(
            "/_matrix/client/v1/rooms/{}/timestamp_to_event?ts={ts}&dir={direction}",
            encode(&room)
        );
        let found = world.request(1, "GET", &path, Some(&clients[1].token), None);
        assert_eq!(found.expect(200)["origin_server_ts"], *ts);
    }
}

/// What a search finds around the one message with `text`.
fn found_context(world: &World, client: &Client, text: &str) -> Value {
    let limits = json!({"before_limit": 20, "after_limit": 20});
    let wanted = json!({"search_term": text, "order_by": "recent", "event_context": limits});
    let body = json!({"search_categories": {"room_events": wanted}});
    let found = client.post(world, "/search", &body);
    found.expect(200)["search_categories"]["room_events"]["results"][0]["context"].clone()
}

#[test]
fn what_is_around_an_event_ends_at_a_gap() {
    let (world, clients, room) = world_with_room(35, 3);
    clients[1].send(&world, &room, "first").expect(200);
    soon(&world);
    let refuses = refuse_history(&world);
    let mut sent = miss(&world, &clients, &room);
    sent.insert(0, "first".into());
    let [(mut older, start), _] = context(&world, &clients[1], &room, "after");
    let [_, (newer, end)] = context(&world, &clients[1], &room, "first");
    assert!(!older.contains(&"first".to_owned()), "{older:?}");
    assert_eq!(newer, Vec::<String>::new());
    let found = found_context(&world, &clients[1], "first");
    assert_eq!(found["events_after"], json!([]));
    assert_eq!(found["end"], end.as_str());
    refuses.store(false, Ordering::Relaxed);
    assert_eq!(read_on(&world, &clients[1], &room, &end), sent[1..]);
    let room = encode(&room);
    let page = format!("/rooms/{room}/messages?dir=b&limit=1000&from={}", encode(&start));
    let page = clients[1].get(&world, &page);
    older.extend(texts(page.expect(200)["chunk"].as_array().unwrap()));
    older.reverse();
    assert_eq!(older, sent[..sent.len() - 1]);
}

#[test]
fn two_pages_for_one_gap_do_not_take_each_others_places() {
    let world = World::with_slow_commits(33, 4, Duration::from_secs(1));
    let names = ["alice", "bob", "carol", "dave"].iter().enumerate();
    let clients: Vec<_> = names.map(|(server, name)| world.register(server, name)).collect();
    let room = clients[0].create_room(&world, &json!({"preset": "public_chat"}));
    for client in &clients[1..] {
        client.join(&world, &room, &[world.server(0).name()]).expect(200);
    }
    world.settle();
    let may_give = Arc::new(AtomicBool::new(false));
    let gives = may_give.clone();
    world.stand_in(world.server(2).name(), move |path, _| {
        let is_refused = path.contains("/get_missing_events/")
            || path.contains("/backfill/") && !gives.load(Ordering::Relaxed);
        is_refused.then(|| (500, json!({"errcode": "M_UNKNOWN", "error": "not now"})))
    });
    // Who is asked first gives one of two branches; nobody gives more than is missing.
    let alice = clients[0].user_id.clone();
    for (server, withheld) in [(0, String::new()), (2, alice)] {
        world.tamper(world.server(server).name(), move |path, answer| {
            if let Some(pdus) = answer["pdus"]
                .as_array_mut()
                .filter(|_| path.contains("/backfill/"))
            {
                pdus.retain(|pdu| pdu["content"]["body"].is_string() && pdu["sender"] != withheld);
            }
        });
    }
    for (one, other) in [(0, 1), (1, 3), (0, 3)] {
        world.cut(one, other);
    }
    let mut sent = Vec::new();
    for (client, name) in [(0, "alice"), (3, "dave")] {
        for number in 0..4 {
            let message = format!("{name} {number}");
            clients[client].send(&world, &room, &message).expect(200);
            sent.push(message);
        }
    }
    world.heal(0, 3);
    world.settle();
    clients[2].send(&world, &room, "after").expect(200);
    world.settle();
    sent.push("after".into());
    may_give.store(true, Ordering::Relaxed);
    // What was missed comes in no other way.
    world.stand_in(world.server(1).name(), |path, _| {
        path.contains("/send/")
            .then(|| (503, json!({"errcode": "M_UNKNOWN"})))
    });
    world.heal(0, 1);
    // So late that it is not waited for until it is stored.
    let way = Duration::from_millis(29_990);
    world.set_delay(way, way);
    let _ = clients[1].messages(&world, &room);
    world.set_delay(Duration::ZERO, Duration::ZERO);
    let mut shown = clients[1].messages(&world, &room);
    shown.sort();
    sent.sort();
    assert_eq!(shown, sent);
}

#[test]
fn no_state_is_asked_for_where_a_page_reaches_into_what_is_known() {
    let (world, clients, room) = world_with_room(34, 3);
    world.stand_in(world.server(2).name(), |path, _| {
        let is_refused = path.contains("/get_missing_events/");
        is_refused.then(|| (500, json!({"errcode": "M_UNKNOWN", "error": "never"})))
    });
    world.settle();
    world.cut(0, 1);
    for text in ["one", "two"] {
        clients[0].send(&world, &room, text).expect(200);
    }
    soon(&world);
    let before = world.request_count();
    clients[2].send(&world, &room, "after").expect(200);
    soon(&world);
    assert_eq!(clients[1].messages(&world, &room), ["one", "two", "after"]);
    let asked = world.traffic().split_off(before);
    let states = asked.iter().filter(|asked| asked.request.contains("/state_ids/"));
    assert_eq!(states.count(), 1, "that before the last message");
}
