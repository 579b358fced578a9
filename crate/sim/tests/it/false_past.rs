//! A server that lies about the past of its events: what is missing, the state before them, history.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::{Either, select};
use hearth_homeserver::Seams;
use hearth_rooms::{Pdu, RoomVersion};
use hearth_sim::{Client, World};
use hearth_storage::{Direction, KeyRange, Table};
use serde_json::{Value, json};

use crate::{
    extremities,
    hostile::{joined, joined_in, verdict},
    outsider::{Outsider, encode, json_of},
    soon, world,
};

/// `template` with another text, after `prev`.
fn after(template: &Value, prev: &str, text: &str) -> Value {
    let mut template = template.clone();
    template["content"]["body"] = json!(text);
    template["prev_events"] = json!([prev]);
    template
}

/// How often server 0 asked mallory for something whose path has `part`.
fn asked(world: &World, mallory: &Outsider, part: &str) -> usize {
    let name = mallory.identity.server_name();
    let traffic = world.traffic();
    let asked = traffic
        .iter()
        .filter(|asked| asked.to == name && asked.request.contains(part));
    asked.count()
}

#[test]
fn missing_events_that_were_not_asked_for_are_not_taken() {
    let (world, alice, mallory, room, template) = joined(48);
    let own = template["prev_events"][0].as_str().unwrap().to_owned();
    let missing = mallory.sign(RoomVersion::V12, after(&template, &own, "missing"));
    let last = mallory.sign(
        RoomVersion::V12,
        after(&template, missing.event_id().as_str(), "last"),
    );
    let junk = |number| {
        mallory.sign(
            RoomVersion::V12,
            after(&template, &own, &format!("junk {number}")),
        )
    };
    let mut given: Vec<_> = (0..40).map(|number| json_of(&junk(number))).collect();
    given.push(json_of(&missing));
    world.stand_in(mallory.identity.server_name(), move |uri, _| {
        let answer = json!({ "events": given });
        uri.contains("/get_missing_events/").then_some((200, answer))
    });
    let said = verdict(&world, &mallory, "1", json_of(&last), last.event_id().as_str());
    assert_eq!(said, json!({}));
    assert_eq!(alice.messages(&world, &room), ["missing", "last"]);
}

#[test]
fn a_past_without_end_is_followed_only_so_far() {
    let (world, alice, mallory, room, template) = joined(49);
    // Each event follows another that has to be asked for.
    let mut chain = vec![mallory.sign(RoomVersion::V12, after(&template, &format!("${:043}", 0), "0"))];
    for number in 1..400 {
        let prev = chain.last().unwrap().event_id().to_string();
        chain.push(mallory.sign(RoomVersion::V12, after(&template, &prev, &number.to_string())));
    }
    let last = chain.pop().unwrap();
    let known: std::collections::HashMap<String, Value> = chain
        .iter()
        .map(|pdu| (encode(pdu.event_id().as_str()), json_of(pdu)))
        .collect();
    let state = state_after_join(&world, &mallory, &template);
    world.stand_in(mallory.identity.server_name(), move |uri, _| {
        if uri.contains("/get_missing_events/") {
            return Some((200, json!({ "events": [] })));
        }
        if uri.contains("/state_ids/") {
            return Some((200, state.clone()));
        }
        // One event at a time, and always one more.
        let wanted = known.iter().find(|(id, _)| uri.contains(id.as_str()));
        let pdus: Vec<_> = wanted.map(|(_, pdu)| pdu.clone()).into_iter().collect();
        uri.contains("/backfill/")
            .then_some((200, json!({ "pdus": pdus })))
    });
    let said = verdict(&world, &mallory, "1", json_of(&last), last.event_id().as_str());
    assert_eq!(said, json!({}));
    soon(&world);
    assert!(asked(&world, &mallory, "/backfill/") <= 20);
    assert!(asked(&world, &mallory, "/state_ids/") <= 20);
    assert!(asked(&world, &mallory, "/get_missing_events/") <= 2);
    alice.send(&world, &room, "unharmed").expect(200);
    assert!(alice.messages(&world, &room).contains(&"unharmed".to_owned()));
}

