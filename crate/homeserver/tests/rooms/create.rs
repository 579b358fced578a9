//! Making rooms.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use futures::FutureExt as _;
use hearth_homeserver::Error;
use serde_json::json;

use crate::support::{Server, settle};

#[tokio::test]
async fn a_room_has_the_state_of_its_preset() {
    let server = Server::new().await;
    let room = server
        .create(json!({ "preset": "public_chat", "name": "Hall", "topic": "News" }))
        .await
        .unwrap();
    assert_eq!(server.membership(&server.alice(), &room).await, "join");
    assert_eq!(
        server.state_content(&room, "m.room.join_rules").await.unwrap(),
        json!({ "join_rule": "public" })
    );
    assert_eq!(
        server.state_content(&room, "m.room.name").await.unwrap(),
        json!({ "name": "Hall" })
    );
    assert_eq!(
        server.state_content(&room, "m.room.topic").await.unwrap()["topic"],
        "News"
    );
    assert_eq!(
        server.state_content(&room, "m.room.create").await.unwrap()["room_version"],
        "12"
    );
}

#[tokio::test]
async fn rooms_made_in_one_millisecond_are_different() {
    let server = Server::new().await;
    let mut rooms = BTreeSet::new();
    for _ in 0..20 {
        rooms.insert(server.create(json!({})).await.unwrap());
    }
    assert_eq!(rooms.len(), 20);
    assert_eq!(server.homeserver.joined_rooms(&server.alice()).len(), 20);
}

