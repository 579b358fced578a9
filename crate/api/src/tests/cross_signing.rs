//! Cross-signing keys, and signatures of keys.

use serde_json::{Value, json};

use super::{
    encryption::{UPLOAD, login, query, sync, upload, with_password},
    server::{Client, TestServer},
    signed::Key,
};

const CROSS_SIGNING: &str = "/_matrix/client/v3/keys/device_signing/upload";
const SIGNATURES: &str = "/_matrix/client/v3/keys/signatures/upload";

#[tokio::test]
async fn no_device_is_called_as_a_cross_signing_key_is() {
    let server = TestServer::new().await;
    let ann = with_password(&server, "ann").await;
    let [master, ..] = cross_sign(&ann, [1, 2, 3]).await;
    let body = json!({
        "type": "m.login.password", "identifier": {"type": "m.id.user", "user": "ann"}, "password": "p",
        "device_id": master.public,
    });
    server
        .post("/_matrix/client/v3/login", body)
        .await
        .fails(403, "M_FORBIDDEN");
}

/// The cross-signing keys of a user, made from three seeds and uploaded.
async fn cross_sign(client: &Client<'_>, seeds: [u8; 3]) -> [Key; 3] {
    let (keys, body) = cross_signing(&client.user_id, seeds);
    client.post(CROSS_SIGNING, body).await.ok();
    keys
}

fn cross_signing(user_id: &str, seeds: [u8; 3]) -> ([Key; 3], Value) {
    let [master, own, others] = seeds.map(Key::new);
    let body = json!({
        "master_key": master.cross_signing(user_id, "master"),
        "self_signing_key": master.sign(user_id, &own.cross_signing(user_id, "self_signing")),
        "user_signing_key": master.sign(user_id, &others.cross_signing(user_id, "user_signing")),
    });
    ([master, own, others], body)
}

#[tokio::test]
async fn cross_signing_keys_are_seen_by_whom_they_concern() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let [master, own, others] = cross_sign(&ann, [1, 2, 3]).await;
    let mine = query(&ann, &ann.user_id).await;
    let theirs = query(&bob, &ann.user_id).await;
    for found in [&mine, &theirs] {
        let key = &found["master_keys"][&ann.user_id]["keys"][&master.id];
        assert_eq!(key, master.public.as_str());
        let key = &found["self_signing_keys"][&ann.user_id]["keys"][&own.id];
        assert_eq!(key, own.public.as_str());
    }
    let key = &mine["user_signing_keys"][&ann.user_id]["keys"][&others.id];
    assert_eq!(key, others.public.as_str());
    assert_eq!(theirs["user_signing_keys"], json!({}));
}

/// Spec: Client-Server API, section 'Cross-signing': the user-signing key is for its owner alone.
#[tokio::test]
async fn nobody_else_hears_of_a_user_signing_key() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = ann.create_room(json!({"preset": "public_chat"})).await;
    bob.post(&format!("/_matrix/client/v3/join/{room}"), json!({}))
        .await
        .ok();
    let (_, mut body) = cross_signing(&ann.user_id, [1, 2, 3]);
    let others = json!({
        "user_signing_key": body["user_signing_key"].take(), "auth": {"type": "m.login.dummy"},
    });
    body.as_object_mut().unwrap().remove("user_signing_key");
    ann.post(CROSS_SIGNING, body).await.ok();
    let (anns, bobs) = (sync(&ann, None).await, sync(&bob, None).await);
    ann.post(CROSS_SIGNING, others).await.ok();
    let heard = sync(&ann, Some(&anns["next_batch"])).await;
    assert_eq!(heard["device_lists"]["changed"], json!([ann.user_id]));
    let heard = sync(&bob, Some(&bobs["next_batch"])).await;
    assert_eq!(heard["device_lists"], Value::Null);
}

#[tokio::test]
async fn replacing_cross_signing_keys_takes_the_password() {
    let server = TestServer::new().await;
    let ann = with_password(&server, "ann").await;
    cross_sign(&ann, [1, 2, 3]).await;
    let (_, same) = cross_signing(&ann.user_id, [1, 2, 3]);
    ann.post(CROSS_SIGNING, same).await.ok();
    let ([master, ..], mut other) = cross_signing(&ann.user_id, [4, 5, 6]);
    let unstable = "/_matrix/client/unstable/keys/device_signing/upload";
    let before = server.dump().await;
    let challenge = ann.post(unstable, other.clone()).await;
    assert_eq!(challenge.status, 401);
    assert_eq!(challenge.body["flows"], json!([{"stages": ["m.login.password"]}]));
    other["auth"] = json!({
        "type": "m.login.password", "password": "wrong", "session": challenge.body["session"],
    });
    ann.post(unstable, other.clone()).await.fails(401, "M_FORBIDDEN");
    assert_eq!(server.dump().await, before);
    other["auth"]["password"] = json!("p");
    other["auth"]["identifier"] = json!({"type": "m.id.user", "user": "bob"});
    ann.post(unstable, other.clone()).await.fails(403, "M_FORBIDDEN");
    other["auth"]["identifier"]["user"] = json!("ann");
    ann.post(unstable, other.clone()).await.ok();
    let found = query(&ann, &ann.user_id).await;
    assert_eq!(
        found["master_keys"][&ann.user_id]["keys"][&master.id],
        master.public.as_str()
    );
}

