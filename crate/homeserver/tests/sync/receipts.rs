//! Receipts and what is unread.

use std::sync::atomic::Ordering;

use hearth_homeserver::{Error, receipts::ReceiptKind, rooms::client_event::Viewer};
use ruma_common::{
    EventId, RoomId, UserId,
    push::{NewConditionalPushRule, NewPushRule},
};
use serde_json::{Value, json};

use crate::support::{Server, device, joined, object};

async fn read(server: &Server, user_id: &UserId, room_id: &RoomId, event_id: &EventId, thread: Option<&str>) {
    let thread = thread.map(str::to_owned);
    let kind = ReceiptKind::Read;
    server
        .homeserver
        .set_receipt(user_id, room_id, kind, event_id, thread)
        .await
        .unwrap();
}

async fn unread(server: &Server, user_id: &UserId, room_id: &RoomId) -> (u64, u64) {
    let answer = server.sync(user_id, None, json!({})).await;
    let counts = &joined(&answer, room_id)["unread_notifications"];
    (
        counts["notification_count"].as_u64().unwrap(),
        counts["highlight_count"].as_u64().unwrap(),
    )
}

fn ephemeral<'a>(answer: &'a Value, room_id: &RoomId) -> &'a Value {
    &joined(answer, room_id)["ephemeral"]["events"]
}

#[tokio::test]
async fn receipts_are_told_to_the_room() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let event_id = server.say(&bob, &room_id, "read me").await;
    let mut client = server.client(&bob).await;
    read(&server, &alice, &room_id, &event_id, None).await;
    let answer = client.sync().await;
    let events = ephemeral(&answer, &room_id);
    assert_eq!(events[0]["type"], "m.receipt");
    assert!(events[0]["content"][event_id.as_str()]["m.read"][alice.as_str()]["ts"].is_u64());
    assert_eq!(client.sync().await.get("rooms"), None);
    let initial = server.sync(&bob, None, json!({})).await;
    assert_eq!(ephemeral(&initial, &room_id), events);
}

#[tokio::test]
async fn private_receipts_are_their_owners_alone() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let event_id = server.say(&bob, &room_id, "read me").await;
    let (mut alices, mut bobs) = (server.client(&alice).await, server.client(&bob).await);
    let kind = ReceiptKind::ReadPrivate;
    server
        .homeserver
        .set_receipt(&alice, &room_id, kind, &event_id, None)
        .await
        .unwrap();
    assert_eq!(bobs.sync().await.get("rooms"), None);
    let answer = alices.sync().await;
    let receipt = &ephemeral(&answer, &room_id)[0]["content"][event_id.as_str()]["m.read.private"];
    assert!(receipt[alice.as_str()].is_object());
    let room = joined(&answer, &room_id);
    assert_eq!(room["unread_notifications"]["notification_count"], 0);
}

/// Their public receipt stays where it was: to tell it again would say that they read.
#[tokio::test]
async fn nobody_hears_of_who_reads_in_private_by_now() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let first = server.say(&bob, &room_id, "first").await;
    let second = server.say(&bob, &room_id, "second").await;
    read(&server, &alice, &room_id, &first, None).await;
    let (mut alices, mut bobs) = (server.client(&alice).await, server.client(&bob).await);
    let kind = ReceiptKind::ReadPrivate;
    let set = server
        .homeserver
        .set_receipt(&alice, &room_id, kind, &second, None);
    set.await.unwrap();
    assert_eq!(bobs.sync().await.get("rooms"), None);
    let answer = alices.sync().await;
    let receipts = &ephemeral(&answer, &room_id)[0]["content"];
    assert!(receipts[second.as_str()]["m.read.private"][alice.as_str()].is_object());
}

