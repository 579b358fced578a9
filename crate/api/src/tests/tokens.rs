//! Access tokens that expire, login tokens, OpenID tokens.

use std::time::Duration;

use serde_json::{Value, json};

use super::server::{Answer, TestServer};

const REGISTER: &str = "/_matrix/client/v3/register";
const LOGIN: &str = "/_matrix/client/v3/login";
const REFRESH: &str = "/_matrix/client/v3/refresh";
const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

async fn whoami(server: &TestServer, token: &Value) -> Answer {
    let path = format!("{WHOAMI}?access_token={}", token.as_str().unwrap());
    server.get(&path).await
}

async fn refresh(server: &TestServer, token: &Value) -> Answer {
    server.post(REFRESH, json!({"refresh_token": token})).await
}

/// Somebody whose token expires.
async fn register(server: &TestServer, name: &str) -> Value {
    let body = json!({
        "username": name, "password": "p", "refresh_token": true, "device_id": "D",
        "auth": {"type": "m.login.dummy"},
    });
    server.post(REGISTER, body).await.ok()
}

#[tokio::test]
async fn a_token_that_expires_is_refreshed() {
    let server = TestServer::new().await;
    let first = register(&server, "ann").await;
    assert_eq!(first["expires_in_ms"].as_u64().unwrap() / 1000, 299);
    whoami(&server, &first["access_token"]).await.ok();
    server.clock.advance(Duration::from_secs(300));
    let expired = whoami(&server, &first["access_token"]).await;
    expired.fails(401, "M_UNKNOWN_TOKEN");
    assert_eq!(expired.body["soft_logout"], true);
    let other = register(&server, "bob").await;
    server.clock.advance(Duration::from_secs(300));
    let logout = |token: &Value| {
        format!(
            "/_matrix/client/v3/logout?access_token={}",
            token.as_str().unwrap()
        )
    };
    server
        .post(&logout(&other["access_token"]), Value::Null)
        .await
        .ok();
    refresh(&server, &other["refresh_token"])
        .await
        .fails(401, "M_UNKNOWN_TOKEN");
    let unknown = whoami(&server, &json!("unknown")).await;
    assert_eq!(unknown.body["soft_logout"], false);
    // The device and all that belongs to it is still there, also after a restart.
    let server = server.restarted().await;
    let second = refresh(&server, &first["refresh_token"]).await.ok();
    assert_eq!(
        whoami(&server, &second["access_token"]).await.ok()["device_id"],
        "D"
    );
    // Now that the new token has been used, the old ones are gone for good.
    refresh(&server, &first["refresh_token"])
        .await
        .fails(401, "M_UNKNOWN_TOKEN");
    let third = refresh(&server, &second["refresh_token"]).await.ok();
    whoami(&server, &third["access_token"]).await.ok();
    whoami(&server, &second["access_token"])
        .await
        .fails(401, "M_UNKNOWN_TOKEN");
    let server = server.restarted().await;
    whoami(&server, &third["access_token"]).await.ok();
    for old in [&first, &second] {
        refresh(&server, &old["refresh_token"])
            .await
            .fails(401, "M_UNKNOWN_TOKEN");
        whoami(&server, &old["access_token"])
            .await
            .fails(401, "M_UNKNOWN_TOKEN");
    }
}

#[tokio::test]
async fn an_answer_that_was_lost_is_asked_for_again() {
    let server = TestServer::new().await;
    let first = register(&server, "ann").await;
    let lost = refresh(&server, &first["refresh_token"]).await.ok();
    let again = refresh(&server, &first["refresh_token"]).await.ok();
    whoami(&server, &lost["access_token"])
        .await
        .fails(401, "M_UNKNOWN_TOKEN");
    refresh(&server, &lost["refresh_token"])
        .await
        .fails(401, "M_UNKNOWN_TOKEN");
    // The old token is good until the new one is used.
    whoami(&server, &first["access_token"]).await.ok();
    whoami(&server, &again["access_token"]).await.ok();
    whoami(&server, &first["access_token"])
        .await
        .fails(401, "M_UNKNOWN_TOKEN");
    // Using the next refresh token also says that the answer has arrived.
    let next = refresh(&server, &again["refresh_token"]).await.ok();
    let after = refresh(&server, &next["refresh_token"]).await.ok();
    refresh(&server, &again["refresh_token"])
        .await
        .fails(401, "M_UNKNOWN_TOKEN");
    whoami(&server, &after["access_token"]).await.ok();
}

