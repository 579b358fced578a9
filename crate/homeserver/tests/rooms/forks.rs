//! Forks that heal: what the room's state becomes, and that this costs nothing that grows with the room.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use hearth_rooms::{EventBuilder, chain_cover::Position};
use hearth_storage::Table;
use ruma_common::OwnedRoomId;
use serde_json::json;

use crate::{
    counting::Counts,
    large_room::{Form, with_members},
    peer::{Peer, extremities},
    support::{Server, object, settle},
};

async fn position(server: &Server, room: &OwnedRoomId, kind: &str, state_key: &str) -> Position {
    let event = server.state(room, kind, state_key).await.unwrap();
    let position = event
        .decision
        .position
        .as_ref()
        .expect("a state event has a place");
    Position::decode(&BASE64.decode(position).unwrap()).unwrap()
}

async fn change_levels(server: &Server, room: &OwnedRoomId, level: u64) -> Position {
    let levels = json!({ "events_default": level, "users": {} });
    server
        .set(&server.alice(), room, "m.room.power_levels", levels)
        .await
        .unwrap();
    position(server, room, "m.room.power_levels", "").await
}

#[tokio::test]
async fn state_events_are_placed_in_the_chain_cover_across_restarts() {
    let server = Server::new().await;
    let room = server.public_room().await;
    let first = position(&server, &room, "m.room.power_levels", "").await;
    let second = change_levels(&server, &room, 1).await;
    let server = server.restarted().await;
    let third = change_levels(&server, &room, 0).await;
    assert!(second.continues(&first) && third.continues(&second));
    server.join(&server.bob(), &room).await.unwrap();
    let bob = position(&server, &room, "m.room.member", server.bob().as_str()).await;
    let create = position(&server, &room, "m.room.create", "").await;
    assert!(bob.reaches(&third) && bob.reaches(&first));
    assert!(!third.reaches(&bob) && !bob.reaches(&create), "{bob:?}");
}

/// A room of that many members, in which alice went on while another server's user did something else.
async fn healed_fork(members: usize) -> (Server, OwnedRoomId, Counts) {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let room = server.public_room().await;
    let server = with_members(server, &room, members, Form::Counted).await;
    let join = peer.join(&server, &room).await;
    let mut auth = vec![join.event_id().to_owned()];
    for kind in ["m.room.power_levels", "m.room.join_rules"] {
        auth.push(server.state(&room, kind, "").await.unwrap().event_id.clone());
    }
    for level in 1..10 {
        change_levels(&server, &room, level % 2).await;
    }
    let topic = json!({ "topic": "on one side" });
    server
        .set(&server.alice(), &room, "m.room.topic", topic)
        .await
        .unwrap();
    let mallory = peer.user();
    let content = json!({ "membership": "join", "displayname": "on the other side" });
    let renamed = peer.sign(EventBuilder {
        room_id: Some(room.clone()),
        sender: mallory.clone(),
        event_type: "m.room.member".into(),
        state_key: Some(mallory.to_string()),
        content: object(content),
        redacts: None,
        prev_events: vec![join.event_id().to_owned()],
        auth_events: auth,
        reference_hashes: std::collections::BTreeMap::new(),
        depth: join.depth() + 1,
        origin_server_ts: join.origin_server_ts() + 1,
    });
    let server = server.restarted().await;
    settle().await;
    server.store.take();
    assert_eq!(peer.tell(&server, &renamed).await, json!({}));
    let counts = server.store.take();
    assert_eq!(extremities(&server, &room).await.len(), 2);
    let member = server.state(&room, "m.room.member", mallory.as_str()).await;
    assert_eq!(member.unwrap().event_id, renamed.event_id());
    (server, room, counts)
}

#[tokio::test]
async fn forks_heal_at_the_same_cost_in_rooms_of_all_sizes() {
    for members in [10, 3_000] {
        let (server, room, counts) = healed_fork(members).await;
        let topic = server.state_content(&room, "m.room.topic").await.unwrap();
        assert_eq!(topic["topic"], "on one side");
        let levels = server.state_content(&room, "m.room.power_levels").await.unwrap();
        assert_eq!(levels["events_default"], 1);
        assert!(counts.rows_read(Table::Events) <= 40, "{counts:?}");
        assert!(counts.rows_read(Table::State) <= 40, "{counts:?}");
        assert!(counts.reads.len() <= 40, "{counts:?}");
    }
}
