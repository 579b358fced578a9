//! Guests, suspended, locked and closed accounts, and who administers them.

use std::time::Duration;

use hearth_homeserver::Config;
use hearth_storage::Table;
use http::Method;
use serde_json::{Value, json};

use super::{relations::percent_encode, server::TestServer};
use crate::ApiConfig;

async fn with_guests() -> TestServer {
    let config = Config {
        guests: true,
        ..Config::default()
    };
    TestServer::with(config, ApiConfig::default()).await
}

#[tokio::test]
async fn a_guest_goes_where_guests_may_go() {
    let server = with_guests().await;
    let ann = server.register("ann").await;
    let path = "/_matrix/client/v3/register?kind=guest";
    let guest = server.client(&server.post(path, json!({})).await.ok());
    let me = guest.get("/_matrix/client/v3/account/whoami").await.ok();
    assert_eq!(me["is_guest"], true);
    let open =
        json!([{"type": "m.room.guest_access", "state_key": "", "content": {"guest_access": "can_join"}}]);
    let open = ann
        .create_room(json!({"preset": "public_chat", "initial_state": open}))
        .await;
    let closed = ann.create_room(json!({"preset": "public_chat"})).await;
    let join = |room: &str| format!("/_matrix/client/v3/join/{room}");
    guest.post(&join(&open), json!({})).await.ok();
    guest.say(&open, "1", "hello").await;
    guest
        .post(&join(&closed), json!({}))
        .await
        .fails(403, "M_GUEST_ACCESS_FORBIDDEN");
    for (path, body) in [
        ("/_matrix/client/v3/createRoom", json!({})),
        ("/_matrix/client/v3/account/deactivate", json!({})),
        ("/_matrix/client/v3/search", json!({})),
    ] {
        let answer = guest.post(path, body).await;
        if answer.status != 404 {
            answer.fails_at(path, 403, "M_GUEST_ACCESS_FORBIDDEN");
        }
    }
    // With an empty key, as matrix-js-sdk asks.
    let create = format!("/_matrix/client/v3/rooms/{open}/state/m.room.create/");
    guest.get(&create).await.ok();
    let topic = format!("/_matrix/client/v3/rooms/{open}/state/m.room.topic/");
    guest.put(&topic, json!({})).await.fails(403, "M_FORBIDDEN");
    // What let the guest in is taken back.
    let sync = "/_matrix/client/v3/sync?timeout=20000&since=";
    let mut since = guest.get("/_matrix/client/v3/sync").await.ok()["next_batch"].clone();
    let path = format!("/_matrix/client/v3/rooms/{open}/state/m.room.guest_access/");
    ann.put(&path, json!({"guest_access": "forbidden"})).await.ok();
    loop {
        let news = guest
            .get(&format!("{sync}{}", since.as_str().unwrap()))
            .await
            .ok();
        if news["rooms"]["leave"][&open].is_object() {
            break;
        }
        since = news["next_batch"].clone();
    }
    let member = format!(
        "/_matrix/client/v3/rooms/{open}/state/m.room.member/{}",
        guest.user_id
    );
    assert_eq!(ann.get(&member).await.ok()["membership"], "leave");
    let path = format!("/_matrix/client/v3/rooms/{open}/send/m.room.message/2");
    let answer = guest.put(&path, json!({"msgtype": "m.text", "body": "?"})).await;
    answer.fails(403, "M_GUEST_ACCESS_FORBIDDEN");
    let leave = format!("/_matrix/client/v3/rooms/{open}/leave");
    guest.post(&leave, json!({})).await.ok();
}

