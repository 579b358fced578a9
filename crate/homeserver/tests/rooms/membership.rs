//! Who is in a room.

use hearth_homeserver::Error;
use hearth_storage::{Store, Table, WriteBatch};
use ruma_common::OwnedUserId;
use serde_json::json;

use crate::support::{Server, object, settle};

#[tokio::test]
async fn an_invite_lets_its_user_in() {
    let server = Server::new().await;
    let (alice, bob, carol) = (server.alice(), server.bob(), server.user("carol"));
    let room = server
        .create(json!({ "preset": "private_chat", "invite": [bob.clone()] }))
        .await
        .unwrap();
    assert!(matches!(
        server.join(&carol, &room).await,
        Err(Error::Forbidden(_))
    ));
    let stripped = server.homeserver.invite_state(&bob, &room).await.unwrap();
    assert_eq!(stripped.last().unwrap()["state_key"], bob.as_str());
    assert!(stripped.iter().any(|event| event["type"] == "m.room.create"));
    server.join(&bob, &room).await.unwrap();
    assert_eq!(server.membership(&bob, &room).await, "join");
    assert!(
        server
            .homeserver
            .invite_state(&bob, &room)
            .await
            .unwrap()
            .is_empty()
    );
    let again = server.homeserver.invite_user(&alice, &room, &bob, None).await;
    assert!(matches!(again, Err(Error::Forbidden(_))));
}

#[tokio::test]
async fn joining_twice_changes_nothing() {
    let server = Server::new().await;
    let room = server.public_room().await;
    server.join(&server.bob(), &room).await.unwrap();
    let before = server.timeline(&room).await;
    server.join(&server.bob(), &room).await.unwrap();
    assert_eq!(server.timeline(&room).await, before);
}

#[tokio::test]
async fn kick_ban_and_unban() {
    let server = Server::new().await;
    let (alice, bob, room) = (server.alice(), server.bob(), server.public_room().await);
    let homeserver = &server.homeserver;
    server.join(&bob, &room).await.unwrap();
    assert!(matches!(
        homeserver.kick_user(&bob, &room, &alice, None).await,
        Err(Error::Forbidden(_))
    ));
    homeserver
        .kick_user(&alice, &room, &bob, Some("out".into()))
        .await
        .unwrap();
    assert_eq!(
        homeserver.user_membership(&bob, &room).unwrap().membership,
        "leave"
    );
    assert!(matches!(
        homeserver.kick_user(&alice, &room, &bob, None).await,
        Err(Error::Forbidden(_))
    ));
    server.join(&bob, &room).await.unwrap();
    homeserver.ban_user(&alice, &room, &bob, None).await.unwrap();
    assert!(matches!(server.join(&bob, &room).await, Err(Error::Forbidden(_))));
    homeserver.unban_user(&alice, &room, &bob, None).await.unwrap();
    server.join(&bob, &room).await.unwrap();
}

#[tokio::test]
async fn leaving_keeps_what_was_seen_and_forgetting_does_not() {
    let server = Server::new().await;
    let (alice, bob, room) = (server.alice(), server.bob(), server.public_room().await);
    let homeserver = &server.homeserver;
    server.join(&bob, &room).await.unwrap();
    let seen = server.say(&alice, &room, "1", "seen").await.unwrap();
    homeserver.leave_room(&bob, &room, None).await.unwrap();
    homeserver.leave_room(&bob, &room, None).await.unwrap();
    let unseen = server.say(&alice, &room, "2", "unseen").await.unwrap();
    server
        .set(&alice, &room, "m.room.topic", json!({ "topic": "later" }))
        .await
        .unwrap();
    homeserver.event_for(&bob, &room, &seen).await.unwrap();
    assert!(matches!(
        homeserver.event_for(&bob, &room, &unseen).await,
        Err(Error::NotFound(_))
    ));
    let topic = homeserver.state_event(&bob, &room, "m.room.topic", "").await;
    assert!(matches!(topic, Err(Error::NotFound(_))), "the topic came after");
    assert!(matches!(
        homeserver.forget_room(&alice, &room).await,
        Err(Error::NotLeft)
    ));
    homeserver.forget_room(&bob, &room).await.unwrap();
    assert_eq!(homeserver.user_membership(&bob, &room), None);
    assert!(matches!(
        homeserver.room_state(&bob, &room).await,
        Err(Error::Forbidden(_))
    ));
}

