//! Jumping to a date, notifications, pushers, threads of receipts.

use serde_json::{Value, json};

use super::server::{Client, TestServer};

const ROOMS: &str = "/_matrix/client/v3/rooms";
const PUSHERS: &str = "/_matrix/client/v3/pushers";

#[tokio::test]
async fn the_event_closest_to_a_moment_is_found() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = ann.create_room(json!({})).await;
    let mut events = Vec::new();
    for number in 0..300 {
        let event_id = ann.say(&room, &number.to_string(), "x").await;
        let event = ann.get(&format!("{ROOMS}/{room}/event/{event_id}")).await.ok();
        events.push((event_id, event["origin_server_ts"].as_u64().unwrap()));
    }
    let path = format!("/_matrix/client/v1/rooms/{room}/timestamp_to_event");
    for (event_id, ts) in events.iter().step_by(37) {
        for direction in ["f", "b"] {
            let found = ann.get(&format!("{path}?ts={ts}&dir={direction}")).await.ok();
            assert_eq!(
                found,
                json!({"event_id": event_id, "origin_server_ts": ts}),
                "{direction}"
            );
        }
    }
    ann.get(&format!("{path}?ts={}&dir=f", u64::MAX))
        .await
        .fails(404, "M_NOT_FOUND");
    ann.get(&format!("{path}?ts=0&dir=b"))
        .await
        .fails(404, "M_NOT_FOUND");
    ann.get(&format!("{path}?dir=b"))
        .await
        .fails(400, "M_MISSING_PARAM");
    ann.get(&format!("{path}?ts=1"))
        .await
        .fails(400, "M_MISSING_PARAM");
    ann.get(&format!("{path}?ts=-1&dir=b"))
        .await
        .fails(400, "M_INVALID_PARAM");
    bob.get(&format!("{path}?ts=1&dir=f"))
        .await
        .fails(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn the_event_closest_to_a_moment_is_found_beyond_what_the_reader_may_not_see() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let joined = json!({"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}});
    let room = ann
        .create_room(json!({"preset": "public_chat", "initial_state": [joined]}))
        .await;
    // Before it, everybody may see the events by which the room was made.
    let first = ann.say(&room, "first", "x").await;
    let first = ann.get(&format!("{ROOMS}/{room}/event/{first}")).await.ok();
    let after_first = format!("ts={}&dir=f", first["origin_server_ts"]);
    let mut own = Vec::new();
    for step in ["join", "leave", "end"] {
        for number in 0..250 {
            ann.say(&room, &format!("{step}{number}"), "x").await;
        }
        if step != "end" {
            bob.post(&format!("{ROOMS}/{room}/{step}"), json!({})).await.ok();
            let member = format!("{ROOMS}/{room}/state/m.room.member/{}?format=event", bob.user_id);
            own.push(ann.get(&member).await.ok()["event_id"].clone());
        }
    }
    let path = format!("/_matrix/client/v1/rooms/{room}/timestamp_to_event");
    for (query, event_id) in [(&*after_first, &own[0]), ("ts=9000000000000&dir=b", &own[1])] {
        let found = bob.get(&format!("{path}?{query}")).await.ok();
        assert_eq!(found["event_id"], *event_id, "{query}");
    }
}

#[tokio::test]
async fn notifications_are_listed_newest_first() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = ann.room_with(&bob).await;
    ann.say(&room, "own", "not for me").await;
    let mut sent = Vec::new();
    for number in 0..30 {
        sent.push(
            bob.say(&room, &number.to_string(), &format!("message {number}"))
                .await,
        );
    }
    let mention = json!({"msgtype": "m.text", "body": "you", "m.mentions": {"user_ids": [ann.user_id]}});
    bob.put(&format!("{ROOMS}/{room}/send/m.room.message/mention"), mention)
        .await
        .ok();
    ann.post(&format!("{ROOMS}/{room}/receipt/m.read/{}", sent[10]), json!({}))
        .await
        .ok();
    let list = async |query: &str| {
        ann.get(&format!("/_matrix/client/v3/notifications{query}"))
            .await
            .ok()
    };
    let highlights = list("?only=highlight").await;
    assert_eq!(highlights["notifications"].as_array().unwrap().len(), 1);
    assert_eq!(highlights["notifications"][0]["event"]["content"]["body"], "you");
    assert_eq!(highlights["next_token"], Value::Null);
    let (mut query, mut found) = ("?limit=7".to_owned(), Vec::new());
    loop {
        let page = list(&query).await;
        found.extend(page["notifications"].as_array().unwrap().clone());
        match page["next_token"].as_str() {
            Some(next) => query = format!("?limit=7&from={next}"),
            None => break,
        }
    }
    assert_eq!(found.len(), 31);
    let read: Vec<_> = found.iter().filter(|found| found["read"] == true).collect();
    assert_eq!(
        (read.len(), &read[0]["event"]["event_id"]),
        (11, &json!(sent[10]))
    );
    assert!(found[1]["actions"].as_array().unwrap().contains(&json!("notify")));
    assert_eq!(
        (&found[1]["room_id"], &found[1]["event"]["event_id"]),
        (&json!(room), &json!(sent[29]))
    );
    assert_eq!(
        bob.get("/_matrix/client/v3/notifications").await.ok()["notifications"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    ann.get("/_matrix/client/v3/notifications?from=x")
        .await
        .fails(400, "M_INVALID_PARAM");
}

fn pusher(pushkey: &str) -> Value {
    json!({
        "app_display_name": "App", "app_id": "org.example", "device_display_name": "Phone", "kind": "http",
        "lang": "en", "pushkey": pushkey, "data": {"url": "https://push.example/_matrix/push/v1/notify"},
    })
}

#[tokio::test]
async fn pushers_are_kept_until_they_are_removed() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let keys = async |client: &Client<'_>| {
        let pushers = client.get(PUSHERS).await.ok();
        let keys = pushers["pushers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pusher| pusher["pushkey"].clone());
        keys.collect::<Vec<_>>()
    };
    let set = async |client: &Client<'_>, pusher: Value| client.post(&format!("{PUSHERS}/set"), pusher).await;
    set(&ann, pusher("a")).await.ok();
    set(&ann, pusher("b")).await.ok();
    let mut other = pusher("a");
    other["append"] = true.into();
    set(&bob, other.clone()).await.ok();
    assert_eq!(
        (keys(&ann).await, keys(&bob).await),
        (vec![json!("a"), json!("b")], vec![json!("a")])
    );
    other["append"] = false.into();
    set(&bob, other).await.ok();
    assert_eq!(
        (keys(&ann).await, keys(&bob).await),
        (vec![json!("b")], vec![json!("a")])
    );
    assert_eq!(bob.get(PUSHERS).await.ok()["pushers"][0], pusher("a"));
    for (field, value, errcode) in [
        ("pushkey", json!("x".repeat(513)), "M_INVALID_PARAM"),
        ("app_id", json!("x".repeat(65)), "M_INVALID_PARAM"),
        ("app_id", json!(7), "M_BAD_JSON"),
        ("kind", json!("email"), "M_INVALID_PARAM"),
        ("data", json!({}), "M_MISSING_PARAM"),
        (
            "data",
            json!({"url": "http://push.example/_matrix/push/v1/notify"}),
            "M_INVALID_PARAM",
        ),
        (
            "data",
            json!({"url": "https://push.example/else"}),
            "M_INVALID_PARAM",
        ),
    ] {
        let mut bad = pusher("c");
        bad[field] = value;
        set(&ann, bad).await.fails(400, errcode);
    }
    set(&ann, json!({"kind": null, "app_id": "org.example"}))
        .await
        .fails(400, "M_MISSING_PARAM");
    let gone = json!({"kind": null, "app_id": "org.example", "pushkey": "b"});
    set(&ann, gone).await.ok();
    assert_eq!(keys(&ann).await, Vec::<Value>::new());
    bob.post("/_matrix/client/v3/logout", Value::Null).await.ok();
    let kept = server
        .dump()
        .await
        .into_iter()
        .filter(|(_, (key, _))| key.starts_with(b"pusher\0"));
    assert_eq!(kept.count(), 0, "pushers go with their device");
}

#[tokio::test]
async fn receipts_and_counts_know_the_threads_of_what_relates_to_their_messages() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = ann.room_with(&bob).await;
    let relates = |rel_type: &str, parent: &str| json!({"msgtype": "m.text", "body": "ann", "m.relates_to": {"rel_type": rel_type, "event_id": parent}});
    let send = async |txn: &str, content: Value| {
        let answer = bob
            .put(&format!("{ROOMS}/{room}/send/m.room.message/{txn}"), content)
            .await
            .ok();
        answer["event_id"].as_str().unwrap().to_owned()
    };
    let root = ann.say(&room, "root", "root").await;
    let other = ann.say(&room, "other", "other").await;
    let message = send("1", relates("m.thread", &root)).await;
    let reference = send("2", relates("m.reference", &message)).await;
    let filter = r#"{"room":{"timeline":{"unread_thread_notifications":true}}}"#;
    let filter: String = filter.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let counts = async || {
        let sync = ann
            .get(&format!("/_matrix/client/v3/sync?filter={filter}"))
            .await
            .ok();
        let room = &sync["rooms"]["join"][&room];
        (
            room["unread_notifications"]["notification_count"].clone(),
            room["unread_thread_notifications"].clone(),
        )
    };
    let (main, threads) = counts().await;
    assert_eq!(
        (main, &threads[&root]["notification_count"]),
        (json!(0), &json!(2))
    );
    let read = async |event_id: &str, thread: &str| {
        let path = format!("{ROOMS}/{room}/receipt/m.read/{event_id}");
        ann.post(&path, json!({"thread_id": thread})).await
    };
    read(&reference, "main").await.fails(400, "M_INVALID_PARAM");
    read(&reference, &other).await.fails(400, "M_INVALID_PARAM");
    read(&reference, &root).await.ok();
    assert_eq!(counts().await, (json!(0), Value::Null));
}

#[tokio::test]
async fn events_say_what_their_reader_was_at_the_time() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = ann.create_room(json!({"preset": "private_chat"})).await;
    ann.say(&room, "1", "alone").await;
    ann.post(&format!("{ROOMS}/{room}/invite"), json!({"user_id": bob.user_id}))
        .await
        .ok();
    ann.say(&room, "2", "invited").await;
    bob.post(&format!("{ROOMS}/{room}/join"), json!({})).await.ok();
    ann.say(&room, "3", "joined").await;
    let page = format!("{ROOMS}/{room}/messages?dir=f&limit=100");
    for (reader, expected) in [
        (&bob, ["leave", "invite", "invite", "join", "join"]),
        (&ann, ["join"; 5]),
    ] {
        let chunk = reader.get(&page).await.ok()["chunk"].take();
        let events = chunk.as_array().unwrap().iter().rev().take(5).rev();
        let memberships: Vec<_> = events
            .map(|event| event["unsigned"]["membership"].clone())
            .collect();
        assert_eq!(memberships, expected, "{chunk}");
    }
    let sync = bob.get("/_matrix/client/v3/sync").await.ok();
    let timeline = &sync["rooms"]["join"][&room]["timeline"]["events"];
    let last = timeline.as_array().unwrap().last().unwrap();
    assert_eq!(last["unsigned"]["membership"], "join", "{last}");
}

