//! Every route against bad input: the spec's status and errcode, never a panic, and nothing stored.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::server::{Client, TestServer};
use crate::{
    call::MAX_BODY,
    router::{self, Handler},
};

/// Routes that do not read a body as JSON, although their method may have one.
const WITHOUT_BODY: &[&str] = &[
    "/_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}/{keyName}",
    "/_matrix/media/v3/upload",
    "/_matrix/media/v3/upload/{serverName}/{mediaId}",
    "/_matrix/media/v1/create",
    "/_matrix/client/v3/logout",
    "/_matrix/client/v3/logout/all",
    "/_matrix/client/v3/profile/{userId}/{keyName}",
];

/// Routes whose body may be left out.
const OPTIONAL_BODY: &[&str] = &[
    "/_matrix/client/v3/rooms/{roomId}/report/{eventId}",
    "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}/{action}",
    "/_matrix/client/v1/login/get_token",
    "/_matrix/client/v3/user/{userId}/openid/request_token",
    "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{deviceId}/events",
    "/_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{threadRoot}/subscription",
    "/_matrix/client/v3/register",
    "/_matrix/client/v3/account/deactivate",
    "/_matrix/client/v3/devices/{deviceId}",
    "/_matrix/client/v3/createRoom",
    "/_matrix/client/v3/join/{roomIdOrAlias}",
    "/_matrix/client/v3/knock/{roomIdOrAlias}",
    "/_matrix/client/v3/rooms/{roomId}/join",
    "/_matrix/client/v3/rooms/{roomId}/leave",
    "/_matrix/client/v3/rooms/{roomId}/forget",
    "/_matrix/client/v3/directory/list/room/{roomId}",
    "/_matrix/client/v3/publicRooms",
    "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}",
    "/_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}",
    "/_matrix/client/v3/rooms/{roomId}/read_markers",
    "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}",
    "/_matrix/federation/v1/publicRooms",
];

/// Routes that answer with something else than 400, 403 or 404 for ids that nobody has.
const FINE_WITH_UNKNOWN_IDS: &[&str] = &[
    "/_matrix/client/v3/rooms/{roomId}/forget",
    "/_matrix/client/v3/users/{userId}/report",
    "/_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}",
    "/_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}/{keyName}",
    "/_matrix/client/v3/user/{userId}/openid/request_token",
    "/_matrix/client/v1/admin/lock/{userId}",
    "/_matrix/client/v1/admin/suspend/{userId}",
    "/_matrix/client/v3/admin/whois/{userId}",
    "/_matrix/key/v2/query/{serverName}",
    "/_matrix/client/v3/presence/{userId}/status",
    "/_matrix/client/unstable/org.matrix.msc3391/user/{userId}/account_data/{type}",
    "/_matrix/client/unstable/org.matrix.msc3391/user/{userId}/rooms/{roomId}/account_data/{type}",
    "/_matrix/client/v3/profile/{userId}",
    "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}",
    "/_matrix/client/v3/user/{userId}/account_data/{type}",
    "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}",
    "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags",
    "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}",
    "/_matrix/client/v3/user/{userId}/filter",
    "/_matrix/client/v3/devices/{deviceId}",
    "/_matrix/client/v3/profile/{userId}/{keyName}",
];

/// `path` with well-formed ids of things that do not exist; the user is the one who asks.
fn with_unknown_ids(path: &str, user_id: &str) -> String {
    let ids = [
        ("{userId}", user_id),
        ("{roomId}", "!unknown:example.org"),
        ("{roomIdOrAlias}", "!unknown:example.org"),
        ("{roomAlias}", "%23unknown:example.org"),
        ("{eventId}", "$unknown"),
        ("{threadRoot}", "$unknown"),
        ("{kind}", "room"),
        ("{ruleId}", "!unknown:example.org"),
        ("{receiptType}", "m.read"),
        ("{action}", "cancel"),
    ];
    let path = ids
        .iter()
        .fold(path.to_owned(), |path, (name, id)| path.replace(name, id));
    path.replace(['{', '}'], "")
}

