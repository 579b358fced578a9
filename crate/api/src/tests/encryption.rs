//! Keys of devices, one-time keys, messages for devices, dehydrated devices.

use std::time::Duration;

use hearth_storage::Table;
use http::Method;
use serde_json::{Value, json};

use super::{
    server::{Client, TestServer},
    signed::Key,
};

pub(super) const UPLOAD: &str = "/_matrix/client/v3/keys/upload";
const QUERY: &str = "/_matrix/client/v3/keys/query";
const CLAIM: &str = "/_matrix/client/v3/keys/claim";
const SYNC: &str = "/_matrix/client/v3/sync";
const DEHYDRATED: &str = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device";

/// Uploads keys of the client's device: `seed` makes them, `count` of them are one-time keys.
pub(super) async fn upload(client: &Client<'_>, seed: u8, count: usize) -> Key {
    let key = Key::named(seed, &client.device_id);
    let (user, device) = (&client.user_id, &client.device_id);
    let one_time: serde_json::Map<_, _> = (0..count)
        .map(|number| {
            (
                format!("signed_curve25519:AAA{number}"),
                key.one_time(user, number),
            )
        })
        .collect();
    let body = json!({"device_keys": key.device(user, device), "one_time_keys": one_time});
    let counts = client.post(UPLOAD, body).await.ok();
    assert_eq!(counts["one_time_key_counts"]["signed_curve25519"], count);
    key
}

pub(super) async fn query(client: &Client<'_>, user_id: &str) -> Value {
    client
        .post(QUERY, json!({"device_keys": {user_id: []}}))
        .await
        .ok()
}

async fn claim(client: &Client<'_>, of: &Client<'_>) -> Value {
    let body = json!({"one_time_keys": {&of.user_id: {&of.device_id: "signed_curve25519"}}});
    let answer = client.post(CLAIM, body).await.ok();
    answer["one_time_keys"][&of.user_id][&of.device_id].clone()
}

pub(super) async fn sync(client: &Client<'_>, since: Option<&Value>) -> Value {
    let since = since
        .and_then(Value::as_str)
        .map(|since| format!("?since={since}"))
        .unwrap_or_default();
    client.get(&format!("{SYNC}{since}")).await.ok()
}

/// A second login of a client's user, who has the password `p`.
pub(super) async fn login<'a>(server: &'a TestServer, user: &str, device: &str) -> Client<'a> {
    let body = json!({
        "type": "m.login.password", "identifier": {"type": "m.id.user", "user": user}, "password": "p",
        "device_id": device,
    });
    let answer = server.post("/_matrix/client/v3/login", body).await.ok();
    server.client(&answer)
}

pub(super) async fn with_password<'a>(server: &'a TestServer, user: &str) -> Client<'a> {
    let body = json!({"username": user, "password": "p", "auth": {"type": "m.login.dummy"}});
    server.client(&server.post("/_matrix/client/v3/register", body).await.ok())
}

#[tokio::test]
async fn device_keys_are_uploaded_and_queried() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let path = format!("/_matrix/client/v3/devices/{}", ann.device_id);
    ann.put(&path, json!({"display_name": "Laptop"})).await.ok();
    let key = upload(&ann, 1, 0).await;
    let found = query(&bob, &ann.user_id).await;
    let device = &found["device_keys"][&ann.user_id][&ann.device_id];
    assert_eq!(device["keys"][&key.id], key.public.as_str());
    assert_eq!(device["unsigned"]["device_display_name"], "Laptop");
    let named = json!({"device_keys": {&ann.user_id: ["OTHER"], &bob.user_id: []}});
    let found = bob.post(QUERY, named).await.ok();
    assert_eq!(found["device_keys"], json!({&ann.user_id: {}, &bob.user_id: {}}));
}

