//! Sending messages and state, redacting, and what a restart leaves.

use hearth_homeserver::Error;
use serde_json::json;

use crate::support::{Server, device, object};

#[tokio::test]
async fn a_repeated_transaction_is_the_same_event_even_after_a_restart() {
    let server = Server::new().await;
    let (alice, room) = (server.alice(), server.public_room().await);
    let first = server.say(&alice, &room, "t1", "hello").await.unwrap();
    assert_eq!(server.say(&alice, &room, "t1", "hello").await.unwrap(), first);
    let restarted = server.restarted().await;
    assert_eq!(restarted.say(&alice, &room, "t1", "hello").await.unwrap(), first);
    let other = restarted.say(&alice, &room, "t2", "hello").await.unwrap();
    assert_ne!(other, first);
    let content = object(json!({}));
    let typed = restarted
        .homeserver
        .send_message(&alice, device(), &room, "org.example", "t1", content);
    assert_ne!(typed.await.unwrap(), first);
    assert_eq!(
        restarted
            .timeline(&room)
            .await
            .iter()
            .filter(|body| *body == "hello")
            .count(),
        2
    );
}

#[tokio::test]
async fn concurrent_sends_are_all_there_in_one_line() {
    let server = Server::new().await;
    let (alice, room) = (server.alice(), server.public_room().await);
    let bodies: Vec<_> = (0..30).map(|number| number.to_string()).collect();
    let sends = bodies.iter().map(|body| server.say(&alice, &room, body, body));
    for sent in futures::future::join_all(sends).await {
        sent.unwrap();
    }
    let events = server
        .homeserver
        .timeline_before(&room, i64::MAX, 31)
        .await
        .unwrap();
    for pair in events.windows(2) {
        let [(_, later), (_, earlier)] = pair else {
            unreachable!()
        };
        assert_eq!(later.pdu.prev_events(), std::slice::from_ref(&earlier.event_id));
    }
    assert_eq!(events.len(), 31);
}

#[tokio::test]
async fn a_restart_keeps_rooms_state_and_order() {
    let server = Server::new().await;
    let (alice, room) = (server.alice(), server.public_room().await);
    for number in 0..5 {
        server
            .say(&alice, &room, &number.to_string(), &number.to_string())
            .await
            .unwrap();
    }
    server
        .set(&alice, &room, "m.room.topic", json!({ "topic": "kept" }))
        .await
        .unwrap();
    let before = server.timeline(&room).await;
    let restarted = server.restarted().await;
    assert_eq!(restarted.timeline(&room).await, before);
    assert_eq!(
        restarted.homeserver.log.current(),
        server.homeserver.log.current()
    );
    assert_eq!(
        restarted.state_content(&room, "m.room.topic").await.unwrap()["topic"],
        "kept"
    );
    restarted.say(&alice, &room, "later", "later").await.unwrap();
    assert_eq!(restarted.timeline(&room).await.last().unwrap(), "later");
}

#[tokio::test]
async fn state_that_is_already_so_stays() {
    let server = Server::new().await;
    let (alice, room) = (server.alice(), server.public_room().await);
    let first = server
        .set(&alice, &room, "m.room.topic", json!({ "topic": "a" }))
        .await
        .unwrap();
    assert_eq!(
        server
            .set(&alice, &room, "m.room.topic", json!({ "topic": "a" }))
            .await
            .unwrap(),
        first
    );
    assert_ne!(
        server
            .set(&alice, &room, "m.room.topic", json!({ "topic": "b" }))
            .await
            .unwrap(),
        first
    );
}

#[tokio::test]
async fn what_the_rules_refuse_is_not_stored() {
    let server = Server::new().await;
    let (alice, bob, room) = (server.alice(), server.bob(), server.public_room().await);
    assert!(matches!(
        server.say(&bob, &room, "1", "hi").await,
        Err(Error::Forbidden(_))
    ));
    server.join(&bob, &room).await.unwrap();
    let before = server.timeline(&room).await;
    let topic = server
        .set(&bob, &room, "m.room.topic", json!({ "topic": "mine" }))
        .await;
    assert!(matches!(topic, Err(Error::Forbidden(_))));
    let huge = server.say(&alice, &room, "2", &"x".repeat(70_000)).await;
    assert!(matches!(huge, Err(Error::TooLarge(_))), "{huge:?}");
    let float = server
        .set(&alice, &room, "org.example", json!({ "a": 1.5 }))
        .await;
    assert!(matches!(float, Err(Error::BadJson(_))));
    let alias = server
        .set(
            &alice,
            &room,
            "m.room.canonical_alias",
            json!({ "alias": "#no:example.org" }),
        )
        .await;
    assert!(matches!(alias, Err(Error::BadAlias(_))));
    assert_eq!(server.timeline(&room).await, before);
    let absent = server
        .say(&alice, "!absent:example.org".try_into().unwrap(), "3", "hi")
        .await;
    assert!(matches!(absent, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn a_redaction_empties_its_target_for_good() {
    let server = Server::new().await;
    let (alice, bob, room) = (server.alice(), server.bob(), server.public_room().await);
    let target = server.say(&alice, &room, "1", "secret").await.unwrap();
    server.join(&bob, &room).await.unwrap();
    let homeserver = &server.homeserver;
    let reason = Some("typo".to_owned());
    let redaction = homeserver
        .redact_event(&alice, device(), &room, &target, "r", reason)
        .await
        .unwrap();
    for server in [&server, &server.restarted().await] {
        let event = server.homeserver.stored_event(&target).await.unwrap().unwrap();
        assert!(event.content().is_empty());
        assert_eq!(event.decision.redacted_by.as_ref(), Some(&redaction));
    }
    let unknown = homeserver
        .redact_event(&alice, device(), &room, "$unknown".try_into().unwrap(), "s", None)
        .await;
    assert!(matches!(unknown, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn nobody_redacts_others_without_the_power() {
    let server = Server::new().await;
    let (alice, bob, room) = (server.alice(), server.bob(), server.public_room().await);
    server.join(&bob, &room).await.unwrap();
    let target = server.say(&alice, &room, "1", "stays").await.unwrap();
    // A user of the same server: servers apply this, so the homeserver itself must refuse it.
    let refused = server
        .homeserver
        .redact_event(&bob, device(), &room, &target, "r", None)
        .await;
    assert!(matches!(refused, Err(Error::Forbidden(_))), "{refused:?}");
    let own = server.say(&bob, &room, "2", "mine").await.unwrap();
    server
        .homeserver
        .redact_event(&bob, device(), &room, &own, "s", None)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_redacted_state_event_is_empty_in_the_state_too() {
    let server = Server::new().await;
    let (alice, room) = (server.alice(), server.public_room().await);
    let topic = server
        .set(&alice, &room, "m.room.topic", json!({ "topic": "secret" }))
        .await
        .unwrap();
    server
        .homeserver
        .redact_event(&alice, device(), &room, &topic, "r", None)
        .await
        .unwrap();
    assert_eq!(
        server.state_content(&room, "m.room.topic").await.unwrap(),
        json!({})
    );
    assert_eq!(
        server
            .restarted()
            .await
            .state_content(&room, "m.room.topic")
            .await
            .unwrap(),
        json!({})
    );
}
