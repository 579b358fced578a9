//! Forward extremities: never many, whatever other servers do.

use std::collections::BTreeMap;

use hearth_rooms::{EventBuilder, Pdu};
use ruma_common::OwnedRoomId;
use serde_json::json;

use crate::{
    peer::{Peer, auth_of, extremities, value},
    support::{Server, object},
};

/// The most extremities: what an event can name.
const MOST: usize = 20;

/// Sends `pdus` in transactions as large as they may be.
async fn flood(server: &Server, peer: &Peer, pdus: &[Pdu]) {
    for (number, chunk) in pdus.chunks(50).enumerate() {
        let values: Vec<_> = chunk.iter().map(value).collect();
        peer.send(server, &format!("flood {number}"), &values).await;
    }
}

async fn joined() -> (Server, Peer, OwnedRoomId, Pdu) {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let room = server.public_room().await;
    let join = peer.join(&server, &room).await;
    (server, peer, room, join)
}

#[tokio::test]
async fn a_flood_of_messages_after_one_event_leaves_few_extremities() {
    let (server, peer, room, join) = joined().await;
    let auth = auth_of(&server, &room, &join).await;
    let message = |n| peer.message(&room, &join, auth.clone(), &format!("{n}"));
    let pdus: Vec<_> = (0..200).map(message).collect();
    flood(&server, &peer, &pdus).await;
    assert_eq!(
        server.timeline(&room).await.last().unwrap(),
        "199",
        "all are shown"
    );
    let left = extremities(&server, &room).await;
    assert_eq!(left.len(), MOST);
    assert!(
        left.iter().any(|id| id == pdus[199].event_id()),
        "the newest are kept"
    );
    let said = server.say(&server.alice(), &room, "1", "enough").await.unwrap();
    assert_eq!(
        extremities(&server, &room).await,
        std::slice::from_ref(&said),
        "the next event joins them all"
    );
    let event = server.homeserver.stored_event(&said).await.unwrap().unwrap();
    assert_eq!(event.pdu.prev_events().len(), MOST);
}

#[tokio::test]
async fn a_flood_of_state_does_not_push_out_what_was_there() {
    let (server, peer, room, join) = joined().await;
    let mut auth = auth_of(&server, &room, &join).await;
    let rules = server.state(&room, "m.room.join_rules", "").await.unwrap();
    auth.push(rules.event_id.clone());
    server
        .set(&server.alice(), &room, "m.room.topic", json!({ "topic": "kept" }))
        .await
        .unwrap();
    let named = |n| {
        let content = json!({ "membership": "join", "displayname": format!("{n}") });
        peer.event(
            &room,
            &join,
            auth.clone(),
            ("m.room.member", Some(peer.user().as_str())),
            content,
        )
    };
    let pdus: Vec<_> = (0..60).map(named).collect();
    flood(&server, &peer, &pdus).await;
    assert!(extremities(&server, &room).await.len() <= MOST);
    let topic = server.state_content(&room, "m.room.topic").await.unwrap();
    assert_eq!(topic["topic"], "kept");
    assert_eq!(server.membership(&peer.user(), &room).await, "join");
    server.say(&server.alice(), &room, "1", "enough").await.unwrap();
    let topic = server.state_content(&room, "m.room.topic").await.unwrap();
    assert_eq!(topic["topic"], "kept");
}

#[tokio::test]
async fn the_greatest_depth_does_not_stop_a_room() {
    let (server, peer, room, join) = joined().await;
    let auth = auth_of(&server, &room, &join).await;
    let deepest = (1_u64 << 53) - 1;
    let builder = EventBuilder {
        room_id: Some(room.clone()),
        sender: peer.user(),
        event_type: "m.room.message".into(),
        state_key: None,
        content: object(json!({ "body": "deep", "msgtype": "m.text" })),
        redacts: None,
        prev_events: vec![join.event_id().to_owned()],
        auth_events: auth,
        reference_hashes: BTreeMap::new(),
        depth: deepest,
        origin_server_ts: deepest,
    };
    let deep = peer.sign(builder);
    assert_eq!(peer.tell(&server, &deep).await, json!({}));
    for txn in ["1", "2"] {
        let said = server
            .say(&server.alice(), &room, txn, "still here")
            .await
            .unwrap();
        let event = server.homeserver.stored_event(&said).await.unwrap().unwrap();
        assert_eq!(event.depth(), deepest);
    }
}