#[tokio::test]
async fn cross_signing_keys_that_are_wrong_are_refused() {
    let server = TestServer::new().await;
    let ann = with_password(&server, "ann").await;
    let [master, own, other] = [1, 2, 9].map(Key::new);
    let user = &ann.user_id;
    let as_own = own.cross_signing(user, "self_signing");
    let before = server.dump().await;
    let cases = [
        (
            json!({"self_signing_key": master.sign(user, &as_own)}),
            400,
            "M_MISSING_PARAM",
        ),
        (
            json!({"master_key": master.cross_signing(user, "master"), "self_signing_key": other.sign(user, &as_own)}),
            400,
            "M_INVALID_SIGNATURE",
        ),
        (
            json!({"master_key": master.cross_signing(user, "master"), "self_signing_key": as_own}),
            400,
            "M_INVALID_SIGNATURE",
        ),
        (
            json!({"master_key": master.cross_signing("@x:y", "master")}),
            400,
            "M_INVALID_PARAM",
        ),
        (
            json!({"master_key": master.cross_signing(user, "self_signing")}),
            400,
            "M_INVALID_PARAM",
        ),
        (json!({"master_key": "x"}), 400, "M_BAD_JSON"),
    ];
    for (body, status, errcode) in cases {
        let case = body.to_string();
        ann.post(CROSS_SIGNING, body)
            .await
            .fails_at(&case, status, errcode);
    }
    assert_eq!(server.dump().await, before);
    let namesake = login(&server, "ann", &own.public).await;
    let (_, body) = cross_signing(user, [1, 2, 3]);
    namesake.post(CROSS_SIGNING, body).await.fails(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn signatures_are_checked_and_shown_to_whom_they_concern() {
    let server = TestServer::new().await;
    let (ann, bob, eve) = (
        server.register("ann").await,
        server.register("bob").await,
        server.register("eve").await,
    );
    let device = upload(&ann, 7, 0).await;
    let [master, own, others] = cross_sign(&ann, [1, 2, 3]).await;
    let [bobs_master, ..] = cross_sign(&bob, [4, 5, 6]).await;
    let (user, bobs) = (&ann.user_id, &bob.user_id);
    let signed_device = own.sign(user, &device.device(user, &ann.device_id));
    let signed_master = device.sign(user, &master.cross_signing(user, "master"));
    let signed_bob = others.sign(user, &bobs_master.cross_signing(bobs, "master"));
    let wrong = Key::new(99).sign(user, &bobs_master.cross_signing(bobs, "master"));
    let before = sync(&ann, None).await;
    let body = json!({
        user: {&ann.device_id: signed_device, &master.public: signed_master, "NONE": signed_device},
        bobs: {&bobs_master.public: wrong, "nothing": signed_bob},
    });
    let answer = ann.post(SIGNATURES, body).await.ok();
    assert_eq!(answer["failures"][user]["NONE"]["errcode"], "M_NOT_FOUND");
    assert_eq!(answer["failures"][bobs]["nothing"]["errcode"], "M_NOT_FOUND");
    assert_eq!(
        answer["failures"][bobs][&bobs_master.public]["errcode"],
        "M_INVALID_SIGNATURE"
    );
    assert_eq!(answer["failures"][user].as_object().unwrap().len(), 1);
    let body = json!({bobs: {&bobs_master.public: signed_bob}});
    assert_eq!(ann.post(SIGNATURES, body).await.ok(), json!({"failures": {}}));
    let told = sync(&ann, Some(&before["next_batch"])).await;
    let mut changed = vec![user.as_str(), bobs.as_str()];
    changed.sort_unstable();
    assert_eq!(told["device_lists"]["changed"], json!(changed));
    let found = query(&eve, user).await;
    let keys = &found["device_keys"][user][&ann.device_id]["signatures"][user];
    assert!(
        keys[&own.id].is_string() && keys[&device.id].is_string(),
        "{keys}"
    );
    assert!(found["master_keys"][user]["signatures"][user][&device.id].is_string());
    let seen = |found: &Value| found["master_keys"][bobs]["signatures"][user][&others.id].is_string();
    assert!(seen(&query(&ann, bobs).await));
    assert!(!seen(&query(&eve, bobs).await) && !seen(&query(&bob, bobs).await));
    // What the device uploads again is signed as before.
    ann.post(
        UPLOAD,
        json!({"device_keys": device.device(user, &ann.device_id)}),
    )
    .await
    .ok();
    let found = query(&eve, user).await;
    assert!(found["device_keys"][user][&ann.device_id]["signatures"][user][&own.id].is_string());
}