#[tokio::test]
async fn uploads_that_are_wrong_store_nothing() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let key = Key::named(1, &ann.device_id);
    let right = key.device(&ann.user_id, &ann.device_id);
    let without = |field: &str| {
        let mut keys = right.clone();
        keys.as_object_mut().unwrap().remove(field);
        json!({"device_keys": keys})
    };
    let many: serde_json::Map<_, _> = (0..1001).map(|n| (format!("a:{n}"), json!("k"))).collect();
    let before = server.dump().await;
    let cases = [
        (
            json!({"device_keys": key.device(&bob.user_id, &ann.device_id)}),
            400,
            "M_INVALID_PARAM",
        ),
        (
            json!({"device_keys": key.device(&ann.user_id, "OTHER")}),
            400,
            "M_INVALID_PARAM",
        ),
        (without("algorithms"), 400, "M_BAD_JSON"),
        (without("keys"), 400, "M_BAD_JSON"),
        (without("signatures"), 400, "M_BAD_JSON"),
        (json!({"device_keys": 7}), 400, "M_BAD_JSON"),
        (
            json!({"one_time_keys": {"nameless": "k"}}),
            400,
            "M_INVALID_PARAM",
        ),
        (json!({"one_time_keys": {"a:b": 7}}), 400, "M_INVALID_PARAM"),
        (json!({"one_time_keys": {"a:b\0c": "k"}}), 400, "M_INVALID_PARAM"),
        (
            json!({"one_time_keys": {"a:b": {"key": "k"}}}),
            400,
            "M_INVALID_PARAM",
        ),
        (
            json!({"one_time_keys": {"a:b": "k".repeat(5000)}}),
            400,
            "M_INVALID_PARAM",
        ),
        (json!({"one_time_keys": many}), 400, "M_INVALID_PARAM"),
        (
            json!({"fallback_keys": {"nameless": "k"}}),
            400,
            "M_INVALID_PARAM",
        ),
    ];
    for (body, status, errcode) in cases {
        let case = body.to_string();
        ann.post(UPLOAD, body)
            .await
            .fails_at(&case[..case.len().min(100)], status, errcode);
    }
    assert_eq!(server.dump().await, before);
}

/// Lists in lists, that many deep.
fn nested(levels: usize) -> Value {
    (1..levels).fold(json!([]), |inner, _| json!([inner]))
}

#[tokio::test]
async fn what_no_other_server_could_read_is_refused_and_stores_nothing() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let key = Key::named(1, &ann.device_id);
    let device = key.device(&ann.user_id, &ann.device_id);
    let master = Key::new(2).cross_signing(&ann.user_id, "master");
    let dehydrated = key.device(&ann.user_id, "D");
    let with = |known: &Value, field: Value| {
        let mut known = known.clone();
        known["x"] = field;
        known
    };
    let one_time = json!({"key": "k", "signatures": {}});
    let uploads = |x: &Value| {
        let (device, key) = (with(&device, x.clone()), with(&one_time, x.clone()));
        let dehydrated = with(&dehydrated, x.clone());
        [
            (
                Method::PUT,
                "/_matrix/client/v3/sendToDevice/x/1",
                json!({"messages": {"@u:other": {"*": {"x": x}}}}),
            ),
            (Method::POST, UPLOAD, json!({"device_keys": device})),
            (Method::POST, UPLOAD, json!({"one_time_keys": {"a:b": key}})),
            (Method::POST, UPLOAD, json!({"fallback_keys": {"a:b": key}})),
            (
                Method::POST,
                "/_matrix/client/v3/keys/device_signing/upload",
                json!({"master_key": with(&master, x.clone())}),
            ),
            (
                Method::PUT,
                DEHYDRATED,
                json!({"device_id": "D", "device_data": {}, "device_keys": dehydrated}),
            ),
        ]
    };
    let before = server.dump().await;
    for x in [json!(1e20), json!(-1e19), nested(101)] {
        for (method, path, body) in uploads(&x) {
            let answer = ann.request(method, path, body).await;
            answer.fails_at(path, 400, "M_BAD_JSON");
        }
    }
    assert_eq!(server.dump().await, before);
    for (method, path, body) in uploads(&json!([1.5, nested(99)])) {
        ann.request(method, path, body).await.ok();
    }
}