#[test]
fn a_state_full_of_junk_is_no_state() {
    let (world, alice, mallory, room, template) = joined(50);
    let before = alice.state(&world, &room);
    let own = template["prev_events"][0].as_str().unwrap().to_owned();
    let junk: Vec<_> = (0..2_000)
        .map(|number| {
            let mut junk = after(&template, &own, "");
            junk["type"] = json!("m.room.member");
            junk["state_key"] = json!(format!("@user{number}:{}", mallory.identity.server_name()));
            junk["sender"] = junk["state_key"].clone();
            junk["content"] = json!({"membership": "join"});
            let junk = mallory.sign(RoomVersion::V12, junk);
            (junk.event_id().to_string(), json_of(&junk))
        })
        .collect();
    let ids: Vec<_> = junk.iter().map(|(id, _)| id.clone()).collect();
    let junk: Vec<_> = junk.into_iter().map(|(_, pdu)| pdu).collect();
    world.stand_in(mallory.identity.server_name(), move |uri, _| {
        if uri.contains("/state_ids/") {
            return Some((200, json!({ "pdu_ids": ids, "auth_chain_ids": [] })));
        }
        if uri.contains("/state/") {
            return Some((200, json!({ "pdus": junk, "auth_chain": [] })));
        }
        if uri.contains("/org.hearth/") {
            return Some((404, json!({ "errcode": "M_UNRECOGNIZED", "error": "unknown" })));
        }
        uri.contains("/get_missing_events/")
            .then_some((200, json!({ "events": [] })))
    });
    let far = mallory.sign(RoomVersion::V12, after(&template, &format!("${:043}", 0), "far"));
    // It is held, for others may know better what came before it.
    let said = verdict(&world, &mallory, "1", json_of(&far), far.event_id().as_str());
    assert_eq!(said, json!({}));
    assert_eq!(asked(&world, &mallory, "/state/"), 1);
    assert_eq!(alice.state(&world, &room), before);
    let honest = mallory.sign(RoomVersion::V12, template);
    let said = verdict(
        &world,
        &mallory,
        "2",
        json_of(&honest),
        honest.event_id().as_str(),
    );
    assert_eq!(said, json!({}));
}

#[test]
fn what_authorises_in_another_room_authorises_nothing_here() {
    let (world, alice, mallory, room, template) = joined(51);
    let other = alice.create_room(&world, &json!({"preset": "public_chat", "room_version": "12"}));
    mallory.join(&world, &other);
    let foreign = alice
        .state(&world, &other)
        .into_iter()
        .find(|(kind, _, _)| kind == "m.room.power_levels")
        .unwrap()
        .2;
    let mut forged = template;
    forged["auth_events"][0] = json!(foreign);
    let forged = mallory.sign(RoomVersion::V12, forged);
    let said = verdict(
        &world,
        &mallory,
        "1",
        json_of(&forged),
        forged.event_id().as_str(),
    );
    assert!(said["error"].is_string(), "{said}");
    assert!(alice.messages(&world, &room).is_empty());
}

#[test]
fn many_ends_are_joined_by_an_event_that_nobody_sees() {
    let (world, alice, mallory, room, template) = joined(52);
    let own = template["prev_events"][0].as_str().unwrap().to_owned();
    let flood: Vec<_> = (0..18)
        .map(|number| {
            json_of(&mallory.sign(RoomVersion::V12, after(&template, &own, &format!("{number:02}"))))
        })
        .collect();
    mallory.transaction(&world, "1", flood).expect(200);
    let ends = || {
        let uri = format!(
            "/_matrix/federation/v1/make_leave/{}/{}",
            encode(&room),
            encode(&mallory.user_id)
        );
        let made = mallory.ask(&world, "GET", &uri, None);
        made.expect(200)["event"]["prev_events"].as_array().unwrap().len()
    };
    assert_eq!(ends(), 18);
    world.run_for(Duration::from_secs(70));
    assert_eq!(ends(), 1, "somebody here spoke for all to join them");
    let shown = alice.history(&world, &room);
    assert!(
        shown
            .iter()
            .all(|event| event["type"] != "org.matrix.dummy_event")
    );
    assert_eq!(alice.messages(&world, &room).len(), 18);
    let sync = alice.sync(&world, None).expect(200).clone();
    assert!(!sync.to_string().contains("org.matrix.dummy_event"));
}

