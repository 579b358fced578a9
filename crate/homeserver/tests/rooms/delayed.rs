//! Events that are sent later, and a store that fails.

use std::sync::atomic::Ordering;

use hearth_homeserver::{
    Error,
    rooms::delayed::{Action, Wish},
};
use serde_json::json;

use crate::support::{Server, device, object};

#[tokio::test]
async fn an_event_that_meets_a_full_store_waits_on() {
    let server = Server::new().await;
    let (alice, room) = (server.alice(), server.public_room().await);
    let wish = |text: &'static str| Wish {
        kind: "m.room.message",
        state_key: None,
        txn_id: Some(text),
        content: object(json!({ "msgtype": "m.text", "body": text })),
        delay: 60_000,
    };
    let homeserver = &server.homeserver;
    let sent = homeserver.send_later(&alice, device(), &room, wish("sent"));
    let sent = sent.await.unwrap();
    let cancelled = homeserver.send_later(&alice, device(), &room, wish("cancelled"));
    let cancelled = cancelled.await.unwrap();
    let actions = [(&sent, Action::Send), (&cancelled, Action::Cancel)];
    server.store.is_full.store(true, Ordering::Relaxed);
    for (id, action) in actions {
        let failed = homeserver.update_delayed(id, action).await;
        assert!(matches!(failed, Err(Error::Store(_))), "{failed:?}");
    }
    server.store.is_full.store(false, Ordering::Relaxed);
    for (id, action) in actions {
        homeserver.update_delayed(id, action).await.unwrap();
    }
    let timeline = server.timeline(&room).await;
    assert_eq!(timeline.last().unwrap(), "sent");
    assert!(!timeline.iter().any(|text| text == "cancelled"));
}

#[tokio::test]
async fn an_event_that_cannot_be_read_keeps_nobody_from_starting() {
    let server = Server::new().await;
    let (alice, room) = (server.alice(), server.public_room().await);
    let nested = (0..130).fold(json!([]), |inner, _| json!([inner]));
    for content in [json!({ "body": "well" }), json!({ "nested": nested })] {
        let wish = Wish {
            kind: "m.room.message",
            state_key: None,
            txn_id: None,
            content: object(content),
            delay: 60_000,
        };
        let asked = server.homeserver.send_later(&alice, device(), &room, wish);
        asked.await.unwrap();
    }
    let server = server.restarted().await;
    let events = server.homeserver.delayed_events(&alice).await.unwrap();
    let contents: Vec<_> = events.into_iter().map(|event| event.content).collect();
    assert_eq!(contents, [object(json!({ "body": "well" }))]);
}