#[tokio::test]
async fn a_one_time_key_is_given_away_once() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let key = upload(&ann, 1, 2).await;
    let first = claim(&bob, &ann).await;
    assert_eq!(first["signed_curve25519:AAA0"], key.one_time(&ann.user_id, 0));
    let second = claim(&bob, &ann).await;
    assert_eq!(second["signed_curve25519:AAA1"], key.one_time(&ann.user_id, 1));
    assert_eq!(claim(&bob, &ann).await, Value::Null);
    // A client that missed the answer to its upload repeats it.
    let again = json!({"one_time_keys": {"signed_curve25519:AAA0": key.one_time(&ann.user_id, 0)}});
    let counts = ann.post(UPLOAD, again).await.ok();
    assert_eq!(counts["one_time_key_counts"]["signed_curve25519"], 0);
    assert_eq!(claim(&bob, &ann).await, Value::Null);
}

#[tokio::test]
async fn a_one_time_key_is_not_replaced() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let one = |text: &str| json!({"one_time_keys": {"signed_curve25519:A": {"key": text, "signatures": {}}}});
    ann.post(UPLOAD, one("x")).await.ok();
    ann.post(UPLOAD, one("x")).await.ok();
    let before = server.dump().await;
    ann.post(UPLOAD, one("y")).await.fails(400, "M_INVALID_PARAM");
    assert_eq!(server.dump().await, before);
    let counts = ann.post(UPLOAD, json!({})).await.ok();
    assert_eq!(counts, json!({"one_time_key_counts": {"signed_curve25519": 1}}));
}

#[tokio::test]
async fn a_fallback_key_is_given_away_when_there_is_no_other() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let fallback = |name: &str| json!({"fallback_keys": {format!("signed_curve25519:{name}"): {"key": name, "signatures": {}, "fallback": true}}});
    ann.post(UPLOAD, fallback("F1")).await.ok();
    let told = sync(&ann, None).await;
    assert_eq!(
        told["device_unused_fallback_key_types"],
        json!(["signed_curve25519"])
    );
    assert_eq!(
        told["device_one_time_keys_count"],
        json!({"signed_curve25519": 0})
    );
    upload(&ann, 1, 1).await;
    assert!(claim(&bob, &ann).await["signed_curve25519:AAA0"].is_object());
    for _ in 0..2 {
        let claimed = claim(&bob, &ann).await;
        assert_eq!(claimed["signed_curve25519:F1"]["fallback"], true);
    }
    let told = sync(&ann, Some(&told["next_batch"])).await;
    assert_eq!(told["device_unused_fallback_key_types"], json!([]));
    ann.post(UPLOAD, fallback("F1")).await.ok();
    assert_eq!(
        sync(&ann, Some(&told["next_batch"])).await["device_unused_fallback_key_types"],
        json!([])
    );
    ann.post(UPLOAD, fallback("F2")).await.ok();
    let told = sync(&ann, Some(&told["next_batch"])).await;
    assert_eq!(
        told["device_unused_fallback_key_types"],
        json!(["signed_curve25519"])
    );
    assert!(claim(&bob, &ann).await["signed_curve25519:F2"].is_object());
}

#[tokio::test]
async fn a_claimed_key_stays_so_after_a_restart() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    upload(&ann, 1, 2).await;
    assert!(claim(&bob, &ann).await["signed_curve25519:AAA0"].is_object());
    let (ann, bob) = (ann.parts(), bob.parts());
    let server = server.restarted().await;
    let (ann, bob) = (server.resume(&ann), server.resume(&bob));
    let told = sync(&ann, None).await;
    assert_eq!(
        told["device_one_time_keys_count"],
        json!({"signed_curve25519": 1})
    );
    assert!(claim(&bob, &ann).await["signed_curve25519:AAA1"].is_object());
    assert_eq!(claim(&bob, &ann).await, Value::Null);
}

#[tokio::test]
async fn unreachable_servers_are_failures() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let far = format!("@far:{}", "ab".repeat(32));
    let answer = ann.post(QUERY, json!({"device_keys": {&far: []}})).await.ok();
    assert!(answer["failures"][&"ab".repeat(32)].is_object(), "{answer}");
    assert_eq!(answer["device_keys"], json!({}));
    let body = json!({"one_time_keys": {&far: {"D": "signed_curve25519"}}});
    let answer = ann.post(CLAIM, body).await.ok();
    assert!(answer["failures"][&"ab".repeat(32)].is_object(), "{answer}");
}

