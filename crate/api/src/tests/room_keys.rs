//! Backups of room keys.

use serde_json::{Value, json};

use super::server::{Client, TestServer};

const VERSIONS: &str = "/_matrix/client/v3/room_keys/version";
const KEYS: &str = "/_matrix/client/v3/room_keys/keys";
const ALGORITHM: &str = "m.megolm_backup.v1.curve25519-aes-sha2";

async fn create(client: &Client<'_>) -> String {
    let body = json!({"algorithm": ALGORITHM, "auth_data": {"public_key": "x"}});
    let answer = client.post(VERSIONS, body).await.ok();
    answer["version"].as_str().unwrap().to_owned()
}

fn key(first: u64, forwarded: u64, verified: bool) -> Value {
    json!({
        "first_message_index": first, "forwarded_count": forwarded, "is_verified": verified,
        "session_data": {"ciphertext": format!("{first} {forwarded} {verified}")},
    })
}

#[tokio::test]
async fn versions_are_made_changed_and_deleted() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    ann.get(VERSIONS).await.fails(404, "M_NOT_FOUND");
    let first = create(&ann).await;
    let second = create(&ann).await;
    assert_ne!(first, second);
    let newest = ann.get(VERSIONS).await.ok();
    assert_eq!(
        newest,
        json!({
            "version": second, "algorithm": ALGORITHM, "auth_data": {"public_key": "x"}, "count": 0, "etag": "0",
        })
    );
    let path = format!("{VERSIONS}/{first}");
    let other = |auth: &str| json!({"algorithm": ALGORITHM, "auth_data": {"public_key": auth}});
    ann.put(&path, other("y")).await.ok();
    assert_eq!(ann.get(&path).await.ok()["auth_data"]["public_key"], "y");
    let mut wrong = other("z");
    wrong["version"] = json!(second);
    ann.put(&path, wrong).await.fails(400, "M_INVALID_PARAM");
    ann.put(&path, json!({"algorithm": "other", "auth_data": {}}))
        .await
        .fails(400, "M_INVALID_PARAM");
    for algorithm in [String::new(), "x".repeat(256)] {
        ann.post(VERSIONS, json!({"algorithm": algorithm, "auth_data": {}}))
            .await
            .fails(400, "M_INVALID_PARAM");
    }
    ann.delete(&format!("{VERSIONS}/{second}")).await.ok();
    ann.delete(&format!("{VERSIONS}/{second}")).await.ok();
    assert_eq!(ann.get(VERSIONS).await.ok()["version"], first.as_str());
    ann.get(&format!("{VERSIONS}/{second}"))
        .await
        .fails(404, "M_NOT_FOUND");
    for unknown in ["99", "x", "01"] {
        let path = format!("{VERSIONS}/{unknown}");
        ann.get(&path).await.fails_at(unknown, 404, "M_NOT_FOUND");
        ann.delete(&path).await.fails_at(unknown, 404, "M_NOT_FOUND");
        ann.put(&path, other("x"))
            .await
            .fails_at(unknown, 404, "M_NOT_FOUND");
    }
    ann.delete(&path).await.ok();
    ann.get(VERSIONS).await.fails(404, "M_NOT_FOUND");
    let third = create(&ann).await;
    assert!(third != first && third != second, "no number is used again");
}

#[tokio::test]
async fn keys_are_put_read_and_deleted() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let version = create(&ann).await;
    let at = |path: &str| format!("{KEYS}{path}?version={version}");
    let all = json!({"rooms": {
        "!a:x": {"sessions": {"s1": key(0, 0, false), "s/2": key(1, 0, true)}},
        "!b:x": {"sessions": {"s1": key(2, 0, false)}},
    }});
    let status = ann.put(&at(""), all.clone()).await.ok();
    assert_eq!(status, json!({"etag": "1", "count": 3}));
    assert_eq!(ann.get(&at("")).await.ok(), all);
    assert_eq!(ann.get(&at("/!a:x")).await.ok(), all["rooms"]["!a:x"]);
    assert_eq!(ann.get(&at("/!a:x/s%2F2")).await.ok(), key(1, 0, true));
    ann.get(&at("/!a:x/s3")).await.fails(404, "M_NOT_FOUND");
    assert_eq!(ann.get(&at("/!c:x")).await.ok(), json!({"sessions": {}}));
    let status = ann.put(&at("/!c:x/s1"), key(0, 0, false)).await.ok();
    assert_eq!(status, json!({"etag": "2", "count": 4}));
    let room = json!({"sessions": {"s2": key(0, 0, false)}});
    assert_eq!(ann.put(&at("/!c:x"), room).await.ok()["count"], 5);
    assert_eq!(ann.delete(&at("/!a:x/s1")).await.ok()["count"], 4);
    let unchanged = ann.delete(&at("/!a:x/s1")).await.ok();
    assert_eq!(
        (&unchanged["count"], &unchanged["etag"]),
        (&json!(4), &json!("4"))
    );
    assert_eq!(ann.delete(&at("/!c:x")).await.ok()["count"], 2);
    assert_eq!(ann.delete(&at("")).await.ok()["count"], 0);
    assert_eq!(ann.get(&at("")).await.ok(), json!({"rooms": {}}));
    assert_eq!(ann.get(VERSIONS).await.ok()["count"], 0);
}

#[tokio::test]
async fn the_better_key_is_kept() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let version = create(&ann).await;
    let path = format!("{KEYS}/!a:x/s?version={version}");
    let mut etag = 0;
    for (new, replaces) in [
        (key(5, 5, false), true),
        (key(5, 5, false), false),
        (key(5, 6, false), false),
        (key(5, 4, false), true),
        (key(4, 9, false), true),
        (key(6, 0, false), false),
        (key(9, 9, true), true),
        (key(0, 0, false), false),
    ] {
        let status = ann.put(&path, new.clone()).await.ok();
        etag += u32::from(replaces);
        assert_eq!(status, json!({"etag": etag.to_string(), "count": 1}), "{new}");
        assert_eq!(
            ann.get(&path).await.ok() == new,
            replaces || new == key(5, 5, false)
        );
    }
}

#[tokio::test]
async fn keys_go_to_the_newest_version_only() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room = json!({"rooms": {"!a:x": {"sessions": {"s": key(0, 0, false)}}}});
    ann.put(&format!("{KEYS}?version=1"), room.clone())
        .await
        .fails(404, "M_NOT_FOUND");
    let (old, new) = (create(&ann).await, create(&ann).await);
    let before = server.dump().await;
    let refused = ann.put(&format!("{KEYS}?version={old}"), room.clone()).await;
    refused.fails(403, "M_WRONG_ROOM_KEYS_VERSION");
    assert_eq!(refused.body["current_version"], new.as_str());
    ann.put(&format!("{KEYS}?version=99"), room.clone())
        .await
        .fails(404, "M_NOT_FOUND");
    ann.put(KEYS, room.clone()).await.fails(400, "M_MISSING_PARAM");
    ann.put(
        &format!("{KEYS}?version={new}"),
        json!({"rooms": {"!a:x": {"sessions": {"s": {}}}}}),
    )
    .await
    .fails(400, "M_MISSING_PARAM");
    ann.put(
        &format!("{KEYS}?version={new}"),
        json!({"rooms": {"no room": {"sessions": {}}}}),
    )
    .await
    .fails(400, "M_BAD_JSON");
    assert_eq!(server.dump().await, before);
    let eve = server.register("eve").await;
    eve.get(&format!("{KEYS}?version={new}"))
        .await
        .fails(404, "M_NOT_FOUND");
}
