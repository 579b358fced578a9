//! Knocking on a room of another server: let in, refused, taken back.

use hearth_sim::{Answer, Client, World};
use serde_json::{Value, json};

use crate::{membership, same_state, soon, world};

/// A room of the first user's that others may knock on.
fn closed_room(world: &World, owner: &Client, version: &str) -> String {
    let state = json!([{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}]);
    let options = json!({
        "preset": "private_chat", "name": "Home", "room_version": version, "initial_state": state,
        "room_alias_name": format!("home{version}"),
    });
    owner.create_room(world, &options)
}

/// What `client` is told since `since` of the room in the section `section`.
fn told(world: &World, client: &Client, since: Option<&str>, section: &str, room: &str) -> Value {
    client.sync(world, since)["rooms"][section][room].clone()
}

fn token(answer: &Answer) -> String {
    answer["next_batch"].as_str().unwrap().to_owned()
}

fn state_of(described: &Value, kind: &str) -> Value {
    let events = described.as_array().unwrap();
    events
        .iter()
        .find(|event| event["type"] == kind)
        .cloned()
        .unwrap_or_default()
}

#[test]
fn who_knocks_is_let_in() {
    for version in ["7", "10", "12"] {
        let (world, clients) = world(21, 3);
        let [alice, bob, carol] = &clients[..] else {
            panic!()
        };
        let room = closed_room(&world, alice, version);
        let via = [world.server(0).name()];
        // A third server has to be told of it, too.
        alice.invite(&world, &room, &carol.user_id).expect(200);
        carol.join(&world, &room, &via).expect(200);
        assert_eq!(bob.join(&world, &room, &via).status, 403);
        let since = token(&bob.sync(&world, None));
        assert_eq!(bob.knock(&world, &room, &via)["room_id"], room.as_str());
        soon(&world);
        let knocked = told(&world, bob, Some(&since), "knock", &room);
        let described = &knocked["knock_state"]["events"];
        assert_eq!(state_of(described, "m.room.name")["content"]["name"], "Home");
        assert_eq!(
            state_of(described, "m.room.create")["sender"],
            alice.user_id.as_str()
        );
        let own = state_of(described, "m.room.member");
        assert_eq!(own["state_key"], bob.user_id.as_str());
        assert_eq!(own["content"]["reason"], "hello?");
        for other in [alice, carol] {
            assert_eq!(membership(&world, other, &room, bob).as_deref(), Some("knock"));
        }
        let since = token(&bob.sync(&world, Some(&since)));
        alice.invite(&world, &room, &bob.user_id).expect(200);
        soon(&world);
        assert!(told(&world, bob, Some(&since), "invite", &room).is_object());
        bob.join(&world, &room, &[]).expect(200);
        soon(&world);
        same_state(&world, &clients, &room);
    }
}

#[test]
fn an_alias_is_knocked_on_without_knowing_a_server() {
    let (world, clients) = world(22, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let room = closed_room(&world, alice, "12");
    let alias = format!("#home12:{}", world.server(0).name());
    assert_eq!(bob.knock(&world, &alias, &[])["room_id"], room.as_str());
    soon(&world);
    assert_eq!(membership(&world, alice, &room, bob).as_deref(), Some("knock"));
}

#[test]
fn a_knock_is_refused_and_taken_back() {
    let (world, clients) = world(23, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let room = closed_room(&world, alice, "12");
    let via = [world.server(0).name()];
    bob.knock(&world, &room, &via).expect(200);
    let since = token(&bob.sync(&world, None));
    let target = json!({"user_id": bob.user_id, "reason": "no"});
    alice
        .post(&world, &format!("/rooms/{room}/kick"), &target)
        .expect(200);
    soon(&world);
    let left = told(&world, bob, Some(&since), "leave", &room);
    assert_eq!(left["timeline"]["events"][0]["content"]["reason"], "no");
    // Once more, and this time the one who knocks thinks better of it.
    bob.knock(&world, &room, &via).expect(200);
    soon(&world);
    assert_eq!(membership(&world, alice, &room, bob).as_deref(), Some("knock"));
    bob.leave(&world, &room).expect(200);
    soon(&world);
    assert_eq!(membership(&world, alice, &room, bob).as_deref(), Some("leave"));
    assert!(told(&world, bob, None, "knock", &room).is_null());
}

#[test]
fn who_may_not_knock_is_refused_and_knocks_on_nothing() {
    let (world, clients) = world(24, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let via = [world.server(0).name()];
    let private = alice.create_room(&world, &json!({"preset": "private_chat"}));
    let old = alice.create_room(&world, &json!({"preset": "private_chat", "room_version": "6"}));
    let banned = closed_room(&world, alice, "12");
    alice.ban(&world, &banned, &bob.user_id).expect(200);
    for room in [&private, &old, &banned] {
        let answer = bob.knock(&world, room, &via);
        assert_eq!(
            (answer.status, &answer["errcode"]),
            (403, &json!("M_FORBIDDEN")),
            "{answer:?}"
        );
    }
    assert!(bob.sync(&world, None)["rooms"]["knock"].is_null());
    assert_eq!(bob.knock(&world, &private, &[]).status, 404);
    world.cut(0, 1);
    assert_eq!(bob.knock(&world, &private, &via).status, 502);
}
