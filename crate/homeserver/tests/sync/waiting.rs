//! Syncs that wait.

use std::{sync::Arc, time::Duration};

use hearth_homeserver::{Homeserver, sync::SyncRequest};
use ruma_common::{OwnedUserId, UserId};
use serde_json::{Value, json};

use crate::support::{Server, bodies, device, empty, joined, object, request, settles};

/// By how much the answer of a send is ahead of a sync that tells of it.
const ANSWER_AHEAD: Duration = Duration::from_millis(10);

/// A sync that waits, as a task of its own.
fn wait(server: &Server, user_id: &UserId, since: &str, seconds: u64) -> tokio::task::JoinHandle<Value> {
    let mut request = request(Some(since), json!({}));
    request.timeout = Duration::from_secs(seconds);
    tokio::spawn(answer(server.homeserver.clone(), user_id.to_owned(), request))
}

async fn answer(homeserver: Arc<Homeserver>, user_id: OwnedUserId, request: SyncRequest) -> Value {
    serde_json::to_value(homeserver.sync(&user_id, device(), request).await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_message_ends_the_wait() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let since = server.client(&alice).await.since.unwrap();
    let mut waiting = wait(&server, &alice, &since, 20);
    assert!(settles(&mut waiting).await.is_none());
    server.say(&bob, &room_id, "wake up").await;
    let answer = waiting.await.unwrap();
    assert_eq!(
        bodies(&joined(&answer, &room_id)["timeline"]["events"]),
        ["wake up"]
    );
}

/// matrix-js-sdk takes the first message of a thread for unsent if it hears of it before its send is answered.
#[tokio::test]
async fn a_send_is_answered_a_moment_before_a_sync_tells_of_it() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    let since = server.client(&alice).await.since.unwrap();
    let mut waiting = wait(&server, &alice, &since, 20);
    assert!(settles(&mut waiting).await.is_none());
    let before = server.homeserver.log.current();
    let content = object(json!({"msgtype": "m.text", "body": "first"}));
    let homeserver = &server.homeserver;
    let mut send =
        Box::pin(homeserver.send_message(&alice, device(), &room_id, "m.room.message", "1", content));
    assert!(futures::poll!(send.as_mut()).is_pending());
    // The message is stored, and its sender has not been told.
    assert!(settles(&mut waiting).await.is_none());
    assert!(homeserver.log.current() > before);
    send.await.unwrap();
    assert!(settles(&mut waiting).await.is_none());
    // Who asks only now has the answer.
    let asked = server.sync(&alice, Some(&since), json!({})).await;
    server.clock.advance(ANSWER_AHEAD);
    for answer in [waiting.await.unwrap(), asked] {
        assert_eq!(
            bodies(&joined(&answer, &room_id)["timeline"]["events"]),
            ["first"]
        );
    }
}

#[tokio::test]
async fn what_is_none_of_ones_business_does_not_end_the_wait() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    let since = server.client(&alice).await.since.unwrap();
    let mut waiting = wait(&server, &alice, &since, 20);
    let bobs = server.room(&bob).await;
    server.say(&bob, &bobs, "to myself").await;
    server
        .homeserver
        .set_account_data(&bob, None, "org.mine", object(json!({})))
        .await
        .unwrap();
    server
        .homeserver
        .set_typing(&bob, &bobs, Some(10_000))
        .await
        .unwrap();
    assert!(settles(&mut waiting).await.is_none());
    server.say(&alice, &room_id, "mine").await;
    assert!(settles(&mut waiting).await.is_none());
    server.clock.advance(ANSWER_AHEAD);
    let answer = waiting.await.unwrap();
    assert_eq!(answer["rooms"]["join"].as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn the_wait_ends_with_the_timeout() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let since = server.client(&alice).await.since.unwrap();
    let mut waiting = wait(&server, &alice, &since, 10);
    assert!(settles(&mut waiting).await.is_none());
    server.clock.advance(Duration::from_millis(9_999));
    assert!(settles(&mut waiting).await.is_none());
    server.clock.advance(Duration::from_millis(1));
    let answer = settles(&mut waiting).await.unwrap().unwrap();
    assert_eq!(answer, empty(&since));
}

#[tokio::test]
async fn no_wait_is_longer_than_25_seconds() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let since = server.client(&alice).await.since.unwrap();
    let mut waiting = wait(&server, &alice, &since, 600);
    assert!(settles(&mut waiting).await.is_none());
    server.clock.advance(Duration::from_secs(25));
    assert!(settles(&mut waiting).await.is_some());
}

