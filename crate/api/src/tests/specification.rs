//! Answers against the specification's own OpenAPI documents, where these are at hand: in `HEARTH_SPEC_DIR`, or
//! in `shared/spec` beside the project.

#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use http::Method;
use serde_json::{Value, json};

use super::{
    schema::problems,
    server::{Answer, Client, TestServer},
    signed::Key,
};

/// The document `name`; `None`, and a note, if it is not at hand.
fn document(name: &str) -> Option<Value> {
    Some(serde_json::from_str(&text(name)?).unwrap())
}

/// The text of the file `name`; `None`, and a note, if it is not at hand.
pub(super) fn text(name: &str) -> Option<String> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/spec");
    let folder = env::var_os("HEARTH_SPEC_DIR").map_or(beside, PathBuf::from);
    match fs::read_to_string(folder.join(name)) {
        Ok(text) => Some(text),
        Err(error) => {
            eprintln!("skipped: {name} is not in {}: {error}", folder.display());
            None
        }
    }
}

/// Checks answers, and remembers of which routes.
struct Checker {
    document: Value,
    seen: BTreeSet<String>,
}

impl Checker {
    /// Checks a successful answer of `route`. Returns its body.
    fn check(&mut self, method: &Method, route: &str, answer: Answer) -> Value {
        let body = answer.ok();
        let operation = &self.document["paths"][route][method.as_str().to_lowercase()];
        assert!(operation.is_object(), "{method} {route} is not in the document");
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        let found = problems(schema, &body);
        assert!(found.is_empty(), "{method} {route}: {found:#?}\n{body:#}");
        self.seen.insert(format!("{method} {route}"));
        body
    }

    async fn visit(
        &mut self,
        client: &Client<'_>,
        method: Method,
        route: &str,
        ids: &Ids,
        body: Value,
    ) -> Value {
        let (path, query) = route.split_once('?').unwrap_or((route, ""));
        let filled = format!("{}?{query}", ids.fill(path));
        let answer = client.request(method.clone(), &filled, body).await;
        self.check(&method, path, answer)
    }
}