#[tokio::test]
async fn receipts_do_not_move_back() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let first = server.say(&bob, &room_id, "first").await;
    let second = server.say(&bob, &room_id, "second").await;
    read(&server, &alice, &room_id, &second, None).await;
    read(&server, &alice, &room_id, &first, None).await;
    let answer = server.sync(&bob, None, json!({})).await;
    let content = ephemeral(&answer, &room_id)[0]["content"].as_object().unwrap();
    assert_eq!(content.keys().collect::<Vec<_>>(), [second.as_str()]);
}

#[tokio::test]
async fn receipts_need_a_member_and_an_event() {
    let server = Server::new().await;
    let (alice, eve) = (server.user("alice"), server.user("eve"));
    let room_id = server.room(&alice).await;
    let other = server.room(&alice).await;
    let event_id = server.say(&alice, &room_id, "here").await;
    let elsewhere = server.say(&alice, &other, "there").await;
    let set = |user_id, event_id, thread: Option<&str>| {
        let thread = thread.map(str::to_owned);
        server
            .homeserver
            .set_receipt(user_id, &room_id, ReceiptKind::Read, event_id, thread)
    };
    assert!(matches!(
        set(&eve, &event_id, None).await,
        Err(Error::Forbidden(_))
    ));
    assert!(matches!(
        set(&alice, &elsewhere, None).await,
        Err(Error::NotFound(_))
    ));
    assert!(matches!(
        set(&alice, &event_id, Some("$other")).await,
        Err(Error::InvalidParam(_))
    ));
}

#[tokio::test]
async fn unread_counts_grow_with_messages_and_end_with_receipts() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let mut client = server.client(&alice).await;
    let first = server.say(&bob, &room_id, "one").await;
    let mention = json!({"msgtype": "m.text", "body": "two", "m.mentions": {"user_ids": [alice]}});
    let second = server.send(&bob, &room_id, mention).await;
    let answer = client.sync().await;
    let counts = &joined(&answer, &room_id)["unread_notifications"];
    assert_eq!(*counts, json!({"notification_count": 2, "highlight_count": 1}));
    assert_eq!(
        unread(&server, &bob, &room_id).await,
        (0, 0),
        "one's own messages are read"
    );
    read(&server, &alice, &room_id, &first, None).await;
    let answer = client.sync().await;
    let counts = &joined(&answer, &room_id)["unread_notifications"];
    assert_eq!(*counts, json!({"notification_count": 1, "highlight_count": 1}));
    read(&server, &alice, &room_id, &second, None).await;
    assert_eq!(unread(&server, &alice, &room_id).await, (0, 0));
}

#[tokio::test]
async fn applying_rules_to_large_events_gives_way() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    for _ in 0..3 {
        server.say(&bob, &room_id, &"x".repeat(20_000)).await;
    }
    let mut given = Vec::new();
    for _ in 0..2 {
        let before = server.clock.ways_given.load(Ordering::Relaxed);
        assert_eq!(unread(&server, &alice, &room_id).await, (3, 0));
        given.push(server.clock.ways_given.load(Ordering::Relaxed) - before);
    }
    // The second time nothing is left to look at.
    assert_eq!(given[0] - given[1], 3);
}

#[tokio::test]
async fn answering_marks_as_read() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    server.say(&bob, &room_id, "one").await;
    assert_eq!(unread(&server, &alice, &room_id).await, (1, 0));
    server.say(&alice, &room_id, "answer").await;
    assert_eq!(unread(&server, &alice, &room_id).await, (0, 0));
    server.say(&bob, &room_id, "two").await;
    assert_eq!(unread(&server, &alice, &room_id).await, (1, 0));
}

#[tokio::test]
async fn who_says_nothing_has_not_read_for_it() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let mistake = server.say(&alice, &room_id, "mistake").await;
    server.say(&bob, &room_id, "one").await;
    assert_eq!(unread(&server, &alice, &room_id).await, (1, 0));
    server
        .set(&alice, &room_id, "m.room.topic", json!({"topic": "News"}))
        .await;
    assert_eq!(unread(&server, &alice, &room_id).await, (1, 0));
    let homeserver = &server.homeserver;
    let redaction = homeserver.redact_event(&alice, device(), &room_id, &mistake, "t", None);
    redaction.await.unwrap();
    assert_eq!(unread(&server, &alice, &room_id).await, (1, 0));
}