fn has_body(method: &Method, path: &str) -> bool {
    let deletes_device = method == Method::DELETE && path == "/_matrix/client/v3/devices/{deviceId}";
    let writes = method == Method::POST || method == Method::PUT;
    let ignored = WITHOUT_BODY.contains(&path) && !(method == Method::PUT && path.contains("/profile/"));
    (writes && !ignored) || deletes_device
}

fn handler(method: &Method, path: &str) -> Handler {
    router::find(method, path).ok().unwrap().0.handler
}

/// Every route that a client with a token or without may call, with its path filled in.
fn client_routes(user_id: &str) -> Vec<(Method, &'static str, String)> {
    let routes =
        router::routes().filter(|(method, path)| !matches!(handler(method, path), Handler::Server(_)));
    routes
        .map(|(method, path)| (method, path, with_unknown_ids(path, user_id)))
        .collect()
}

async fn call(
    client: &Client<'_>,
    server: &TestServer,
    method: &Method,
    path: &str,
    body: Bytes,
) -> super::server::Answer {
    server.raw(method, path, Some(&client.token), body).await
}

#[tokio::test]
async fn tokens_are_asked_for() {
    let server = TestServer::new().await;
    let before = server.dump().await;
    for (method, path) in router::routes() {
        if !matches!(handler(&method, path), Handler::User(_)) {
            continue;
        }
        let case = format!("{method} {path}");
        let path = with_unknown_ids(path, "@ann:example.org");
        let answer = server.raw(&method, &path, None, Bytes::new()).await;
        answer.fails_at(&case, 401, "M_MISSING_TOKEN");
        let answer = server.raw(&method, &path, Some("unknown"), Bytes::new()).await;
        answer.fails_at(&case, 401, "M_UNKNOWN_TOKEN");
    }
    assert_eq!(server.dump().await, before);
}

#[tokio::test]
async fn unsigned_requests_of_servers_are_refused() {
    let server = TestServer::new().await;
    let before = server.dump().await;
    for (method, path) in router::routes() {
        if !matches!(handler(&method, path), Handler::Server(_)) {
            continue;
        }
        let case = format!("{method} {path}");
        let path = with_unknown_ids(path, "@ann:example.org");
        server
            .raw(&method, &path, None, Bytes::new())
            .await
            .fails_at(&case, 401, "M_UNAUTHORIZED");
        server
            .raw(&method, &path, None, "{}".into())
            .await
            .fails_at(&case, 401, "M_UNAUTHORIZED");
        server
            .raw(&method, &path, None, "{".into())
            .await
            .fails_at(&case, 400, "M_NOT_JSON");
        let endless = vec![b' '; 9 * 1024 * 1024];
        server
            .raw(&method, &path, None, endless.into())
            .await
            .fails_at(&case, 413, "M_TOO_LARGE");
    }
    assert_eq!(server.dump().await, before);
}

#[tokio::test]
async fn malformed_bodies_are_refused() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let before = server.dump().await;
    for (method, route, path) in client_routes(&ann.user_id) {
        if !has_body(&method, route) {
            continue;
        }
        let case = format!("{method} {route}");
        let nested = "[".repeat(100_000);
        for body in ["{", "x", "{\"a\":}", "\u{0}", "{} {}", &nested] {
            let answer = call(&ann, &server, &method, &path, body.to_owned().into()).await;
            answer.fails_at(&case, 400, "M_NOT_JSON");
        }
        let answer = call(
            &ann,
            &server,
            &method,
            &path,
            Bytes::from_static(b"{\"a\":\"\xff\"}"),
        )
        .await;
        answer.fails_at(&case, 400, "M_NOT_JSON");
        for body in ["[]", "7", "null", "\"text\"", "true"] {
            let answer = call(&ann, &server, &method, &path, body.into()).await;
            answer.fails_at(&case, 400, "M_BAD_JSON");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(111), "]".repeat(111));
        call(&ann, &server, &method, &path, deep.into())
            .await
            .fails_at(&case, 400, "M_BAD_JSON");
        let oversize = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_BODY));
        call(&ann, &server, &method, &path, oversize.into())
            .await
            .fails_at(&case, 413, "M_TOO_LARGE");
        if !OPTIONAL_BODY.contains(&route) {
            call(&ann, &server, &method, &path, Bytes::new())
                .await
                .fails_at(&case, 400, "M_NOT_JSON");
        }
    }
    assert_eq!(server.dump().await, before);
}

