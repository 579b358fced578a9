//! Events that are sent later.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::server::{Client, TestServer};

const DELAYED: &str = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events";

fn send(room: &str, txn: &str, delay: u64) -> String {
    format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/{txn}?org.matrix.msc4140.delay={delay}")
}

fn state(room: &str, key: &str, delay: u64) -> String {
    format!("/_matrix/client/v3/rooms/{room}/state/m.call/{key}?org.matrix.msc4140.delay={delay}")
}

async fn later(client: &Client<'_>, path: &str, text: &str) -> String {
    let answer = client
        .put(path, json!({"msgtype": "m.text", "body": text}))
        .await
        .ok();
    answer["delay_id"].as_str().unwrap().to_owned()
}

/// The texts that are in the room, newest first.
async fn texts(client: &Client<'_>, room: &str) -> Vec<String> {
    let path = format!("/_matrix/client/v3/rooms/{room}/messages?dir=b");
    let answer = client.get(&path).await.ok();
    let events = answer["chunk"].as_array().unwrap().iter();
    let bodies = events.filter_map(|event| event["content"]["body"].as_str());
    bodies.map(str::to_owned).collect()
}

/// Waits until nothing of the user's waits to be sent.
async fn all_done(client: &Client<'_>) -> Value {
    loop {
        let list = client.get(DELAYED).await.ok();
        if list["scheduled"] == json!([]) {
            return list["finalised"].clone();
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_event_is_sent_when_its_time_has_come_and_once() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room = ann.create_room(json!({})).await;
    let first = later(&ann, &send(&room, "1", 60_000), "later").await;
    assert_eq!(later(&ann, &send(&room, "1", 60_000), "later").await, first);
    later(&ann, &state(&room, "a", 60_000), "state").await;
    let list = ann.get(DELAYED).await.ok();
    assert_eq!(list["scheduled"].as_array().unwrap().len(), 2);
    assert_eq!(list["scheduled"][0]["delay"], 60_000);
    assert_eq!(list["scheduled"][1]["state_key"], "a");
    let one = ann.get(&format!("{DELAYED}/{first}")).await.ok();
    assert_eq!(
        (&one["type"], &one["delay_ms"]),
        (&json!("m.room.message"), &json!(60_000))
    );
    assert!(texts(&ann, &room).await.is_empty());
    // A stop in between, longer than the delay. The timers of the process before have begun by then, and do not end here.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let parts = ann.parts();
    server.clock.advance(Duration::from_secs(61));
    let server = server.restarted().await;
    let ann = server.resume(&parts);
    let done = all_done(&ann).await;
    let mut said = texts(&ann, &room).await;
    said.sort();
    assert_eq!(said, ["later", "state"]);
    for entry in done.as_array().unwrap() {
        assert_eq!(
            (&entry["outcome"], &entry["reason"]),
            (&json!("send"), &json!("delay"))
        );
        let event = entry["event_id"].as_str().unwrap();
        ann.get(&format!("/_matrix/client/v3/rooms/{room}/event/{event}"))
            .await
            .ok();
    }
    let server = server.restarted().await;
    let ann = server.resume(&parts);
    all_done(&ann).await;
    assert_eq!(texts(&ann, &room).await.len(), 2);
}

#[tokio::test]
async fn an_event_is_sent_cancelled_or_put_off_by_who_has_its_id() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room = ann.create_room(json!({})).await;
    let [sent, cancelled, put_off] = [
        later(&ann, &send(&room, "1", 60_000), "sent").await,
        later(&ann, &send(&room, "2", 60_000), "cancelled").await,
        later(&ann, &send(&room, "3", 60_000), "put off").await,
    ];
    let act = |id: &str, action: &str| format!("{DELAYED}/{id}/{action}");
    server.post(&act(&sent, "send"), json!({})).await.ok();
    server
        .post(&format!("{DELAYED}/{cancelled}"), json!({"action": "cancel"}))
        .await
        .ok();
    assert_eq!(texts(&ann, &room).await, ["sent"]);
    // Again is no mistake, but nothing else happens to it now.
    server.post(&act(&sent, "send"), json!({})).await.ok();
    server.post(&act(&cancelled, "cancel"), json!({})).await.ok();
    for (id, action) in [
        (&sent, "cancel"),
        (&sent, "restart"),
        (&cancelled, "send"),
        (&cancelled, "restart"),
    ] {
        server
            .post(&act(id, action), json!({}))
            .await
            .fails_at(action, 409, "M_NOT_FOUND");
    }
    server
        .post(&act(&put_off, "forget"), json!({}))
        .await
        .fails(404, "M_UNRECOGNIZED");
    server.clock.advance(Duration::from_secs(40));
    server.post(&act(&put_off, "restart"), json!({})).await.ok();
    let running = ann.get(&format!("{DELAYED}/{put_off}")).await.ok()["delayed_since_ts"]
        .as_u64()
        .unwrap();
    assert!(running >= 1_700_000_040_000, "{running}");
    // That is remembered.
    let parts = ann.parts();
    server.clock.advance(Duration::from_secs(40));
    let server = server.restarted().await;
    let ann = server.resume(&parts);
    let listed = ann.get(DELAYED).await.ok();
    assert_eq!(listed["scheduled"][0]["delay_id"], put_off.as_str());
    assert_eq!(listed["delayed_events"], listed["scheduled"]);
    assert_eq!(texts(&ann, &room).await, ["sent"]);
    let finalised = ann
        .get(&format!("{DELAYED}?status=finalised&delay_id={sent}"))
        .await
        .ok();
    assert_eq!(finalised["finalised"].as_array().unwrap().len(), 1);
    assert_eq!(finalised["scheduled"], json!([]));
}

#[tokio::test]
async fn state_that_somebody_else_has_set_meanwhile_stays() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let levels = json!({"events": {"m.call": 0}});
    let room = ann
        .create_room(json!({"preset": "public_chat", "power_level_content_override": levels}))
        .await;
    bob.post(&format!("/_matrix/client/v3/join/{room}"), json!({}))
        .await
        .ok();
    let own = later(&ann, &state(&room, "own", 60_000), "later").await;
    let theirs = later(&ann, &state(&room, "theirs", 60_000), "later").await;
    let path = |key: &str| format!("/_matrix/client/v3/rooms/{room}/state/m.call/{key}");
    ann.put(&path("own"), json!({"body": "now"})).await.ok();
    bob.put(&path("theirs"), json!({"body": "now"})).await.ok();
    for id in [&own, &theirs] {
        server.post(&format!("{DELAYED}/{id}/send"), json!({})).await.ok();
    }
    assert_eq!(ann.get(&path("own")).await.ok()["body"], "later");
    assert_eq!(ann.get(&path("theirs")).await.ok()["body"], "now");
}

