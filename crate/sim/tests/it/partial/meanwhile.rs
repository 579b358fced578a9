//! What users can do and see while the members are on their way.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use hearth_sim::synthetic::Utterance;
use ruma_common::OwnedEventId;
use serde_json::{Value, json};

use super::{Gate, joined, large_room, lazy_sync, members, rows_fit_state, say, types};
use crate::{
    membership,
    outsider::{Outsider, encode, json_of},
    same_state, soon, timeline, world,
};

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
fn servers_of_members_who_are_not_known_yet_hear_of_devices() {
    let (world, clients, room) = large_room(63, 2, 30);
    let bob = &clients[1];
    let _gate = Gate::shut(&world, 0);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = heard.clone();
    world.stand_in(room.server_of(7).server_name(), move |uri, body| {
        let edus = body["edus"].as_array().cloned().unwrap_or_default();
        hearing.lock().unwrap().extend(edus);
        uri.contains("/send/").then(|| (200, json!({"pdus": {}})))
    });
    bob.join(&world, room.room_id.as_str(), &[world.server(0).name()])
        .expect(200);
    let who = bob.get(&world, "/account/whoami");
    let device_id = &who.expect(200)["device_id"];
    let keys = json!({
        "user_id": bob.user_id, "device_id": device_id, "algorithms": [], "keys": {}, "signatures": {},
    });
    bob.post(&world, "/keys/upload", &json!({ "device_keys": keys }))
        .expect(200);
    soon(&world);
    let heard = heard.lock().unwrap().clone();
    assert!(
        heard.iter().any(|edu| edu["content"]["keys"] == keys),
        "{heard:?}"
    );
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

#[test]
fn an_invite_is_declined_once_the_room_knows_of_it() {
    let (world, clients, room) = large_room(88, 2, 60);
    let [alice, bob] = &clients[..] else { panic!() };
    let room = room.room_id.as_str();
    let carol = world.register(1, "carol");
    alice.invite(&world, room, &carol.user_id).expect(200);
    let gate = Gate::shut(&world, 0);
    bob.join(&world, room, &[world.server(0).name()]).expect(200);
    let path = format!("/_matrix/client/v3/rooms/{}/leave", encode(room));
    let mut decline = world.begin(1, "POST", &path, Some(&carol.token), Some(&json!({})));
    soon(&world);
    assert!(decline.answer().is_none(), "it waits for the members");
    gate.open();
    world.settle();
    decline.answer().unwrap().expect(200);
    assert!(carol.sync(&world, None)["rooms"]["invite"][room].is_null());
    for client in [alice, bob] {
        assert_eq!(membership(&world, client, room, &carol).as_deref(), Some("leave"));
    }
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

#[test]
fn sliding_sync_tells_how_many_there_are_when_all_have_come() {
    let (world, clients, room) = large_room(61, 2, 300);
    let (bob, room) = (&clients[1], room.room_id.as_str());
    let gate = Gate::shut(&world, 0);
    bob.join(&world, room, &[world.server(0).name()]).expect(200);
    let slide = |query: &str| {
        let path = format!("/_matrix/client/unstable/org.matrix.simplified_msc3575/sync{query}");
        let list = json!({
            "ranges": [[0, 9]], "timeline_limit": 1, "required_state": [["m.room.member", "$LAZY"]],
        });
        let body = json!({"lists": {"all": list}});
        let answer = world.request(bob.server, "POST", &path, Some(&bob.token), Some(&body));
        let answer = answer.expect(200);
        let after = format!("?pos={}", answer["pos"].as_str().unwrap());
        (answer["rooms"].get(room).cloned(), after)
    };
    let (told, after) = slide("");
    assert_ne!(told.unwrap()["joined_count"], 303);
    gate.open();
    world.settle();
    let (told, after) = slide(&after);
    let told = told.unwrap();
    assert_eq!((&told["joined_count"], told.get("initial")), (&json!(303), None));
    assert_eq!(slide(&after).0, None);
}

#[test]
fn sliding_sync_tells_what_was_said_before_all_had_come() {
    let (world, clients, room) = large_room(61, 2, 50);
    let (bob, room) = (&clients[1], room.room_id.as_str());
    let gate = Gate::shut(&world, 0);
    bob.join(&world, room, &[world.server(0).name()]).expect(200);
    let slide = |query: &str, subscriptions: Value| {
        let path = format!("/_matrix/client/unstable/org.matrix.simplified_msc3575/sync{query}");
        let list = json!({ "ranges": [[0, 9]], "timeline_limit": 5, "required_state": [] });
        let body = json!({ "lists": { "all": list }, "room_subscriptions": subscriptions });
        let answer = world.request(bob.server, "POST", &path, Some(&bob.token), Some(&body));
        let answer = answer.expect(200);
        let after = format!("?pos={}", answer["pos"].as_str().unwrap());
        (answer["rooms"].get(room).cloned(), after)
    };
    let (told, mut after) = slide("", json!({}));
    assert_eq!(told.unwrap()["initial"], true);
    let all = json!({ room: { "timeline_limit": 5, "required_state": [["*", "*"]] } });
    for message in ["first", "second"] {
        bob.send(&world, room, message).expect(200);
        let (told, next) = slide(&after, all.clone());
        assert_eq!(told, None, "the members are not there");
        after = next;
    }
    gate.open();
    world.settle();
    let told = slide(&after, all).0.unwrap();
    let events = told["timeline"].as_array().unwrap();
    let said: Vec<_> = events
        .iter()
        .filter_map(|event| event["content"]["body"].as_str())
        .collect();
    assert_eq!(said, ["first", "second"]);
    assert!(told["required_state"].as_array().unwrap().len() > 53);
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

/// More than a page of history.
const MANY: usize = 120;

#[test]
fn what_members_said_before_is_shown_though_they_may_say_no_more() {
    let (world, clients) = world(66, 3);
    let [alice, bob, carol] = &clients[..] else {
        panic!()
    };
    let room = alice.create_room(&world, &json!({"preset": "public_chat", "name": "Large"}));
    carol.join(&world, &room, &[world.server(0).name()]).expect(200);
    let said: Vec<String> = (0..MANY).map(|number| number.to_string()).collect();
    for text in &said {
        carol.send(&world, &room, text).expect(200);
    }
    soon(&world);
    alice
        .set_state(
            &world,
            &room,
            "m.room.power_levels",
            "",
            &json!({"events_default": 50}),
        )
        .expect(200);
    soon(&world);
    let gates = [Gate::shut(&world, 0), Gate::shut(&world, 2)];
    bob.join(&world, &room, &[world.server(0).name()]).expect(200);
    soon(&world);
    assert_eq!(bob.messages(&world, &room), said);
    gates.iter().for_each(Gate::open);
    world.settle();
    assert_eq!(bob.messages(&world, &room), said);
}

#[test]
fn history_that_cannot_be_judged_without_all_members_comes_when_they_are_there() {
    let (world, clients) = world(67, 3);
    let [alice, bob, carol] = &clients[..] else {
        panic!()
    };
    let room = alice.create_room(&world, &json!({"preset": "public_chat", "name": "Large"}));
    carol.join(&world, &room, &[world.server(0).name()]).expect(200);
    let said: Vec<String> = (0..MANY).map(|number| number.to_string()).collect();
    for (number, text) in said.iter().enumerate() {
        let client = if number % 2 == 0 { carol } else { alice };
        client.send(&world, &room, text).expect(200);
        soon(&world);
    }
    let gates = [Gate::shut(&world, 0), Gate::shut(&world, 2)];
    // Nor does anybody say what allowed the members to speak.
    bob.join(&world, &room, &[world.server(0).name()]).expect(200);
    world.tamper(world.server(0).name(), |uri, answer| {
        if uri.contains("/event_auth/") {
            answer["auth_chain"] = json!([]);
        }
    });
    soon(&world);
    drop(bob.messages(&world, &room));
    gates.iter().for_each(Gate::open);
    world.settle();
    assert_eq!(bob.messages(&world, &room), said);
}
