//! Two and three servers that get on well: invites, joins, messages, history, leaving, redaction.

use serde_json::json;

use crate::{membership, outsider::encode, same_state, soon, timeline, world, world_with_room};

#[test]
fn an_invite_leads_to_messages_both_ways() {
    for version in ["11", "12"] {
        let (world, clients) = world(1, 2);
        let [alice, bob] = &clients[..] else { panic!() };
        let options = json!({"preset": "private_chat", "name": "Home", "room_version": version});
        let room = alice.create_room(&world, &options);
        assert_eq!(bob.join(&world, &room, &[world.server(0).name()]).status, 403);
        let since = bob.sync(&world, None)["next_batch"].as_str().unwrap().to_owned();
        alice.invite(&world, &room, &bob.user_id).expect(200);
        soon(&world);
        let sync = bob.sync(&world, Some(&since));
        let invite = sync["rooms"]["invite"][&room]["invite_state"]["events"]
            .as_array()
            .unwrap()
            .clone();
        let has = |kind: &str| invite.iter().any(|event| event["type"] == kind);
        assert!(has("m.room.name") && has("m.room.member"), "{invite:?}");

        bob.join(&world, &room, &[]).expect(200);
        alice.send(&world, &room, "hello bob").expect(200);
        bob.send(&world, &room, "hello alice").expect(200);
        soon(&world);
        same_state(&world, &clients, &room);
        for client in &clients {
            let mut messages = client.messages(&world, &room);
            messages.sort();
            assert_eq!(messages, ["hello alice", "hello bob"]);
        }
    }
}

#[test]
fn a_public_room_is_joined_by_way_of_any_member() {
    let (world, clients) = world(2, 3);
    let room = clients[0].create_room(&world, &json!({"preset": "public_chat"}));
    clients[1]
        .join(&world, &room, &[world.server(0).name()])
        .expect(200);
    soon(&world);
    // The creator is out of reach of the third, who comes in by way of the second.
    world.cut(0, 2);
    clients[2]
        .join(&world, &room, &[world.server(0).name(), world.server(1).name()])
        .expect(200);
    clients[2].send(&world, &room, "here").expect(200);
    world.heal(0, 2);
    world.settle();
    same_state(&world, &clients, &room);
    assert_eq!(clients[0].messages(&world, &room), ["here"]);
    assert_eq!(
        membership(&world, &clients[0], &room, &clients[2]).as_deref(),
        Some("join")
    );
}

#[test]
fn a_room_that_nobody_can_reach_is_not_joined() {
    let (world, clients) = world(3, 2);
    let room = clients[0].create_room(&world, &json!({"preset": "public_chat"}));
    world.cut(0, 1);
    let answer = clients[1].join(&world, &room, &[world.server(0).name()]);
    assert!(answer.status >= 400, "{answer:?}");
    assert!(clients[1].sync(&world, None)["rooms"]["join"][&room].is_null());
    world.heal(0, 1);
    clients[1]
        .join(&world, &room, &[world.server(0).name()])
        .expect(200);
}