#[tokio::test]
async fn who_shares_a_room_hears_of_new_keys() {
    let server = TestServer::new().await;
    let (ann, bob, eve) = (
        server.register("ann").await,
        server.register("bob").await,
        server.register("eve").await,
    );
    let room = ann.create_room(json!({"preset": "public_chat"})).await;
    let (bobs, eves) = (sync(&bob, None).await, sync(&eve, None).await);
    bob.post(&format!("/_matrix/client/v3/join/{room}"), json!({}))
        .await
        .ok();
    let joined = sync(&bob, Some(&bobs["next_batch"])).await;
    assert_eq!(joined["device_lists"]["changed"], json!([ann.user_id]));
    upload(&ann, 1, 0).await;
    let heard = sync(&bob, Some(&joined["next_batch"])).await;
    assert_eq!(
        heard["device_lists"],
        json!({"changed": [ann.user_id], "left": []})
    );
    let (from, to) = (&joined["next_batch"], &heard["next_batch"]);
    let path = format!(
        "/_matrix/client/v3/keys/changes?from={}&to={}",
        from.as_str().unwrap(),
        to.as_str().unwrap()
    );
    assert_eq!(
        bob.get(&path).await.ok(),
        json!({"changed": [ann.user_id], "left": []})
    );
    let quiet = sync(&eve, Some(&eves["next_batch"])).await;
    assert_eq!(quiet["device_lists"], Value::Null);
    bob.post(&format!("/_matrix/client/v3/rooms/{room}/leave"), json!({}))
        .await
        .ok();
    let left = sync(&bob, Some(&heard["next_batch"])).await;
    assert_eq!(
        left["device_lists"],
        json!({"changed": [], "left": [ann.user_id]})
    );
    bob.get("/_matrix/client/v3/keys/changes?from=x&to=y")
        .await
        .fails(400, "M_INVALID_PARAM");
    bob.get("/_matrix/client/v3/keys/changes")
        .await
        .fails(400, "M_MISSING_PARAM");
}

#[tokio::test]
async fn a_new_name_in_a_room_is_no_change_of_devices() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = ann.create_room(json!({"preset": "public_chat"})).await;
    bob.post(&format!("/_matrix/client/v3/join/{room}"), json!({}))
        .await
        .ok();
    let before = sync(&bob, None).await;
    let name = format!("/_matrix/client/v3/profile/{}/displayname", ann.user_id);
    ann.put(&name, json!({"displayname": "Ann"})).await.ok();
    let after = sync(&bob, Some(&before["next_batch"])).await;
    assert!(after["rooms"]["join"][&room].is_object());
    assert_eq!(after["device_lists"], Value::Null);
}

fn message(user_id: &str, device_id: &str, text: &str) -> Value {
    json!({"messages": {user_id: {device_id: {"text": text}}}})
}

