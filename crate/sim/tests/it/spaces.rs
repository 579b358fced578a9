//! Spaces whose rooms are on several servers, and what rooms are like that one is not in.

use std::time::Duration;

use hearth_sim::{Client, World};
use hearth_storage::{Direction, KeyRange, Table};
use serde_json::{Value, json};

use crate::world;

fn room(world: &World, owner: &Client, name: &str, preset: &str) -> String {
    owner.create_room(world, &json!({"name": name, "preset": preset}))
}

fn space(world: &World, owner: &Client, name: &str) -> String {
    let kind = json!({"type": "m.space"});
    owner.create_room(
        world,
        &json!({"name": name, "preset": "public_chat", "creation_content": kind}),
    )
}

fn list(world: &World, owner: &Client, space: &str, room: &str, content: &Value) {
    owner
        .set_state(world, space, "m.space.child", room, content)
        .expect(200);
}

/// What the user is told of the rooms in `space`.
fn hierarchy(world: &World, user: &Client, space: &str, query: &str) -> Value {
    let path = format!("/_matrix/client/v1/rooms/{space}/hierarchy?{query}");
    let answer = world.request(user.server, "GET", &path, Some(&user.token), None);
    answer.expect(200).clone()
}

/// The names of the rooms that the user is told of in `space`.
fn names(world: &World, user: &Client, space: &str, query: &str) -> Vec<String> {
    let answer = hierarchy(world, user, space, query);
    let rooms = answer["rooms"].as_array().unwrap().iter();
    rooms
        .map(|room| room["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_space_is_shown_with_the_rooms_of_other_servers() {
    let (world, clients) = world(41, 3);
    let [alice, bob, carol] = &clients[..] else {
        panic!()
    };
    let via = |server: usize| json!({"via": [world.server(server).name()]});
    let root = space(&world, alice, "root");
    let inner = space(&world, bob, "inner");
    let deep = room(&world, carol, "deep", "public_chat");
    let secret = room(&world, bob, "secret", "private_chat");
    let near = room(&world, alice, "near", "public_chat");
    let mut suggested = via(0);
    suggested["suggested"] = true.into();
    suggested["order"] = "b".into();
    list(&world, alice, &root, &near, &suggested);
    let mut first = via(1);
    first["order"] = "a".into();
    list(&world, alice, &root, &inner, &first);
    list(&world, alice, &root, &secret, &via(1));
    list(&world, bob, &inner, &deep, &via(2));
    // A space that lists its parent, and a room without a way to it.
    list(&world, bob, &inner, &root, &via(0));
    list(&world, alice, &root, "!nowhere:example.org", &json!({}));
    let all = ["root", "inner", "deep", "near"];
    assert_eq!(names(&world, alice, &root, ""), all);
    assert_eq!(
        names(&world, alice, &root, "max_depth=1"),
        ["root", "inner", "near"]
    );
    assert_eq!(names(&world, alice, &root, "max_depth=0"), ["root"]);
    assert_eq!(
        names(&world, alice, &root, "suggested_only=true"),
        ["root", "near"]
    );
    // Whose room it is sees it; who is in none of the rooms has only an id that names no server.
    assert_eq!(
        names(&world, bob, &inner, ""),
        ["inner", "deep", "root", "near", "secret"]
    );
    let path = format!("/_matrix/client/v1/rooms/{root}/hierarchy");
    assert_eq!(
        world.request(2, "GET", &path, Some(&carol.token), None).status,
        403
    );
    // Who is in the private room is told of it.
    bob.invite(&world, &secret, &alice.user_id).expect(200);
    crate::soon(&world);
    alice.join(&world, &secret, &[]).expect(200);
    crate::soon(&world);
    assert_eq!(
        names(&world, alice, &root, ""),
        ["root", "inner", "deep", "near", "secret"]
    );
}

#[test]
fn a_space_is_shown_before_joining_to_who_is_invited_or_knows_a_way() {
    let (world, clients) = world(45, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let via = world.server(0).name();
    let near = room(&world, alice, "near", "public_chat");
    let kind = json!({"type": "m.space"});
    let options = json!({"name": "private", "preset": "private_chat", "creation_content": kind});
    let private = alice.create_room(&world, &options);
    let open = space(&world, alice, "open");
    for space in [&private, &open] {
        list(&world, alice, space, &near, &json!({"via": [via]}));
    }
    alice.invite(&world, &private, &bob.user_id).expect(200);
    crate::soon(&world);
    assert_eq!(names(&world, bob, &private, ""), ["private", "near"]);
    assert_eq!(names(&world, bob, &open, &format!("via={via}")), ["open", "near"]);
}

#[test]
fn a_server_that_does_not_answer_leaves_its_rooms_out() {
    let (world, clients) = world(42, 3);
    let [alice, bob, carol] = &clients[..] else {
        panic!()
    };
    let root = space(&world, alice, "root");
    for (server, owner, name) in [(1, bob, "bob's"), (2, carol, "carol's")] {
        let room = room(&world, owner, name, "public_chat");
        let content = json!({"via": [world.server(server).name()]});
        list(&world, alice, &root, &room, &content);
    }
    world.cut(0, 1);
    assert_eq!(names(&world, alice, &root, ""), ["root", "carol's"]);
}

#[test]
fn a_server_that_did_not_answer_is_asked_again_soon_and_speaks_for_itself_alone() {
    let (world, clients) = world(47, 3);
    let [alice, bob, carol] = &clients[..] else {
        panic!()
    };
    let via = [1, 2].map(|server| world.server(server).name());
    let shared = room(&world, bob, "shared", "public_chat");
    carol.join(&world, &shared, &via[..1]).expect(200);
    let (first, second) = (space(&world, alice, "first"), space(&world, alice, "second"));
    list(&world, alice, &first, &shared, &json!({"via": via[..1]}));
    list(&world, alice, &second, &shared, &json!({"via": via}));
    world.cut(0, 1);
    assert_eq!(names(&world, alice, &first, ""), ["first"]);
    assert_eq!(names(&world, alice, &second, ""), ["second", "shared"]);
    world.heal(0, 1);
    world.run_for(Duration::from_secs(30));
    assert_eq!(names(&world, alice, &first, ""), ["first", "shared"]);
}

#[test]
fn who_answers_between_two_pages_changes_nothing_of_those_to_come() {
    let (world, clients) = world(46, 3);
    let [alice, bob, carol] = &clients[..] else {
        panic!()
    };
    let root = space(&world, alice, "root");
    for (order, server, owner) in [("1", 1, bob), ("2", 2, carol), ("3", 2, carol)] {
        let room = room(&world, owner, order, "public_chat");
        let content = json!({"via": [world.server(server).name()], "order": order});
        list(&world, alice, &root, &room, &content);
    }
    let page = |query: &str| names(&world, alice, &root, query);
    world.cut(0, 1);
    assert_eq!(page("limit=2"), ["root", "2"]);
    let next = hierarchy(&world, alice, &root, "limit=2")["next_batch"].clone();
    world.heal(0, 1);
    world.run_for(Duration::from_secs(30));
    let later = format!("limit=2&from={}", next.as_str().unwrap());
    assert_eq!(page(&later), ["3"]);
    assert_eq!(page("limit=2"), ["root", "1"]);
    assert_eq!(page(&later), ["2", "3"]);
}

#[test]
fn who_would_not_tell_of_a_room_is_not_asked_again_for_every_page() {
    let (world, clients) = world(48, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let secret = room(&world, bob, "secret", "private_chat");
    let root = space(&world, alice, "root");
    // This server is among those that can be asked.
    let via = [0, 1].map(|server| world.server(server).name());
    list(&world, alice, &root, &secret, &json!({ "via": via }));
    for _ in 0..3 {
        assert_eq!(names(&world, alice, &root, ""), ["root"]);
        world.run_for(Duration::from_secs(60));
    }
    let asked = world.traffic();
    let asked = asked.iter().filter(|one| one.request.contains("/hierarchy/"));
    assert_eq!(asked.count(), 1);
    // Who asks for the room itself may have been let in.
    bob.set_state(
        &world,
        &secret,
        "m.room.join_rules",
        "",
        &json!({"join_rule": "public"}),
    )
    .expect(200);
    let path = format!("/_matrix/client/v1/room_summary/{secret}?via={}", via[1]);
    let told = world.request(0, "GET", &path, Some(&alice.token), None);
    assert_eq!(told.expect(200)["name"], "secret");
}

#[test]
fn a_room_is_summarised_though_those_who_are_asked_first_are_slow() {
    let (world, clients) = world(49, 4);
    let room = room(&world, &clients[3], "far", "public_chat");
    let mut path = format!("/_matrix/client/v1/room_summary/{room}?");
    for server in 1..4 {
        path += &format!("via={}&", world.server(server).name());
    }
    for slow in [1, 2] {
        world.set_slow(0, slow, Duration::from_secs(100_000));
    }
    let began = world.elapsed();
    let told = world.request(0, "GET", &path, Some(&clients[0].token), None);
    assert_eq!(told.expect(200)["name"], "far");
    assert!(world.elapsed() - began < Duration::from_secs(10));
}

#[test]
fn a_room_is_summarised_to_who_could_come_in() {
    let (world, clients) = world(43, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let public = room(&world, alice, "public", "public_chat");
    let private = room(&world, alice, "private", "private_chat");
    let summary = |room: &str, token: Option<&str>| {
        let via = world.server(0).name();
        let path = format!("/_matrix/client/v1/room_summary/{room}?via={via}");
        world.request(1, "GET", &path, token, None)
    };
    let told = summary(&public, Some(&bob.token));
    assert_eq!(told.expect(200)["name"], "public");
    assert_eq!(told["room_version"], "12");
    assert_eq!(told["num_joined_members"], 1);
    assert_eq!(told["membership"], Value::Null);
    assert_eq!(summary(&private, Some(&bob.token)).status, 404);
    // Nobody in particular does not make the server ask others.
    assert_eq!(summary(&public, None).status, 404);
    bob.join(&world, &public, &[world.server(0).name()]).expect(200);
    assert_eq!(summary(&public, Some(&bob.token))["membership"], "join");
    assert_eq!(summary(&public, None).expect(200)["membership"], Value::Null);
}

#[test]
fn keys_are_vouched_for_while_their_server_is_away() {
    let (world, _) = world(44, 3);
    let name = world.server(1).name().to_owned();
    let path = format!("/_matrix/key/v2/query/{name}");
    let ask = || world.request(0, "GET", &path, None, None).expect(200)["server_keys"].clone();
    world.cut(0, 1);
    assert_eq!(ask(), json!([]));
    world.heal(0, 1);
    let keys = ask();
    for signer in [0, 1] {
        assert!(keys[0]["signatures"][world.server(signer).name()]["ed25519:1"].is_string());
    }
    world.cut(0, 1);
    assert_eq!(ask()[0]["verify_keys"], keys[0]["verify_keys"]);
    // Several at once; what is named after nothing is left out.
    let own = world.server(0).name().to_owned();
    let wanted = json!({"server_keys": {name: {}, own: {}, "example.org": {"ed25519:1": {"minimum_valid_until_ts": 5}}}});
    let answer = world.request(0, "POST", "/_matrix/key/v2/query", None, Some(&wanted));
    assert_eq!(answer.expect(200)["server_keys"].as_array().unwrap().len(), 2);
}

/// The notary would otherwise keep whatever anybody publishes.
#[test]
fn keys_of_strangers_are_kept_within_bounds() {
    let (world, _) = world(45, 1);
    let publish = |seed: u8, padding: usize| {
        let peer = crate::outsider::Outsider::of(&[seed; 32], "");
        let name = peer.identity.server_name().to_owned();
        let key = name.clone();
        let keys = peer.published(padding);
        world.stand_in(&name, move |uri, _| {
            uri.ends_with("/key/v2/server").then(|| (200, keys.clone()))
        });
        let path = format!("/_matrix/key/v2/query/{key}");
        let found = world.request(0, "GET", &path, None, None).expect(200)["server_keys"].clone();
        found.as_array().unwrap().len()
    };
    assert_eq!(publish(1, 20_000), 0, "far more than keys");
    for seed in 2..=210 {
        assert_eq!(publish(seed, 10), 1);
    }
    let store = world.server(0).store().clone();
    let range = KeyRange::prefix(b"n\0");
    let rows = world.block_on(async move { store.scan(Table::Keys, range, Direction::Forward, 1000).await });
    assert_eq!(rows.unwrap().len(), 200);
}

#[test]
fn a_space_speaks_only_of_rooms_that_it_lists_and_only_in_its_own_walk() {
    let (world, clients) = world(46, 3);
    let [alice, bob, carol] = &clients[..] else {
        panic!()
    };
    let root = space(&world, bob, "root");
    let listed = room(&world, carol, "listed", "public_chat");
    let official = room(&world, carol, "official", "public_chat");
    list(
        &world,
        bob,
        &root,
        &listed,
        &json!({"via": [world.server(2).name()]}),
    );
    let lies: Vec<_> = [&listed, &official]
        .map(|room| {
            json!({
                "room_id": room, "name": "a lie", "join_rule": "public", "num_joined_members": 1,
                "world_readable": true, "guest_can_join": false,
            })
        })
        .into();
    world.tamper(world.server(1).name(), move |uri, answer| {
        if uri.contains("/hierarchy/") {
            answer["children"] = lies.clone().into();
        }
    });
    let home = space(&world, alice, "home");
    list(
        &world,
        alice,
        &home,
        &root,
        &json!({"via": [world.server(1).name()]}),
    );
    for _ in 0..2 {
        // The second time from memory.
        assert_eq!(names(&world, alice, &home, ""), ["home", "root", "a lie"]);
    }
    let via = world.server(2).name();
    for (room, name) in [(&listed, "listed"), (&official, "official")] {
        let path = format!("/_matrix/client/v1/room_summary/{room}?via={via}");
        let told = world.request(0, "GET", &path, Some(&alice.token), None);
        assert_eq!(told.expect(200)["name"], name);
    }
    // A way to a room by a server that lies is of no use to who knows another.
    let wrong = space(&world, alice, "wrong");
    list(
        &world,
        alice,
        &wrong,
        &official,
        &json!({"via": [world.server(1).name()]}),
    );
    names(&world, alice, &wrong, "");
    let right = space(&world, alice, "right");
    list(&world, alice, &right, &official, &json!({"via": [via]}));
    assert_eq!(names(&world, alice, &right, ""), ["right", "official"]);
}