#[tokio::test]
async fn who_comes_back_begins_anew() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    server.say(&alice, &room_id, "before").await;
    assert_eq!(unread(&server, &bob, &room_id).await, (1, 0));
    server.leave(&bob, &room_id).await;
    server.join(&bob, &room_id).await;
    assert_eq!(unread(&server, &bob, &room_id).await, (0, 0));
    server.say(&alice, &room_id, "after").await;
    assert_eq!(unread(&server, &bob, &room_id).await, (1, 0));
}

#[tokio::test]
async fn counts_are_the_same_after_a_restart() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let first = server.say(&bob, &room_id, "one").await;
    server.say(&bob, &room_id, "two").await;
    server.say(&bob, &room_id, "three").await;
    read(&server, &alice, &room_id, &first, None).await;
    assert_eq!(unread(&server, &alice, &room_id).await, (2, 0));
    let server = server.restarted().await;
    assert_eq!(unread(&server, &alice, &room_id).await, (2, 0));
}

#[tokio::test]
async fn threads_are_counted_apart_when_asked_for() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let root = server.say(&alice, &room_id, "root").await;
    let relation = json!({"rel_type": "m.thread", "event_id": root});
    let content = json!({"msgtype": "m.text", "body": "in thread", "m.relates_to": relation});
    let threaded = server.send(&bob, &room_id, content).await;
    let plain = server.say(&bob, &room_id, "plain").await;
    let filter = json!({"room": {"timeline": {"unread_thread_notifications": true}}});
    let one = json!({"notification_count": 1, "highlight_count": 0});
    let answer = server.sync(&alice, None, filter.clone()).await;
    let room = joined(&answer, &room_id);
    assert_eq!(room["unread_notifications"], one);
    assert_eq!(room["unread_thread_notifications"], json!({root.as_str(): one}));
    assert_eq!(
        unread(&server, &alice, &room_id).await,
        (2, 0),
        "together, if not asked for"
    );
    read(&server, &alice, &room_id, &plain, Some("main")).await;
    assert_eq!(unread(&server, &alice, &room_id).await, (1, 0));
    read(&server, &alice, &room_id, &threaded, Some(root.as_str())).await;
    assert_eq!(unread(&server, &alice, &room_id).await, (0, 0));
}

#[tokio::test]
async fn muted_rooms_count_nothing() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    server.say(&bob, &room_id, "loud").await;
    assert_eq!(unread(&server, &alice, &room_id).await, (1, 0));
    let rule = NewPushRule::Override(NewConditionalPushRule::new("quiet".into(), vec![], vec![]));
    server
        .homeserver
        .put_push_rule(&alice, rule, None, None)
        .await
        .unwrap();
    assert_eq!(unread(&server, &alice, &room_id).await, (0, 0));
}

#[tokio::test]
async fn the_read_marker_is_account_data() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    let event_id = server.say(&alice, &room_id, "here").await;
    let mut client = server.client(&alice).await;
    server
        .homeserver
        .set_fully_read(&alice, &room_id, &event_id)
        .await
        .unwrap();
    let answer = client.sync().await;
    let expected = json!([{"type": "m.fully_read", "content": {"event_id": event_id}}]);
    assert_eq!(joined(&answer, &room_id)["account_data"]["events"], expected);
}

#[tokio::test]
async fn the_read_marker_does_not_move_back() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    let first = server.say(&alice, &room_id, "first").await;
    let second = server.say(&alice, &room_id, "second").await;
    let mark = |event_id| server.homeserver.set_fully_read(&alice, &room_id, event_id);
    mark(&second).await.unwrap();
    let mut client = server.client(&alice).await;
    mark(&first).await.unwrap();
    assert_eq!(client.sync().await.get("rooms"), None);
    let answer = server.sync(&alice, None, json!({})).await;
    let marker = &joined(&answer, &room_id)["account_data"]["events"][0];
    assert_eq!(marker["content"]["event_id"], second.as_str());
}

