//! Accounts: registration, login, devices, profiles, filters, account data, push rules.

use hearth_homeserver::Config;
use hearth_storage::{Store, Table, WriteBatch};
use http::{Method, Request};
use serde_json::{Value, json};

use super::server::{Answer, TestServer};
use crate::{ApiConfig, Body, ClientAddress, RateLimit};

const REGISTER: &str = "/_matrix/client/v3/register";
const LOGIN: &str = "/_matrix/client/v3/login";
const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

fn login(user: &str, password: &str) -> Value {
    json!({
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user},
        "password": password,
        "initial_device_display_name": "Phone",
    })
}

#[tokio::test]
async fn registration_asks_for_the_dummy_stage() {
    let server = TestServer::new().await;
    let before = server.dump().await;
    let challenge = server.post(REGISTER, json!({"username": "ann"})).await;
    assert_eq!(challenge.status, 401);
    assert_eq!(challenge.body["flows"], json!([{"stages": ["m.login.dummy"]}]));
    assert!(challenge.body["session"].is_string() && challenge.body["params"].is_object());
    assert_eq!(server.dump().await, before);
    let auth = json!({"type": "m.login.dummy", "session": challenge.body["session"]});
    let body = server
        .post(
            REGISTER,
            json!({"username": "Ann", "device_id": "D", "auth": auth}),
        )
        .await
        .ok();
    assert_eq!(body["user_id"], format!("@ann:{}", server.name));
    assert_eq!(body["device_id"], "D");
}

#[tokio::test]
async fn registration_refuses_what_the_spec_refuses() {
    let server = TestServer::new().await;
    server.register("ann").await;
    let auth = json!({"type": "m.login.dummy"});
    let cases = [
        (
            REGISTER,
            json!({"username": "ann", "auth": auth}),
            400,
            "M_USER_IN_USE",
        ),
        (
            REGISTER,
            json!({"username": "a b", "auth": auth}),
            400,
            "M_INVALID_USERNAME",
        ),
        (
            REGISTER,
            json!({"username": "", "auth": auth}),
            400,
            "M_INVALID_USERNAME",
        ),
        (
            REGISTER,
            json!({"username": "a".repeat(250), "auth": auth}),
            400,
            "M_INVALID_USERNAME",
        ),
        (REGISTER, json!({"username": 7}), 400, "M_BAD_JSON"),
        (
            REGISTER,
            json!({"auth": {"type": "m.login.other"}}),
            401,
            "M_FORBIDDEN",
        ),
        (
            "/_matrix/client/v3/register?kind=guest",
            json!({}),
            403,
            "M_FORBIDDEN",
        ),
        (
            "/_matrix/client/v3/register?kind=x",
            json!({}),
            400,
            "M_INVALID_PARAM",
        ),
    ];
    let before = server.dump().await;
    for (path, body, status, errcode) in cases {
        server
            .post(path, body.clone())
            .await
            .fails_at(&body.to_string(), status, errcode);
    }
    assert_eq!(server.dump().await, before);
    server
        .get("/_matrix/client/v3/register/available?username=bob")
        .await
        .ok();
    let taken = server
        .get("/_matrix/client/v3/register/available?username=ann")
        .await;
    taken.fails(400, "M_USER_IN_USE");
}

