//! Rejected and soft-failed events: kept, never shown, never followed by what is made here.

use std::collections::BTreeMap;

use hearth_homeserver::rooms::event::StoredEvent;
use hearth_rooms::{EventBuilder, Pdu};
use ruma_common::OwnedRoomId;
use serde_json::json;

use crate::{
    peer::{Peer, auth_of, extremities},
    support::{Server, object},
};

async fn stored(server: &Server, pdu: &Pdu) -> StoredEvent {
    let event = server.homeserver.stored_event(pdu.event_id()).await.unwrap();
    StoredEvent::clone(&event.expect("the event is kept"))
}

/// A room of alice's that mallory of another server has joined.
async fn joined() -> (Server, Peer, OwnedRoomId, Pdu) {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let room = server.public_room().await;
    let join = peer.join(&server, &room).await;
    (server, peer, room, join)
}

#[tokio::test]
async fn a_rejected_event_is_kept_but_not_shown_passed_on_or_followed() {
    let (server, peer, room, join) = joined().await;
    let auth = auth_of(&server, &room, &join).await;
    let before = (server.timeline(&room).await, extremities(&server, &room).await);
    let topic = json!({ "topic": "mine" });
    let rejected = peer.event(&room, &join, auth.clone(), ("m.room.topic", Some("")), topic);
    assert!(peer.tell(&server, &rejected).await["error"].is_string());
    assert!(stored(&server, &rejected).await.decision.rejected);
    let after = (server.timeline(&room).await, extremities(&server, &room).await);
    assert_eq!(after, before);
    let homeserver = &server.homeserver;
    let seen = homeserver
        .event_for(&server.alice(), &room, rejected.event_id())
        .await;
    assert!(seen.is_err());
    let given = homeserver
        .federation_event(peer.name(), rejected.event_id())
        .await;
    assert!(given.is_err());

    let after = peer.message(&room, &rejected, auth, "after it");
    assert_eq!(peer.tell(&server, &after).await, json!({}));
    assert_eq!(server.state_content(&room, "m.room.topic").await, None);
    assert_eq!(
        extremities(&server, &room).await,
        [after.event_id()],
        "it follows what the rejected one followed"
    );
    let from = [after.event_id().to_owned()];
    let history = homeserver.backfill(peer.name(), &room, &from, 100).await.unwrap();
    let ids: Vec<_> = history["pdus"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pdu| pdu["depth"].clone())
        .collect();
    assert!(!ids.contains(&json!(rejected.depth())), "{ids:?}");
    assert!(
        ids.contains(&json!(join.depth())),
        "what came before it is given: {ids:?}"
    );
    let question = json!({ "latest_events": from, "limit": 50 });
    let missing = homeserver
        .missing_events(peer.name(), &room, question)
        .await
        .unwrap();
    let missing = missing["events"].as_array().unwrap();
    assert!(missing.iter().all(|pdu| pdu["type"] != "m.room.topic"));
    assert!(missing.iter().any(|pdu| pdu["type"] == "m.room.create"));
    let restarted = server.restarted().await;
    assert!(stored(&restarted, &rejected).await.decision.rejected);
}

#[tokio::test]
async fn what_rests_on_a_rejected_event_is_rejected() {
    let (server, peer, room, join) = joined().await;
    let auth = auth_of(&server, &room, &join).await;
    let levels = json!({ "users": { peer.user().as_str(): 100 } });
    let usurped = peer.event(&room, &join, auth, ("m.room.power_levels", Some("")), levels);
    assert!(peer.tell(&server, &usurped).await["error"].is_string());
    let auth = vec![usurped.event_id().to_owned(), join.event_id().to_owned()];
    let topic = json!({ "topic": "mine" });
    let topic = peer.event(&room, &usurped, auth, ("m.room.topic", Some("")), topic);
    assert!(peer.tell(&server, &topic).await["error"].is_string());
    assert!(stored(&server, &topic).await.decision.rejected);
}