#[test]
fn who_only_knocks_is_not_told_what_joins_the_ends_that_they_made() {
    let (world, clients) = world(59, 2);
    let ([alice, bob], mallory) = (&clients[..], Outsider::new(77)) else {
        panic!()
    };
    let rules = json!([{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}]);
    let options = json!({"preset": "private_chat", "room_version": "12", "initial_state": rules});
    let room = alice.create_room(&world, &options);
    alice.invite(&world, &room, &bob.user_id).expect(200);
    bob.join(&world, &room, &[world.server(0).name()]).expect(200);
    soon(&world);
    world.cut(0, 1);
    bob.send(&world, &room, "beside").expect(200);
    let uri = |step: &str, last: &str| format!("/_matrix/federation/v1/{step}/{}/{last}", encode(&room));
    let templates: Vec<_> = (0..12)
        .map(|number| {
            let user_id = mallory.user_id.replace("mallory", &format!("mallory{number}"));
            let uri = uri("make_knock", &format!("{}?ver=12", encode(&user_id)));
            mallory.ask(&world, "GET", &uri, None).expect(200)["event"].clone()
        })
        .collect();
    for template in templates {
        let knock = mallory.sign(RoomVersion::V12, template);
        let uri = uri("send_knock", &encode(knock.event_id().as_str()));
        mallory
            .ask(&world, "PUT", &uri, Some(json_of(&knock)))
            .expect(200);
    }
    let ends = || extremities(&world, 0, &room).len();
    world.heal(0, 1);
    soon(&world);
    assert_eq!(ends(), 13);
    world.run_for(Duration::from_secs(120));
    assert_eq!(ends(), 1);
    assert_eq!(asked(&world, &mallory, "/send/"), 0);
}

/// The state after mallory's join, as server 0 tells it.
fn state_after_join(world: &World, mallory: &Outsider, template: &Value) -> Value {
    let own = template["prev_events"][0].as_str().unwrap();
    let room = encode(template["room_id"].as_str().unwrap());
    let uri = format!("/_matrix/federation/v1/state_ids/{room}?event_id={}", encode(own));
    let mut state = mallory.ask(world, "GET", &uri, None).expect(200).clone();
    state["pdu_ids"].as_array_mut().unwrap().push(json!(own));
    state
}

/// Lets mallory say that before any event of the room there was nothing but its creation and mallory's own join.
fn tell_of_an_empty_room(world: &World, alice: &Client, mallory: &Outsider, template: &Value) {
    let mut told = state_after_join(world, mallory, template);
    let room = template["room_id"].as_str().unwrap();
    let others = alice
        .state(world, room)
        .into_iter()
        .filter(|(kind, key, _)| kind != "m.room.create" && *key != mallory.user_id);
    let others: Vec<_> = others.map(|(_, _, event_id)| json!(event_id)).collect();
    told["pdu_ids"]
        .as_array_mut()
        .unwrap()
        .retain(|id| !others.contains(id));
    told["auth_chain_ids"].as_array_mut().unwrap().extend(others);
    world.stand_in(mallory.identity.server_name(), move |uri, _| match uri {
        _ if uri.contains("/state_ids/") => Some((200, told.clone())),
        _ if uri.contains("/org.hearth/") => {
            Some((404, json!({ "errcode": "M_UNRECOGNIZED", "error": "unknown" })))
        }
        _ => uri
            .contains("/get_missing_events/")
            .then(|| (200, json!({ "events": [] }))),
    });
}

#[test]
fn a_state_that_one_server_tells_does_not_replace_that_of_the_room() {
    let (world, alice, mallory, room, template) = joined(56);
    let before = alice.state(&world, &room);
    tell_of_an_empty_room(&world, &alice, &mallory, &template);
    let own = template["prev_events"][0].as_str().unwrap();
    let mut told = after(&template, own, "told");
    told["prev_events"] = json!([own, format!("${:043}", 0)]);
    let told = mallory.sign(RoomVersion::V12, told);
    let said = verdict(&world, &mallory, "1", json_of(&told), told.event_id().as_str());
    assert_eq!(said, json!({}));
    assert_eq!(alice.messages(&world, &room), ["told"]);
    assert_eq!(alice.state(&world, &room), before);
    alice.send(&world, &room, "unharmed").expect(200);
}