#[tokio::test]
async fn every_supported_version_can_be_made() {
    let server = Server::new().await;
    for version in hearth_homeserver::RoomVersion::ALL {
        let room = server
            .create(json!({ "room_version": version.as_str() }))
            .await
            .unwrap();
        let create = server.state_content(&room, "m.room.create").await.unwrap();
        assert_eq!(create["room_version"], version.as_str());
        assert_eq!(room.as_str().contains(':'), version.as_str() != "12", "{room}");
        server
            .say(&server.alice(), &room, version.as_str(), "hello")
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn what_is_wrong_makes_no_room() {
    let server = Server::new().await;
    let taken = json!({ "room_alias_name": "taken" });
    server.create(taken.clone()).await.unwrap();
    assert!(matches!(server.create(taken).await, Err(Error::RoomInUse)));
    let unknown = server.create(json!({ "room_version": "99" })).await;
    assert!(matches!(unknown, Err(Error::UnsupportedRoomVersion(_))));
    assert!(matches!(
        server.create(json!({ "preset": "odd" })).await,
        Err(Error::InvalidParam(_))
    ));
    let locked = server.create(json!({ "power_level_content_override": { "state_default": 200 }, "room_version": "11", "name": "x" })).await;
    assert!(matches!(locked, Err(Error::InvalidRoomState(_))), "{locked:?}");
    assert_eq!(server.homeserver.joined_rooms(&server.alice()).len(), 1);
}

#[tokio::test]
async fn overrides_and_initial_state_are_heeded() {
    let server = Server::new().await;
    let room = server
        .create(json!({
            "preset": "private_chat",
            "power_level_content_override": { "events_default": 10 },
            "initial_state": [
                { "type": "m.room.history_visibility", "state_key": "", "content": { "history_visibility": "joined" } },
                { "type": "org.example.note", "state_key": "k", "content": { "a": 1 } },
            ],
            "creation_content": { "m.federate": true, "org.example": "x" },
            "room_alias_name": "den",
        }))
        .await
        .unwrap();
    let levels = server.state_content(&room, "m.room.power_levels").await.unwrap();
    assert_eq!(levels["events_default"], 10);
    assert_eq!(levels["users"], json!({}));
    let visibility = server
        .state_content(&room, "m.room.history_visibility")
        .await
        .unwrap();
    assert_eq!(visibility["history_visibility"], "joined");
    assert_eq!(
        server.state_content(&room, "m.room.create").await.unwrap()["org.example"],
        "x"
    );
    let alias = format!("#den:{}", server.homeserver.server_name());
    let (found, _) = server
        .homeserver
        .resolve_alias(alias.as_str().try_into().unwrap())
        .await
        .unwrap();
    assert_eq!(found, room);
    assert_eq!(
        server
            .state_content(&room, "m.room.canonical_alias")
            .await
            .unwrap()["alias"],
        alias
    );
}

#[tokio::test]
async fn initial_state_neither_invites_nor_shuts_this_server_out() {
    let server = Server::new().await;
    let own = server.homeserver.server_name();
    let member =
        json!({ "type": "m.room.member", "state_key": server.bob(), "content": { "membership": "invite" } });
    let made = server.create(json!({ "initial_state": [member] })).await;
    assert!(matches!(made, Err(Error::InvalidRoomState(_))), "{made:?}");
    for content in [json!({ "allow": [] }), json!({ "allow": ["*"], "deny": [own] })] {
        let acl = json!({ "type": "m.room.server_acl", "content": content });
        let made = server.create(json!({ "initial_state": [acl] })).await;
        assert!(matches!(made, Err(Error::InvalidParam(_))), "{made:?}");
    }
    assert_eq!(server.homeserver.joined_rooms(&server.alice()).len(), 0);

    let room = server.public_room().await;
    let acl = json!({ "allow": ["*"], "deny": [own] });
    let set = server.set(&server.alice(), &room, "m.room.server_acl", acl).await;
    assert!(matches!(set, Err(Error::InvalidParam(_))), "{set:?}");
    let acl = json!({ "allow": ["*"], "deny": ["evil"] });
    let set = server.set(&server.alice(), &room, "m.room.server_acl", acl).await;
    set.unwrap();
}

#[tokio::test]
async fn whoever_is_invited_and_named_a_creator_is_one_once() {
    let server = Server::new().await;
    let request = json!({
        "preset": "trusted_private_chat",
        "invite": [server.bob()],
        "creation_content": { "additional_creators": [server.bob(), server.user("carol")] },
    });
    let room = server.create(request).await.unwrap();
    let create = server.state_content(&room, "m.room.create").await.unwrap();
    let creators = json!([server.bob(), server.user("carol")]);
    assert_eq!(create["additional_creators"], creators);
}

#[tokio::test]
async fn users_of_other_servers_are_invited_side_by_side() {
    let server = Server::new().await;
    server.network.hangs.store(true, Ordering::Relaxed);
    let invited = ["@a:one.example", "@b:two.example", "@c:three.example"];
    let mut making = Box::pin(server.create(json!({ "invite": invited })));
    for _ in 0..10 {
        assert!(making.as_mut().now_or_never().is_none());
        settle().await;
    }
    let asked = server.network.asked.lock().unwrap();
    let servers: BTreeSet<_> = asked.iter().map(|(server, _)| server.as_str()).collect();
    assert_eq!(
        servers,
        BTreeSet::from(["one.example", "two.example", "three.example"])
    );
}

#[tokio::test]
async fn not_anybody_invites_to_a_public_room_and_a_room_is_created_once() {
    let server = Server::new().await;
    for (preset, least) in [
        ("public_chat", 50),
        ("private_chat", 0),
        ("trusted_private_chat", 0),
    ] {
        let room = server.create(json!({ "preset": preset })).await.unwrap();
        let levels = server.state_content(&room, "m.room.power_levels").await.unwrap();
        assert_eq!(levels["invite"], least, "{preset}");
        let again = server
            .set(
                &server.alice(),
                &room,
                "m.room.create",
                json!({ "room_version": "12" }),
            )
            .await;
        assert!(matches!(again, Err(Error::BadJson(_))), "{again:?}");
    }
    let asked = json!({ "preset": "public_chat", "power_level_content_override": { "invite": 0 } });
    let room = server.create(asked).await.unwrap();
    let levels = server.state_content(&room, "m.room.power_levels").await.unwrap();
    assert_eq!(levels["invite"], 0);
}
