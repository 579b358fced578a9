//! Making rooms.

use std::collections::BTreeSet;

use hearth_homeserver::Error;
use serde_json::json;

use crate::support::Server;

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