/// What the parameters of paths stand for.
struct Ids(Vec<(&'static str, String)>);

impl Ids {
    fn fill(&self, path: &str) -> String {
        self.0.iter().fold(path.to_owned(), |path, (name, value)| {
            path.replace(&format!("{{{name}}}"), value)
        })
    }
}

#[tokio::test]
async fn answers_of_the_client_server_api_fit_the_specification() {
    let Some(document) = document("openapi-client-server.json") else {
        return;
    };
    let mut checker = Checker {
        document,
        seen: BTreeSet::new(),
    };
    let config = crate::ApiConfig {
        base_url: Some("https://here.example".into()),
        rate_limit: None,
    };
    let server = TestServer::with(hearth_homeserver::Config::default(), config).await;
    visit_accounts(&mut checker, &server).await;
    visit_sessions(&mut checker, &server).await;
    visit_directory(&mut checker, &server).await;
    visit_settings(&mut checker, &server).await;
    visit_rooms(&mut checker, &server).await;
    visit_events(&mut checker, &server).await;
    visit_keys(&mut checker, &server).await;
    visit_backups(&mut checker, &server).await;
    if let Some(list) = text("endpoints.csv") {
        let left: Vec<_> = stable_routes(&list)
            .filter(|route| !checker.seen.contains(route))
            .collect();
        assert_eq!(left, ELSEWHERE);
    }
    for route in include_str!("tier_one.txt")
        .lines()
        .chain(include_str!("encryption.txt").lines())
    {
        assert!(checker.seen.contains(route), "{route} was not visited");
    }
}

/// What is left to other tests: files, whose requests or answers are no JSON; and where nobody has set up what is asked
/// for, the answer is an error.
const ELSEWHERE: &[&str] = &[
    "GET /_matrix/client/v1/media/download/{serverName}/{mediaId}",
    "GET /_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}",
    "GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}",
    "POST /_matrix/media/v3/upload",
    "GET /_matrix/media/v3/download/{serverName}/{mediaId}",
    "GET /_matrix/media/v3/download/{serverName}/{mediaId}/{fileName}",
    "GET /_matrix/media/v3/thumbnail/{serverName}/{mediaId}",
    "GET /_matrix/client/v3/voip/turnServer",
];

/// The stable routes of the first two tiers of the Client-Server API.
fn stable_routes(list: &str) -> impl Iterator<Item = String> {
    let rows = list.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let rows = rows.filter(|row| row[0] == "client" && matches!(row[3], "1" | "2") && row[4] == "stable");
    rows.map(|row| format!("{} {}", row[1], row[2]))
}

async fn visit_accounts(checker: &mut Checker, server: &TestServer) {
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    let register = json!({"username": "zoe", "password": "p", "auth": {"type": "m.login.dummy"}});
    let answer = server.post("/_matrix/client/v3/register", register).await;
    checker.check(&post, "/_matrix/client/v3/register", answer);
    let login = json!({
        "type": "m.login.password", "identifier": {"type": "m.id.user", "user": "zoe"}, "password": "p",
    });
    let answer = server.post("/_matrix/client/v3/login", login).await;
    checker.check(&post, "/_matrix/client/v3/login", answer);
    for path in [
        "/_matrix/client/versions",
        "/.well-known/matrix/client",
        "/_matrix/client/v3/login",
    ] {
        checker.check(&get, path, server.get(path).await);
    }
    let ann = server.register("ann").await;
    let user = "/_matrix/client/v3/user/{userId}";
    let ids = Ids(vec![
        ("userId", ann.user_id.clone()),
        ("keyName", "displayname".into()),
        ("type", "org.example".into()),
    ]);
    let profile = "/_matrix/client/v3/profile/{userId}/{keyName}";
    checker
        .visit(&ann, put.clone(), profile, &ids, json!({"displayname": "Ann"}))
        .await;
    checker.visit(&ann, get.clone(), profile, &ids, Value::Null).await;
    let filter = checker
        .visit(&ann, post.clone(), &format!("{user}/filter"), &ids, json!({}))
        .await;
    let filter = Ids(vec![
        ("userId", ann.user_id.clone()),
        ("filterId", filter["filter_id"].as_str().unwrap().to_owned()),
    ]);
    checker
        .visit(
            &ann,
            get.clone(),
            &format!("{user}/filter/{{filterId}}"),
            &filter,
            Value::Null,
        )
        .await;
    checker
        .visit(
            &ann,
            put,
            &format!("{user}/account_data/{{type}}"),
            &ids,
            json!({"a": 1}),
        )
        .await;
    checker
        .visit(
            &ann,
            get.clone(),
            &format!("{user}/account_data/{{type}}"),
            &ids,
            Value::Null,
        )
        .await;
    for path in [
        "/_matrix/client/v3/profile/{userId}",
        "/_matrix/client/v3/account/whoami",
        "/_matrix/client/v3/capabilities",
        "/_matrix/client/v3/pushrules/",
        "/_matrix/client/v3/devices",
        "/_matrix/client/v3/joined_rooms",
        "/_matrix/client/v1/media/config",
        "/_matrix/media/v3/config",
        "/_matrix/client/v3/sync",
    ] {
        checker.visit(&ann, get.clone(), path, &ids, Value::Null).await;
    }
    let presence = "/_matrix/client/v3/presence/{userId}/status";
    checker
        .visit(
            &ann,
            Method::PUT,
            presence,
            &ids,
            json!({"presence": "online", "status_msg": "here"}),
        )
        .await;
    checker
        .visit(&ann, Method::GET, presence, &ids, Value::Null)
        .await;
    checker
        .visit(&ann, post, "/_matrix/client/v3/logout", &ids, Value::Null)
        .await;
}

/// Tokens that are refreshed, and what ends with the account.
async fn visit_sessions(checker: &mut Checker, server: &TestServer) {
    let (get, post) = (Method::GET, Method::POST);
    let register = json!({
        "username": "ida", "password": "p", "refresh_token": true, "auth": {"type": "m.login.dummy"},
    });
    let answer = server.post("/_matrix/client/v3/register", register).await;
    let ida = checker.check(&post, "/_matrix/client/v3/register", answer);
    let route = "/_matrix/client/v3/refresh";
    let refresh = json!({"refresh_token": ida["refresh_token"]});
    let refreshed = checker.check(&post, route, server.post(route, refresh).await);
    let parts = ["user_id", "device_id"].map(|field| ida[field].as_str().unwrap().to_owned());
    let [user_id, device_id] = parts;
    let token = refreshed["access_token"].as_str().unwrap().to_owned();
    let ida = server.resume(&[user_id, device_id, token]);
    let route = "/_matrix/client/v3/register/available";
    let answer = server.get(&format!("{route}?username=free")).await;
    checker.check(&get, route, answer);
    let auth = json!({"type": "m.login.password", "user": "ida", "password": "p"});
    let ids = Ids(vec![("userId", ida.user_id.clone())]);
    let token = json!({"auth": auth});
    for (method, route, body) in [
        (&post, "/_matrix/client/v1/login/get_token", token),
        (
            &post,
            "/_matrix/client/v3/user/{userId}/openid/request_token",
            json!({}),
        ),
        (&get, "/_matrix/client/v3/admin/whois/{userId}", Value::Null),
        (&get, "/_matrix/client/v3/account/3pid", Value::Null),
        (&get, "/_matrix/client/v3/pushers", Value::Null),
        (&get, "/_matrix/client/v3/thirdparty/protocols", Value::Null),
        (
            &post,
            "/_matrix/client/v3/account/password",
            json!({"auth": auth, "new_password": "q"}),
        ),
    ] {
        checker.visit(&ida, method.clone(), route, &ids, body).await;
    }
    let login = json!({"type": "m.login.password", "user": "ida", "password": "q"});
    let again = server.client(&server.post("/_matrix/client/v3/login", login).await.ok());
    checker
        .visit(
            &again,
            post.clone(),
            "/_matrix/client/v3/logout/all",
            &ids,
            Value::Null,
        )
        .await;
    let jon = server.register("jon").await;
    let body = json!({"auth": {"type": "m.login.dummy"}, "erase": true});
    checker
        .visit(&jon, post, "/_matrix/client/v3/account/deactivate", &ids, body)
        .await;
}

/// How rooms are found, described and knocked on.
async fn visit_directory(checker: &mut Checker, server: &TestServer) {
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

/// Tags, push rules, fields of profiles, and account data of a room.
async fn visit_settings(checker: &mut Checker, server: &TestServer) {
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
    ] {
        checker.visit(&mia, method.clone(), &route, &ids, body).await;
    }
}

async fn visit_rooms(checker: &mut Checker, server: &TestServer) {
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

async fn visit_events(checker: &mut Checker, server: &TestServer) {
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
    for path in ["event/{eventId}", "context/{eventId}", "messages?dir=b"] {
        checker
            .visit(&eva, get.clone(), &format!("{ROOM}/{path}"), &ids, Value::Null)
            .await;
    }
    checker
        .visit(&eva, get, "/_matrix/client/v3/sync", &ids, Value::Null)
        .await;
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

async fn visit_keys(checker: &mut Checker, server: &TestServer) {
    const KEYS: &str = "/_matrix/client/v3/keys";
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    let (fay, gus) = (server.register("fay").await, server.register("gus").await);
    let room_id = fay.create_room(json!({"preset": "public_chat"})).await;
    gus.post(&format!("/_matrix/client/v3/join/{room_id}"), json!({}))
        .await
        .ok();
    let (user, device) = (&fay.user_id, &fay.device_id);
    let ids = Ids(vec![
        ("deviceId", device.clone()),
        ("eventType", "m.test".into()),
        ("txnId", "1".into()),
    ]);
    let path = "/_matrix/client/v3/devices/{deviceId}";
    let name = json!({"display_name": "Phone"});
    checker.visit(&fay, put.clone(), path, &ids, name).await;
    checker.visit(&fay, get.clone(), path, &ids, Value::Null).await;
    let before = checker
        .visit(&gus, get.clone(), "/_matrix/client/v3/sync", &ids, Value::Null)
        .await;
    let (key, [master, own, others]) = (Key::named(1, device), [2, 3, 4].map(Key::new));
    let upload = json!({
        "device_keys": key.device(user, device),
        "one_time_keys": {"signed_curve25519:A": key.one_time(user, 0)},
        "fallback_keys": {"signed_curve25519:F": key.one_time(user, 1)},
    });
    checker
        .visit(&fay, post.clone(), &format!("{KEYS}/upload"), &ids, upload)
        .await;
    let cross_signing = json!({
        "master_key": master.cross_signing(user, "master"),
        "self_signing_key": master.sign(user, &own.cross_signing(user, "self_signing")),
        "user_signing_key": master.sign(user, &others.cross_signing(user, "user_signing")),
    });
    let path = format!("{KEYS}/device_signing/upload");
    checker
        .visit(&fay, post.clone(), &path, &ids, cross_signing)
        .await;
    let signed = json!({user: {device: own.sign(user, &key.device(user, device)), "NONE": {}}});
    let path = format!("{KEYS}/signatures/upload");
    checker.visit(&fay, post.clone(), &path, &ids, signed).await;
    let far = format!("@far:{}", "ab".repeat(32));
    let wanted = json!({"device_keys": {user: [], far: []}});
    for client in [&fay, &gus] {
        checker
            .visit(
                client,
                post.clone(),
                &format!("{KEYS}/query"),
                &ids,
                wanted.clone(),
            )
            .await;
    }
    let claim = json!({"one_time_keys": {user: {device: "signed_curve25519"}}});
    for _ in 0..2 {
        checker
            .visit(&gus, post.clone(), &format!("{KEYS}/claim"), &ids, claim.clone())
            .await;
    }
    let message = json!({"messages": {&gus.user_id: {"*": {"text": "hi"}}}});
    let path = "/_matrix/client/v3/sendToDevice/{eventType}/{txnId}";
    checker.visit(&fay, put, path, &ids, message).await;
    let since = before["next_batch"].as_str().unwrap();
    let path = format!("/_matrix/client/v3/sync?since={since}");
    let after = checker.visit(&gus, get.clone(), &path, &ids, Value::Null).await;
    assert!(after["to_device"].is_object() && after["device_lists"].is_object());
    let path = format!(
        "{KEYS}/changes?from={since}&to={}",
        after["next_batch"].as_str().unwrap()
    );
    checker.visit(&gus, get, &path, &ids, Value::Null).await;
    let auth = json!({"auth": {"type": "m.login.dummy"}, "devices": ["NONE"]});
    checker
        .visit(
            &fay,
            post,
            "/_matrix/client/v3/delete_devices",
            &ids,
            auth.clone(),
        )
        .await;
    let path = "/_matrix/client/v3/devices/{deviceId}";
    checker.visit(&fay, Method::DELETE, path, &ids, auth).await;
}

async fn visit_backups(checker: &mut Checker, server: &TestServer) {
    const VERSION: &str = "/_matrix/client/v3/room_keys/version";
    const KEYS: &str = "/_matrix/client/v3/room_keys/keys";
    let hal = server.register("hal").await;
    let version = json!({"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {}});
    let none = Ids(vec![]);
    let made = checker
        .visit(&hal, Method::POST, VERSION, &none, version.clone())
        .await;
    let number = made["version"].as_str().unwrap().to_owned();
    let ids = Ids(vec![
        ("version", number.clone()),
        ("roomId", "!room:x".into()),
        ("sessionId", "session".into()),
    ]);
    let path = format!("{VERSION}/{{version}}");
    checker.visit(&hal, Method::PUT, &path, &ids, version).await;
    let key = json!({
        "first_message_index": 0, "forwarded_count": 0, "is_verified": true, "session_data": {"a": "b"},
    });
    let room = json!({"sessions": {"session": key}});
    let all = json!({"rooms": {"!room:x": room}});
    let scopes = [("", all), ("/{roomId}", room), ("/{roomId}/{sessionId}", key)];
    for method in [Method::PUT, Method::GET, Method::DELETE] {
        for (scope, body) in &scopes {
            let body = if method == Method::PUT {
                body.clone()
            } else {
                Value::Null
            };
            hal.put(&format!("{KEYS}?version={number}"), scopes[0].1.clone())
                .await
                .ok();
            let path = format!("{KEYS}{scope}?version={number}");
            checker.visit(&hal, method.clone(), &path, &ids, body).await;
        }
    }
    for path in [VERSION, path.as_str()] {
        checker.visit(&hal, Method::GET, path, &ids, Value::Null).await;
    }
    checker
        .visit(&hal, Method::DELETE, &path, &ids, Value::Null)
        .await;
}