#[tokio::test]
async fn state_of_a_membership_is_the_same_as_its_endpoint() {
    let server = Server::new().await;
    let (alice, bob) = (server.alice(), server.bob());
    let room = server.create(json!({})).await.unwrap();
    let invite = object(json!({ "membership": "invite" }));
    let homeserver = &server.homeserver;
    homeserver
        .send_state(&alice, &room, "m.room.member", bob.as_str(), invite)
        .await
        .unwrap();
    assert_eq!(
        homeserver.user_membership(&bob, &room).unwrap().membership,
        "invite"
    );
    let bad = homeserver.send_state(
        &alice,
        &room,
        "m.room.member",
        "bob",
        object(json!({ "membership": "invite" })),
    );
    assert!(matches!(bad.await, Err(Error::InvalidParam(_))));
    let empty = homeserver.send_state(&alice, &room, "m.room.member", bob.as_str(), object(json!({})));
    assert!(matches!(empty.await, Err(Error::BadJson(_))));
}

#[tokio::test]
async fn restricted_rooms_let_in_members_of_the_rooms_they_name() {
    let server = Server::new().await;
    let (bob, carol) = (server.bob(), server.user("carol"));
    let club = server.public_room().await;
    server.join(&bob, &club).await.unwrap();
    let rules =
        json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": club }] });
    let state = json!([{ "type": "m.room.join_rules", "state_key": "", "content": rules }]);
    let back_room = server.create(json!({ "initial_state": state })).await.unwrap();
    server.join(&bob, &back_room).await.unwrap();
    assert!(matches!(
        server.join(&carol, &back_room).await,
        Err(Error::Forbidden(_))
    ));
    // Nobody lets themselves in by naming a member who could.
    let vouched = json!({ "membership": "join", "join_authorised_via_users_server": server.alice() });
    let set = |user: &OwnedUserId| {
        let (user, content) = (user.clone(), object(vouched.clone()));
        let (homeserver, room) = (&server.homeserver, &back_room);
        async move {
            let kind = "m.room.member";
            homeserver
                .send_state(&user, room, kind, user.as_str(), content)
                .await
        }
    };
    assert!(matches!(set(&carol).await, Err(Error::Forbidden(_))));
    // Who may come in does so by setting their membership too, and the server says who let them in.
    let dave = server.user("dave");
    server.join(&dave, &club).await.unwrap();
    let join = set(&dave).await.unwrap();
    let join = server.homeserver.stored_event(&join).await.unwrap().unwrap();
    assert_eq!(
        join.content()["join_authorised_via_users_server"],
        server.alice().as_str()
    );
    let again = set(&dave).await.unwrap();
    let again = server.homeserver.stored_event(&again).await.unwrap().unwrap();
    assert_eq!(again.content().get("join_authorised_via_users_server"), None);
}

#[tokio::test]
async fn the_directory_lists_what_was_published() {
    let server = Server::new().await;
    let (alice, bob) = (server.alice(), server.bob());
    let public = server
        .create(json!({ "visibility": "public", "name": "Market" }))
        .await
        .unwrap();
    let hidden = server.public_room().await;
    let homeserver = &server.homeserver;
    let page = homeserver.public_rooms(Default::default()).await.unwrap();
    assert_eq!(page.chunk.len(), 1);
    assert_eq!(page.chunk[0]["room_id"], public.as_str());
    assert_eq!(page.chunk[0]["num_joined_members"], 1);
    assert!(matches!(
        homeserver.set_published(&bob, &hidden, true).await,
        Err(Error::Forbidden(_))
    ));
    homeserver.set_published(&alice, &hidden, true).await.unwrap();
    assert_eq!(
        homeserver
            .public_rooms(Default::default())
            .await
            .unwrap()
            .chunk
            .len(),
        2
    );
}