#[tokio::test]
async fn an_invite_and_ones_own_account_data_end_the_wait() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    let since = server.client(&bob).await.since.unwrap();
    let mut waiting = wait(&server, &bob, &since, 20);
    assert!(settles(&mut waiting).await.is_none());
    server
        .homeserver
        .invite_user(&alice, &room_id, &bob, None)
        .await
        .unwrap();
    let answer = waiting.await.unwrap();
    assert!(answer["rooms"]["invite"].is_object());
    let since = answer["next_batch"].as_str().unwrap();
    let waiting = wait(&server, &bob, since, 20);
    server
        .homeserver
        .set_account_data(&bob, None, "org.mine", object(json!({})))
        .await
        .unwrap();
    assert_eq!(
        waiting.await.unwrap()["account_data"]["events"][0]["type"],
        "org.mine"
    );
}

#[tokio::test]
async fn typing_ends_the_wait_and_ends_by_itself() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let since = server.client(&alice).await.since.unwrap();
    let mut waiting = wait(&server, &alice, &since, 20);
    assert!(settles(&mut waiting).await.is_none());
    server
        .homeserver
        .set_typing(&bob, &room_id, Some(3_000))
        .await
        .unwrap();
    let answer = waiting.await.unwrap();
    let typing = |answer: &Value| joined(answer, &room_id)["ephemeral"]["events"].clone();
    assert_eq!(
        typing(&answer),
        json!([{"type": "m.typing", "content": {"user_ids": [bob]}}])
    );
    let mut waiting = wait(&server, &alice, answer["next_batch"].as_str().unwrap(), 20);
    assert!(settles(&mut waiting).await.is_none());
    for _ in 0..3 {
        server.clock.advance(Duration::from_secs(1));
        if let Some(answer) = settles(&mut waiting).await {
            assert_eq!(
                typing(&answer.unwrap()),
                json!([{"type": "m.typing", "content": {"user_ids": []}}])
            );
            return;
        }
    }
    panic!("the typing has no end");
}

#[tokio::test]
async fn typing_that_a_restart_ended_is_told_to_have_ended() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    server
        .homeserver
        .set_typing(&bob, &room_id, Some(30_000))
        .await
        .unwrap();
    let since = server.client(&alice).await.since.unwrap();
    let server = server.restarted().await;
    let answer = server.sync(&alice, Some(&since), json!({})).await;
    let expected = json!([{"type": "m.typing", "content": {"user_ids": []}}]);
    assert_eq!(joined(&answer, &room_id)["ephemeral"]["events"], expected);
    let next = answer["next_batch"].as_str();
    assert_eq!(server.sync(&alice, next, json!({})).await.get("rooms"), None);
}

#[tokio::test]
async fn other_servers_typing_is_taken_from_their_own_members_only() {
    let server = Server::new().await;
    let (alice, bob, eve) = (server.user("alice"), server.user("bob"), server.user("eve"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let since = server.client(&alice).await.since.unwrap();
    let own = server.homeserver.server_name().to_owned();
    let evil = ruma_common::ServerName::parse("evil.example").unwrap();
    let edu = |user_id| object(json!({"room_id": room_id, "user_id": user_id, "typing": true}));
    server.homeserver.receive_typing(&evil, &edu(&bob)).await.unwrap();
    server.homeserver.receive_typing(&own, &edu(&eve)).await.unwrap();
    server
        .homeserver
        .receive_typing(&own, &object(json!({"typing": 1})))
        .await
        .unwrap();
    let answer = server.sync(&alice, Some(&since), json!({})).await;
    assert_eq!(answer.get("rooms"), None);
    server.homeserver.receive_typing(&own, &edu(&bob)).await.unwrap();
    let answer = server.sync(&alice, Some(&since), json!({})).await;
    assert_eq!(
        joined(&answer, &room_id)["ephemeral"]["events"][0]["content"]["user_ids"],
        json!([bob])
    );
}

#[tokio::test]
async fn nothing_new_costs_no_read_and_a_message_few() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    server.say(&bob, &room_id, "first").await;
    let mut client = server.client(&alice).await;
    let bobs = server.room(&bob).await;
    server.say(&bob, &bobs, "to myself").await;
    let before = server.reads();
    client.sync().await;
    assert_eq!(server.reads() - before, 0, "nothing new");
    server.say(&bob, &room_id, "second").await;
    let before = server.reads();
    let answer = client.sync().await;
    assert_eq!(
        bodies(&joined(&answer, &room_id)["timeline"]["events"]),
        ["second"]
    );
    let reads = server.reads() - before;
    assert!(reads <= 3, "a message cost {reads} reads");
}