#[tokio::test]
async fn badly_encoded_paths_and_queries_are_refused() {
    let server = TestServer::new().await;
    let before = server.dump().await;
    for (method, route) in router::routes() {
        let case = format!("{method} {route}");
        let filled = with_unknown_ids(route, "@ann:example.org");
        for query in ["%", "a=%f", "%zz=a", "a=%ff"] {
            let path = format!("{filled}?{query}");
            server
                .raw(&method, &path, None, Bytes::new())
                .await
                .fails_at(&case, 400, "M_INVALID_PARAM");
        }
        let Some((start, rest)) = route.split_once('{') else {
            continue;
        };
        let rest = rest.split_once('}').map(|(_, rest)| rest).unwrap_or_default();
        for bad in ["%zz", "%", "%2", "%ff", "%C3%28"] {
            let path = format!("{start}{bad}{}", with_unknown_ids(rest, "@ann:example.org"));
            server
                .raw(&method, &path, None, Bytes::new())
                .await
                .fails_at(&case, 400, "M_INVALID_PARAM");
        }
    }
    assert_eq!(server.dump().await, before);
}

#[tokio::test]
async fn ids_that_break_the_grammar_are_refused() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let before = server.dump().await;
    for (method, route, _) in client_routes(&ann.user_id) {
        for name in [
            "{roomId}",
            "{eventId}",
            "{userId}",
            "{roomAlias}",
            "{roomIdOrAlias}",
        ] {
            if !route.contains(name) {
                continue;
            }
            let path = with_unknown_ids(&route.replace(name, "x%00y"), &ann.user_id);
            let answer = call(&ann, &server, &method, &path, body_for(route).to_string().into()).await;
            answer.fails_at(&format!("{method} {route}"), 400, "M_INVALID_PARAM");
        }
    }
    assert_eq!(server.dump().await, before);
}

/// A body that the route accepts.
fn body_for(route: &str) -> Value {
    match route.rsplit('/').next().unwrap_or_default() {
        "invite" | "kick" | "ban" | "unban" => json!({"user_id": "@unknown:example.org"}),
        "{roomAlias}" => json!({"room_id": "!unknown:example.org"}),
        "{ruleId}" | "actions" => json!({"actions": [], "pattern": "x"}),
        "read_markers" => json!({"m.read": "$unknown"}),
        "enabled" => json!({"enabled": true}),
        "{keyName}" => json!({"keyName": "x"}),
        _ if route.contains("/typing/") => json!({"typing": true}),
        _ => json!({}),
    }
}

#[tokio::test]
async fn unknown_ids_are_refused() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let before = server.dump().await;
    for (method, route, path) in client_routes(&ann.user_id) {
        if !route.contains('{') || FINE_WITH_UNKNOWN_IDS.contains(&route) {
            continue;
        }
        let answer = call(&ann, &server, &method, &path, body_for(route).to_string().into()).await;
        let errcode = answer.body["errcode"].as_str().unwrap_or_default();
        let known = [
            "M_FORBIDDEN",
            "M_NOT_FOUND",
            "M_MISSING_PARAM",
            "M_INVALID_PARAM",
            "M_UNKNOWN",
        ];
        assert!(
            known.contains(&errcode),
            "{method} {route}: {} {}",
            answer.status,
            answer.body
        );
    }
    assert_eq!(server.dump().await, before);
}