#[tokio::test]
async fn a_guest_becomes_a_user() {
    let server = with_guests().await;
    let path = "/_matrix/client/v3/register?kind=guest";
    let guest = server.client(&server.post(path, json!({})).await.ok());
    server.clock.advance(Duration::from_secs(1));
    let ann = server.register("ann").await;
    server.clock.advance(Duration::from_secs(1));
    let name = guest.user_id[1..].split(':').next().unwrap();
    let path = "/_matrix/client/v3/register";
    let upgrade = |name: &str, token: &str| {
        json!({
            "username": name, "password": "p", "guest_access_token": token, "auth": {"type": "m.login.dummy"},
        })
    };
    for (name, token) in [("other", &guest.token), (name, &ann.token), ("ann", &ann.token)] {
        server
            .post(path, upgrade(name, token))
            .await
            .fails(403, "M_FORBIDDEN");
    }
    server
        .post(path, upgrade(name, "none"))
        .await
        .fails(401, "M_UNKNOWN_TOKEN");
    let user = server.client(&server.post(path, upgrade(name, &guest.token)).await.ok());
    assert_eq!(user.user_id, guest.user_id);
    let whoami = "/_matrix/client/v3/account/whoami";
    assert_eq!(user.get(whoami).await.ok()["is_guest"], false);
    guest.get(whoami).await.fails(401, "M_UNKNOWN_TOKEN");
    user.create_room(json!({})).await;
    // The account is older, but who was a user first administers.
    let lock = format!("/_matrix/client/v1/admin/lock/{}", ann.user_id);
    user.put(&lock, json!({"locked": true}))
        .await
        .fails(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn the_first_user_suspends_and_locks_others() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = bob.room_with(&ann).await;
    let said = bob.say(&room, "1", "well").await;
    let heard = ann.say(&room, "1", "what?").await;
    let later =
        format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/5?org.matrix.msc4140.delay=60000");
    let later = bob.put(&later, json!({"body": "later"})).await.ok();
    let later = later["delay_id"].as_str().unwrap();
    let suspend = format!("/_matrix/client/v1/admin/suspend/{}", bob.user_id);
    let lock = format!("/_matrix/client/v1/admin/lock/{}", bob.user_id);
    let before = server.dump().await;
    for path in [&suspend, &lock] {
        bob.get(path).await.fails(403, "M_FORBIDDEN");
        bob.put(path, json!({"suspended": true, "locked": true}))
            .await
            .fails(403, "M_FORBIDDEN");
        ann.put(path, json!({})).await.fails(400, "M_MISSING_PARAM");
        let own = path.replace(&bob.user_id, &ann.user_id);
        ann.put(&own, json!({"suspended": true, "locked": true}))
            .await
            .fails(403, "M_FORBIDDEN");
        let nobody = path.replace("@bob", "@nobody");
        ann.get(&nobody).await.fails(404, "M_NOT_FOUND");
        ann.get(&path.replace(&server.name, "example.org"))
            .await
            .fails(400, "M_INVALID_PARAM");
    }
    assert_eq!(server.dump().await, before);

    assert_eq!(ann.get(&suspend).await.ok(), json!({"suspended": false}));
    ann.put(&suspend, json!({"suspended": true})).await.ok();
    assert_eq!(ann.get(&suspend).await.ok(), json!({"suspended": true}));
    let send = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/2");
    bob.put(&send, json!({"body": "?"}))
        .await
        .fails(403, "M_USER_SUSPENDED");
    bob.post("/_matrix/client/v3/createRoom", json!({}))
        .await
        .fails(403, "M_USER_SUSPENDED");
    for profile in ["v3/profile", "unstable/uk.tcpip.msc4133/profile"] {
        let path = format!("/_matrix/client/{profile}/{}", bob.user_id);
        for (method, path) in [
            (Method::PATCH, path.clone()),
            (Method::PUT, path.clone()),
            (Method::PUT, format!("{path}/displayname")),
            (Method::DELETE, format!("{path}/displayname")),
        ] {
            let answer = bob.request(method, &path, json!({"displayname": "Rob"})).await;
            answer.fails_at(&path, 403, "M_USER_SUSPENDED");
        }
    }
    let at_once = format!("/_matrix/client/unstable/org.matrix.msc4140/delayed_events/{later}/send");
    server
        .post(&at_once, json!({}))
        .await
        .fails(403, "M_USER_SUSPENDED");
    let redact_other = format!("/_matrix/client/v3/rooms/{room}/redact/{heard}/4");
    bob.put(&redact_other, json!({}))
        .await
        .fails(403, "M_USER_SUSPENDED");
    bob.get("/_matrix/client/v3/sync").await.ok();
    let redact = format!("/_matrix/client/v3/rooms/{room}/redact/{said}/3");
    bob.put(&redact, json!({})).await.ok();
    ann.put(&suspend, json!({"suspended": false})).await.ok();
    bob.put(&redact_other, json!({})).await.ok();
    bob.put(&send, json!({"body": "!"})).await.ok();
    let later =
        format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/6?org.matrix.msc4140.delay=60000");
    let later = bob.put(&later, json!({"body": "later"})).await.ok();

    ann.put(&lock, json!({"locked": true})).await.ok();
    let (ann, bob) = (ann.parts(), bob.parts());
    let server = server.restarted().await;
    let (ann, bob) = (server.resume(&ann), server.resume(&bob));
    let at_once = later["delay_id"].as_str().unwrap();
    let at_once = format!("/_matrix/client/unstable/org.matrix.msc4140/delayed_events/{at_once}/send");
    server.post(&at_once, json!({})).await.fails(401, "M_USER_LOCKED");
    let locked = bob.get("/_matrix/client/v3/sync").await;
    locked.fails(401, "M_USER_LOCKED");
    assert_eq!(locked.body["soft_logout"], true);
    ann.put(&lock, json!({"locked": false})).await.ok();
    bob.get("/_matrix/client/v3/sync").await.ok();
    ann.put(&lock, json!({"locked": true})).await.ok();
    bob.post("/_matrix/client/v3/logout", Value::Null).await.ok();
}

#[tokio::test]
async fn who_is_logged_in_is_told_to_them_and_to_the_administrator() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let path = |user: &str| format!("/_matrix/client/v3/admin/whois/{user}");
    for asker in [&ann, &bob] {
        let answer = asker.get(&path(&bob.user_id)).await.ok();
        let connections = &answer["devices"][&bob.device_id]["sessions"][0]["connections"];
        assert!(connections[0]["last_seen"].is_u64(), "{answer}");
    }
    bob.get(&path(&ann.user_id)).await.fails(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_closed_account_leaves_nothing_that_only_its_user_could_read() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room = ann.create_room(json!({})).await;
    let said = ann.say(&room, "1", "well").await;
    let (client, own) = (
        "/_matrix/client",
        format!("/_matrix/client/v3/user/{}", ann.user_id),
    );
    ann.put(&format!("{own}/account_data/m.x"), json!({"a": 1}))
        .await
        .ok();
    ann.post(&format!("{own}/filter"), json!({})).await.ok();
    let backup =
        json!({"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {"public_key": "x"}});
    let version = ann
        .post(&format!("{client}/v3/room_keys/version"), backup)
        .await
        .ok()["version"]
        .clone();
    let key = json!({
        "first_message_index": 1, "forwarded_count": 0, "is_verified": true, "session_data": {"ciphertext": "x"},
    });
    let path = format!(
        "{client}/v3/room_keys/keys/{room}/s?version={}",
        version.as_str().unwrap()
    );
    ann.put(&path, key).await.ok();
    let thread = format!("rooms/{room}/thread/{said}/subscription");
    let path = format!("{client}/unstable/io.element.msc4306/{thread}");
    ann.put(&path, json!({})).await.ok();
    let later = format!("{client}/v3/rooms/{room}/send/m.x/5?org.matrix.msc4140.delay=60000");
    ann.put(&later, json!({"body": "later"})).await.ok();
    let path = format!("{client}/v3/presence/{}/status", ann.user_id);
    ann.put(&path, json!({"presence": "online", "status_msg": "here"}))
        .await
        .ok();
    let kinds = async || {
        let rows = server.dump().await.into_iter();
        let of_ann = rows.filter(|(_, (key, value))| {
            let text = String::from_utf8_lossy(&[key.as_slice(), value].concat()).into_owned();
            text.contains(&ann.user_id)
        });
        let own = of_ann.filter_map(|(table, (key, _))| match table {
            Table::Accounts | Table::Keys => Some(char::from(key[0])),
            Table::AccountData => Some('@'),
            _ => None,
        });
        own.collect::<std::collections::BTreeSet<_>>()
    };
    let before = kinds().await;
    assert!(
        ['@', 'f', 'v', 'b', 'T', 'e', 'P']
            .iter()
            .all(|kind| before.contains(kind)),
        "{before:?}"
    );
    let body = json!({"auth": {"type": "m.login.dummy"}});
    ann.post(&format!("{client}/v3/account/deactivate"), body)
        .await
        .ok();
    // That there was such a user, and their profile.
    assert_eq!(kinds().await.into_iter().collect::<String>(), "pu");
}

#[tokio::test]
async fn who_asks_for_it_is_erased() {
    let server = TestServer::new().await;
    let [ann, bob, cat] = [
        server.register("ann").await,
        server.register("bob").await,
        server.register("cat").await,
    ];
    let room = ann.create_room(json!({"preset": "public_chat"})).await;
    let invited = bob.create_room(json!({"invite": [ann.user_id]})).await;
    let join = format!("/_matrix/client/v3/join/{room}");
    bob.post(&join, json!({})).await.ok();
    let said = ann.say(&room, "1", "secret").await;
    let name = format!("/_matrix/client/v3/profile/{}/displayname", ann.user_id);
    ann.put(&name, json!({"displayname": "Ann"})).await.ok();
    let data = format!("/_matrix/client/v3/user/{}/account_data/m.x", ann.user_id);
    ann.put(&data, json!({"a": 1})).await.ok();
    let body = json!({"auth": {"type": "m.login.dummy"}, "erase": true});
    ann.post("/_matrix/client/v3/account/deactivate", body).await.ok();
    ann.get("/_matrix/client/v3/account/whoami")
        .await
        .fails(401, "M_UNKNOWN_TOKEN");
    cat.post(&join, json!({})).await.ok();
    let event = format!("/_matrix/client/v3/rooms/{room}/event/{said}");
    assert_eq!(bob.get(&event).await.ok()["content"]["body"], "secret");
    assert_eq!(cat.get(&event).await.ok()["content"], json!({}));
    let profile = format!("/_matrix/client/v3/profile/{}", ann.user_id);
    assert_eq!(bob.get(&profile).await.ok(), json!({}));
    let member = format!(
        "/_matrix/client/v3/rooms/{invited}/state/m.room.member/{}",
        ann.user_id
    );
    assert_eq!(bob.get(&member).await.ok()["membership"], "leave");
    let rows = server.dump().await;
    let of_ann = |key: &[u8]| key.windows(3).any(|part| part == b"m.x");
    assert!(
        !rows.iter().any(|(_, (key, _))| of_ann(key)),
        "account data stays"
    );
    // The name stays taken.
    let body = json!({"username": "ann", "auth": {"type": "m.login.dummy"}});
    server
        .post("/_matrix/client/v3/register", body)
        .await
        .fails(400, "M_USER_IN_USE");
}

#[tokio::test]
async fn what_is_erased_is_hidden_everywhere_and_leaves_the_room_whole() {
    let server = TestServer::new().await;
    let [ann, bob, cat] = [
        server.register("ann").await,
        server.register("bob").await,
        server.register("cat").await,
    ];
    let name = format!("/_matrix/client/v3/profile/{}/displayname", ann.user_id);
    ann.put(&name, json!({"displayname": "Regrettable"})).await.ok();
    let encryption = json!({"algorithm": "m.megolm.v1.aes-sha2"});
    let state = json!([{"type": "m.room.encryption", "state_key": "", "content": encryption}]);
    let body = json!({"preset": "public_chat", "name": "Tea", "initial_state": state});
    let room = ann.create_room(body).await;
    let join = format!("/_matrix/client/v3/join/{room}");
    bob.post(&join, json!({})).await.ok();
    ann.say(&room, "1", "Regrettable").await;
    let body = json!({"auth": {"type": "m.login.dummy"}, "erase": true});
    ann.post("/_matrix/client/v3/account/deactivate", body).await.ok();
    cat.post(&join, json!({})).await.ok();
    let state = format!("/_matrix/client/v3/rooms/{room}/state");
    let of_room = |kind: &str| format!("{state}/{kind}/");
    assert_eq!(cat.get(&of_room("m.room.encryption")).await.ok(), encryption);
    assert_eq!(cat.get(&of_room("m.room.name")).await.ok()["name"], "Tea");
    let create = cat.get(&state).await.ok();
    let create = create.as_array().unwrap().iter();
    let create: Vec<_> = create.filter(|event| event["type"] == "m.room.create").collect();
    assert_eq!(create[0]["content"]["room_version"], "12");
    let ways = [
        format!("{state}/m.room.member/{}", ann.user_id),
        format!("/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=100"),
        state.clone(),
        "/_matrix/client/v3/sync".to_owned(),
        format!(
            "/_matrix/client/v3/sync?filter={}",
            percent_encode(r#"{"event_format":"federation","room":{"timeline":{"limit":100}}}"#)
        ),
    ];
    for path in ways {
        let to_cat = cat.get(&path).await.ok();
        assert!(to_cat.to_string().contains("leave"), "{path}: {to_cat}");
        assert!(!to_cat.to_string().contains("Regrettable"), "{path}: {to_cat}");
        let to_bob = bob.get(&path).await.ok();
        let is_hidden = !to_bob.to_string().contains("Regrettable");
        assert_eq!(is_hidden, path.contains("m.room.member"), "{path}: {to_bob}");
    }
}
