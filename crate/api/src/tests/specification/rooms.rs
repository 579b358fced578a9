//! Rooms and their events.

use http::Method;
use serde_json::{Value, json};

use super::{Checker, Ids};
use crate::tests::server::{Client, TestServer};

pub(super) async fn visit_rooms(checker: &mut Checker, server: &TestServer) {
    const ROOM: &str = "/_matrix/client/v3/rooms/{roomId}";
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    let (cat, dan) = (server.register("cat").await, server.register("dan").await);
    let create = json!({"preset": "public_chat", "name": "Tea", "topic": "Cake", "visibility": "public"});
    let room = checker
        .visit(
            &cat,
            post.clone(),
            "/_matrix/client/v3/createRoom",
            &Ids(vec![]),
            create,
        )
        .await;
    let ids = Ids(vec![
        ("roomId", room["room_id"].as_str().unwrap().to_owned()),
        ("roomIdOrAlias", room["room_id"].as_str().unwrap().to_owned()),
        ("roomAlias", format!("%23tea:{}", server.name)),
    ]);
    let target = json!({"user_id": dan.user_id});
    checker
        .visit(
            &cat,
            post.clone(),
            &format!("{ROOM}/invite"),
            &ids,
            target.clone(),
        )
        .await;
    checker
        .visit(&dan, get.clone(), "/_matrix/client/v3/sync", &ids, Value::Null)
        .await;
    checker
        .visit(
            &dan,
            post.clone(),
            "/_matrix/client/v3/join/{roomIdOrAlias}",
            &ids,
            json!({}),
        )
        .await;
    checker
        .visit(&cat, post.clone(), &format!("{ROOM}/kick"), &ids, target.clone())
        .await;
    checker
        .visit(&cat, post.clone(), &format!("{ROOM}/ban"), &ids, target.clone())
        .await;
    checker
        .visit(&cat, post.clone(), &format!("{ROOM}/unban"), &ids, target)
        .await;
    checker
        .visit(&dan, post.clone(), &format!("{ROOM}/join"), &ids, json!({}))
        .await;
    checker
        .visit(&dan, post.clone(), &format!("{ROOM}/leave"), &ids, json!({}))
        .await;
    checker
        .visit(&dan, post, &format!("{ROOM}/forget"), &ids, json!({}))
        .await;
    let alias = "/_matrix/client/v3/directory/room/{roomAlias}";
    checker
        .visit(&cat, put, alias, &ids, json!({"room_id": room["room_id"]}))
        .await;
    checker.visit(&cat, get.clone(), alias, &ids, Value::Null).await;
    checker
        .visit(&cat, get.clone(), &format!("{ROOM}/aliases"), &ids, Value::Null)
        .await;
    checker
        .visit(
            &cat,
            get.clone(),
            "/_matrix/client/v3/publicRooms",
            &ids,
            Value::Null,
        )
        .await;
    for path in ["members", "joined_members", "state"] {
        checker
            .visit(&cat, get.clone(), &format!("{ROOM}/{path}"), &ids, Value::Null)
            .await;
    }
    let version = json!({"new_version": "11"});
    let upgrade = format!("{ROOM}/upgrade");
    checker.visit(&cat, Method::POST, &upgrade, &ids, version).await;
}

pub(super) async fn visit_events(checker: &mut Checker, server: &TestServer) {
    const ROOM: &str = "/_matrix/client/v3/rooms/{roomId}";
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    let eva = server.register("eva").await;
    let room_id = eva.create_room(json!({})).await;
    let event_id = eva.say(&room_id, "0", "hello").await;
    let ids = Ids(vec![
        ("userId", eva.user_id.clone()),
        ("roomId", room_id),
        ("eventId", event_id.clone()),
        ("eventType", "m.room.topic".into()),
        ("stateKey", String::new()),
        ("txnId", "1".into()),
        ("type", "org.example".into()),
        ("receiptType", "m.read".into()),
    ]);
    let state = format!("{ROOM}/state/{{eventType}}/{{stateKey}}");
    checker
        .visit(&eva, put.clone(), &state, &ids, json!({"topic": "Tea"}))
        .await;
    checker.visit(&eva, get.clone(), &state, &ids, Value::Null).await;
    let message = json!({"msgtype": "m.text", "body": "hi"});
    checker
        .visit(
            &eva,
            put.clone(),
            &format!("{ROOM}/send/{{eventType}}/{{txnId}}"),
            &ids,
            message,
        )
        .await;
    let receipt = format!("{ROOM}/receipt/{{receiptType}}/{{eventId}}");
    checker.visit(&eva, post.clone(), &receipt, &ids, json!({})).await;
    let markers = json!({"m.fully_read": event_id, "m.read": event_id});
    checker
        .visit(&eva, post, &format!("{ROOM}/read_markers"), &ids, markers)
        .await;
    checker
        .visit(
            &eva,
            put.clone(),
            &format!("{ROOM}/typing/{{userId}}"),
            &ids,
            json!({"typing": true}),
        )
        .await;
    let data = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}";
    checker
        .visit(&eva, put.clone(), data, &ids, json!({"a": 1}))
        .await;
    checker.visit(&eva, get.clone(), data, &ids, Value::Null).await;
    visit_relations(checker, &eva, &ids).await;
    visit_search(checker, &eva, &ids).await;
    visit_notifications(checker, server, &eva, &ids).await;
    let redact = format!("{ROOM}/redact/{{eventId}}/{{txnId}}");
    checker
        .visit(&eva, put, &redact, &ids, json!({"reason": "typo"}))
        .await;
    for path in [
        "event/{eventId}",
        "context/{eventId}",
        "messages?dir=b",
        "initialSync",
    ] {
        checker
            .visit(&eva, get.clone(), &format!("{ROOM}/{path}"), &ids, Value::Null)
            .await;
    }
    for path in ["sync", "initialSync", "events?from=s1_0", "events/{eventId}"] {
        let path = format!("/_matrix/client/v3/{path}");
        checker.visit(&eva, get.clone(), &path, &ids, Value::Null).await;
    }
}

