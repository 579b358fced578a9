//! What was taken in while the members were missing is looked at again when they are there.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use hearth_rooms::{Pdu, RoomVersion};
use hearth_sim::{
    World,
    synthetic::{SyntheticRoom, Utterance},
};
use hearth_storage::{Table, WriteBatch};
use ruma_common::{OwnedEventId, RoomId};
use serde_json::json;

use super::{Gate, by, large_room, lazy_sync, member_rows, members, newest, rows_fit_state, say};
use crate::{
    outsider::{Outsider, json_of},
    same_state, soon, world,
};

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

/// Lets the server of member number `member` of a room say what its events rest on.
fn vouch(world: &World, room: &SyntheticRoom, member: usize, more: &[&Pdu]) {
    let own = [&room.members()[0], &room.members()[member]];
    let chain = room.settings().iter().chain(own).chain(more.iter().copied());
    let answer = json!({"auth_chain": chain.map(json_of).collect::<Vec<_>>()});
    world.stand_in(room.server_of(member).server_name(), move |uri, _| {
        uri.contains("/event_auth/").then(|| (200, answer.clone()))
    });
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
fn a_room_becomes_whole_though_what_one_server_told_of_it_is_not_allowed() {
    let (world, clients, room) = large_room(76, 2, 60);
    let [alice, bob] = &clients[..] else { panic!() };
    let id = room.room_id.as_str();
    // Members 5 and 25 are of one server, and the first is banned, which server 1 cannot know yet.
    let banned = room.user_id(5);
    let auth = vec![room.members()[5].event_id().to_owned()];
    let last = newest(&world, alice, id);
    let ban = room.event(member_event(0, banned.as_str(), "ban", &last, auth, 100));
    let answer = by(&room, 0).transaction(&world, "1", vec![json_of(&ban)]);
    assert_eq!(answer.expect(200)["pdus"][ban.event_id().as_str()], json!({}));
    let gate = Gate::shut(&world, 0);
    bob.join(&world, id, &[world.server(0).name()]).expect(200);
    soon(&world);
    let join = newest(&world, bob, id);
    let says = |member, prev: &OwnedEventId, text| {
        room.event(Utterance {
            member,
            kind: "m.room.message",
            state_key: None,
            content: json!({"msgtype": "m.text", "body": text}),
            prev_events: vec![prev.clone()],
            auth_events: Vec::new(),
            depth: 200,
        })
    };
    let withheld = says(25, &join, "withheld");
    let unlawful = says(5, &withheld.event_id().to_owned(), "I am not here");
    let own = [0, 5, 25].map(|member| &room.members()[member]);
    let own = room.settings().iter().chain(own);
    let ids: Vec<_> = own.clone().map(Pdu::event_id).map(ToString::to_string).collect();
    let state: Vec<_> = own.map(json_of).collect();
    world.stand_in(room.server_of(5).server_name(), move |uri, _| match uri {
        _ if uri.contains("/event_auth/") => Some((200, json!({ "auth_chain": state }))),
        _ if uri.contains("/state_ids/") => Some((200, json!({ "pdu_ids": ids, "auth_chain_ids": ids }))),
        _ if uri.contains("/state/") => Some((200, json!({ "pdus": state, "auth_chain": state }))),
        _ => uri
            .contains("/get_missing_events/")
            .then(|| (200, json!({ "events": [] }))),
    });
    for (number, pdu) in [&unlawful, &withheld].into_iter().enumerate() {
        let answer = by(&room, 5).transaction_to(&world, 1, &number.to_string(), vec![json_of(pdu)]);
        assert_eq!(answer.expect(200)["pdus"][pdu.event_id().as_str()], json!({}));
    }
    assert_eq!(bob.messages(&world, id).len(), 2);
    gate.open();
    world.settle();
    assert_eq!(members(&world, bob, id).len(), 62);
    assert!(!members(&world, bob, id).contains(banned.as_str()));
    assert_eq!(bob.messages(&world, id), ["withheld"]);
    bob.send(&world, id, "whole").expect(200);
}

/// More than are asked for with `get_missing_events`.
const MISSED: usize = 120;

#[test]
fn nothing_that_fills_a_gap_stays_under_a_partial_state() {
    let (world, clients) = world(76, 3);
    let [alice, bob, carol] = &clients[..] else {
        panic!()
    };
    let room = alice.create_room(&world, &json!({"preset": "public_chat", "room_version": "12"}));
    carol.join(&world, &room, &[world.server(0).name()]).expect(200);
    soon(&world);
    // Nobody gives the state before bob's join; that before later events they give.
    let (join, shut) = (Arc::new(Mutex::new(None)), Arc::new(AtomicBool::new(true)));
    for server in [0, 2] {
        let (join, shut) = (join.clone(), shut.clone());
        world.stand_in(world.server(server).name(), move |uri, _| {
            let join = join.lock().unwrap();
            let uri = uri.replace("%24", "$");
            let is_later = join.as_deref().is_some_and(|join: &str| !uri.contains(join));
            let is_kept = uri.contains("/state") && !is_later && shut.load(Ordering::Relaxed);
            is_kept.then(|| (503, json!({"errcode": "M_UNKNOWN"})))
        });
    }
    bob.join(&world, &room, &[world.server(0).name()]).expect(200);
    *join.lock().unwrap() = Some(newest(&world, bob, &room).to_string());
    soon(&world);
    world.cut(0, 1);
    for number in 0..MISSED {
        alice.send(&world, &room, &number.to_string()).expect(200);
    }
    soon(&world);
    carol.send(&world, &room, "after").expect(200);
    soon(&world);
    let homeserver = world.server(1).homeserver().unwrap().clone();
    let room_id = RoomId::parse(&room).unwrap();
    let is_partial = || {
        let (homeserver, room_id) = (homeserver.clone(), room_id.clone());
        let room = world.block_on(async move { homeserver.room(&room_id).await });
        room.unwrap().unwrap().snapshot().is_partial()
    };
    assert!(is_partial());
    let said = bob.messages(&world, &room);
    assert_eq!(said.len(), MISSED + 1);
    shut.store(false, Ordering::Relaxed);
    world.heal(0, 1);
    world.settle();
    assert!(!is_partial());
    assert_eq!(bob.messages(&world, &room), said);
    let ids = bob.history(&world, &room).into_iter();
    let ids = ids.map(|event| event["event_id"].as_str().unwrap().try_into().unwrap());
    let ids: Vec<OwnedEventId> = ids.collect();
    let stored = world.block_on(async move { homeserver.stored_events(&ids).await });
    let partial = stored
        .unwrap()
        .iter()
        .filter(|event| event.decision.partial)
        .count();
    assert_eq!(partial, 0);
}
