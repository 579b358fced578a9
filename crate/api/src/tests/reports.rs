//! Reports, and rooms that users share.

use serde_json::json;

use super::server::TestServer;

#[tokio::test]
async fn reports_are_kept_for_the_administrator() {
    let server = TestServer::new().await;
    let [ann, bob, cat] = [
        server.register("ann").await,
        server.register("bob").await,
        server.register("cat").await,
    ];
    let room = bob.create_room(json!({})).await;
    let event = bob.say(&room, "1", "rude").await;
    let report = format!("/_matrix/client/v3/rooms/{room}/report");
    let user = format!("/_matrix/client/v3/users/{}/report", cat.user_id);
    let before = server.dump().await;
    cat.post(&format!("{report}/{event}"), json!({"reason": "rude"}))
        .await
        .fails(404, "M_NOT_FOUND");
    bob.post(&format!("{report}/$nothing"), json!({}))
        .await
        .fails(404, "M_NOT_FOUND");
    bob.post(&user.replace("@cat", "@nobody"), json!({"reason": ""}))
        .await
        .fails(404, "M_NOT_FOUND");
    bob.post(&report, json!({"reason": 7}))
        .await
        .fails(400, "M_BAD_JSON");
    bob.post(&report, json!({"reason": "x".repeat(5000)}))
        .await
        .fails(413, "M_TOO_LARGE");
    bob.post(&report, json!({"reason": "", "score": 7}))
        .await
        .fails(400, "M_INVALID_PARAM");
    for subject in [&report, &user] {
        bob.post(subject, json!({})).await.fails(400, "M_MISSING_PARAM");
    }
    assert_eq!(server.dump().await, before);
    bob.post(
        &format!("{report}/{event}"),
        json!({"reason": "rude", "score": -100}),
    )
    .await
    .ok();
    bob.post(&report, json!({"reason": "dull"})).await.ok();
    bob.post(&user, json!({"reason": "cat"})).await.ok();
    let path = "/_matrix/client/unstable/org.hearth/reports";
    bob.get(path).await.fails(403, "M_FORBIDDEN");
    let reports = ann.get(path).await.ok()["reports"].clone();
    assert_eq!(reports.as_array().unwrap().len(), 3);
    assert_eq!(reports[0]["event_id"], event.as_str());
    assert_eq!(reports[0]["reporter"], bob.user_id.as_str());
    assert_eq!(
        (&reports[1]["room_id"], &reports[1]["reason"]),
        (&json!(room), &json!("dull"))
    );
    assert_eq!(reports[2]["user_id"], cat.user_id.as_str());
    bob.post(&format!("/_matrix/client/v3/rooms/{room}/leave"), json!({}))
        .await
        .ok();
    bob.post(&format!("{report}/{event}"), json!({"reason": "rude"}))
        .await
        .fails(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn rooms_that_are_shared_are_listed() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let shared = ann.create_room(json!({"preset": "public_chat"})).await;
    ann.create_room(json!({"invite": [bob.user_id]})).await;
    bob.post(&format!("/_matrix/client/v3/join/{shared}"), json!({}))
        .await
        .ok();
    for path in [
        "/_matrix/client/v1/mutual_rooms",
        "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms",
    ] {
        let answer = ann.get(&format!("{path}?user_id={}", bob.user_id)).await.ok();
        assert_eq!(answer["joined"], json!([shared]));
        ann.get(path).await.fails(400, "M_MISSING_PARAM");
        ann.get(&format!("{path}?user_id={}", ann.user_id))
            .await
            .fails(400, "M_INVALID_PARAM");
    }
}

#[tokio::test]
async fn profiles_are_changed_as_a_whole() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = ann.create_room(json!({})).await;
    let path = format!("/_matrix/client/v3/profile/{}", ann.user_id);
    let unstable = format!(
        "/_matrix/client/unstable/uk.tcpip.msc4133/profile/{}",
        ann.user_id
    );
    ann.put(&format!("{unstable}/m.tz"), json!({"m.tz": "Europe/Paris"}))
        .await
        .ok();
    let patch = http::Method::PATCH;
    let fields = json!({"displayname": "Ann", "org.example.a": [1], "m.tz": null});
    ann.request(patch.clone(), &path, fields).await.ok();
    assert_eq!(
        bob.get(&unstable).await.ok(),
        json!({"displayname": "Ann", "org.example.a": [1]})
    );
    let member = format!(
        "/_matrix/client/v3/rooms/{room}/state/m.room.member/{}",
        ann.user_id
    );
    assert_eq!(ann.get(&member).await.ok()["displayname"], "Ann");
    // An empty picture is how clients take theirs away.
    let picture = format!("{path}/avatar_url");
    ann.put(&picture, json!({"avatar_url": "mxc://localhost/a"}))
        .await
        .ok();
    ann.put(&picture, json!({"avatar_url": ""})).await.ok();
    assert_eq!(bob.get(&picture).await.ok(), json!({}));
    let before = server.dump().await;
    ann.put(&path, json!({"org.a": 1, "displayname": 7}))
        .await
        .fails(400, "M_INVALID_PARAM");
    ann.put(&path, json!({"org.a": "x".repeat(70_000)}))
        .await
        .fails(400, "M_PROFILE_TOO_LARGE");
    bob.put(&path, json!({"org.a": 1}))
        .await
        .fails(403, "M_FORBIDDEN");
    bob.request(patch, &path, json!({"org.a": 1}))
        .await
        .fails(403, "M_FORBIDDEN");
    assert_eq!(server.dump().await, before);
    ann.put(&path, json!({"org.b": 2})).await.ok();
    assert_eq!(bob.get(&path).await.ok(), json!({"org.b": 2}));
    assert!(ann.get(&member).await.ok()["displayname"].is_null());
}

#[tokio::test]
async fn whom_to_ask_is_told_once_there_is_somebody() {
    let server = TestServer::new().await;
    let path = "/.well-known/matrix/support";
    server.get(path).await.fails(404, "M_NOT_FOUND");
    let ann = server.register("ann").await;
    server.register("bob").await;
    let contacts = server.get(path).await.ok()["contacts"].clone();
    assert_eq!(
        contacts,
        json!([{"matrix_id": ann.user_id, "role": "m.role.admin"}])
    );
}