#[tokio::test]
async fn wrong_types_are_refused() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room_id = ann.create_room(json!({})).await;
    let room = format!("/_matrix/client/v3/rooms/{room_id}");
    let user = format!("/_matrix/client/v3/user/{}", ann.user_id);
    let rules = "/_matrix/client/v3/pushrules/global";
    let (post, put) = (Method::POST, Method::PUT);
    let cases = [
        (&post, "/_matrix/client/v3/login".to_owned(), json!({"type": 1})),
        (
            &post,
            "/_matrix/client/v3/login".to_owned(),
            json!({"type": "m.login.password", "identifier": []}),
        ),
        (
            &post,
            "/_matrix/client/v3/register".to_owned(),
            json!({"password": {}}),
        ),
        (
            &post,
            "/_matrix/client/v3/register".to_owned(),
            json!({"auth": "yes"}),
        ),
        (
            &post,
            "/_matrix/client/v3/register".to_owned(),
            json!({"inhibit_login": "no"}),
        ),
        (
            &post,
            "/_matrix/client/v3/createRoom".to_owned(),
            json!({"name": 1}),
        ),
        (
            &post,
            "/_matrix/client/v3/createRoom".to_owned(),
            json!({"invite": "@a:b"}),
        ),
        (
            &post,
            "/_matrix/client/v3/createRoom".to_owned(),
            json!({"invite": ["nobody"]}),
        ),
        (
            &post,
            "/_matrix/client/v3/createRoom".to_owned(),
            json!({"initial_state": {}}),
        ),
        (
            &post,
            "/_matrix/client/v3/createRoom".to_owned(),
            json!({"creation_content": []}),
        ),
        (
            &post,
            "/_matrix/client/v3/createRoom".to_owned(),
            json!({"power_level_content_override": 1}),
        ),
        (
            &post,
            "/_matrix/client/v3/publicRooms".to_owned(),
            json!({"limit": "ten"}),
        ),
        (
            &post,
            "/_matrix/client/v3/user_directory/search".to_owned(),
            json!({"search_term": 1}),
        ),
        (
            &post,
            "/_matrix/client/v3/delete_devices".to_owned(),
            json!({"devices": "all"}),
        ),
        (
            &post,
            "/_matrix/client/v3/account/password".to_owned(),
            json!({"new_password": 1}),
        ),
        (&post, format!("{room}/join"), json!({"reason": 1})),
        (&post, format!("{room}/invite"), json!({"user_id": 1})),
        (&post, format!("{room}/kick"), json!({"user_id": "nobody"})),
        (
            &post,
            format!("{room}/ban"),
            json!({"user_id": "@a:b", "reason": []}),
        ),
        (&post, format!("{room}/read_markers"), json!({"m.read": 1})),
        (
            &post,
            format!("{room}/receipt/m.read/$x"),
            json!({"thread_id": 1}),
        ),
        (
            &put,
            format!("{room}/typing/{}", ann.user_id),
            json!({"typing": "yes"}),
        ),
        (
            &put,
            format!("{room}/typing/{}", ann.user_id),
            json!({"typing": true, "timeout": "long"}),
        ),
        (&put, format!("{room}/redact/$x/t"), json!({"reason": 1})),
        (
            &put,
            format!("{room}/send/m.room.message/float"),
            json!({"body": 1.5}),
        ),
        (
            &put,
            format!("{room}/send/m.room.message/big"),
            json!({"body": 9_007_199_254_740_992_u64}),
        ),
        (
            &put,
            format!("{room}/state/m.room.topic"),
            json!({"topic": "x", "n": 0.1}),
        ),
        (
            &put,
            format!("/_matrix/client/v3/devices/{}", ann.device_id),
            json!({"display_name": 1}),
        ),
        (
            &put,
            format!("{rules}/room/{room_id}"),
            json!({"actions": "notify"}),
        ),
        (
            &put,
            format!("{rules}/override/x"),
            json!({"actions": [], "conditions": {}}),
        ),
        (
            &put,
            format!("{rules}/override/.m.rule.master/enabled"),
            json!({"enabled": "yes"}),
        ),
        (
            &put,
            format!("{rules}/override/.m.rule.master/actions"),
            json!({"actions": 1}),
        ),
        (&post, format!("{user}/filter"), json!({"room": 7})),
        (
            &post,
            format!("{user}/filter"),
            json!({"room": {"timeline": {"senders": ["bob"]}}}),
        ),
    ];
    let before = server.dump().await;
    for (method, path, body) in cases {
        let answer = ann.request(method.clone(), &path, body.clone()).await;
        answer.fails_at(&format!("{method} {path} {body}"), 400, "M_BAD_JSON");
    }
    assert_eq!(server.dump().await, before);
}