#[tokio::test]
async fn a_message_waits_until_it_is_acknowledged() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let path = "/_matrix/client/v3/sendToDevice/m.test/1";
    for _ in 0..2 {
        ann.put(path, message(&bob.user_id, &bob.device_id, "one"))
            .await
            .ok();
    }
    let expected = json!([{"type": "m.test", "sender": ann.user_id, "content": {"text": "one"}}]);
    let first = sync(&bob, None).await;
    assert_eq!(first["to_device"]["events"], expected);
    assert_eq!(sync(&bob, None).await["to_device"]["events"], expected);
    let second = sync(&bob, Some(&first["next_batch"])).await;
    assert_eq!(second["to_device"], Value::Null);
    assert_eq!(sync(&bob, None).await["to_device"], Value::Null);
    let (ann, bob) = (ann.parts(), bob.parts());
    let server = server.restarted().await;
    let (ann, bob) = (server.resume(&ann), server.resume(&bob));
    ann.put(path, message(&bob.user_id, &bob.device_id, "one"))
        .await
        .ok();
    assert_eq!(sync(&bob, None).await["to_device"], Value::Null);
    let path = "/_matrix/client/v3/sendToDevice/m.test/2";
    ann.put(path, message(&bob.user_id, "*", "two")).await.ok();
    ann.put(
        "/_matrix/client/v3/sendToDevice/m.test/3",
        message(&bob.user_id, "NONE", "x"),
    )
    .await
    .ok();
    let third = sync(&bob, Some(&second["next_batch"])).await;
    assert_eq!(third["to_device"]["events"][0]["content"]["text"], "two");
    assert_eq!(third["to_device"]["events"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn many_messages_come_in_several_answers_and_in_order() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let mut since = sync(&bob, None).await["next_batch"].clone();
    for number in 0..250 {
        let path = format!("/_matrix/client/v3/sendToDevice/m.test/{number}");
        ann.put(&path, message(&bob.user_id, &bob.device_id, &number.to_string()))
            .await
            .ok();
    }
    let (mut heard, mut answers) = (Vec::new(), 0);
    loop {
        let answer = sync(&bob, Some(&since)).await;
        since = answer["next_batch"].clone();
        let Some(events) = answer["to_device"]["events"].as_array() else {
            break;
        };
        assert!(events.len() <= 100);
        answers += 1;
        heard.extend(events.iter().map(|event| event["content"]["text"].clone()));
    }
    let expected: Vec<_> = (0..250).map(|number| json!(number.to_string())).collect();
    assert_eq!((heard, answers), (expected, 3));
    assert!(
        !server
            .dump()
            .await
            .iter()
            .any(|(table, (key, _))| { *table == Table::Keys && key.starts_with(b"t\0") })
    );
}

#[tokio::test]
async fn messages_that_are_wrong_store_nothing() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let before = server.dump().await;
    let path = "/_matrix/client/v3/sendToDevice/m.test/1";
    ann.put(path, json!({})).await.fails(400, "M_MISSING_PARAM");
    ann.put(path, json!({"messages": {"nobody": {}}}))
        .await
        .fails(400, "M_BAD_JSON");
    ann.put(path, json!({"messages": {&ann.user_id: {"D": 7}}}))
        .await
        .fails(400, "M_BAD_JSON");
    ann.put(path, message(&ann.user_id, &ann.device_id, &"x".repeat(300_000)))
        .await
        .fails(413, "M_TOO_LARGE");
    let long = format!("/_matrix/client/v3/sendToDevice/{}/1", "x".repeat(300));
    ann.put(&long, message(&ann.user_id, "*", "x"))
        .await
        .fails(400, "M_INVALID_PARAM");
    assert_eq!(server.dump().await, before);
}

#[tokio::test]
async fn a_deleted_device_leaves_nothing_behind() {
    let server = TestServer::new().await;
    let ann = with_password(&server, "ann").await;
    let phone = login(&server, "ann", "PHONE").await;
    let before = sync(&ann, None).await;
    upload(&phone, 2, 3).await;
    ann.put(
        "/_matrix/client/v3/sendToDevice/m.test/1",
        message(&ann.user_id, "PHONE", "hidden words"),
    )
    .await
    .ok();
    let auth = json!({"type": "m.login.password", "password": "p"});
    ann.request(
        Method::DELETE,
        "/_matrix/client/v3/devices/PHONE",
        json!({"auth": auth}),
    )
    .await
    .ok();
    let found = query(&ann, &ann.user_id).await;
    assert_eq!(found["device_keys"][&ann.user_id], json!({}));
    let told = sync(&ann, Some(&before["next_batch"])).await;
    assert_eq!(told["device_lists"]["changed"], json!([ann.user_id]));
    phone.get(SYNC).await.fails(401, "M_UNKNOWN_TOKEN");
    let phone = login(&server, "ann", "PHONE").await;
    let fresh = sync(&phone, None).await;
    assert_eq!(fresh["to_device"], Value::Null);
    assert_eq!(fresh["device_one_time_keys_count"]["signed_curve25519"], 0);
}

#[tokio::test]
async fn transaction_ids_are_forgotten_after_a_day() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    for number in 0..1_000 {
        if number == 500 {
            server.clock.advance(Duration::from_secs(25 * 60 * 60));
        }
        let path = format!("/_matrix/client/v3/sendToDevice/m.test/{number}");
        ann.put(&path, json!({"messages": {}})).await.ok();
    }
    let rows = server.dump().await;
    let ids = rows
        .iter()
        .filter(|(table, (key, _))| *table == Table::Keys && key.starts_with(b"x\0"));
    assert_eq!(ids.count(), 500);
}

