//! Joining large rooms without their members, who come behind.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use hearth_rooms::{Pdu, RoomVersion};
use hearth_sim::{
    Client, World,
    synthetic::{SyntheticRoom, Utterance},
};
use hearth_storage::{Direction, KeyRange, Table, WriteBatch};
use ruma_common::OwnedEventId;
use serde_json::{Value, json};

use crate::{
    outsider::{Outsider, encode, json_of},
    same_state, soon, timeline, world,
};

/// A world of `servers` servers in which alice, on the first, is in a synthetic room.
pub(crate) fn large_room(
    seed: u64,
    servers: usize,
    members: usize,
) -> (World, Vec<Client>, Arc<SyntheticRoom>) {
    let (world, clients) = world(seed, servers);
    let room = Arc::new(SyntheticRoom::new(
        seed,
        RoomVersion::V12,
        members,
        members.min(20),
    ));
    let answering = room.clone();
    world.stand_in(room.founder_server(), move |uri, body| {
        Some((200, answering.answer(uri, body)?))
    });
    clients[0]
        .join(&world, room.room_id.as_str(), &[room.founder_server()])
        .expect(200);
    (world, clients, room)
}

fn types(events: &Value) -> BTreeSet<(String, String)> {
    let events = events.as_array().unwrap().iter();
    let text = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
    events
        .map(|event| (text(event, "type"), text(event, "state_key")))
        .collect()
}

/// What server 0 answers a server that joins, with or without `omit_members`.
fn send_join(world: &World, room: &str, outsider: &Outsider, query: &str) -> Value {
    complete_join(world, room, outsider, query, make_join(world, room, outsider))
}

/// The join that server 0 lays out.
fn make_join(world: &World, room: &str, outsider: &Outsider) -> Value {
    let (room, user) = (encode(room), encode(&outsider.user_id));
    let uri = format!("/_matrix/federation/v1/make_join/{room}/{user}?ver=12");
    outsider.ask(world, "GET", &uri, None).expect(200)["event"].clone()
}

fn complete_join(world: &World, room: &str, outsider: &Outsider, query: &str, template: Value) -> Value {
    let room = encode(room);
    let join = outsider.sign(RoomVersion::V12, template);
    let id = encode(join.event_id().as_str());
    let uri = format!("/_matrix/federation/v2/send_join/{room}/{id}{query}");
    outsider
        .ask(world, "PUT", &uri, Some(json_of(&join)))
        .expect(200)
        .clone()
}

#[test]
fn a_server_that_asks_for_no_members_gets_none_it_does_not_need() {
    let (world, clients, room) = large_room(50, 1, 60);
    let mallory = Outsider::new(81);
    let answer = send_join(&world, room.room_id.as_str(), &mallory, "?omit_members=true");
    assert_eq!(answer["members_omitted"], true);
    let settings: BTreeSet<_> = room
        .settings()
        .iter()
        .map(|event| (event.event_type().to_string(), String::new()))
        .collect();
    assert_eq!(types(&answer["state"]), settings);
    let servers: BTreeSet<_> = answer["servers_in_room"]
        .as_array()
        .unwrap()
        .iter()
        .map(Value::to_string)
        .collect();
    assert_eq!(servers.len(), 22, "alice's, the founder's and twenty more");
    // What is in the state is not repeated; the founder rests in nothing else than what is sent.
    let chain = types(&answer["auth_chain"]);
    let founder = ("m.room.member".to_owned(), room.user_id(0).to_string());
    assert_eq!(chain, BTreeSet::from([founder]));
    assert_eq!(answer["event"]["state_key"], mallory.user_id.as_str());
    drop(clients);
}

#[test]
fn a_server_that_does_not_ask_for_it_gets_all_members() {
    let (world, clients, room) = large_room(51, 1, 60);
    let mallory = Outsider::new(81);
    let answer = send_join(&world, room.room_id.as_str(), &mallory, "");
    assert_eq!(answer["members_omitted"], false);
    assert_eq!(
        answer["state"].as_array().unwrap().len(),
        room.settings().len() + 62
    );
    // Somebody who was there before gets the state that includes their own past.
    let again = send_join(&world, room.room_id.as_str(), &mallory, "?omit_members=true");
    let own = ("m.room.member".to_owned(), mallory.user_id.clone());
    assert!(types(&again["state"]).contains(&own));
    drop(clients);
}