#[test]
fn what_a_told_state_follows_does_not_replace_the_state_of_the_room_when_it_comes() {
    let (world, alice, mallory, room, template) = joined(57);
    let before = alice.state(&world, &room);
    tell_of_an_empty_room(&world, &alice, &mallory, &template);
    let own = template["prev_events"][0].as_str().unwrap();
    let withheld = mallory.sign(RoomVersion::V12, after(&template, own, "withheld"));
    let told = mallory.sign(
        RoomVersion::V12,
        after(&template, withheld.event_id().as_str(), "told"),
    );
    for (txn_id, pdu) in [("1", &told), ("2", &withheld)] {
        let said = verdict(&world, &mallory, txn_id, json_of(pdu), pdu.event_id().as_str());
        assert_eq!(said, json!({}));
    }
    assert_eq!(alice.messages(&world, &room).len(), 2);
    assert_eq!(alice.state(&world, &room), before);
    alice.send(&world, &room, "unharmed").expect(200);
}

#[test]
fn an_event_of_which_nobody_tells_the_state_is_no_history() {
    let (world, alice, mallory, room, template) = joined(53);
    let own = template["prev_events"][0].as_str().unwrap().to_owned();
    let sign = |prev: &str, text: &str| mallory.sign(RoomVersion::V12, after(&template, prev, text));
    let first = sign(&own, "first");
    let second = sign(first.event_id().as_str(), "second");
    // Who was never in the room says this, and nothing allows it.
    let mut stranger = after(&template, &format!("${:043}", 0), "stranger");
    stranger["sender"] = json!(mallory.user_id.replace("mallory", "never"));
    stranger["auth_events"] = json!([]);
    let stranger = mallory.sign(RoomVersion::V12, stranger);
    let mut third = after(&template, second.event_id().as_str(), "third");
    third["prev_events"] = json!([second.event_id(), stranger.event_id()]);
    let third = mallory.sign(RoomVersion::V12, third);
    let state = state_after_join(&world, &mallory, &template);
    let known = third.event_id().to_string();
    let history = json!({ "pdus": [json_of(&second), json_of(&stranger)] });
    world.stand_in(mallory.identity.server_name(), move |uri, _| {
        // The second event comes as history, without the state before it: what it follows is not given.
        let uri = uri.replace("%24", "$");
        let (status, answer) = match () {
            () if uri.contains("/state_ids/") && uri.contains(&known) => (200, state.clone()),
            () if uri.contains("/backfill/") => (200, history.clone()),
            () if uri.contains("/send/") => (200, json!({ "pdus": {} })),
            () => (404, json!({ "errcode": "M_NOT_FOUND" })),
        };
        Some((status, answer))
    });
    verdict(&world, &mallory, "1", json_of(&third), third.event_id().as_str());
    soon(&world);
    assert!(asked(&world, &mallory, "/backfill/") > 0);
    assert_eq!(alice.messages(&world, &room), ["third"]);
    for (txn_id, pdu) in [("2", &first), ("3", &second)] {
        let said = verdict(&world, &mallory, txn_id, json_of(pdu), pdu.event_id().as_str());
        assert_eq!(said, json!({}));
    }
    assert_eq!(alice.messages(&world, &room), ["third", "first", "second"]);
}