#[test]
fn history_from_before_the_join_is_fetched() {
    let (world, clients) = world(4, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let room = alice.create_room(&world, &json!({"preset": "public_chat"}));
    let sent: Vec<String> = (0..60).map(|n| format!("message {n}")).collect();
    for message in &sent {
        alice.send(&world, &room, message).expect(200);
    }
    bob.join(&world, &room, &[world.server(0).name()]).expect(200);
    assert_eq!(bob.messages(&world, &room), sent);
    let created = bob.history(&world, &room).last().cloned().unwrap();
    assert_eq!(created["type"], "m.room.create");
}

#[test]
fn messages_arrive_in_sync_once_and_in_order() {
    let (world, clients, room) = world_with_room(5, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let mut since = bob.sync(&world, None)["next_batch"].as_str().unwrap().to_owned();
    let mut seen = Vec::new();
    for round in 0..5 {
        for n in 0..3 {
            alice.send(&world, &room, &format!("{round}.{n}")).expect(200);
        }
        soon(&world);
        let sync = bob.sync(&world, Some(&since));
        seen.extend(
            timeline(&sync.body, &room)
                .iter()
                .map(|event| event["content"]["body"].as_str().unwrap().to_owned()),
        );
        since = sync["next_batch"].as_str().unwrap().to_owned();
    }
    let expected: Vec<_> = (0..5)
        .flat_map(|round| (0..3).map(move |n| format!("{round}.{n}")))
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_member_leaves_and_joins_again() {
    let (world, clients, room) = world_with_room(6, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    bob.leave(&world, &room).expect(200);
    soon(&world);
    assert_eq!(membership(&world, alice, &room, bob).as_deref(), Some("leave"));
    alice.send(&world, &room, "while bob is away").expect(200);
    alice
        .set_state(&world, &room, "m.room.topic", "", &json!({"topic": "new"}))
        .expect(200);
    soon(&world);
    bob.join(&world, &room, &[world.server(0).name()]).expect(200);
    bob.send(&world, &room, "back").expect(200);
    soon(&world);
    assert_eq!(alice.messages(&world, &room), ["while bob is away", "back"]);
    assert_eq!(bob.messages(&world, &room), ["while bob is away", "back"]);
    same_state(&world, &clients, &room);
}

#[test]
fn who_was_removed_comes_back_by_those_who_were_there() {
    // The ids of rooms of version 12 name no server.
    for version in ["11", "12"] {
        let (world, clients) = world(75, 3);
        let [alice, bob, carol] = &clients[..] else {
            panic!()
        };
        let room = alice.create_room(&world, &json!({"preset": "public_chat", "room_version": version}));
        for client in [bob, carol] {
            client.join(&world, &room, &[world.server(0).name()]).expect(200);
        }
        world.settle();
        alice.kick(&world, &room, &bob.user_id).expect(200);
        world.settle();
        world.cut(0, 1);
        bob.join(&world, &room, &[]).expect(200);
        bob.send(&world, &room, "back").expect(200);
        world.heal(0, 1);
        world.settle();
        assert_eq!(alice.messages(&world, &room), ["back"]);
    }
}

#[test]
fn tags_are_found_again_in_a_replacement_on_another_server() {
    let (world, clients, room) = world_with_room(10, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let tags = |room: &str| {
        let user = encode(&bob.user_id);
        format!("/user/{user}/rooms/{}/tags", encode(room))
    };
    let favourite = json!({"order": 0.25});
    bob.put(&world, &format!("{}/m.favourite", tags(&room)), &favourite)
        .expect(200);
    let path = format!("/rooms/{}/upgrade", encode(&room));
    let answer = alice.post(&world, &path, &json!({"new_version": "12"}));
    let new = answer.expect(200)["replacement_room"]
        .as_str()
        .unwrap()
        .to_owned();
    soon(&world);
    bob.join(&world, &new, &[world.server(0).name()]).expect(200);
    let kept = bob.get(&world, &tags(&new));
    assert_eq!(kept.expect(200)["tags"], json!({"m.favourite": favourite}));
}

#[test]
fn an_invite_can_be_rejected() {
    let (world, clients) = world(7, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let room = alice.create_room(&world, &json!({"preset": "private_chat"}));
    alice.invite(&world, &room, &bob.user_id).expect(200);
    soon(&world);
    bob.leave(&world, &room).expect(200);
    soon(&world);
    assert_eq!(membership(&world, alice, &room, bob).as_deref(), Some("leave"));
    assert!(bob.sync(&world, None)["rooms"]["invite"][&room].is_null());
    assert_eq!(bob.join(&world, &room, &[world.server(0).name()]).status, 403);
}

#[test]
fn a_kicked_member_hears_of_it_and_of_nothing_after() {
    let (world, clients, room) = world_with_room(8, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    alice.kick(&world, &room, &bob.user_id).expect(200);
    alice.send(&world, &room, "secret").expect(200);
    soon(&world);
    assert_eq!(bob.send(&world, &room, "still here?").status, 403);
    assert!(!bob.messages(&world, &room).contains(&"secret".to_owned()));
}

#[test]
fn a_redaction_takes_the_content_away_everywhere() {
    for version in ["10", "11", "12"] {
        let (world, clients) = world(9, 2);
        let [alice, bob] = &clients[..] else { panic!() };
        let room = alice.create_room(&world, &json!({"preset": "public_chat", "room_version": version}));
        bob.join(&world, &room, &[world.server(0).name()]).expect(200);
        let event_id = bob.send(&world, &room, "oops")["event_id"]
            .as_str()
            .unwrap()
            .to_owned();
        soon(&world);
        assert_eq!(alice.messages(&world, &room), ["oops"]);
        let path = format!("/rooms/{room}/redact/{event_id}/1")
            .replace('!', "%21")
            .replace('$', "%24");
        bob.put(&world, &path, &json!({"reason": "typo"})).expect(200);
        soon(&world);
        for client in &clients {
            assert!(
                client.messages(&world, &room).is_empty(),
                "{} in {version}",
                client.user_id
            );
            let path = format!("/rooms/{room}/event/{event_id}")
                .replace('!', "%21")
                .replace('$', "%24");
            let event = client.get(&world, &path);
            assert_eq!(event["content"], json!({}));
            assert_eq!(event["unsigned"]["redacted_because"]["content"]["reason"], "typo");
        }
    }
}

#[test]
fn a_ban_is_told_once_however_often_the_room_comes_back() {
    let (world, clients) = world(74, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let carol = world.register(0, "carol");
    let room = bob.create_room(&world, &json!({"preset": "public_chat"}));
    let via = [world.server(1).name()];
    alice.join(&world, &room, &via).expect(200);
    world.settle();
    let since = alice.sync(&world, None)["next_batch"]
        .as_str()
        .unwrap()
        .to_owned();
    bob.ban(&world, &room, &alice.user_id).expect(200);
    world.settle();
    // Nobody of her server is in the room any more, until another of its users brings it back.
    carol.join(&world, &room, &via).expect(200);
    world.settle();
    let told = alice.sync(&world, Some(&since));
    let timeline = told["rooms"]["leave"][&room]["timeline"]["events"].clone();
    let bans = timeline.as_array().unwrap().iter();
    let bans = bans.filter(|event| event["content"]["membership"] == "ban");
    assert_eq!(bans.count(), 1, "{timeline}");
    let again = alice.sync(&world, told["next_batch"].as_str());
    assert!(again["rooms"]["leave"].get(&room).is_none(), "{again:?}");
}