#[tokio::test]
async fn of_two_receipts_for_an_event_that_of_the_room_is_told() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let event_id = server.say(&bob, &room_id, "read me").await;
    read(&server, &alice, &room_id, &event_id, None).await;
    read(&server, &alice, &room_id, &event_id, Some("main")).await;
    for user_id in [&alice, &bob] {
        let answer = server.sync(user_id, None, json!({})).await;
        let receipt =
            &ephemeral(&answer, &room_id)[0]["content"][event_id.as_str()]["m.read"][alice.as_str()];
        assert!(
            receipt.is_object() && receipt.get("thread_id").is_none(),
            "{receipt}"
        );
    }
}

#[tokio::test]
async fn what_is_redacted_is_not_unread() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let root = server.say(&alice, &room_id, "root").await;
    let mention = json!({"msgtype": "m.text", "body": "oh", "m.mentions": {"user_ids": [alice]}});
    let mut threaded = mention.clone();
    threaded["m.relates_to"] = json!({"rel_type": "m.thread", "event_id": root});
    let mut said = Vec::new();
    for content in [mention, threaded] {
        said.push(server.send(&bob, &room_id, content).await);
    }
    assert_eq!(unread(&server, &alice, &room_id).await, (2, 2));
    for event_id in &said {
        let (homeserver, txn_id) = (&server.homeserver, event_id.as_str());
        let redaction = homeserver.redact_event(&bob, device(), &room_id, event_id, txn_id, None);
        redaction.await.unwrap();
    }
    assert_eq!(unread(&server, &alice, &room_id).await, (0, 0));
    let server = server.restarted().await;
    assert_eq!(unread(&server, &alice, &room_id).await, (0, 0));
}

#[tokio::test]
async fn nobody_was_notified_of_what_was_said_before_they_joined() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.say(&alice, &room_id, "before").await;
    let invited = server.homeserver.invite_user(&alice, &room_id, &bob, None);
    invited.await.unwrap();
    server.say(&alice, &room_id, "meanwhile").await;
    server.join(&bob, &room_id).await;
    server.say(&alice, &room_id, "after").await;
    let viewer = Viewer {
        user_id: &bob,
        device_id: None,
    };
    let found = server.homeserver.notifications(viewer, None, None, false).await;
    let found = serde_json::to_value(found.unwrap()).unwrap();
    let found = found["notifications"].as_array().unwrap().iter();
    let told: Vec<_> = found
        .map(|notification| &notification["event"]["content"])
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0]["body"], "after");
    assert_eq!(told[1]["membership"], "invite");
}

#[tokio::test]
async fn other_servers_receipts_are_taken_from_their_own_users_only() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let event_id = server.say(&alice, &room_id, "here").await;
    let own = server.homeserver.server_name().to_owned();
    let edu = object(json!({room_id.as_str(): {"m.read": {bob.as_str(): {
        "event_ids": [event_id], "data": {"ts": 1},
    }}}}));
    let mut client = server.client(&alice).await;
    let evil = ruma_common::ServerName::parse("evil.example").unwrap();
    server.homeserver.receive_receipts(&evil, &edu).await.unwrap();
    assert_eq!(client.sync().await.get("rooms"), None);
    server.homeserver.receive_receipts(&own, &edu).await.unwrap();
    let answer = client.sync().await;
    let receipt = &ephemeral(&answer, &room_id)[0]["content"][event_id.as_str()]["m.read"];
    assert_eq!(receipt[bob.as_str()]["ts"], 1);
    for garbage in [
        json!({}),
        json!({"x": 1}),
        json!({room_id.as_str(): {"m.read": {"x": {"event_ids": []}}}}),
    ] {
        server
            .homeserver
            .receive_receipts(&own, &object(garbage))
            .await
            .unwrap();
    }
}