#[tokio::test]
async fn missing_fields_are_refused() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room_id = ann.create_room(json!({})).await;
    let room = format!("/_matrix/client/v3/rooms/{room_id}");
    let before = server.dump().await;
    let cases = [
        (Method::POST, "/_matrix/client/v3/login".to_owned()),
        (
            Method::POST,
            "/_matrix/client/v3/user_directory/search".to_owned(),
        ),
        (Method::POST, "/_matrix/client/v3/delete_devices".to_owned()),
        (Method::POST, "/_matrix/client/v3/account/password".to_owned()),
        (Method::POST, format!("{room}/invite")),
        (Method::POST, format!("{room}/kick")),
        (Method::PUT, format!("{room}/typing/{}", ann.user_id)),
        (
            Method::PUT,
            "/_matrix/client/v3/pushrules/global/override/x".to_owned(),
        ),
        (
            Method::PUT,
            format!("/_matrix/client/v3/profile/{}/displayname", ann.user_id),
        ),
    ];
    for (method, path) in cases {
        let answer = ann.request(method.clone(), &path, json!({})).await;
        answer.fails_at(&format!("{method} {path}"), 400, "M_MISSING_PARAM");
    }
    assert_eq!(server.dump().await, before);
}

#[tokio::test]
async fn queries_of_the_wrong_type_are_refused() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room_id = ann.create_room(json!({})).await;
    let room = format!("/_matrix/client/v3/rooms/{room_id}");
    let before = server.dump().await;
    let cases = [
        "/_matrix/client/v3/sync?timeout=soon".to_owned(),
        "/_matrix/client/v3/sync?since=x".to_owned(),
        "/_matrix/client/v3/sync?full_state=maybe".to_owned(),
        "/_matrix/client/v3/sync?set_presence=x".to_owned(),
        "/_matrix/client/v3/publicRooms?limit=-1".to_owned(),
        format!("{room}/messages?dir=b&limit=x"),
        format!("{room}/members?at=x"),
        format!("{room}/state/m.room.create?format=x"),
    ];
    for path in cases {
        ann.get(&path).await.fails_at(&path, 400, "M_INVALID_PARAM");
    }
    ann.get("/_matrix/client/v3/sync?filter=unknown")
        .await
        .fails(404, "M_NOT_FOUND");
    ann.get("/_matrix/client/v3/sync?filter={")
        .await
        .fails(400, "M_BAD_JSON");
    assert_eq!(server.dump().await, before);
}

#[tokio::test]
async fn an_event_that_is_too_large_is_refused() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room_id = ann.create_room(json!({})).await;
    let before = server.dump().await;
    let path = format!("/_matrix/client/v3/rooms/{room_id}/send/m.room.message/t");
    ann.put(&path, json!({"body": "x".repeat(70_000)}))
        .await
        .fails(413, "M_TOO_LARGE");
    assert_eq!(server.dump().await, before);
}