#[test]
fn what_happened_in_another_room_is_no_past_of_this_one() {
    let (world, alice, mallory, room, template) = joined(58);
    let other = alice.create_room(&world, &json!({"preset": "public_chat", "room_version": "12"}));
    mallory.join(&world, &other);
    let there = alice.state(&world, &other).into_iter();
    let mut there = there.filter(|(_, key, _)| *key == mallory.user_id);
    let there = there.next().unwrap().2;
    let own = template["prev_events"][0].as_str().unwrap().to_owned();
    let first = mallory.sign(RoomVersion::V12, after(&template, &there, "first"));
    let mut second = after(&template, "", "second");
    second["prev_events"] = json!([own, first.event_id()]);
    let second = mallory.sign(RoomVersion::V12, second);
    let third = mallory.sign(
        RoomVersion::V12,
        after(&template, second.event_id().as_str(), "third"),
    );
    let state = state_after_join(&world, &mallory, &template);
    let (known, history) = (third.event_id().to_string(), [&first, &second].map(json_of));
    world.stand_in(mallory.identity.server_name(), move |uri, _| {
        let uri = uri.replace("%24", "$");
        let (status, answer) = match () {
            () if uri.contains("/state_ids/") && uri.contains(&known) => (200, state.clone()),
            () if uri.contains("/backfill/") => (200, json!({ "pdus": history })),
            () if uri.contains("/send/") => (200, json!({ "pdus": {} })),
            () => (404, json!({ "errcode": "M_NOT_FOUND" })),
        };
        Some((status, answer))
    });
    verdict(&world, &mallory, "1", json_of(&third), third.event_id().as_str());
    soon(&world);
    assert!(asked(&world, &mallory, "/backfill/") > 0);
    assert_eq!(alice.messages(&world, &room), ["third"]);
}

#[test]
fn who_was_removed_is_given_nothing_of_what_came_after() {
    let (world, alice, mallory, room, template) = joined(59);
    let own = template["prev_events"][0].as_str().unwrap().to_owned();
    alice.kick(&world, &room, &mallory.user_id).expect(200);
    let state = |kind: &str, key: &str| alice.state_id(&world, &room, kind, key);
    let kick = state("m.room.member", &mallory.user_id);
    let topic = json!({"topic": "secret"});
    alice
        .set_state(&world, &room, "m.room.topic", "", &topic)
        .expect(200);
    let topic = state("m.room.topic", "");
    let last = alice.send(&world, &room, "last").expect(200)["event_id"].clone();
    // Nobody lets it speak any more; what it says is after all that.
    let mut refused = template.clone();
    refused["prev_events"] = json!([last]);
    let refused = mallory.sign(RoomVersion::V12, refused);
    let refusal = verdict(
        &world,
        &mallory,
        "1",
        json_of(&refused),
        refused.event_id().as_str(),
    );
    assert!(refusal["error"].is_string(), "{refusal}");

    let room = encode(&room);
    let missing = |latest: Value| {
        let uri = format!("/_matrix/federation/v1/get_missing_events/{room}");
        let body = json!({ "latest_events": latest, "earliest_events": [], "limit": 50 });
        mallory.ask(&world, "POST", &uri, Some(body))
    };
    let by_id = |ids: Value| {
        let uri = format!("/_matrix/federation/unstable/org.hearth/events/{room}");
        mallory.ask(&world, "POST", &uri, Some(json!({ "event_ids": ids })))
    };
    for answer in [
        missing(json!([kick, last])),
        missing(json!([kick, refused.event_id()])),
        by_id(json!([own, topic, last])),
    ] {
        let given = answer.expect(200).to_string();
        assert!(given.contains(&mallory.user_id), "{given}");
        assert!(
            !given.contains("m.room.topic") && !given.contains("m.room.message"),
            "{given}"
        );
    }
    for endpoint in ["state", "state_ids", "event_auth"] {
        let ids = [topic.as_str(), refused.event_id().as_str()];
        for id in ids.map(encode) {
            let uri = match endpoint {
                "event_auth" => format!("/_matrix/federation/v1/event_auth/{room}/{id}"),
                _ => format!("/_matrix/federation/v1/{endpoint}/{room}?event_id={id}"),
            };
            assert_eq!(mallory.ask(&world, "GET", &uri, None).status, 403, "{uri}");
        }
    }
}