#[tokio::test]
async fn what_a_thread_said_before_its_reader_came_is_not_unread() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = ann.create_room(json!({"preset": "public_chat"})).await;
    let root = ann.say(&room, "root", "root").await;
    let reply = async |txn: &str| {
        let relation = json!({"rel_type": "m.thread", "event_id": root});
        let content = json!({"msgtype": "m.text", "body": txn, "m.relates_to": relation});
        let path = format!("{ROOMS}/{room}/send/m.room.message/{txn}");
        ann.put(&path, content).await.ok();
    };
    let counts = async || {
        let sync = bob.get("/_matrix/client/v3/sync").await.ok();
        sync["rooms"]["join"][&room]["unread_notifications"]["notification_count"].clone()
    };
    reply("before").await;
    bob.post(&format!("{ROOMS}/{room}/join"), json!({})).await.ok();
    assert_eq!(counts().await, 0);
    reply("after").await;
    assert_eq!(counts().await, 1);
}

#[tokio::test]
async fn of_many_openid_tokens_of_a_user_the_oldest_go() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let token = async |client: &Client<'_>| {
        let path = format!("/_matrix/client/v3/user/{}/openid/request_token", client.user_id);
        let answer = client.post(&path, json!({})).await.ok();
        let token = answer["access_token"].as_str().unwrap();
        format!("/_matrix/federation/v1/openid/userinfo?access_token={token}")
    };
    let of_bob = token(&bob).await;
    let mut of_ann = Vec::new();
    for _ in 0..21 {
        of_ann.push(token(&ann).await);
    }
    server.get(&of_ann[0]).await.fails(401, "M_UNKNOWN_TOKEN");
    for usable in [&of_bob, &of_ann[1], &of_ann[20]] {
        server.get(usable).await.ok();
    }
}

#[tokio::test]
async fn the_last_of_all_pushers_can_still_be_changed() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let set = async |pusher: Value| ann.post(&format!("{PUSHERS}/set"), pusher).await;
    for number in 0..100 {
        set(pusher(&number.to_string())).await.ok();
    }
    set(pusher("another")).await.fails(413, "M_TOO_LARGE");
    let mut changed = pusher("0");
    changed["lang"] = "de".into();
    set(changed).await.ok();
}