#[test]
fn a_server_is_told_who_was_there_before_it_and_not_who_came_in_beside_it() {
    let (world, clients) = world(54, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let room = alice.create_room(&world, &json!({"preset": "public_chat"}));
    let mallory = Outsider::new(81);
    let template = make_join(&world, &room, &mallory);
    bob.join(&world, &room, &[world.server(0).name()]).expect(200);
    let answer = complete_join(&world, &room, &mallory, "?omit_members=true", template.clone());
    assert_eq!(answer["servers_in_room"], json!([world.server(0).name()]));
    // Who asks again is answered the same, though the room has gone on.
    let again = complete_join(&world, &room, &mallory, "?omit_members=true", template);
    assert_eq!(again["servers_in_room"], json!([world.server(0).name()]));
}

#[test]
fn heroes_come_along_where_the_room_has_no_name() {
    let (world, mut clients) = world(52, 1);
    let alice = clients.remove(0);
    let room = alice.create_room(&world, &json!({"preset": "public_chat"}));
    let mallory = Outsider::new(81);
    let answer = send_join(&world, &room, &mallory, "?omit_members=true");
    let hero = ("m.room.member".to_owned(), alice.user_id.clone());
    assert!(types(&answer["state"]).contains(&hero));
    assert_eq!(answer["servers_in_room"], json!([world.server(0).name()]));
}

#[test]
fn events_are_given_by_their_ids_to_who_is_in_the_room() {
    let (world, _clients, room) = large_room(53, 1, 30);
    let mallory = Outsider::new(81);
    let join = send_join(&world, room.room_id.as_str(), &mallory, "?omit_members=true");
    assert_eq!(join["members_omitted"], true);
    let ids: Vec<_> = room.members().iter().map(|event| event.event_id()).collect();
    let uri = format!(
        "/_matrix/federation/unstable/org.hearth/events/{}",
        encode(room.room_id.as_str())
    );
    let ask = |who: &Outsider, ids: Value| who.ask(&world, "POST", &uri, Some(json!({ "event_ids": ids })));
    let answer = ask(&mallory, json!(ids));
    assert_eq!(answer.expect(200)["pdus"].as_array().unwrap().len(), 31);
    assert_eq!(
        ask(&mallory, json!(vec!["$unknown"])).expect(200)["pdus"],
        json!([])
    );
    assert_eq!(ask(&mallory, json!(vec!["$unknown"; 201])).status, 400);
    assert_eq!(ask(&Outsider::new(82), json!(ids)).status, 403);
}

/// Keeps the servers of a world from giving each other states, as long as it is shut.
#[derive(Clone)]
struct Gate(Arc<AtomicBool>);

impl Gate {
    /// A shut gate before server number `server`.
    fn shut(world: &World, server: usize) -> Self {
        let gate = Self(Arc::new(AtomicBool::new(true)));
        let shut = gate.0.clone();
        world.stand_in(world.server(server).name(), move |uri, _| {
            let gives_state = uri.contains("/state") || uri.contains("org.hearth/events");
            (gives_state && shut.load(Ordering::Relaxed)).then(|| (503, json!({"errcode": "M_UNKNOWN"})))
        });
        gate
    }

    fn open(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

const LAZY: &str = "%7B%22room%22%3A%7B%22state%22%3A%7B%22lazy_load_members%22%3Atrue%7D%7D%7D";

/// What a lazily loading client is told of the room.
fn lazy_sync(world: &World, client: &Client, room: &str, since: Option<&str>) -> (Value, String) {
    let since = since
        .map(|since| format!("&since={}", encode(since)))
        .unwrap_or_default();
    let answer = client.get(world, &format!("/sync?timeout=0&filter={LAZY}{since}"));
    let next = answer["next_batch"].as_str().unwrap().to_owned();
    (answer.expect(200)["rooms"]["join"][room].clone(), next)
}

fn joined(world: &World, client: &Client, room: &str) -> Value {
    client.sync(world, None)["rooms"]["join"][room].clone()
}

/// The joined members that a client is told of when it asks.
fn members(world: &World, client: &Client, room: &str) -> BTreeSet<String> {
    let answer = client.get(world, &format!("/rooms/{}/joined_members", encode(room)));
    let joined = answer.expect(200)["joined"].as_object().unwrap();
    joined.keys().cloned().collect()
}

#[test]
fn a_large_room_is_usable_at_once_and_whole_later() {
    let (world, clients, room) = large_room(60, 2, 300);
    let [alice, bob] = &clients[..] else { panic!() };
    let room = room.room_id.as_str();
    let gate = Gate::shut(&world, 0);
    bob.join(&world, room, &[world.server(0).name()]).expect(200);
    // A client that loads members lazily has the room, any other does not.
    let (told, since) = lazy_sync(&world, bob, room, None);
    assert!(
        !told["timeline"]["events"].as_array().unwrap().is_empty(),
        "{told}"
    );
    let state = types(&told["state"]["events"]);
    assert!(
        state.contains(&("m.room.name".to_owned(), String::new())),
        "{state:?}"
    );
    assert_eq!(joined(&world, bob, room), Value::Null);
    // Messages go both ways, and history comes.
    bob.send(&world, room, "from bob").expect(200);
    soon(&world);
    alice.send(&world, room, "from alice").expect(200);
    soon(&world);
    assert_eq!(alice.messages(&world, room), ["from bob", "from alice"]);
    assert_eq!(bob.messages(&world, room), ["from bob", "from alice"]);
    let (told, since) = lazy_sync(&world, bob, room, Some(&since));
    assert_eq!(told["timeline"]["events"].as_array().unwrap().len(), 2);
    // Who asks for all members waits in vain.
    let answer = bob.get(&world, &format!("/rooms/{}/members", encode(room)));
    assert_eq!(
        (answer.status, &answer["errcode"]),
        (404, &json!("M_UNABLE_DUE_TO_PARTIAL_STATE"))
    );
    let name = bob.get(&world, &format!("/rooms/{}/state/m.room.name", encode(room)));
    assert_eq!(name.expect(200)["name"], "Synthetic");
    gate.open();
    world.settle();
    assert_eq!(members(&world, bob, room), members(&world, alice, room));
    assert_eq!(members(&world, bob, room).len(), 303);
    same_state(&world, &clients, room);
    let (told, _) = lazy_sync(&world, bob, room, Some(&since));
    assert_eq!(told["summary"]["m.joined_member_count"], 303);
    assert!(told["state"]["events"].as_array().unwrap().len() < 20);
    let told = joined(&world, bob, room);
    assert!(told["state"]["events"].as_array().unwrap().len() > 300);
    alice.send(&world, room, "after").expect(200);
    soon(&world);
    assert_eq!(bob.messages(&world, room), ["from bob", "from alice", "after"]);
}

#[test]
fn who_has_just_joined_does_not_look_for_what_cannot_be_there() {
    let (world, clients, room) = large_room(86, 2, 600);
    let (bob, room) = (&clients[1], room.room_id.as_str());
    let before = world.server(1).lookups(Table::Events);
    bob.join(&world, room, &[world.server(0).name()]).expect(200);
    world.settle();
    let looked_up = world.server(1).lookups(Table::Events) - before;
    assert!(looked_up < 200, "{looked_up} events were looked up");
    assert_eq!(members(&world, bob, room).len(), 603);
}

#[test]
fn what_comes_twice_to_who_has_just_joined_is_stored_once() {
    let (world, clients, room) = large_room(87, 2, 600);
    let (bob, room) = (&clients[1], room.room_id.as_str());
    let (first, answers) = (std::sync::Mutex::new(Vec::new()), Arc::new(AtomicUsize::new(0)));
    let counted = answers.clone();
    world.tamper(world.server(0).name(), move |uri, answer| {
        if uri.contains("org.hearth/events") {
            counted.fetch_add(1, Ordering::Relaxed);
            let pdus = answer["pdus"].as_array_mut().unwrap();
            let mut first = first.lock().unwrap();
            pdus.extend(first.iter().cloned());
            first.extend(pdus.first().cloned());
        }
    });
    bob.join(&world, room, &[world.server(0).name()]).expect(200);
    world.settle();
    assert!(answers.load(Ordering::Relaxed) > 2);
    assert_eq!(members(&world, bob, room).len(), 603);
    same_state(&world, &clients, room);
}

#[test]
fn a_client_that_loads_all_members_is_told_of_the_room_when_it_is_whole() {
    let (world, clients, room) = large_room(61, 2, 50);
    let (bob, room) = (&clients[1], room.room_id.as_str());
    let before = bob.sync(&world, None)["next_batch"].as_str().unwrap().to_owned();
    let gate = Gate::shut(&world, 0);
    bob.join(&world, room, &[world.server(0).name()]).expect(200);
    soon(&world);
    let answer = bob.sync(&world, Some(&before));
    assert_eq!(answer["rooms"]["join"].get(room), None);
    let between = answer["next_batch"].as_str().unwrap().to_owned();
    gate.open();
    world.settle();
    for since in [before, between] {
        let answer = bob.sync(&world, Some(&since));
        let told = &answer["rooms"]["join"][room];
        let all = told["state"]["events"].as_array().unwrap().len()
            + told["timeline"]["events"].as_array().unwrap().len();
        assert!(all > 52, "{told}");
    }
    let after = bob.sync(&world, None)["next_batch"].as_str().unwrap().to_owned();
    assert_eq!(bob.sync(&world, Some(&after))["rooms"]["join"].get(room), None);
}

#[test]
fn a_room_that_becomes_whole_during_an_answer_is_told_once() {
    let (world, clients, room) = large_room(65, 2, 50);
    let (bob, room) = (&clients[1], room.room_id.as_str());
    let gate = Gate::shut(&world, 0);
    bob.join(&world, room, &[world.server(0).name()]).expect(200);
    soon(&world);
    // As long as a commit before it is under way, no answer reaches as far as the commit that makes the room whole.
    let homeserver = world.server(1).homeserver().unwrap().clone();
    let under_way = homeserver.log.reserve(1);
    gate.open();
    world.settle();
    assert_eq!(members(&world, bob, room).len(), 53);
    let first = bob.sync(&world, None);
    drop(under_way);
    bob.send(&world, room, "whole").expect(200);
    let second = bob.sync(&world, first["next_batch"].as_str());
    let told = timeline(&first.body, room)
        .into_iter()
        .chain(timeline(&second.body, room));
    let ids: Vec<_> = told.map(|event| event["event_id"].to_string()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    assert_eq!(second["rooms"]["join"][room]["timeline"]["limited"], true);
    assert_eq!(ids.len(), 2, "bob's join and message");
}

#[test]
fn whoever_asks_for_members_waits_for_them() {
    let (world, clients, room) = large_room(62, 2, 100);
    let (bob, room) = (&clients[1], room.room_id.as_str());
    world.set_delay(Duration::from_millis(300), Duration::from_millis(600));
    bob.join(&world, room, &[world.server(0).name()]).expect(200);
    assert_eq!(members(&world, bob, room).len(), 103);
}

#[test]
fn events_of_members_who_are_not_known_yet_are_shown() {
    let (world, clients, room) = large_room(63, 2, 80);
    let [alice, bob] = &clients[..] else { panic!() };
    let gate = Gate::shut(&world, 0);
    let id = room.room_id.as_str();
    bob.join(&world, id, &[world.server(0).name()]).expect(200);
    soon(&world);
    let pdu = say(&world, bob, &room, 7, "not known yet");
    let member = Outsider::of(room.server_of(7).seed(), room.user_id(7).as_str());
    let answer = member.transaction(&world, "1", vec![json_of(&pdu)]);
    assert_eq!(answer.expect(200)["pdus"][pdu.event_id().as_str()], json!({}));
    // Server 1 learns who that is from whoever sends the event.
    alice.send(&world, id, "known").expect(200);
    soon(&world);
    assert_eq!(bob.messages(&world, id), ["not known yet", "known"]);
    gate.open();
    world.settle();
    assert_eq!(bob.messages(&world, id), ["not known yet", "known"]);
    same_state(&world, &clients, id);
}

/// A message of a member of a synthetic room, after the join that `client` made last.
fn say(world: &World, client: &Client, room: &SyntheticRoom, member: usize, text: &str) -> Pdu {
    let history = client.history(world, room.room_id.as_str());
    let last = history
        .iter()
        .max_by_key(|event| event["origin_server_ts"].as_u64())
        .unwrap();
    room.event(Utterance {
        member,
        kind: "m.room.message",
        state_key: None,
        content: json!({"msgtype": "m.text", "body": text}),
        prev_events: vec![last["event_id"].as_str().unwrap().try_into().unwrap()],
        auth_events: Vec::new(),
        depth: room.member_count() as u64 + 50,
    })
}

#[test]
fn leaving_ends_the_fetching() {
    let (world, clients, room) = large_room(64, 2, 100);
    let [alice, bob] = &clients[..] else { panic!() };
    let room = room.room_id.as_str();
    let _gate = Gate::shut(&world, 0);
    bob.join(&world, room, &[world.server(0).name()]).expect(200);
    soon(&world);
    bob.leave(&world, room).expect(200);
    world.settle();
    assert!(!members(&world, alice, room).contains(&bob.user_id));
    let asked = world.traffic().len();
    world.settle();
    let later = world.traffic().split_off(asked);
    let still = later
        .iter()
        .filter(|one| one.request.contains("/state_ids/"))
        .count();
    assert_eq!(still, 0);
    assert_eq!(joined(&world, bob, room), Value::Null);
}

/// The rows that server number `server` keeps of a room's members: what their keys end in, and what they say.
fn member_rows(world: &World, server: usize, room: &str) -> Vec<(String, Value)> {
    let store = world.server(server).store().clone();
    let prefix = format!("r\0{room}\0");
    let range = KeyRange::prefix(prefix.as_bytes());
    let rows = world.block_on(async move {
        store
            .scan(Table::Memberships, range, Direction::Forward, usize::MAX)
            .await
    });
    let row = |(key, value): (Vec<u8>, Vec<u8>)| {
        let user = String::from_utf8(key).unwrap().split_off(prefix.len());
        (user, serde_json::from_slice(&value).unwrap())
    };
    rows.unwrap().into_iter().map(row).collect()
}

/// Asserts that the rows of a room's members on the server of `client` say what its state says.
fn rows_fit_state(world: &World, server: usize, client: &Client, room: &str) {
    let answer = client.get(world, &format!("/rooms/{}/members", encode(room)));
    let row = |event: &Value| {
        let user = event["state_key"].as_str().unwrap().to_owned();
        let membership = &event["content"]["membership"];
        (
            user,
            json!({ "membership": membership, "event_id": event["event_id"] }),
        )
    };
    let mut state: Vec<_> = answer.expect(200)["chunk"]
        .as_array()
        .unwrap()
        .iter()
        .map(row)
        .collect();
    state.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(member_rows(world, server, room), state);
}

#[test]
fn rows_of_members_come_ahead_of_the_state_and_fit_it_when_it_is_whole() {
    let (world, clients, room) = large_room(69, 2, 500);
    let [alice, bob] = &clients[..] else { panic!() };
    let id = room.room_id.as_str();
    let helper = world.server(0).name().to_owned();
    // The first slice of events comes, no other does as long as the gate is shut.
    let (slices, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
    let (counted, shut) = (slices.clone(), gate.clone());
    world.stand_in(&helper, move |uri, _| {
        let held = uri.contains("org.hearth/events")
            && counted.fetch_add(1, Ordering::Relaxed) > 0
            && shut.load(Ordering::Relaxed);
        held.then(|| (503, json!({"errcode": "M_UNKNOWN"})))
    });
    bob.join(&world, id, &[&helper]).expect(200);
    soon(&world);
    let ahead = member_rows(&world, 1, id).len();
    assert!((150..=202).contains(&ahead), "{ahead}");
    let (told, _) = lazy_sync(&world, bob, id, None);
    assert!(
        told["summary"]["m.joined_member_count"].as_u64() < Some(10),
        "{told}"
    );
    // Another state, that did not come to its end, may have left a member behind who is none.
    let mut stray = WriteBatch::new();
    let row = json!({"membership": "join", "event_id": "$none"});
    let key = format!("r\0{id}\0@nobody:{helper}");
    stray.put(Table::Memberships, key.into_bytes(), row.to_string().into_bytes());
    let store = world.server(1).store().clone();
    world.block_on(async move { store.commit(stray).await }).unwrap();
    // Of those with rows one is banned while bob is away, whom the state has as joined that came first.
    bob.leave(&world, id).expect(200);
    soon(&world);
    let banned = room.user_id(9);
    let last = newest(&world, alice, id);
    let ban = room.event(Utterance {
        member: 0,
        kind: "m.room.member",
        state_key: Some(banned.as_str()),
        content: json!({"membership": "ban"}),
        prev_events: vec![last],
        auth_events: vec![room.members()[9].event_id().to_owned()],
        depth: 2000,
    });
    let founder = Outsider::of(room.server_of(0).seed(), room.user_id(0).as_str());
    let answer = founder.transaction(&world, "1", vec![json_of(&ban)]);
    assert_eq!(answer.expect(200)["pdus"][ban.event_id().as_str()], json!({}));
    gate.store(false, Ordering::Relaxed);
    bob.join(&world, id, &[&helper]).expect(200);
    world.settle();
    assert_eq!(members(&world, bob, id).len(), 502);
    same_state(&world, &clients, id);
    rows_fit_state(&world, 1, bob, id);
}

#[test]
fn a_room_that_was_left_half_way_is_joined_again() {
    let (world, clients, room) = large_room(65, 2, 100);
    let [alice, bob] = &clients[..] else { panic!() };
    let room = room.room_id.as_str();
    let gate = Gate::shut(&world, 0);
    for _ in 0..2 {
        bob.join(&world, room, &[world.server(0).name()]).expect(200);
        soon(&world);
        bob.leave(&world, room).expect(200);
        soon(&world);
    }
    bob.join(&world, room, &[world.server(0).name()]).expect(200);
    gate.open();
    world.settle();
    assert_eq!(members(&world, bob, room), members(&world, alice, room));
    same_state(&world, &clients, room);
    rows_fit_state(&world, 1, bob, room);
}

#[test]
fn a_ban_during_the_join_counts_when_the_state_is_whole() {
    let (world, clients, room) = large_room(66, 2, 80);
    let bob = &clients[1];
    let id = room.room_id.as_str();
    let gate = Gate::shut(&world, 0);
    bob.join(&world, id, &[world.server(0).name()]).expect(200);
    soon(&world);
    let banned = room.user_id(9);
    let history = bob.history(&world, id);
    let last = history
        .iter()
        .max_by_key(|event| event["origin_server_ts"].as_u64())
        .unwrap();
    let ban = room.event(Utterance {
        member: 0,
        kind: "m.room.member",
        state_key: Some(banned.as_str()),
        content: json!({"membership": "ban"}),
        prev_events: vec![last["event_id"].as_str().unwrap().try_into().unwrap()],
        auth_events: vec![room.members()[9].event_id().to_owned()],
        depth: 200,
    });
    let founder = Outsider::of(room.server_of(0).seed(), room.user_id(0).as_str());
    for server in 0..2 {
        let answer = founder.transaction_to(&world, server, "1", vec![json_of(&ban)]);
        // The second cannot ask the founder's server, which is down, what the ban rests on: it holds it.
        let result = &answer.expect(200)["pdus"][ban.event_id().as_str()];
        assert_eq!(*result, json!({}));
    }
    clients[0].send(&world, id, "after the ban").expect(200);
    soon(&world);
    assert_eq!(bob.messages(&world, id), ["after the ban"]);
    gate.open();
    world.settle();
    assert!(!members(&world, bob, id).contains(banned.as_str()));
    assert_eq!(members(&world, bob, id).len(), 82);
    same_state(&world, &clients, id);
    rows_fit_state(&world, 1, bob, id);
}

#[test]
fn a_helper_that_dies_is_replaced() {
    let (mut world, clients, room) = large_room(67, 3, 80);
    let id = room.room_id.as_str();
    let names: Vec<_> = (0..3)
        .map(|server| world.server(server).name().to_owned())
        .collect();
    clients[1].join(&world, id, &[&names[0]]).expect(200);
    world.settle();
    let gate = Gate::shut(&world, 0);
    clients[2].join(&world, id, &[&names[0]]).expect(200);
    soon(&world);
    world.crash(0);
    gate.open();
    for _ in 0..6 {
        world.settle();
    }
    assert_eq!(members(&world, &clients[2], id).len(), 84);
    same_state(&world, &clients[1..], id);
}

#[test]
fn a_restart_at_any_step_goes_on_where_it_was() {
    let (mut world, clients, room) = large_room(68, 2, 250);
    let (bob, room) = (&clients[1], room.room_id.as_str());
    world.set_delay(Duration::from_millis(20), Duration::from_millis(50));
    bob.join(&world, room, &[world.server(0).name()]).expect(200);
    let mut kills = 0;
    for _ in 0..12 {
        world.run_steps(1 + world.random(60));
        world.restart(1);
        kills += 1;
        bob.send(&world, room, &format!("{kills}")).expect(200);
    }
    world.settle();
    assert_eq!(members(&world, bob, room).len(), 253);
    same_state(&world, &clients, room);
    rows_fit_state(&world, 1, bob, room);
    let sent: Vec<_> = (1..=kills).map(|kill| kill.to_string()).collect();
    assert_eq!(bob.messages(&world, room), sent);
    // What is stored is not asked for again: 252 members and a few settings come in two slices, and each restart
    // may cost the slice that was under way.
    let slices = world.traffic();
    let slices = slices
        .iter()
        .filter(|one| one.request.contains("org.hearth/events") && one.status == Some(200));
    assert!(slices.count() <= 3);
}

#[test]
fn a_state_that_lacks_members_is_not_taken_where_another_has_them() {
    let (world, clients, room) = large_room(69, 3, 80);
    let id = room.room_id.as_str();
    let names: Vec<_> = (0..3)
        .map(|server| world.server(server).name().to_owned())
        .collect();
    clients[1].join(&world, id, &[&names[0]]).expect(200);
    world.settle();
    let kept: Vec<_> = room
        .settings()
        .iter()
        .map(|event| json!(event.event_id()))
        .collect();
    world.tamper(&names[0], move |uri, answer| {
        if uri.contains("/state_ids/") {
            let known = kept.clone();
            answer["pdu_ids"]
                .as_array_mut()
                .unwrap()
                .retain(|id| known.contains(id));
        }
    });
    clients[2].join(&world, id, &[&names[0]]).expect(200);
    for _ in 0..4 {
        world.settle();
    }
    assert_eq!(members(&world, &clients[2], id).len(), 84);
    same_state(&world, &clients, id);
}

#[test]
fn a_server_that_knows_no_slices_gives_its_state_whole() {
    let (world, clients, room) = large_room(70, 2, 80);
    let (bob, room) = (&clients[1], room.room_id.as_str());
    world.stand_in(world.server(0).name(), |uri, _| {
        uri.contains("org.hearth/events")
            .then(|| (404, json!({"errcode": "M_UNRECOGNIZED"})))
    });
    bob.join(&world, room, &[world.server(0).name()]).expect(200);
    world.settle();
    assert_eq!(members(&world, bob, room).len(), 83);
    same_state(&world, &clients, room);
}

#[test]
fn a_partial_room_helps_nobody_to_join() {
    let (world, clients, room) = large_room(71, 3, 60);
    let id = room.room_id.as_str();
    let gate = Gate::shut(&world, 0);
    clients[1].join(&world, id, &[world.server(0).name()]).expect(200);
    let refused = clients[2].join(&world, id, &[world.server(1).name()]);
    assert_eq!(refused.status, 404, "{refused:?}");
    gate.open();
    world.settle();
    clients[2].join(&world, id, &[world.server(1).name()]).expect(200);
    world.settle();
    assert_eq!(members(&world, &clients[2], id).len(), 64);
    same_state(&world, &clients, id);
}

#[test]
fn two_users_of_a_server_join_at_once() {
    let (world, clients, room) = large_room(72, 2, 60);
    let (bob, room) = (&clients[1], room.room_id.as_str());
    let carol = world.register(1, "carol");
    let via = encode(world.server(0).name());
    let path = format!("/_matrix/client/v3/join/{}?via={via}", encode(room));
    let mut joins: Vec<_> = [bob, &carol]
        .iter()
        .map(|user| world.begin(1, "POST", &path, Some(&user.token), Some(&json!({}))))
        .collect();
    world.settle();
    for join in &mut joins {
        join.answer().unwrap().expect(200);
    }
    assert_eq!(members(&world, &carol, room).len(), 64);
    same_state(&world, &clients, room);
}

#[test]
fn a_kick_during_the_join_ends_it() {
    let (world, clients, room) = large_room(73, 2, 60);
    let bob = &clients[1];
    let id = room.room_id.as_str();
    let _gate = Gate::shut(&world, 0);
    bob.join(&world, id, &[world.server(0).name()]).expect(200);
    soon(&world);
    let history = bob.history(&world, id);
    let join = history
        .iter()
        .find(|event| event["state_key"] == bob.user_id.as_str())
        .unwrap();
    let join: OwnedEventId = join["event_id"].as_str().unwrap().try_into().unwrap();
    let kick = room.event(Utterance {
        member: 0,
        kind: "m.room.member",
        state_key: Some(&bob.user_id),
        content: json!({"membership": "leave"}),
        prev_events: vec![join.clone()],
        auth_events: vec![join],
        depth: 200,
    });
    let founder = Outsider::of(room.server_of(0).seed(), room.user_id(0).as_str());
    founder
        .transaction_to(&world, 0, "1", vec![json_of(&kick)])
        .expect(200);
    // The founder's server is down, but its event of the room's beginning came with the join.
    let answer = founder.transaction_to(&world, 1, "1", vec![json_of(&kick)]);
    assert_eq!(answer.expect(200)["pdus"][kick.event_id().as_str()], json!({}));
    world.settle();
    assert!(bob.sync(&world, None)["rooms"]["join"].get(id).is_none());
    assert_eq!(bob.send(&world, id, "still here?").status, 403);
    let asked = world.traffic().len();
    world.settle();
    let later = world.traffic().split_off(asked);
    assert!(!later.iter().any(|one| one.request.contains("/state_ids/")));
}

/// Lets the server of member number `member` of a room say what its events rest on.
fn vouch(world: &World, room: &SyntheticRoom, member: usize, more: &[&Pdu]) {
    let own = [&room.members()[0], &room.members()[member]];
    let chain = room.settings().iter().chain(own).chain(more.iter().copied());
    let answer = json!({"auth_chain": chain.map(json_of).collect::<Vec<_>>()});
    world.stand_in(room.server_of(member).server_name(), move |uri, _| {
        uri.contains("/event_auth/").then(|| (200, answer.clone()))
    });
}

fn by(room: &SyntheticRoom, member: usize) -> Outsider {
    Outsider::of(room.server_of(member).seed(), room.user_id(member).as_str())
}

/// The newest event of the room, as `client` sees it.
fn newest(world: &World, client: &Client, room: &str) -> OwnedEventId {
    let history = client.history(world, room);
    let newest = history
        .iter()
        .max_by_key(|event| event["origin_server_ts"].as_u64());
    newest.unwrap()["event_id"].as_str().unwrap().try_into().unwrap()
}

fn member_event<'a>(
    sender: usize,
    target: &'a str,
    membership: &str,
    prev: &OwnedEventId,
    auth: Vec<OwnedEventId>,
    depth: u64,
) -> Utterance<'a> {
    Utterance {
        member: sender,
        kind: "m.room.member",
        state_key: Some(target),
        content: json!({ "membership": membership }),
        prev_events: vec![prev.clone()],
        auth_events: auth,
        depth,
    }
}

#[test]
fn what_the_whole_state_does_not_allow_disappears() {
    let (world, clients, room) = large_room(74, 2, 60);
    let [alice, bob] = &clients[..] else { panic!() };
    let id = room.room_id.as_str();
    let banned = room.user_id(5);
    let auth = vec![room.members()[5].event_id().to_owned()];
    let ban = room.event(member_event(
        0,
        banned.as_str(),
        "ban",
        &newest(&world, alice, id),
        auth,
        100,
    ));
    let answer = by(&room, 0).transaction(&world, "1", vec![json_of(&ban)]);
    assert_eq!(answer.expect(200)["pdus"][ban.event_id().as_str()], json!({}));
    let gate = Gate::shut(&world, 0);
    bob.join(&world, id, &[world.server(0).name()]).expect(200);
    soon(&world);
    vouch(&world, &room, 5, &[]);
    let said = say(&world, bob, &room, 5, "I am not here");
    let answer = by(&room, 5).transaction_to(&world, 1, "1", vec![json_of(&said)]);
    assert_eq!(answer.expect(200)["pdus"][said.event_id().as_str()], json!({}));
    assert_eq!(bob.messages(&world, id), ["I am not here"]);
    gate.open();
    world.settle();
    assert!(bob.messages(&world, id).is_empty());
    bob.send(&world, id, "whole").expect(200);
    soon(&world);
    assert_eq!(alice.messages(&world, id), ["whole"]);
    same_state(&world, &clients, id);
}

#[test]
fn what_was_held_back_appears_when_the_whole_state_allows_it() {
    let (world, clients, room) = large_room(75, 2, 60);
    let [alice, bob] = &clients[..] else { panic!() };
    let id = room.room_id.as_str();
    let (moderator, speaker) = (room.user_id(6), room.user_id(7));
    // Member 6 gets power and is banned, which server 1 cannot know as long as its state is partial.
    let levels = room.event(Utterance {
        member: 0,
        kind: "m.room.power_levels",
        state_key: Some(""),
        content: json!({"users": {moderator.as_str(): 50}}),
        prev_events: vec![newest(&world, alice, id)],
        auth_events: Vec::new(),
        depth: 100,
    });
    let auth = vec![room.members()[6].event_id().to_owned()];
    let prev = levels.event_id().to_owned();
    let ban = room.event(member_event(0, moderator.as_str(), "ban", &prev, auth, 101));
    let answer = by(&room, 0).transaction(&world, "1", vec![json_of(&levels), json_of(&ban)]);
    assert_eq!(answer.expect(200)["pdus"][ban.event_id().as_str()], json!({}));
    let gate = Gate::shut(&world, 0);
    bob.join(&world, id, &[world.server(0).name()]).expect(200);
    soon(&world);
    let join = newest(&world, bob, id);
    // The banned one bans another, and names the new levels, by which that would be allowed.
    let mut auth = vec![
        room.members()[7].event_id().to_owned(),
        levels.event_id().to_owned(),
    ];
    auth.push(room.members()[6].event_id().to_owned());
    let template = json!({
        "type": "m.room.member", "state_key": speaker, "sender": moderator, "room_id": id, "depth": 200,
        "content": {"membership": "ban"}, "origin_server_ts": 1_700_000_000_200_u64,
        "prev_events": [join], "auth_events": auth,
    });
    let unlawful = by(&room, 6).sign(RoomVersion::V12, template);
    vouch(&world, &room, 6, &[&levels, &room.members()[7]]);
    vouch(&world, &room, 7, &[]);
    let answer = by(&room, 6).transaction_to(&world, 1, "1", vec![json_of(&unlawful)]);
    assert_eq!(
        answer.expect(200)["pdus"][unlawful.event_id().as_str()],
        json!({})
    );
    let said = room.event(Utterance {
        member: 7,
        kind: "m.room.message",
        state_key: None,
        content: json!({"msgtype": "m.text", "body": "I may speak"}),
        prev_events: vec![join],
        auth_events: Vec::new(),
        depth: 200,
    });
    let answer = by(&room, 7).transaction_to(&world, 1, "1", vec![json_of(&said)]);
    assert_eq!(answer.expect(200)["pdus"][said.event_id().as_str()], json!({}));
    assert!(bob.messages(&world, id).is_empty(), "held back");
    let (_, since) = lazy_sync(&world, bob, id, None);
    gate.open();
    world.settle();
    assert_eq!(bob.messages(&world, id), ["I may speak"]);
    assert!(members(&world, bob, id).contains(speaker.as_str()));
    assert!(!members(&world, bob, id).contains(moderator.as_str()));
    let (told, _) = lazy_sync(&world, bob, id, Some(&since));
    assert!(told["timeline"]["events"].to_string().contains("I may speak"));
}

#[test]
fn a_helper_that_names_servers_that_are_not_there_does_not_keep_a_room_partial() {
    let (world, clients, room) = large_room(76, 2, 60);
    let (bob, id) = (&clients[1], room.room_id.as_str());
    world.tamper(world.server(0).name(), |uri, answer| {
        if uri.contains("/send_join/") {
            answer["servers_in_room"] = json!(["nobody.example", 7, "not a server name", world_of_lies()]);
        }
    });
    bob.join(&world, id, &[world.server(0).name()]).expect(200);
    bob.send(&world, id, "to whoever is there").expect(200);
    for _ in 0..3 {
        world.settle();
    }
    assert_eq!(members(&world, bob, id).len(), 63);
    same_state(&world, &clients, id);
}

fn world_of_lies() -> String {
    "a".repeat(64)
}

/// `HEARTH_LARGE_ROOM=13000` makes it as large as the largest rooms are.
#[test]
fn sync_answers_while_the_members_of_a_large_room_come() {
    let members_wanted = std::env::var("HEARTH_LARGE_ROOM").ok();
    let size = members_wanted.and_then(|size| size.parse().ok()).unwrap_or(1000);
    let (world, clients, room) = large_room(77, 2, size);
    let (bob, room) = (&clients[1], room.room_id.as_str());
    world.set_delay(Duration::from_millis(100), Duration::from_millis(200));
    bob.join(&world, room, &[world.server(0).name()]).expect(200);
    let usable = world.elapsed();
    let (mut answers, mut since) = (0, None);
    while world.elapsed() < usable + Duration::from_secs(60) {
        let began = world.elapsed();
        let (_, next) = lazy_sync(&world, bob, room, since.as_deref());
        assert_eq!(world.elapsed(), began, "an answer without news waits for nobody");
        since = Some(next);
        answers += 1;
        world.run_for(Duration::from_millis(100));
        if answers == 3 {
            bob.send(&world, room, "meanwhile").expect(200);
        }
    }
    assert_eq!(members(&world, bob, room).len(), size + 3);
    // Neither side asked for or gave all members at once.
    let traffic = world.traffic();
    let of_bob = traffic.iter().filter(|one| one.from == world.server(1).name());
    let of_bob: Vec<_> = of_bob.map(|one| one.request.as_str()).collect();
    assert!(!of_bob.iter().any(|request| request.contains("/v1/state/")));
    let slices = of_bob
        .iter()
        .filter(|request| request.contains("org.hearth/events"));
    assert_eq!(
        slices.count(),
        size.div_ceil(200) + usize::from(size.is_multiple_of(200))
    );
}
