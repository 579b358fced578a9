//! Every room version, from creation to resolution, and what only the old ones have.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use hearth_rooms::{Pdu, RoomVersion, signatures::sign};
use hearth_sim::{Client, World};
use ruma_common::OwnedEventId;
use serde_json::{Value, json};

use crate::{
    membership,
    outsider::{Outsider, encode, json_of},
    same_state, soon, world,
};

fn redact(world: &World, client: &Client, room: &str, event_id: &str, reason: &str) -> u16 {
    let path = format!("/rooms/{}/redact/{}/{reason}", encode(room), encode(event_id));
    client.put(world, &path, &json!({ "reason": reason })).status
}

fn event(world: &World, client: &Client, room: &str, event_id: &str) -> Value {
    let path = format!("/rooms/{}/event/{}", encode(room), encode(event_id));
    client.get(world, &path).expect(200).clone()
}

fn send(world: &World, client: &Client, room: &str, message: &str) -> String {
    client.send(world, room, message).expect(200)["event_id"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// A room of `version` with alice and bob, each of a server of their own.
fn room_of(version: RoomVersion) -> (World, Vec<Client>, String) {
    let seed = 100 + version.as_str().parse::<u64>().unwrap();
    let (world, clients) = world(seed, 2);
    let options = json!({
        "preset": "private_chat", "name": "Hall", "room_version": version.as_str(),
        "power_level_content_override": {"state_default": 0},
    });
    let room = clients[0].create_room(&world, &options);
    clients[0].invite(&world, &room, &clients[1].user_id).expect(200);
    soon(&world);
    clients[1].join(&world, &room, &[]).expect(200);
    soon(&world);
    (world, clients, room)
}

#[test]
fn two_servers_share_a_room_of_every_version() {
    for version in RoomVersion::ALL {
        let (world, clients, room) = room_of(version);
        let [alice, bob] = &clients[..] else { panic!() };
        let state = same_state(&world, &clients, &room);
        assert!(
            state.iter().any(|(kind, ..)| kind == "m.room.name"),
            "version {version}"
        );

        let of_alice = send(&world, alice, &room, "from alice");
        let of_bob = send(&world, bob, &room, "from bob");
        soon(&world);
        assert_eq!(
            redact(&world, bob, &room, &of_alice, "may-not"),
            403,
            "version {version}"
        );
        assert_eq!(
            redact(&world, bob, &room, &of_bob, "own"),
            200,
            "version {version}"
        );
        soon(&world);
        for client in &clients {
            let redacted = event(&world, client, &room, &of_bob);
            assert_eq!(redacted["content"], json!({}), "version {version}");
            let because = &redacted["unsigned"]["redacted_because"];
            assert_eq!(because["redacts"], of_bob.as_str(), "version {version}");
            assert_eq!(because["content"]["redacts"], of_bob.as_str());
            assert_eq!(client.messages(&world, &room).len(), 1, "version {version}");
        }

        resolve_a_conflict(&world, &clients, &room);

        alice.kick(&world, &room, &bob.user_id).expect(200);
        soon(&world);
        assert_eq!(
            membership(&world, alice, &room, bob).as_deref(),
            Some("leave"),
            "version {version}"
        );
        assert_eq!(
            bob.send(&world, &room, "still here?").status,
            403,
            "version {version}"
        );
    }
}

/// Both change the same and other state while they cannot reach each other.
fn resolve_a_conflict(world: &World, clients: &[Client], room: &str) {
    world.cut(0, 1);
    for (number, client) in clients.iter().enumerate() {
        let topic = json!({ "topic": format!("of {number}") });
        client
            .set_state(world, room, "m.room.topic", "", &topic)
            .expect(200);
        let own = json!({ "number": number });
        client
            .set_state(world, room, "org.example.own", &number.to_string(), &own)
            .expect(200);
    }
    world.heal(0, 1);
    world.settle();
    for client in clients {
        send(world, client, room, "healed");
    }
    world.settle();
    let state = same_state(world, clients, room);
    let own = state.iter().filter(|(kind, ..)| kind == "org.example.own");
    assert_eq!(own.count(), 2);
}

/// A public room of `version` on server 0 that mallory has joined, with the id of the join.
fn with_mallory(version: RoomVersion) -> (World, Vec<Client>, String, Outsider, Value) {
    let (world, clients) = world(200, 1);
    let options = json!({ "preset": "public_chat", "room_version": version.as_str() });
    let room = clients[0].create_room(&world, &options);
    let mallory = Outsider::new(7);
    let (room_path, user) = (encode(&room), encode(&mallory.user_id));
    let uri = format!("/_matrix/federation/v1/make_join/{room_path}/{user}?ver={version}");
    let made = mallory.ask(&world, "GET", &uri, None);
    let join = mallory.sign(version, made.expect(200)["event"].clone());
    let uri = format!(
        "/_matrix/federation/v1/send_join/{room_path}/{}",
        encode(join.event_id().as_str())
    );
    let answer = mallory.ask(&world, "PUT", &uri, Some(json_of(&join)));
    let answer = answer.expect(200);
    assert_eq!(answer[0], 200);
    assert!(
        answer[1]["state"]
            .as_array()
            .is_some_and(|state| !state.is_empty())
    );
    assert!(answer[1]["auth_chain"].is_array());
    let join = json_of(&join);
    (world, clients, room, mallory, join)
}

#[test]
fn the_deprecated_way_in_and_out_is_open() {
    for version in [
        RoomVersion::V1,
        RoomVersion::V2,
        RoomVersion::V5,
        RoomVersion::V12,
    ] {
        let (world, clients, room, mallory, _) = with_mallory(version);
        soon(&world);
        let joined = clients[0].state(&world, &room);
        assert!(
            joined.iter().any(|(_, key, _)| *key == mallory.user_id),
            "version {version}"
        );
        let (room_path, user) = (encode(&room), encode(&mallory.user_id));
        let uri = format!("/_matrix/federation/v1/make_leave/{room_path}/{user}");
        let made = mallory.ask(&world, "GET", &uri, None);
        let leave = mallory.sign(version, made.expect(200)["event"].clone());
        let uri = format!(
            "/_matrix/federation/v1/send_leave/{room_path}/{}",
            encode(leave.event_id().as_str())
        );
        let answer = mallory.ask(&world, "PUT", &uri, Some(json_of(&leave)));
        assert_eq!(*answer.expect(200), json!([200, {}]), "version {version}");
    }
}

#[test]
fn who_names_no_versions_knows_version_1_only() {
    for (version, status) in [
        (RoomVersion::V1, 200),
        (RoomVersion::V2, 400),
        (RoomVersion::V12, 400),
    ] {
        let (world, clients) = world(201, 1);
        let options = json!({ "preset": "public_chat", "room_version": version.as_str() });
        let room = clients[0].create_room(&world, &options);
        let mallory = Outsider::new(7);
        let uri = format!(
            "/_matrix/federation/v1/make_join/{}/{}",
            encode(&room),
            encode(&mallory.user_id)
        );
        assert_eq!(
            mallory.ask(&world, "GET", &uri, None).status,
            status,
            "version {version}"
        );
    }
}

#[test]
fn the_deprecated_invite_is_signed() {
    let (world, clients) = world(202, 1);
    let mallory = Outsider::new(7);
    let room = format!("!old:{}", mallory.identity.server_name());
    let invite = mallory.sign(
        RoomVersion::V1,
        json!({
            "type": "m.room.member", "state_key": clients[0].user_id, "sender": mallory.user_id, "depth": 5,
            "content": {"membership": "invite"}, "prev_events": [], "auth_events": [], "room_id": room,
            "origin_server_ts": 1_700_000_000_000_u64,
        }),
    );
    let mut body = json_of(&invite);
    let name = json!({
        "type": "m.room.name", "state_key": "", "sender": mallory.user_id, "content": {"name": "Old"},
    });
    body["unsigned"] = json!({ "invite_room_state": [name] });
    let uri = format!(
        "/_matrix/federation/v1/invite/{}/{}",
        encode(&room),
        encode(invite.event_id().as_str())
    );
    let answer = mallory.ask(&world, "PUT", &uri, Some(body));
    let answer = answer.expect(200);
    assert_eq!(answer[0], 200);
    let signatures = &answer[1]["event"]["signatures"];
    assert_eq!(signatures.as_object().unwrap().len(), 2);
    let sync = clients[0].sync(&world, None);
    let shown = &sync["rooms"]["invite"][&room]["invite_state"]["events"];
    let names = shown.as_array().unwrap().iter();
    assert_eq!(names.filter(|event| event["content"]["name"] == "Old").count(), 1);
}

/// A message of mallory's after `prev`, in the form of versions 1 and 2.
fn old_message(room: &str, mallory: &Outsider, prev: &Value, auth: &Value, body: &str) -> Value {
    json!({
        "type": "m.room.message", "sender": mallory.user_id, "room_id": room, "depth": 100,
        "content": {"body": body, "msgtype": "m.text"}, "origin_server_ts": 1_700_000_000_000_u64,
        "prev_events": [[prev["event_id"], {}]], "auth_events": auth,
    })
}

/// In versions 1 and 2 a server can give one id to two events. The first is kept, as it is.
#[test]
fn the_second_event_of_one_id_is_refused() {
    for version in [RoomVersion::V1, RoomVersion::V2] {
        let (world, clients, room, mallory, join) = with_mallory(version);
        let mut auth = join["auth_events"].as_array().unwrap().clone();
        let rules = clients[0].state(&world, &room);
        let rules = rules
            .iter()
            .find(|(kind, ..)| kind == "m.room.join_rules")
            .unwrap();
        auth.retain(|listed| listed[0] != rules.2.as_str());
        auth.push(json!([join["event_id"], {}]));
        let auth = Value::from(auth);
        let first = mallory.sign(version, old_message(&room, &mallory, &join, &auth, "first"));
        let mut second = old_message(&room, &mallory, &join, &auth, "second");
        second["event_id"] = first.event_id().as_str().into();
        let second = mallory.sign_as_is(version, second);
        assert_eq!(second.event_id(), first.event_id());

        let answer = mallory.transaction(&world, "1", vec![json_of(&first)]);
        assert_eq!(answer.expect(200)["pdus"][first.event_id().as_str()], json!({}));
        let answer = mallory.transaction(&world, "2", vec![json_of(&second)]);
        let refused = &answer.expect(200)["pdus"][first.event_id().as_str()];
        assert!(refused["error"].is_string(), "version {version}: {refused}");
        let answer = mallory.transaction(&world, "3", vec![json_of(&first)]);
        assert_eq!(answer.expect(200)["pdus"][first.event_id().as_str()], json!({}));
        assert_eq!(clients[0].messages(&world, &room), ["first"], "version {version}");
    }
}

/// Whoever vouches for an invite by third party stands in for its sender's signature; here nobody does, and the second
/// invite is, once redacted, of no third party any more.
#[test]
fn nobody_is_invited_in_the_name_of_another() {
    for version in RoomVersion::ALL {
        let (world, clients, room, mallory, join) = with_mallory(version);
        let friend = mallory.user_id.replace("mallory", "friend");
        let named = |id: &Value| match version {
            RoomVersion::V1 | RoomVersion::V2 => json!([id, {}]),
            _ => id.clone(),
        };
        let joined = clients[0]
            .state(&world, &room)
            .into_iter()
            .filter(|(kind, key, _)| {
                let is_create = kind == "m.room.create" && version < RoomVersion::V12;
                let rules = ["m.room.power_levels", "m.room.join_rules"];
                is_create || rules.contains(&kind.as_str()) || *key == clients[0].user_id
            });
        let auth: Vec<_> = joined.map(|(_, _, id)| named(&json!(id))).collect();
        let join = Pdu::from_value(version, join).unwrap();
        let invite = mallory.sign(
            version,
            json!({
                "type": "m.room.member", "state_key": friend, "sender": clients[0].user_id, "room_id": room,
                "content": {"membership": "invite", "third_party_invite": {}}, "depth": 100, "auth_events": auth,
                "prev_events": [named(&json!(join.event_id()))], "origin_server_ts": 1_700_000_000_000_u64,
            }),
        );
        let mut changed = invite.to_object().unwrap();
        changed["hashes"] = json!({ "sha256": "A".repeat(43) });
        changed["signatures"] = json!({});
        if version < RoomVersion::V3 {
            changed["event_id"] = json!(format!("$changed:{}", mallory.identity.server_name()));
        }
        let (name, key_pair) = (mallory.identity.server_name(), mallory.identity.key_pair());
        sign(version, &mut changed, name, key_pair).unwrap();
        let changed = Pdu::from_object(version, changed).unwrap();
        for (txn_id, pdu) in [("1", invite), ("2", changed)] {
            let answer = mallory.transaction(&world, txn_id, vec![json_of(&pdu)]);
            let refused = &answer.expect(200)["pdus"][pdu.event_id().as_str()];
            assert!(
                refused["error"].is_string(),
                "version {version}, {txn_id}: {refused}"
            );
        }
        let state = clients[0].state(&world, &room);
        assert!(
            state.iter().all(|(_, key, _)| *key != friend),
            "version {version}"
        );
    }
}

/// In versions 1 and 2 a server can make events that come before each other, or rest on each other, for whoever
/// asks. None of them is taken in, and few questions are asked.
#[test]
fn events_that_come_before_each_other_are_refused() {
    for version in [RoomVersion::V1, RoomVersion::V2] {
        let (world, clients, room, mallory, join) = with_mallory(version);
        let name = mallory.identity.server_name().to_owned();
        let mut auth = join["auth_events"].as_array().unwrap().clone();
        auth.push(json!([join["event_id"], {}]));
        let id = |number: usize| json!(format!("$circle{number}:{name}"));
        let circle: Vec<Value> = (0..CIRCLE)
            .map(|number| {
                let prev = json!({ "event_id": id((number + 1) % CIRCLE) });
                let mut event = old_message(&room, &mallory, &prev, &Value::from(auth.clone()), "round");
                event["event_id"] = id(number);
                json_of(&mallory.sign_as_is(version, event))
            })
            .collect();
        let resting: Vec<Value> = (0..2)
            .map(|number| {
                let auth: Vec<_> = auth
                    .iter()
                    .cloned()
                    .chain([json!([format!("$rest{}:{name}", 1 - number), {}])])
                    .collect();
                let mut event = old_message(&room, &mallory, &join, &Value::from(auth), "resting");
                event["event_id"] = json!(format!("$rest{number}:{name}"));
                json_of(&mallory.sign_as_is(version, event))
            })
            .collect();
        let (given, chain) = (circle.clone(), resting.clone());
        world.stand_in(&name, move |uri, _| {
            if uri.contains("/get_missing_events/") {
                return Some((200, json!({ "events": given })));
            }
            if uri.contains("/event_auth/") {
                return Some((200, json!({ "auth_chain": chain })));
            }
            Some((404, json!({ "errcode": "M_NOT_FOUND", "error": "no" })))
        });
        let before = world.traffic().len();
        let sent = [circle[..3].to_vec(), resting].concat();
        let answer = mallory.transaction(&world, "round", sent.clone());
        for pdu in &sent {
            // They are held, for others may know better what came before them, and never taken in.
            let verdict = &answer.expect(200)["pdus"][pdu["event_id"].as_str().unwrap()];
            assert!(verdict.is_object(), "version {version}: {answer:?}");
        }
        let asked = world.traffic().len() - before;
        assert!(asked <= 40, "version {version}: {asked} questions");
        assert!(clients[0].messages(&world, &room).is_empty());
        let honest = mallory.sign(
            version,
            old_message(&room, &mallory, &join, &Value::from(auth), "after"),
        );
        mallory
            .transaction(&world, "after", vec![json_of(&honest)])
            .expect(200);
        clients[0].send(&world, &room, "unharmed").expect(200);
        assert!(
            clients[0]
                .messages(&world, &room)
                .contains(&"unharmed".to_owned())
        );
    }
}

/// How many events come before each other in a circle.
const CIRCLE: usize = 40;

/// Numbers that newer versions forbid travel, in requests too, and are hashed the same at both ends.
#[test]
fn floats_are_shared_in_old_rooms_and_refused_in_new_ones() {
    for version in RoomVersion::ALL {
        let (world, clients, room) = room_of(version);
        let content = json!({ "lat": 51.5, "tiny": 1e-7, "great": 9_007_199_254_740_993_i64 });
        let path = format!("/rooms/{}/send/org.example.place/1", encode(&room));
        let answer = clients[1].put(&world, &path, &content);
        if version >= RoomVersion::V6 {
            assert_eq!(answer.expect(400)["errcode"], "M_BAD_JSON");
            continue;
        }
        let event_id = answer.expect(200)["event_id"].as_str().unwrap().to_owned();
        soon(&world);
        for client in &clients {
            let seen = event(&world, client, &room, &event_id);
            assert_eq!(seen["content"], content, "version {version}");
        }
    }
}

/// Ids are the same in versions 4 to 10: who helps a server back into a room may name another version than it has.
#[test]
fn a_room_that_is_known_is_not_joined_again_as_one_of_another_version() {
    let (world, clients, room) = room_of(RoomVersion::V10);
    let [alice, bob] = &clients[..] else { panic!() };
    let helper = world.server(0).name().to_owned();
    let set = |kind: &str, content: Value| {
        alice.set_state(&world, &room, kind, "", &content).expect(200);
        soon(&world);
    };
    set("m.room.join_rules", json!({"join_rule": "public"}));
    bob.leave(&world, &room).expect(200);
    soon(&world);
    set("m.room.topic", json!({"topic": "new"}));
    let honest = Arc::new(AtomicBool::new(false));
    let is_honest = honest.clone();
    world.tamper(&helper, move |uri, answer| {
        if is_honest.load(Ordering::Relaxed) {
            return;
        }
        if uri.contains("/make_join/") {
            answer["room_version"] = json!("6");
        }
        // The create event would not be allowed in a room of version 6: what rests on it comes before it.
        if uri.contains("/send_join/") {
            let state = answer["state"].as_array().unwrap().iter();
            let resting = state.filter(|event| event["type"] != "m.room.create");
            answer["auth_chain"] = resting.cloned().collect();
        }
    });
    bob.join(&world, &room, &[&helper]).expect(403);
    honest.store(true, Ordering::Relaxed);
    bob.join(&world, &room, &[&helper]).expect(200);
    world.settle();
    same_state(&world, &clients, &room);
    let homeserver = world.server(1).homeserver().unwrap().clone();
    for (.., id) in alice.state(&world, &room) {
        let (homeserver, id) = (homeserver.clone(), OwnedEventId::try_from(id).unwrap());
        let event = world.block_on(async move { homeserver.stored_event(&id).await });
        assert_eq!(event.unwrap().unwrap().pdu.version(), RoomVersion::V10);
    }
}
