//! The directory of rooms and users, and what users set for themselves.

use http::Method;
use serde_json::{Value, json};

use super::{Checker, Ids};
use crate::tests::server::TestServer;

/// How rooms are found, described and knocked on.
pub(super) async fn visit_directory(checker: &mut Checker, server: &TestServer) {
    let (get, post, put, delete) = (Method::GET, Method::POST, Method::PUT, Method::DELETE);
    let (kim, lee) = (server.register("kim").await, server.register("lee").await);
    let knock = json!([{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}]);
    let create = json!({"creation_content": {"type": "m.space"}, "initial_state": knock, "name": "Space"});
    let space = kim.create_room(create).await;
    let room = kim.create_room(json!({"preset": "public_chat"})).await;
    let child = format!("/_matrix/client/v3/rooms/{space}/state/m.space.child/{room}");
    kim.put(&child, json!({"via": [server.name]})).await.ok();
    let alias = format!("%23space:{}", server.name);
    let ids = Ids(vec![
        ("roomId", space.clone()),
        ("roomIdOrAlias", space.clone()),
        ("roomAlias", alias),
        ("userId", lee.user_id.clone()),
    ]);
    for (client, method, route, body) in [
        (
            &lee,
            &get,
            "/_matrix/client/v1/room_summary/{roomIdOrAlias}",
            Value::Null,
        ),
        (
            &kim,
            &get,
            "/_matrix/client/v1/rooms/{roomId}/hierarchy",
            Value::Null,
        ),
        (
            &lee,
            &post,
            "/_matrix/client/v3/knock/{roomIdOrAlias}",
            json!({"reason": "?"}),
        ),
        (&lee, &get, "/_matrix/client/v3/sync", Value::Null),
        (
            &kim,
            &put,
            "/_matrix/client/v3/directory/room/{roomAlias}",
            json!({"room_id": space}),
        ),
        (
            &kim,
            &delete,
            "/_matrix/client/v3/directory/room/{roomAlias}",
            Value::Null,
        ),
        (
            &kim,
            &put,
            "/_matrix/client/v3/directory/list/room/{roomId}",
            json!({"visibility": "public"}),
        ),
        (
            &lee,
            &get,
            "/_matrix/client/v3/directory/list/room/{roomId}",
            Value::Null,
        ),
        (&lee, &post, "/_matrix/client/v3/publicRooms", json!({})),
        (
            &lee,
            &post,
            "/_matrix/client/v3/user_directory/search",
            json!({"search_term": "kim"}),
        ),
        (
            &kim,
            &post,
            "/_matrix/client/v3/rooms/{roomId}/report",
            json!({"reason": "x"}),
        ),
        (
            &kim,
            &post,
            "/_matrix/client/v3/users/{userId}/report",
            json!({"reason": "x"}),
        ),
    ] {
        checker.visit(client, method.clone(), route, &ids, body).await;
    }
    let mutual = format!("/_matrix/client/v1/mutual_rooms?user_id={}", lee.user_id);
    checker.visit(&kim, get.clone(), &mutual, &ids, Value::Null).await;
    let route = "/.well-known/matrix/support";
    checker.check(&get, route, server.get(route).await);
}

/// Tags, push rules, fields of profiles, account data of a room, and what calls need.
pub(super) async fn visit_settings(checker: &mut Checker, server: &TestServer) {
    const TAGS: &str = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags";
    const RULE: &str = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}";
    let (get, put, delete) = (Method::GET, Method::PUT, Method::DELETE);
    let mia = server.register("mia").await;
    let room = mia.create_room(json!({})).await;
    let ids = Ids(vec![
        ("userId", mia.user_id.clone()),
        ("roomId", room),
        ("tag", "u.work".into()),
        ("kind", "content".into()),
        ("ruleId", "tea".into()),
        ("keyName", "m.tz".into()),
    ]);
    let rule = json!({"actions": ["notify"], "pattern": "tea"});
    let profile = "/_matrix/client/v3/profile/{userId}/{keyName}";
    for (method, route, body) in [
        (&put, format!("{TAGS}/{{tag}}"), json!({"order": 0.5})),
        (&get, TAGS.to_owned(), Value::Null),
        (&delete, format!("{TAGS}/{{tag}}"), Value::Null),
        (&put, RULE.to_owned(), rule),
        (&get, RULE.to_owned(), Value::Null),
        (
            &get,
            "/_matrix/client/v3/pushrules/global/".to_owned(),
            Value::Null,
        ),
        (&put, format!("{RULE}/enabled"), json!({"enabled": false})),
        (&get, format!("{RULE}/enabled"), Value::Null),
        (&put, format!("{RULE}/actions"), json!({"actions": []})),
        (&get, format!("{RULE}/actions"), Value::Null),
        (&delete, RULE.to_owned(), Value::Null),
        (&put, profile.to_owned(), json!({"m.tz": "Europe/Paris"})),
        (&get, profile.to_owned(), Value::Null),
        (&delete, profile.to_owned(), Value::Null),
        (&get, "/_matrix/client/v3/voip/turnServer".to_owned(), Value::Null),
    ] {
        checker.visit(&mia, method.clone(), &route, &ids, body).await;
    }
}
