//! What a server answers others that join without the members.

use std::collections::BTreeSet;

use hearth_rooms::RoomVersion;
use hearth_sim::World;
use serde_json::{Value, json};

use super::{Gate, large_room, members, types};
use crate::{
    outsider::{Outsider, encode, json_of},
    same_state, world,
};

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
fn of_what_nobody_here_knows_who_was_there_state_is_given_whole_and_messages_are_not() {
    let (world, clients) = world(55, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let options = json!({"preset": "public_chat", "name": "Named", "room_version": "12"});
    let room = bob.create_room(&world, &options);
    // More than come at once: from the beginning on, all is known.
    for number in 0..70 {
        bob.send(&world, &room, &format!("{number}")).expect(200);
    }
    bob.set_state(&world, &room, "m.room.topic", "", &json!({"topic": "all"}))
        .expect(200);
    let joined = json!({"history_visibility": "joined"});
    bob.set_state(&world, &room, "m.room.history_visibility", "", &joined)
        .expect(200);
    let gate = Gate::shut(&world, 1);
    alice.join(&world, &room, &[world.server(1).name()]).expect(200);
    let room_id = encode(&room);
    let page = alice.get(&world, &format!("/rooms/{room_id}/messages?dir=b&limit=10"));
    page.expect(200);
    gate.open();
    world.settle();
    let mallory = Outsider::new(81);
    let template = mallory.join(&world, &room);
    let last = encode(template["prev_events"][0].as_str().unwrap());
    let page = mallory.ask(
        &world,
        "GET",
        &format!("/_matrix/federation/v1/backfill/{room_id}?v={last}&limit=100"),
        None,
    );
    let pdus = page.expect(200)["pdus"].as_array().unwrap();
    let of_kind = |kind: &str| pdus.iter().filter(|pdu| pdu["type"] == kind).collect::<Vec<_>>();
    let messages = of_kind("m.room.message");
    assert!(messages.len() < 70, "some came while members were missing");
    assert!(messages.iter().all(|pdu| pdu["content"]["body"].is_string()));
    assert_eq!(of_kind("m.room.topic")[0]["content"], json!({"topic": "all"}));
    let state = alice.state(&world, &room);
    let topic = state.iter().find(|(kind, _, _)| kind == "m.room.topic").unwrap();
    let uri = format!("/_matrix/federation/v1/event/{}", encode(&topic.2));
    let answer = mallory.ask(&world, "GET", &uri, None);
    assert_eq!(answer.expect(200)["pdus"][0]["content"], json!({"topic": "all"}));
}