#[tokio::test]
async fn who_was_banned_meanwhile_is_soft_failed_and_so_is_what_follows() {
    let (server, peer, room, join) = joined().await;
    let auth = auth_of(&server, &room, &join).await;
    let alice = server.alice();
    server
        .homeserver
        .ban_user(&alice, &room, &peer.user(), None)
        .await
        .unwrap();
    let before = (server.timeline(&room).await, extremities(&server, &room).await);
    let late = peer.message(&room, &join, auth.clone(), "too late");
    assert_eq!(
        peer.tell(&server, &late).await,
        json!({}),
        "its sender has done nothing wrong"
    );
    let decision = stored(&server, &late).await.decision;
    assert!(decision.soft_failed && !decision.rejected);
    let later = peer.message(&room, &late, auth, "still here");
    peer.tell(&server, &later).await;
    assert!(stored(&server, &later).await.decision.soft_failed);
    let after = (server.timeline(&room).await, extremities(&server, &room).await);
    assert_eq!(after, before);
    let seen = server.homeserver.event_for(&alice, &room, late.event_id()).await;
    assert!(seen.is_err());
}

#[tokio::test]
async fn a_soft_failed_event_counts_where_another_follows_it() {
    let (server, peer, other) = (Server::new().await, Peer::new(7), Peer::new(8));
    let room = server.public_room().await;
    let join = peer.join(&server, &room).await;
    let witness = other.join(&server, &room).await;
    let auth = auth_of(&server, &room, &join).await;
    let alice = server.alice();
    let rules = server.state(&room, "m.room.join_rules", "").await.unwrap();
    let named = json!({ "membership": "join", "displayname": "Mallory" });
    let named = peer.event(
        &room,
        &witness,
        [auth, vec![rules.event_id.clone()]].concat(),
        ("m.room.member", Some(peer.user().as_str())),
        named,
    );
    server
        .homeserver
        .ban_user(&alice, &room, &peer.user(), None)
        .await
        .unwrap();
    peer.tell(&server, &named).await;
    assert!(stored(&server, &named).await.decision.soft_failed);
    let head = extremities(&server, &room).await;
    let levels = server.state(&room, "m.room.power_levels", "").await.unwrap();
    let joins = EventBuilder {
        room_id: Some(room.clone()),
        sender: other.user(),
        event_type: "m.room.message".into(),
        state_key: None,
        content: object(json!({ "body": "I saw both", "msgtype": "m.text" })),
        redacts: None,
        prev_events: [head, vec![named.event_id().to_owned()]].concat(),
        auth_events: vec![levels.event_id.clone(), witness.event_id().to_owned()],
        reference_hashes: BTreeMap::new(),
        depth: 50,
        origin_server_ts: 2,
    };
    let joins = other.sign(joins);
    assert_eq!(other.tell(&server, &joins).await, json!({}));
    assert_eq!(server.timeline(&room).await.last().unwrap(), "I saw both");
    assert_eq!(
        server.membership(&peer.user(), &room).await,
        "ban",
        "the ban outweighs it"
    );
    assert_eq!(extremities(&server, &room).await, [joins.event_id()]);
}

#[tokio::test]
async fn an_event_that_follows_nothing_is_refused() {
    let (server, peer, room, join) = joined().await;
    let auth = auth_of(&server, &room, &join).await;
    let before = server.timeline(&room).await;
    for kind in ["m.room.message", "m.room.create"] {
        let builder = EventBuilder {
            room_id: Some(room.clone()),
            sender: peer.user(),
            event_type: kind.into(),
            state_key: (kind == "m.room.create").then(String::new),
            content: object(json!({ "room_version": "12" })),
            redacts: None,
            prev_events: Vec::new(),
            auth_events: if kind == "m.room.create" {
                Vec::new()
            } else {
                auth.clone()
            },
            reference_hashes: BTreeMap::new(),
            depth: 1,
            origin_server_ts: 2,
        };
        let Ok(pdu) = builder.build(
            hearth_rooms::RoomVersion::V12,
            peer.identity.server_name(),
            peer.identity.key_pair(),
        ) else {
            continue;
        };
        assert_ne!(peer.tell(&server, &pdu).await, json!({}), "{kind}");
    }
    assert_eq!(server.timeline(&room).await, before);
    let restarted = server.restarted().await;
    restarted
        .say(&server.alice(), &room, "1", "unharmed")
        .await
        .unwrap();
}