#[tokio::test]
async fn a_token_from_after_the_present_takes_no_message_away() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let path = "/_matrix/client/v3/sendToDevice/m.test/1";
    ann.put(path, message(&ann.user_id, &ann.device_id, "words"))
        .await
        .ok();
    let lost = json!("s999999_0");
    for _ in 0..2 {
        let told = sync(&ann, Some(&lost)).await;
        assert_eq!(told["to_device"]["events"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_dehydrated_device_receives_what_others_send() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    ann.get(DEHYDRATED).await.fails(404, "M_NOT_FOUND");
    ann.delete(DEHYDRATED).await.fails(404, "M_NOT_FOUND");
    let key = Key::named(5, "DRY");
    let wish = |device: &str| {
        json!({
            "device_id": device, "device_data": {"algorithm": "x", "pickle": "y"},
            "initial_device_display_name": "Dry", "device_keys": key.device(&ann.user_id, device),
            "one_time_keys": {"signed_curve25519:A": key.one_time(&ann.user_id, 0)},
        })
    };
    ann.put(DEHYDRATED, wish(&ann.device_id))
        .await
        .fails(400, "M_INVALID_PARAM");
    assert_eq!(
        ann.put(DEHYDRATED, wish("DRY")).await.ok(),
        json!({"device_id": "DRY"})
    );
    assert_eq!(ann.get(DEHYDRATED).await.ok()["device_data"]["pickle"], "y");
    assert!(query(&bob, &ann.user_id).await["device_keys"][&ann.user_id]["DRY"].is_object());
    bob.put(
        "/_matrix/client/v3/sendToDevice/m.room.encrypted/1",
        message(&ann.user_id, "DRY", "key"),
    )
    .await
    .ok();
    let events = ann.get(&format!("{DEHYDRATED}/DRY/events")).await.ok();
    assert_eq!(events["events"][0]["content"]["text"], "key");
    let next = events["next_batch"].as_str().unwrap();
    let path = format!("{DEHYDRATED}/DRY/events?next_batch={next}");
    assert_eq!(ann.get(&path).await.ok()["events"], json!([]));
    let body = json!({"next_batch": next});
    let posted = ann.post(&format!("{DEHYDRATED}/DRY/events"), body).await.ok();
    assert_eq!(posted["events"], json!([]));
    ann.get(&format!("{DEHYDRATED}/OTHER/events"))
        .await
        .fails(404, "M_NOT_FOUND");
    assert_eq!(
        ann.put(DEHYDRATED, wish("DRY2")).await.ok(),
        json!({"device_id": "DRY2"})
    );
    let devices = query(&bob, &ann.user_id).await["device_keys"][&ann.user_id].clone();
    assert!(devices["DRY"].is_null() && devices["DRY2"].is_object());
    assert_eq!(ann.delete(DEHYDRATED).await.ok(), json!({"device_id": "DRY2"}));
    ann.get(DEHYDRATED).await.fails(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_session_confirms_one_operation() {
    let server = TestServer::new().await;
    let ann = with_password(&server, "ann").await;
    login(&server, "ann", "A").await;
    login(&server, "ann", "B").await;
    let delete = async |device: &str, auth: Value| {
        let path = format!("/_matrix/client/v3/devices/{device}");
        ann.request(Method::DELETE, &path, json!({"auth": auth})).await
    };
    let challenge = delete("A", Value::Null).await;
    let session = challenge.body["session"].clone();
    let alone = delete("A", json!({"session": session})).await;
    assert_eq!((alone.status.as_u16(), &alone.body["session"]), (401, &session));
    let proof = json!({"type": "m.login.password", "password": "p", "session": session});
    delete("B", proof.clone()).await.fails(401, "M_FORBIDDEN");
    delete("A", proof).await.ok();
    // What was confirmed once is confirmed for the same operation.
    delete("A", json!({"session": session})).await.ok();
    delete("B", json!({"session": session}))
        .await
        .fails(401, "M_FORBIDDEN");
}
