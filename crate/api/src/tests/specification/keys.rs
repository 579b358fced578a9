//! Keys of devices and users, and backups of keys.

use http::Method;
use serde_json::{Value, json};

use super::{Checker, Ids};
use crate::tests::{server::TestServer, signed::Key};

pub(super) async fn visit_keys(checker: &mut Checker, server: &TestServer) {
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

pub(super) async fn visit_backups(checker: &mut Checker, server: &TestServer) {
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
