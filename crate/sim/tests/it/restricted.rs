//! Rooms that members of other rooms may join, across servers.

use hearth_sim::{Client, World};
use serde_json::json;

use crate::{membership, same_state, soon, world};

/// A public room of the first user's and one that its members may join.
fn club_and_back_room(world: &World, owner: &Client, rule: &str, version: &str) -> (String, String) {
    let club = owner.create_room(world, &json!({"preset": "public_chat"}));
    let allow = json!([{"type": "m.room_membership", "room_id": club}]);
    let rules = json!({"join_rule": rule, "allow": allow});
    let options = json!({
        "preset": "private_chat", "room_version": version,
        "power_level_content_override": {"invite": 50},
        "initial_state": [{"type": "m.room.join_rules", "state_key": "", "content": rules}],
    });
    let back_room = owner.create_room(world, &options);
    (club, back_room)
}

#[test]
fn a_member_of_the_room_named_is_let_in() {
    for (rule, version) in [
        ("restricted", "8"),
        ("restricted", "12"),
        ("knock_restricted", "12"),
    ] {
        let (world, clients) = world(31, 2);
        let [alice, bob] = &clients[..] else { panic!() };
        let (club, back_room) = club_and_back_room(&world, alice, rule, version);
        let via = [world.server(0).name()];
        assert_eq!(bob.join(&world, &back_room, &via).status, 403, "{rule} {version}");
        bob.join(&world, &club, &via).expect(200);
        bob.join(&world, &back_room, &via).expect(200);
        soon(&world);
        same_state(&world, &clients, &back_room);
        let path = format!("/rooms/{back_room}/state/m.room.member/{}", bob.user_id);
        let join = alice.get(&world, &path);
        assert_eq!(join["join_authorised_via_users_server"], alice.user_id.as_str());
    }
}

#[test]
fn a_server_whose_users_may_not_let_anybody_in_asks_another() {
    let (world, clients) = world(32, 3);
    let [alice, bob, carol] = &clients[..] else {
        panic!()
    };
    let (club, back_room) = club_and_back_room(&world, alice, "restricted", "12");
    let via = [world.server(0).name()];
    for client in [bob, carol] {
        client.join(&world, &club, &via).expect(200);
        client.join(&world, &back_room, &via).expect(200);
    }
    soon(&world);
    let bea = world.register(1, "bea");
    assert_eq!(bea.join(&world, &back_room, &[]).status, 403);
    bea.join(&world, &club, &[]).expect(200);
    soon(&world);
    // Of the servers in the room only the first has a user who may let anybody in.
    world.cut(0, 1);
    assert!(bea.join(&world, &back_room, &[]).status >= 400);
    world.heal(0, 1);
    bea.join(&world, &back_room, &[]).expect(200);
    soon(&world);
    same_state(&world, &clients, &back_room);
    for client in &clients {
        assert_eq!(
            membership(&world, client, &back_room, &bea).as_deref(),
            Some("join")
        );
    }
    bea.send(&world, &back_room, "here").expect(200);
    soon(&world);
    assert_eq!(alice.messages(&world, &back_room), ["here"]);
}

#[test]
fn a_member_let_in_by_another_server_changes_how_they_are_called() {
    let (world, clients) = world(34, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let (club, back_room) = club_and_back_room(&world, alice, "restricted", "12");
    let via = [world.server(0).name()];
    bob.join(&world, &club, &via).expect(200);
    bob.join(&world, &back_room, &via).expect(200);
    soon(&world);
    let path = format!("/rooms/{back_room}/state/m.room.member/{}", bob.user_id);
    // As clients do it: the present content, changed. It still says who let bob in.
    let mut content = bob.get(&world, &path).expect(200).clone();
    content["displayname"] = json!("Bobby");
    let member = "m.room.member";
    bob.set_state(&world, &back_room, member, &bob.user_id, &content)
        .expect(200);
    bob.send(&world, &back_room, "still here").expect(200);
    soon(&world);
    same_state(&world, &clients, &back_room);
    assert_eq!(alice.get(&world, &path)["displayname"], "Bobby");
    assert_eq!(alice.messages(&world, &back_room), ["still here"]);
}

#[test]
fn who_is_not_in_the_room_named_may_knock() {
    let (world, clients) = world(33, 2);
    let [alice, bob] = &clients[..] else { panic!() };
    let (_, back_room) = club_and_back_room(&world, alice, "knock_restricted", "12");
    bob.knock(&world, &back_room, &[world.server(0).name()])
        .expect(200);
    soon(&world);
    assert_eq!(
        membership(&world, alice, &back_room, bob).as_deref(),
        Some("knock")
    );
}