#[test]
fn history_that_leads_to_nothing_is_not_shown_and_a_refused_event_does_not_end_it() {
    let (world, mut clients) = world(54, 2);
    let (bob, alice) = (clients.pop().unwrap(), clients.pop().unwrap());
    let room = alice.create_room(&world, &json!({"preset": "public_chat", "room_version": "12"}));
    let mallory = Outsider::new(77);
    let join = mallory.join(&world, &room);
    alice.send(&world, &room, "early").expect(200);
    let state = alice.state(&world, &room);
    let id = |kind: &str, key: &str| {
        let entry = state.iter().find(|entry| entry.0 == kind && entry.1 == key);
        json!(entry.unwrap().2)
    };
    let own = id("m.room.member", &mallory.user_id);
    let depth = join["depth"].as_u64().unwrap() + 2;
    let early = alice.history(&world, &room)[0]["event_id"].clone();
    let sign = |kind: &str, key: Option<&str>, prev: &Value, text: &str| {
        let mut template = json!({
            "type": kind, "room_id": room, "sender": mallory.user_id, "depth": depth,
            "content": {"msgtype": "m.text", "body": text}, "origin_server_ts": 1_700_000_000_000_u64,
            "prev_events": [prev], "auth_events": [id("m.room.power_levels", ""), own],
        });
        if let Some(key) = key {
            template["state_key"] = json!(key);
        }
        mallory.sign(RoomVersion::V12, template)
    };
    let refused = sign("m.room.topic", Some(""), &early, "");
    let last = sign("m.room.message", None, &json!(refused.event_id()), "last");
    let junk = sign("m.room.message", None, &own, "junk");
    for (txn_id, pdu) in [("1", &refused), ("2", &last)] {
        mallory
            .transaction(&world, txn_id, vec![json_of(pdu)])
            .expect(200);
    }
    assert_eq!(alice.messages(&world, &room), ["early", "last"]);
    let (junk, asked_for) = (json_of(&junk), last.event_id().to_string());
    world.tamper(world.server(0).name(), move |uri, answer| {
        let is_page = uri.contains("/backfill/") && uri.replace("%24", "$").contains(&asked_for);
        if let Some(pdus) = answer["pdus"].as_array_mut().filter(|_| is_page) {
            pdus.push(junk.clone());
        }
    });
    bob.join(&world, &room, &[world.server(0).name()]).expect(200);
    soon(&world);
    assert_eq!(bob.messages(&world, &room), ["early", "last"]);
}

#[test]
fn a_gap_that_takes_too_long_is_left_for_later() {
    let (world, alice, mallory, room, template) = joined(55);
    let state = state_after_join(&world, &mallory, &template);
    let missing = format!("${:043}", 0);
    let last = mallory.sign(RoomVersion::V12, after(&template, &missing, "last"));
    world.stand_in(mallory.identity.server_name(), move |uri, _| {
        if uri.contains("/state_ids/") {
            return Some((200, state.clone()));
        }
        Some((404, json!({ "errcode": "M_NOT_FOUND" })))
    });
    let slow = Duration::from_secs(14);
    world.set_delay(slow, slow);
    let began = world.elapsed();
    let said = verdict(&world, &mallory, "1", json_of(&last), last.event_id().as_str());
    assert_eq!(said, json!({}));
    assert!(world.elapsed() - began <= Duration::from_secs(40));
    assert!(alice.messages(&world, &room).is_empty());
    world.run_for(Duration::from_secs(120));
    assert_eq!(alice.messages(&world, &room), ["last"]);
}