async fn visit_search(checker: &mut Checker, client: &Client<'_>, ids: &Ids) {
    let search = json!({"search_categories": {"room_events": {
        "search_term": "hi", "order_by": "recent", "include_state": true,
        "event_context": {"include_profile": true},
        "groupings": {"group_by": [{"key": "room_id"}, {"key": "sender"}]},
        "filter": {"limit": 1},
    }}});
    let path = "/_matrix/client/v3/search";
    let found = checker.visit(client, Method::POST, path, ids, search).await;
    assert_ne!(found["search_categories"]["room_events"]["results"], json!([]));
}

async fn visit_notifications(checker: &mut Checker, server: &TestServer, client: &Client<'_>, ids: &Ids) {
    const PUSHERS: &str = "/_matrix/client/v3/pushers";
    let (get, post) = (Method::GET, Method::POST);
    let other = server.register("eve").await;
    let room_id = ids.fill("{roomId}");
    let path = format!("/_matrix/client/v3/rooms/{room_id}/invite");
    client.post(&path, json!({"user_id": other.user_id})).await.ok();
    let path = "/_matrix/client/v3/join/{roomIdOrAlias}";
    let own = Ids([ids.0.clone(), vec![("roomIdOrAlias", room_id.clone())]].concat());
    checker.visit(&other, post.clone(), path, &own, json!({})).await;
    other.say(&room_id, "1", "psst").await;
    let path = "/_matrix/client/v3/notifications";
    let listed = checker.visit(client, get.clone(), path, ids, Value::Null).await;
    assert_ne!(listed["notifications"], json!([]));
    let pusher = json!({
        "app_display_name": "App", "app_id": "org.example", "device_display_name": "Phone", "kind": "http",
        "lang": "en", "pushkey": "k", "data": {"url": "https://push.example/_matrix/push/v1/notify"},
    });
    checker
        .visit(client, post, &format!("{PUSHERS}/set"), ids, pusher)
        .await;
    checker
        .visit(client, get.clone(), PUSHERS, ids, Value::Null)
        .await;
    let path = "/_matrix/client/v1/rooms/{roomId}/timestamp_to_event?ts=1&dir=f";
    checker.visit(client, get, path, ids, Value::Null).await;
}

async fn visit_relations(checker: &mut Checker, client: &Client<'_>, ids: &Ids) {
    const ROOM: &str = "/_matrix/client/v1/rooms/{roomId}";
    let parent = ids.fill("{eventId}");
    let relations = ["m.thread", "m.reference", "m.replace"];
    for (txn, rel_type) in relations.into_iter().enumerate() {
        let relates_to = json!({"rel_type": rel_type, "event_id": parent});
        let content = json!({
            "msgtype": "m.text", "body": "b", "m.new_content": {"body": "c"}, "m.relates_to": relates_to,
        });
        let path = format!("/_matrix/client/v3/rooms/{{roomId}}/send/m.room.message/relation{txn}");
        client.put(&ids.fill(&path), content).await.ok();
    }
    let own = [
        ("relType", "m.thread".into()),
        ("eventType", "m.room.message".into()),
    ];
    let ids = Ids([own.to_vec(), ids.0.clone()].concat());
    let relations = format!("{ROOM}/relations/{{eventId}}");
    for path in ["", "/{relType}", "/{relType}/{eventType}"] {
        let path = format!("{relations}{path}");
        let page = checker.visit(client, Method::GET, &path, &ids, Value::Null).await;
        assert_ne!(page["chunk"], json!([]), "{path}");
    }
    let path = format!("{ROOM}/threads");
    let page = checker.visit(client, Method::GET, &path, &ids, Value::Null).await;
    assert_eq!(
        page["chunk"][0]["unsigned"]["m.relations"]["m.thread"]["count"],
        1
    );
}