#[tokio::test]
async fn the_directory_tells_no_alias_that_was_emptied() {
    let server = Server::new().await;
    let room = server
        .create(json!({ "visibility": "public", "room_alias_name": "market" }))
        .await
        .unwrap();
    let listed = async || {
        server
            .homeserver
            .public_rooms(Default::default())
            .await
            .unwrap()
            .chunk
    };
    let alias = format!("#market:{}", server.homeserver.server_name());
    assert_eq!(listed().await[0]["canonical_alias"], alias);
    let emptied = json!({ "alias": "" });
    server
        .set(&server.alice(), &room, "m.room.canonical_alias", emptied)
        .await
        .unwrap();
    assert_eq!(listed().await[0].get("canonical_alias"), None);
}

#[tokio::test]
async fn rows_of_earlier_versions_do_not_say_how_a_stay_ended() {
    let mut server = Server::new().await;
    let (alice, bob, room) = (server.alice(), server.bob(), server.public_room().await);
    server.join(&bob, &room).await.unwrap();
    let topic = async |server: &Server, text: &str| {
        let content = json!({ "topic": text });
        server.set(&alice, &room, "m.room.topic", content).await.unwrap()
    };
    topic(&server, "before").await;
    server
        .homeserver
        .kick_user(&alice, &room, &bob, None)
        .await
        .unwrap();
    topic(&server, "after").await;
    server
        .homeserver
        .ban_user(&alice, &room, &bob, None)
        .await
        .unwrap();
    let key = format!("u\0{bob}\0{room}").into_bytes();
    for (event_id, expected) in [(None, Some("before")), (Some("$unknown"), None)] {
        let row = server.store.rows.get(Table::Memberships, &key).await.unwrap();
        let mut row: serde_json::Value = serde_json::from_slice(&row.unwrap()).unwrap();
        row.as_object_mut().unwrap().remove("left");
        if let Some(event_id) = event_id {
            row["event_id"] = event_id.into();
        }
        let mut batch = WriteBatch::new();
        batch.put(Table::Memberships, key.clone(), row.to_string());
        server.store.rows.commit(batch).await.unwrap();
        server = server.restarted().await;
        let read = server
            .homeserver
            .state_event(&bob, &room, "m.room.topic", "")
            .await;
        match expected {
            Some(topic) => assert_eq!(read.unwrap().content_text("topic"), Some(topic)),
            None => assert!(matches!(read, Err(Error::Forbidden(_)))),
        }
    }
}

#[tokio::test]
async fn a_kick_that_a_ban_overtakes_does_not_lift_it() {
    let server = Server::new().await;
    let (alice, bob, room) = (server.alice(), server.bob(), server.public_room().await);
    let homeserver = &server.homeserver;
    server.join(&bob, &room).await.unwrap();
    let gate = server.store.gate.lock().await;
    let open = async {
        settle().await;
        drop(gate);
    };
    let (banned, kicked, ()) = futures::join!(
        homeserver.ban_user(&alice, &room, &bob, None),
        homeserver.kick_user(&alice, &room, &bob, None),
        open,
    );
    banned.unwrap();
    assert!(matches!(kicked, Err(Error::Forbidden(_))));
    assert_eq!(server.membership(&bob, &room).await, "ban");
}

#[tokio::test]
async fn a_room_that_is_joined_meanwhile_is_not_forgotten() {
    let server = Server::new().await;
    let (bob, room) = (server.bob(), server.public_room().await);
    let homeserver = &server.homeserver;
    server.join(&bob, &room).await.unwrap();
    homeserver.leave_room(&bob, &room, None).await.unwrap();
    let gate = server.store.gate.lock().await;
    let open = async {
        settle().await;
        drop(gate);
    };
    let forget = async {
        // The join is on its way to the store.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        homeserver.forget_room(&bob, &room).await
    };
    let (joined, forgotten, ()) = futures::join!(server.join(&bob, &room), forget, open);
    joined.unwrap();
    assert!(matches!(forgotten, Err(Error::NotLeft)));
    assert_eq!(homeserver.joined_rooms(&bob), std::slice::from_ref(&room));
    let server = server.restarted().await;
    assert_eq!(server.homeserver.joined_rooms(&bob), [room]);
}
