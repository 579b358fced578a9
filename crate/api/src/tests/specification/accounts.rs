//! Accounts and sessions.

use http::Method;
use serde_json::{Value, json};

use super::{Checker, Ids};
use crate::tests::server::TestServer;

pub(super) async fn visit_accounts(checker: &mut Checker, server: &TestServer) {
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
pub(super) async fn visit_sessions(checker: &mut Checker, server: &TestServer) {
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