#[tokio::test]
async fn what_cannot_be_delayed_is_refused_and_stored_nowhere() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = ann.create_room(json!({})).await;
    let before = server.dump().await;
    let body = json!({"body": "?"});
    let long = ann
        .put(&send(&room, "1", 25 * 60 * 60 * 1000), body.clone())
        .await;
    long.fails(400, "M_UNKNOWN");
    assert_eq!(long.body["org.matrix.msc4140.errcode"], "M_MAX_DELAY_EXCEEDED");
    assert_eq!(long.body["org.matrix.msc4140.max_delay"], 24 * 60 * 60 * 1000);
    bob.put(&send(&room, "1", 5), body.clone())
        .await
        .fails(403, "M_FORBIDDEN");
    let path = send(&room, "1", 5).replace("=5", "=x");
    ann.put(&path, body.clone()).await.fails(400, "M_INVALID_PARAM");
    let path = send(&room, "1", 5).replace(".delay=5", ".parent_delay_id=a");
    ann.put(&path, body.clone()).await.fails(400, "M_INVALID_PARAM");
    let large = json!({"body": "x".repeat(70_000)});
    ann.put(&send(&room, "1", 5), large)
        .await
        .fails(413, "M_TOO_LARGE");
    server
        .post(&format!("{DELAYED}/unknown/send"), json!({}))
        .await
        .fails(404, "M_NOT_FOUND");
    server
        .post(&format!("{DELAYED}/unknown/eat"), json!({}))
        .await
        .fails(404, "M_UNRECOGNIZED");
    ann.get(&format!("{DELAYED}?status=x"))
        .await
        .fails(400, "M_INVALID_PARAM");
    assert_eq!(server.dump().await, before);
    let id = later(&ann, &send(&room, "1", 60_000), "mine").await;
    bob.get(&format!("{DELAYED}/{id}"))
        .await
        .fails(404, "M_NOT_FOUND");
    for number in 0..99 {
        later(&ann, &send(&room, &format!("n{number}"), 60_000), "more").await;
    }
    let full = ann.put(&send(&room, "full", 60_000), body).await;
    assert_eq!(
        full.body["org.matrix.msc4140.errcode"],
        "M_MAX_DELAYED_EVENTS_EXCEEDED"
    );
    // Who has left by then says nothing, and can be told so.
    let leave = format!("/_matrix/client/v3/rooms/{room}/leave");
    ann.post(&leave, json!({})).await.ok();
    server
        .post(&format!("{DELAYED}/{id}/send"), json!({}))
        .await
        .fails(403, "M_FORBIDDEN");
    let one = ann
        .request(Method::GET, &format!("{DELAYED}/{id}"), Value::Null)
        .await
        .ok();
    assert!(one["finalised"]["error"].is_object(), "{one}");
}