#[tokio::test]
async fn logging_out_takes_the_refresh_token_too() {
    let server = TestServer::new().await;
    let first = register(&server, "ann").await;
    let client = server.client(&first);
    client.post("/_matrix/client/v3/logout", Value::Null).await.ok();
    refresh(&server, &first["refresh_token"])
        .await
        .fails(401, "M_UNKNOWN_TOKEN");
    let login = json!({
        "type": "m.login.password", "identifier": {"type": "m.id.user", "user": "ann"}, "password": "p",
        "refresh_token": true,
    });
    let second = server.post(LOGIN, login).await.ok();
    assert!(second["refresh_token"].is_string() && second["expires_in_ms"].is_u64());
    let server = server.restarted().await;
    refresh(&server, &first["refresh_token"])
        .await
        .fails(401, "M_UNKNOWN_TOKEN");
    refresh(&server, &second["refresh_token"]).await.ok();
}

#[tokio::test]
async fn a_login_token_logs_in_once_and_for_two_minutes() {
    let server = TestServer::new().await;
    let ann = server.client(&register(&server, "ann").await);
    let path = "/_matrix/client/v1/login/get_token";
    assert_eq!(
        ann.post(path, json!({})).await.status,
        401,
        "the user proves who they are"
    );
    let auth = json!({"type": "m.login.password", "user": "ann", "password": "p"});
    let token = ann.post(path, json!({"auth": auth})).await.ok();
    assert_eq!(token["expires_in_ms"], 120_000);
    let login = json!({"type": "m.login.token", "token": token["login_token"]});
    let body = server.post(LOGIN, login.clone()).await.ok();
    assert_eq!(body["user_id"], ann.user_id.as_str());
    assert_ne!(body["device_id"], "D");
    server.post(LOGIN, login).await.fails(403, "M_FORBIDDEN");
    let late = ann.post(path, json!({"auth": auth})).await.ok();
    server.clock.advance(Duration::from_secs(120));
    let login = json!({"type": "m.login.token", "token": late["login_token"]});
    server.post(LOGIN, login).await.fails(403, "M_FORBIDDEN");
    server
        .post(LOGIN, json!({"type": "m.login.token"}))
        .await
        .fails(400, "M_MISSING_PARAM");
    let flows = server.get(LOGIN).await.ok();
    assert_eq!(
        flows["flows"][1],
        json!({"type": "m.login.token", "get_login_token": true})
    );
}

#[tokio::test]
async fn an_openid_token_tells_who_a_user_is() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let path = format!("/_matrix/client/v3/user/{}/openid/request_token", ann.user_id);
    bob.post(&path, json!({})).await.fails(403, "M_FORBIDDEN");
    let token = ann.post(&path, json!({})).await.ok();
    assert_eq!(token["matrix_server_name"], server.name.as_str());
    let ask = |token: &Value| {
        format!(
            "/_matrix/federation/v1/openid/userinfo?access_token={}",
            token.as_str().unwrap()
        )
    };
    let path = ask(&token["access_token"]);
    assert_eq!(server.get(&path).await.ok()["sub"], ann.user_id.as_str());
    // It is no access token, and an access token is none of these.
    whoami(&server, &token["access_token"])
        .await
        .fails(401, "M_UNKNOWN_TOKEN");
    server
        .get(&ask(&json!(ann.token)))
        .await
        .fails(401, "M_UNKNOWN_TOKEN");
    server
        .get("/_matrix/federation/v1/openid/userinfo")
        .await
        .fails(401, "M_MISSING_TOKEN");
    server.clock.advance(Duration::from_secs(3600));
    server.get(&path).await.fails(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn registration_takes_no_tokens() {
    let server = TestServer::new().await;
    let path = "/_matrix/client/v1/register/m.login.registration_token/validity";
    server
        .get(&format!("{path}?token=x"))
        .await
        .fails(403, "M_FORBIDDEN");
    server.get(path).await.fails(400, "M_MISSING_PARAM");
}