#[test]
fn only_what_was_asked_for_is_stored_and_nothing_that_is_refused() {
    let (world, alice, mallory, room, template) = joined(56);
    let own = template["prev_events"][0].as_str().unwrap().to_owned();
    let member = |name: &str, auth_events: Value| {
        let mut event = after(&template, &own, "");
        event["type"] = json!("m.room.member");
        event["sender"] = json!(mallory.user_id.replace("mallory", name));
        event["state_key"] = event["sender"].clone();
        event["content"] = json!({"membership": "join"});
        event["auth_events"] = auth_events;
        mallory.sign(RoomVersion::V12, event)
    };
    let state = alice.state(&world, &room);
    let of_kind = |kind: &str| {
        let entry = state.iter().find(|entry| entry.0 == kind);
        json!(entry.unwrap().2)
    };
    let allowed = json!([of_kind("m.room.power_levels"), of_kind("m.room.join_rules")]);
    let (asked_for, beside, refused) = (
        member("one", allowed.clone()),
        member("two", allowed),
        member("three", json!([])),
    );
    let mut named = template.clone();
    named["auth_events"]
        .as_array_mut()
        .unwrap()
        .extend([json!(asked_for.event_id()), json!(refused.event_id())]);
    let named = mallory.sign(RoomVersion::V12, named);
    let chain = [&asked_for, &beside, &refused].map(json_of);
    let ids: Vec<_> = (0..10).map(|number| format!("${number:043}")).collect();
    world.stand_in(mallory.identity.server_name(), move |uri, _| {
        if uri.contains("/event_auth/") {
            return Some((200, json!({ "auth_chain": chain })));
        }
        if uri.contains("/state_ids/") {
            return Some((200, json!({ "pdu_ids": ids, "auth_chain_ids": [] })));
        }
        if uri.contains("/org.hearth/events/") {
            return Some((200, json!({ "pdus": chain })));
        }
        Some((404, json!({ "errcode": "M_NOT_FOUND" })))
    });
    verdict(&world, &mallory, "1", json_of(&named), named.event_id().as_str());
    assert!(
        asked(&world, &mallory, "/event_auth/") > 0 && asked(&world, &mallory, "/org.hearth/events/") > 0
    );
    let homeserver = world.server(0).homeserver().unwrap();
    let is_stored = |pdu: &Pdu| {
        let (homeserver, id) = (homeserver.clone(), pdu.event_id().to_owned());
        let stored = world.block_on(async move { homeserver.stored_event(&id).await });
        stored.unwrap().is_some()
    };
    assert_eq!(
        [&asked_for, &beside, &refused].map(is_stored),
        [true, false, false]
    );
    assert!(alice.messages(&world, &room).is_empty());
}

#[test]
fn an_event_is_not_lost_whose_sender_hangs_up_while_it_is_being_held() {
    let (world, alice, mallory, room, template) =
        joined_in(World::with_slow_commits(57, 1, Duration::from_secs(1)));
    let own = template["prev_events"][0].as_str().unwrap().to_owned();
    let first = mallory.sign(RoomVersion::V12, after(&template, &own, "first"));
    let second = after(&template, first.event_id().as_str(), "second");
    let second = mallory.sign(RoomVersion::V12, second);
    let (is_ill, given) = (
        Arc::new(AtomicBool::new(true)),
        json!({ "events": [json_of(&first)] }),
    );
    let ill = is_ill.clone();
    world.stand_in(mallory.identity.server_name(), move |uri, _| {
        let is_given = uri.contains("/get_missing_events/") && !ill.load(Ordering::Relaxed);
        Some(match is_given {
            true => (200, given.clone()),
            false => (500, json!({ "errcode": "M_UNKNOWN", "error": "ill" })),
        })
    });
    let homeserver = world.server(0).homeserver().unwrap().clone();
    let (body, name) = (
        json!({ "pdus": [json_of(&second)] }),
        mallory.identity.server_name().to_owned(),
    );
    world.block_on(async move {
        let origin = name.as_str().try_into().unwrap();
        let mut receiving = pin!(homeserver.receive_transaction(origin, "1", body));
        let Seams { store, clock, .. } = &homeserver.seams;
        loop {
            let range = KeyRange::prefix(b"h\0");
            let held = store.scan(Table::Federation, range, Direction::Forward, 1).await;
            if !held.unwrap().is_empty() {
                return;
            }
            let short = clock.sleep(Duration::from_millis(1));
            assert!(matches!(
                select(receiving.as_mut(), short).await,
                Either::Right(_)
            ));
        }
    });
    // It is sent again, as nobody was told that it had arrived.
    let said = verdict(
        &world,
        &mallory,
        "1",
        json_of(&second),
        second.event_id().as_str(),
    );
    assert_eq!(said, json!({}));
    is_ill.store(false, Ordering::Relaxed);
    world.run_for(Duration::from_secs(120));
    assert_eq!(alice.messages(&world, &room), ["first", "second"]);
}