#[tokio::test]
async fn registration_can_be_closed() {
    let config = Config {
        open_registration: false,
        ..Config::default()
    };
    let server = TestServer::with(config, ApiConfig::default()).await;
    server
        .post(REGISTER, json!({"auth": {"type": "m.login.dummy"}}))
        .await
        .fails(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn login_can_be_put_off() {
    let server = TestServer::new().await;
    let body = json!({"inhibit_login": true, "auth": {"type": "m.login.dummy"}});
    let body = server.post(REGISTER, body).await.ok();
    assert!(body["user_id"].is_string() && body["access_token"].is_null());
}

#[tokio::test]
async fn a_password_logs_in_and_survives_a_restart() {
    let server = TestServer::new().await;
    let auth = json!({"type": "m.login.dummy"});
    server
        .post(
            REGISTER,
            json!({"username": "ann", "password": "s3cret", "auth": auth}),
        )
        .await
        .ok();
    server
        .post(LOGIN, login("ann", "wrong"))
        .await
        .fails(403, "M_FORBIDDEN");
    server
        .post(LOGIN, login("nobody", "s3cret"))
        .await
        .fails(403, "M_FORBIDDEN");
    let first = server.post(LOGIN, login("ann", "s3cret")).await.ok();
    let token = first["access_token"].as_str().unwrap().to_owned();
    let server = server.restarted().await;
    let whoami = server
        .raw(&Method::GET, WHOAMI, Some(&token), "".into())
        .await
        .ok();
    assert_eq!(whoami["user_id"], format!("@ann:{}", server.name));
    let whole_id = format!("@ann:{}", server.name);
    server.post(LOGIN, login(&whole_id, "s3cret")).await.ok();
    server
        .post(LOGIN, json!({"type": "m.login.magic"}))
        .await
        .fails(400, "M_UNKNOWN");
}

#[tokio::test]
async fn no_password_is_stored_as_it_is() {
    let server = TestServer::new().await;
    let auth = json!({"type": "m.login.dummy"});
    let body = json!({"username": "ann", "password": "s3cret-s3cret", "auth": auth});
    let answer = server.post(REGISTER, body).await.ok();
    let token = answer["access_token"].as_str().unwrap();
    for (_, (key, value)) in server.dump().await {
        for secret in ["s3cret-s3cret", token] {
            let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!holds(&key) && !holds(&value), "{secret} is stored");
        }
    }
}

#[tokio::test]
async fn a_logout_ends_one_session_or_all() {
    let server = TestServer::new().await;
    let auth = json!({"type": "m.login.dummy"});
    server
        .post(
            REGISTER,
            json!({"username": "ann", "password": "p", "auth": auth}),
        )
        .await
        .ok();
    let mut tokens = Vec::new();
    for _ in 0..3 {
        let login = server.post(LOGIN, login("ann", "p")).await.ok();
        tokens.push(login["access_token"].as_str().unwrap().to_owned());
    }
    let call = async |method, path, token: &String| server.raw(&method, path, Some(token), "".into()).await;
    call(Method::POST, "/_matrix/client/v3/logout", &tokens[0])
        .await
        .ok();
    let gone = call(Method::GET, WHOAMI, &tokens[0]).await;
    gone.fails(401, "M_UNKNOWN_TOKEN");
    assert_eq!(gone.body["soft_logout"], false);
    call(Method::GET, WHOAMI, &tokens[1]).await.ok();
    call(Method::POST, "/_matrix/client/v3/logout/all", &tokens[1])
        .await
        .ok();
    call(Method::GET, WHOAMI, &tokens[2])
        .await
        .fails(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn the_token_may_stand_in_the_query() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    server
        .get(&format!("{WHOAMI}?access_token={}", ann.token))
        .await
        .ok();
    server.get(WHOAMI).await.fails(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn devices_are_listed_named_and_deleted() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let path = format!("/_matrix/client/v3/devices/{}", ann.device_id);
    ann.put(&path, json!({"display_name": "Laptop"})).await.ok();
    assert_eq!(ann.get(&path).await.ok()["display_name"], "Laptop");
    assert_eq!(
        ann.get("/_matrix/client/v3/devices").await.ok()["devices"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    ann.get("/_matrix/client/v3/devices/other")
        .await
        .fails(404, "M_NOT_FOUND");
    let challenge = ann.delete(&path).await;
    assert_eq!(
        (challenge.status.as_u16(), challenge.body["flows"].is_array()),
        (401, true)
    );
    let auth = json!({"auth": {"type": "m.login.dummy"}});
    ann.request(Method::DELETE, &path, auth).await.ok();
    ann.get(WHOAMI).await.fails(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn deleting_a_device_takes_the_password_where_there_is_one() {
    let server = TestServer::new().await;
    let auth = json!({"type": "m.login.dummy"});
    let body = json!({"username": "ann", "password": "p", "device_id": "D", "auth": auth});
    let answer = server.post(REGISTER, body).await.ok();
    let token = answer["access_token"].as_str().unwrap();
    let delete = async |auth: Value| {
        let body = json!({"auth": auth, "devices": ["D"]}).to_string();
        server
            .raw(
                &Method::POST,
                "/_matrix/client/v3/delete_devices",
                Some(token),
                body.into(),
            )
            .await
    };
    assert_eq!(
        delete(Value::Null).await.body["flows"],
        json!([{"stages": ["m.login.password"]}])
    );
    delete(json!({"type": "m.login.dummy"}))
        .await
        .fails(401, "M_FORBIDDEN");
    delete(json!({"type": "m.login.password", "password": "x"}))
        .await
        .fails(401, "M_FORBIDDEN");
    let body = json!({"username": "bob", "password": "q", "auth": {"type": "m.login.dummy"}});
    server.post(REGISTER, body).await.ok();
    let named = |kind: &str, user: &str, password: &str| json!({"type": "m.login.password", "identifier": {"type": kind, "user": user}, "password": password});
    delete(named("m.id.user", "bob", "q"))
        .await
        .fails(403, "M_FORBIDDEN");
    delete(named("m.id.phone", "ann", "p"))
        .await
        .fails(401, "M_FORBIDDEN");
    delete(named("m.id.user", "ann", "x"))
        .await
        .fails(401, "M_FORBIDDEN");
    delete(json!({"type": "m.login.password", "password": "p"}))
        .await
        .ok();
}

#[tokio::test]
async fn profiles_are_set_and_read() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let path = format!("/_matrix/client/v3/profile/{}", ann.user_id);
    let name = format!("{path}/displayname");
    assert_eq!(server.get(&path).await.ok(), json!({"displayname": "ann"}));
    ann.put(&name, json!({"displayname": "Ann"})).await.ok();
    assert_eq!(server.get(&name).await.ok(), json!({"displayname": "Ann"}));
    assert_eq!(server.get(&path).await.ok(), json!({"displayname": "Ann"}));
    ann.put(&name, json!({"displayname": 7}))
        .await
        .fails(400, "M_INVALID_PARAM");
    ann.put(&name, json!({})).await.fails(400, "M_MISSING_PARAM");
    let colour = format!("{path}/org.example.colour");
    ann.put(&colour, json!({"org.example.colour": "red"})).await.ok();
    ann.put(&colour, json!({"org.example.colour": null}))
        .await
        .fails(400, "M_INVALID_PARAM");
    ann.get(&colour).await.ok();
    ann.delete(&colour).await.ok();
    for field in [
        "colour",
        "org.Example",
        "org..example",
        "org.example%20",
        "1.example",
    ] {
        let content = json!({ field.replace("%20", " "): "red" });
        let answer = ann.put(&format!("{path}/{field}"), content).await;
        answer.fails_at(field, 400, "M_INVALID_PARAM");
    }
    ann.delete(&name).await.ok();
    assert_eq!(server.get(&path).await.ok(), json!({}));
    let bob = server.register("bob").await;
    bob.put(&name, json!({"displayname": "Not Ann"}))
        .await
        .fails(403, "M_FORBIDDEN");
    let nobody = format!("/_matrix/client/v3/profile/@nobody:{}", server.name);
    server.get(&nobody).await.fails(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_new_name_is_shown_in_rooms() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room_id = ann.create_room(json!({})).await;
    let name = format!("/_matrix/client/v3/profile/{}/displayname", ann.user_id);
    ann.put(&name, json!({"displayname": "Ann"})).await.ok();
    let member = format!(
        "/_matrix/client/v3/rooms/{room_id}/state/m.room.member/{}",
        ann.user_id
    );
    assert_eq!(ann.get(&member).await.ok()["displayname"], "Ann");
}

#[tokio::test]
async fn filters_have_stable_ids() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let path = format!("/_matrix/client/v3/user/{}/filter", ann.user_id);
    let filter = json!({"room": {"timeline": {"limit": 5}}});
    let first = ann.post(&path, filter.clone()).await.ok();
    assert_eq!(ann.post(&path, filter.clone()).await.ok(), first);
    let id = first["filter_id"].as_str().unwrap();
    assert_eq!(ann.get(&format!("{path}/{id}")).await.ok(), filter);
    ann.get(&format!("{path}/other")).await.fails(404, "M_NOT_FOUND");
    ann.post(&path, json!({"room": 7})).await.fails(400, "M_BAD_JSON");
}

#[tokio::test]
async fn a_filter_that_an_earlier_version_took_is_still_used() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let filter = json!({"room": {"timeline": {"not_senders": ["bob"]}}});
    let path = format!("/_matrix/client/v3/user/{}/filter", ann.user_id);
    ann.post(&path, filter.clone()).await.fails(400, "M_BAD_JSON");
    let mut batch = WriteBatch::new();
    let key = format!("f\0{}\0old", ann.user_id);
    batch.put(Table::Accounts, key, filter.to_string());
    server.store.commit(batch).await.unwrap();
    ann.get("/_matrix/client/v3/sync?filter=old").await.ok();
}

#[tokio::test]
async fn account_data_is_kept_and_synced() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let path = format!("/_matrix/client/v3/user/{}/account_data/org.example", ann.user_id);
    ann.get(&path).await.fails(404, "M_NOT_FOUND");
    ann.put(&path, json!({"a": 1})).await.ok();
    assert_eq!(ann.get(&path).await.ok(), json!({"a": 1}));
    let sync = ann.get("/_matrix/client/v3/sync").await.ok();
    let events = sync["account_data"]["events"].as_array().unwrap();
    assert!(
        events.contains(&json!({"type": "org.example", "content": {"a": 1}})),
        "{sync}"
    );
    for kind in ["m.fully_read", "m.push_rules"] {
        let path = format!("/_matrix/client/v3/user/{}/account_data/{kind}", ann.user_id);
        ann.put(&path, json!({})).await.fails(405, "M_BAD_JSON");
    }
}

#[tokio::test]
async fn rooms_are_tagged() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room_id = ann.create_room(json!({})).await;
    let tags = format!("/_matrix/client/v3/user/{}/rooms/{room_id}/tags", ann.user_id);
    ann.put(&format!("{tags}/m.favourite"), json!({"order": 0.5}))
        .await
        .ok();
    assert_eq!(
        ann.get(&tags).await.ok(),
        json!({"tags": {"m.favourite": {"order": 0.5}}})
    );
    ann.delete(&format!("{tags}/m.favourite")).await.ok();
    assert_eq!(ann.get(&tags).await.ok(), json!({"tags": {}}));
    // A client may write them all at once, and more than it may add one by one.
    let many: serde_json::Map<_, _> = (0..102)
        .map(|number| (format!("u.{number}"), json!({})))
        .collect();
    let all = tags.replace("tags", "account_data/m.tag");
    ann.put(&all, json!({ "tags": many })).await.ok();
    ann.put(&format!("{tags}/u.new"), json!({}))
        .await
        .fails(413, "M_TOO_LARGE");
    ann.delete(&format!("{tags}/u.1")).await.ok();
}

#[tokio::test]
async fn push_rules_begin_with_the_defaults_and_can_be_changed() {
    const RULES: &str = "/_matrix/client/v3/pushrules/global";
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let all = ann.get("/_matrix/client/v3/pushrules/").await.ok();
    assert_eq!(all["global"]["override"][0]["rule_id"], ".m.rule.master");
    assert_eq!(all["global"]["room"], json!([]));
    let master = format!("{RULES}/override/.m.rule.master");
    assert_eq!(ann.get(&master).await.ok()["enabled"], false);
    ann.put(&format!("{master}/enabled"), json!({"enabled": true}))
        .await
        .ok();
    assert_eq!(
        ann.get(&format!("{master}/enabled")).await.ok(),
        json!({"enabled": true})
    );
    ann.delete(&master).await.fails(400, "M_INVALID_PARAM");
    let own = format!("{RULES}/content/cake");
    ann.get(&own).await.fails(404, "M_NOT_FOUND");
    ann.put(&own, json!({"pattern": "cake", "actions": ["notify"]}))
        .await
        .ok();
    ann.put(
        &format!("{own}?after=cake"),
        json!({"pattern": "pie", "actions": []}),
    )
    .await
    .fails(400, "M_INVALID_PARAM");
    ann.put(
        &format!("{RULES}/content/pie?after=cake"),
        json!({"pattern": "pie", "actions": []}),
    )
    .await
    .ok();
    ann.put(
        &format!("{own}?after=pie"),
        json!({"pattern": "cake", "actions": ["notify"]}),
    )
    .await
    .ok();
    let order = ann.get(&format!("{RULES}/")).await.ok();
    let order: Vec<_> = order["content"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| &rule["rule_id"])
        .collect();
    assert_eq!(order, ["pie", "cake"]);
    ann.put(&format!("{own}/actions"), json!({"actions": []}))
        .await
        .ok();
    assert_eq!(
        ann.get(&format!("{own}/actions")).await.ok(),
        json!({"actions": []})
    );
    ann.delete(&own).await.ok();
    ann.get(&own).await.fails(404, "M_NOT_FOUND");
    ann.put(&format!("{RULES}/sort/x"), json!({"actions": []}))
        .await
        .fails(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn a_name_that_is_set_again_reaches_rooms_that_have_missed_it() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room = ann.create_room(json!({})).await;
    let profile = format!("/_matrix/client/v3/profile/{}", ann.user_id);
    let name = format!("{profile}/displayname");
    let member = format!(
        "/_matrix/client/v3/rooms/{room}/state/m.room.member/{}",
        ann.user_id
    );
    for by_field in [true, false] {
        ann.put(&name, json!({"displayname": "Ann"})).await.ok();
        let missed = json!({"membership": "join", "displayname": "missed"});
        ann.put(&member, missed).await.ok();
        match by_field {
            true => ann.put(&name, json!({"displayname": "Ann"})).await.ok(),
            false => ann.put(&profile, json!({"displayname": "Ann"})).await.ok(),
        };
        assert_eq!(ann.get(&member).await.ok()["displayname"], "Ann");
    }
    let long = json!({"displayname": "x".repeat(1025)});
    ann.put(&name, long).await.fails(400, "M_INVALID_PARAM");
    assert_eq!(ann.get(&name).await.ok()["displayname"], "Ann");
}

#[tokio::test]
async fn patterns_of_push_rules_are_bounded_together() {
    const RULES: &str = "/_matrix/client/v3/pushrules/global";
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let put = async |number: usize, pattern: &str| {
        let body = json!({"pattern": pattern, "actions": ["notify"]});
        ann.put(&format!("{RULES}/content/{number}"), body).await
    };
    put(0, &"ä".repeat(513)).await.fails(400, "M_INVALID_PARAM");
    for number in 0..8 {
        put(number, &"ä".repeat(500)).await.ok();
    }
    put(8, &"ä".repeat(500)).await.fails(400, "M_INVALID_PARAM");
    put(7, "cake").await.ok();
    put(8, &"ä".repeat(500)).await.ok();
    // Who silences rooms needs a long pattern for each.
    for number in 0..50 {
        let condition = json!({"kind": "event_match", "key": "room_id", "pattern": "!r".repeat(20)});
        let body = json!({"conditions": [condition], "actions": []});
        ann.put(&format!("{RULES}/override/{number}"), body).await.ok();
    }
}

#[tokio::test]
async fn users_are_found_by_name() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    server.register("bob").await;
    let path = "/_matrix/client/v3/user_directory/search";
    let found = ann.post(path, json!({"search_term": "BO"})).await.ok();
    assert_eq!(
        found["results"],
        json!([{"user_id": format!("@bob:{}", server.name), "display_name": "bob"}])
    );
    assert_eq!(found["limited"], false);
    assert_eq!(
        ann.post(path, json!({"search_term": ":", "limit": 1})).await.ok()["limited"],
        true
    );
}

#[tokio::test]
async fn a_closed_account_is_gone_and_its_name_stays_taken() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let path = "/_matrix/client/v3/account/deactivate";
    assert_eq!(ann.post(path, json!({})).await.status, 401);
    ann.post(path, json!({"auth": {"type": "m.login.dummy"}}))
        .await
        .ok();
    ann.get(WHOAMI).await.fails(401, "M_UNKNOWN_TOKEN");
    let again = json!({"username": "ann", "auth": {"type": "m.login.dummy"}});
    server.post(REGISTER, again).await.fails(400, "M_USER_IN_USE");
}

#[tokio::test]
async fn a_changed_password_logs_the_other_devices_out() {
    let server = TestServer::new().await;
    let auth = json!({"type": "m.login.dummy"});
    server
        .post(
            REGISTER,
            json!({"username": "ann", "password": "old", "auth": auth}),
        )
        .await
        .ok();
    let one = server.post(LOGIN, login("ann", "old")).await.ok();
    let two = server.post(LOGIN, login("ann", "old")).await.ok();
    let call = async |token: &Value, path: &str, body: Value| {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let method = if body.is_empty() {
            Method::GET
        } else {
            Method::POST
        };
        server.raw(&method, path, token.as_str(), body.into()).await
    };
    let change = json!({"new_password": "new", "auth": {"type": "m.login.password", "password": "old"}});
    call(
        &one["access_token"],
        "/_matrix/client/v3/account/password",
        change,
    )
    .await
    .ok();
    call(&one["access_token"], WHOAMI, Value::Null).await.ok();
    call(&two["access_token"], WHOAMI, Value::Null)
        .await
        .fails(401, "M_UNKNOWN_TOKEN");
    server
        .post(LOGIN, login("ann", "old"))
        .await
        .fails(403, "M_FORBIDDEN");
    server.post(LOGIN, login("ann", "new")).await.ok();
}

/// A homeserver that takes two writes, and then none for long.
async fn limited_server() -> TestServer {
    let rate_limit = Some(RateLimit {
        per_second: 0.001,
        burst: 2.0,
    });
    TestServer::with(
        Config::default(),
        ApiConfig {
            base_url: None,
            rate_limit,
        },
    )
    .await
}

#[tokio::test]
async fn too_many_writes_are_put_off() {
    let server = limited_server().await;
    for _ in 0..2 {
        server.post(REGISTER, json!({})).await;
    }
    let answer = server.post(REGISTER, json!({})).await;
    answer.fails(429, "M_LIMIT_EXCEEDED");
    assert!(answer.body["retry_after_ms"].as_u64().unwrap() > 0);
    assert!(
        answer.headers["retry-after"]
            .to_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 0
    );
    server.get("/_matrix/client/versions").await.ok();
}

/// The answer to `request`, made without a token from `address`.
async fn from_address(server: &TestServer, address: &str, request: (Method, &str, Value)) -> Answer {
    let (method, path, body) = request;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .extension(ClientAddress(address.parse().unwrap()));
    let body = Body::from(body.to_string().into_bytes());
    server.send(request.body(body).unwrap()).await
}

#[tokio::test]
async fn no_address_uses_up_the_logins_of_another() {
    let server = limited_server().await;
    let log_in = |address| from_address(&server, address, (Method::POST, LOGIN, login("nobody", "x")));
    for (one, same) in [("1.1.1.1", "1.1.1.1"), ("2001:db8::1", "2001:db8::2")] {
        for _ in 0..2 {
            log_in(one).await.fails(403, "M_FORBIDDEN");
        }
        log_in(same).await.fails(429, "M_LIMIT_EXCEEDED");
    }
    log_in("2.2.2.2").await.fails(403, "M_FORBIDDEN");
    log_in("2001:db8:0:1::1").await.fails(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn files_do_not_use_up_the_logins() {
    let server = limited_server().await;
    let send = |request| from_address(&server, "1.1.1.1", request);
    let file = || {
        let path = "/_matrix/media/v3/download/elsewhere.example/x?allow_remote=false";
        send((Method::GET, path, Value::Null))
    };
    for _ in 0..2 {
        file().await.fails(404, "M_NOT_FOUND");
    }
    file().await.fails(429, "M_LIMIT_EXCEEDED");
    let log_in = send((Method::POST, LOGIN, login("nobody", "x")));
    log_in.await.fails(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn what_is_not_offered_says_so() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    assert_eq!(
        ann.get("/_matrix/client/v3/voip/turnServer").await.ok(),
        json!({})
    );
    assert_eq!(
        ann.get("/_matrix/client/v3/thirdparty/protocols").await.ok(),
        json!({})
    );
    assert_eq!(
        ann.get("/_matrix/client/v3/pushers").await.ok(),
        json!({"pushers": []})
    );
    let capabilities = ann.get("/_matrix/client/v3/capabilities").await.ok();
    assert_eq!(capabilities["capabilities"]["m.room_versions"]["default"], "12");
    let versions = server.get("/_matrix/client/versions").await.ok();
    assert!(versions["versions"].as_array().unwrap().contains(&json!("v1.1")));
}
