//! What servers tell each other beside events: aliases, profiles, receipts, typing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{membership, outsider::encode, soon, world, world_with_room};

/// The ephemeral events of a kind in a room, in what is new since `since`.
fn ephemeral(sync: &Value, room: &str, kind: &str) -> Vec<Value> {
    let events = sync["rooms"]["join"][room]["ephemeral"]["events"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    events.into_iter().filter(|event| event["type"] == kind).collect()
}

#[test]
fn a_room_is_joined_by_its_alias() {
    let (world, clients) = world(50, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let room = alice.create_room(
        &world,
        &json!({"preset": "public_chat", "room_alias_name": "lobby"}),
    );
    let alias = format!("#lobby:{}", world.server(0).name());
    let resolved = bob.get(&world, &format!("/directory/room/{}", encode(&alias)));
    assert_eq!(resolved.expect(200)["room_id"], room.as_str());
    assert_eq!(
        bob.join(&world, &alias, &[]).expect(200)["room_id"],
        room.as_str()
    );
    let unknown = format!("#nowhere:{}", world.server(0).name());
    assert_eq!(bob.join(&world, &unknown, &[]).status, 404);
}

#[test]
fn a_directory_lists_rooms_while_its_users_are_in_them() {
    let (world, clients) = world(53, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let options = json!({"preset": "public_chat", "visibility": "public"});
    let room = alice.create_room(&world, &options);
    let via = [world.server(0).name(), world.server(1).name()];
    bob.join(&world, &room, &via).expect(200);
    soon(&world);
    let listed = || {
        let page = alice.get(&world, "/publicRooms").expect(200).clone();
        let ids: Vec<_> = page["chunk"]
            .as_array()
            .unwrap()
            .iter()
            .map(|room| room["room_id"].clone())
            .collect();
        (ids, page["total_room_count_estimate"].clone())
    };
    assert_eq!(listed(), (vec![json!(room)], json!(1)));
    alice.leave(&world, &room).expect(200);
    soon(&world);
    assert_eq!(membership(&world, bob, &room, bob).as_deref(), Some("join"));
    assert_eq!(listed(), (vec![], json!(0)));
    alice.join(&world, &room, &via).expect(200);
    assert_eq!(listed(), (vec![json!(room)], json!(1)));
}

#[test]
fn of_the_directory_of_another_server_clients_are_told_what_they_can_read() {
    let (world, clients) = world(54, 2);
    let name = world.server(1).name().to_owned();
    let room = json!({
        "room_id": "!a:b.c", "num_joined_members": 1, "world_readable": false, "guest_can_join": false, "topic": "x",
    });
    let with = |field: &str, value: Value| {
        let mut room = room.clone();
        room[field] = value;
        room
    };
    let chunk = json!([
        7,
        with("room_id", "no id".into()),
        with("num_joined_members", Value::Null),
        with("num_joined_members", (1_u64 << 53).into()),
        with("canonical_alias", "no alias".into()),
        with("name", Value::Null),
        with("name", "A".into()),
    ]);
    world.tamper(&name, move |_, answer| answer["chunk"] = chunk.clone());
    let page = clients[0].get(&world, &format!("/publicRooms?server={name}"));
    let told = [room.clone(), room.clone(), with("name", "A".into())];
    assert_eq!(page.expect(200)["chunk"], json!(told));
    world.tamper(&name, |_, answer| *answer = json!("no directory"));
    let page = clients[0].get(&world, &format!("/publicRooms?server={name}"));
    page.expect(502);
}

#[test]
fn a_profile_is_asked_of_its_server() {
    let (world, clients) = world(51, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let path = format!("/profile/{}", encode(&alice.user_id));
    alice
        .put(
            &world,
            &format!("{path}/displayname"),
            &json!({"displayname": "Alice A."}),
        )
        .expect(200);
    assert_eq!(bob.get(&world, &path).expect(200)["displayname"], "Alice A.");
    let nobody = format!(
        "/profile/{}",
        encode(&format!("@nobody:{}", world.server(0).name()))
    );
    assert_eq!(bob.get(&world, &nobody).status, 404);
}

#[test]
fn receipts_and_typing_reach_the_other_server() {
    let (world, clients, room) = world_with_room(52, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let sent = bob.send(&world, &room, "seen?");
    soon(&world);
    let since = bob.sync(&world, None)["next_batch"].as_str().unwrap().to_owned();
    let event_id = sent["event_id"].as_str().unwrap();
    let (escaped, user) = (encode(&room), encode(&alice.user_id));
    alice
        .post(
            &world,
            &format!("/rooms/{escaped}/receipt/m.read/{}", encode(event_id)),
            &json!({}),
        )
        .expect(200);
    let typing = json!({"typing": true, "timeout": 30_000});
    alice
        .put(&world, &format!("/rooms/{escaped}/typing/{user}"), &typing)
        .expect(200);
    world.run_for(Duration::from_secs(2));
    let sync = bob.sync(&world, Some(&since));
    let receipts = ephemeral(&sync.body, &room, "m.receipt");
    assert!(
        receipts[0]["content"][event_id]["m.read"][&alice.user_id]["ts"].is_u64(),
        "{receipts:?}"
    );
    let typing = ephemeral(&sync.body, &room, "m.typing");
    assert_eq!(typing[0]["content"]["user_ids"], json!([alice.user_id]));
}

#[test]
fn users_of_slow_servers_are_invited_side_by_side() {
    let (world, clients) = world(54, 5);
    let [alice, others @ ..] = &clients[..] else {
        panic!()
    };
    for server in 1..5 {
        world.set_slow(0, server, Duration::from_secs(10));
    }
    let invite: Vec<_> = others.iter().map(|client| client.user_id.clone()).collect();
    let before = world.elapsed();
    let room = alice.create_room(&world, &json!({ "invite": invite }));
    assert!(world.elapsed() - before < Duration::from_secs(25));
    world.run_for(Duration::from_secs(60));
    for client in others {
        assert_eq!(
            membership(&world, alice, &room, client).as_deref(),
            Some("invite")
        );
    }
}

#[test]
fn who_makes_a_room_hears_who_does_not_want_to_be_invited() {
    let (world, clients) = world(55, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let config = format!(
        "/user/{}/account_data/m.invite_permission_config",
        encode(&bob.user_id)
    );
    bob.put(&world, &config, &json!({ "default_action": "block" }))
        .expect(200);
    let refused = alice.post(&world, "/createRoom", &json!({ "invite": [bob.user_id] }));
    assert_eq!(refused.expect(403)["errcode"], "M_INVITE_BLOCKED");
    let room = alice.create_room(&world, &json!({}));
    let refused = alice.invite(&world, &room, &bob.user_id);
    assert_eq!(refused.expect(403)["errcode"], "M_INVITE_BLOCKED");
}

#[test]
fn members_of_a_room_that_anybody_may_read_are_found() {
    let (world, clients) = world(53, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let dora = world.account(0, "dora");
    let found = || {
        let answer = dora.post(&world, "/user_directory/search", &json!({"search_term": "bob"}));
        answer.expect(200)["results"].as_array().unwrap().len()
    };
    let room = alice.create_room(&world, &json!({"invite": [bob.user_id]}));
    bob.join(&world, &room, &[world.server(0).name()]).expect(200);
    soon(&world);
    assert_eq!(found(), 0);
    let kind = "m.room.history_visibility";
    let path = format!("/rooms/{}/state/{kind}", encode(&room));
    alice
        .put(&world, &path, &json!({"history_visibility": "world_readable"}))
        .expect(200);
    assert_eq!(found(), 1);
}
