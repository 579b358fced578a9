//! What clients follow: presence, sliding sync, threads, deleted account data, invites that are not taken.

use serde_json::{Value, json};

use super::server::TestServer;

const SLIDING: &str = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";

#[tokio::test]
async fn sliding_sync_is_served_as_clients_ask() {
    let server = TestServer::new().await;
    let features = server.get("/_matrix/client/versions").await.ok();
    assert_eq!(
        features["unstable_features"]["org.matrix.simplified_msc3575"],
        true
    );
    let ann = server.register("ann").await;
    let room_id = ann.create_room(json!({"name": "Tea"})).await;
    // As matrix-js-sdk 43 writes it.
    let body = json!({
        "lists": {"a": {
            "ranges": [[0, 20]], "sort": ["by_recency"], "timeline_limit": 1, "filters": {},
            "required_state": [["*", ""], ["m.room.member", "$LAZY"]],
            "include_old_rooms": {"timeline_limit": 0, "required_state": [["m.room.create", ""]]},
        }},
        "extensions": {
            "e2ee": {"enabled": true}, "to_device": {"enabled": true, "limit": 100}, "typing": {"enabled": true},
            "org.matrix.msc4354.sticky_events": {"enabled": true, "limit": 100},
        },
    });
    let answer = ann.post(SLIDING, body.clone()).await.ok();
    let room = &answer["rooms"][&room_id];
    assert_eq!((&room["name"], &room["initial"]), (&json!("Tea"), &json!(true)));
    assert_eq!(answer["lists"]["a"]["count"], 1);
    let pos = answer["pos"].as_str().unwrap();
    let path = format!("{SLIDING}?pos={pos}&timeout=20000");
    let (next, sent) = futures::join!(ann.post(&path, body.clone()), ann.say(&room_id, "1", "news"));
    let next = next.ok();
    let event = &next["rooms"][&room_id]["timeline"][0];
    assert_eq!(event["event_id"], sent.as_str());
    assert_eq!(event["unsigned"]["transaction_id"], "1");
    ann.post(&format!("{SLIDING}?pos=1-s1_1"), body.clone())
        .await
        .fails(400, "M_UNKNOWN_POS");
    ann.post(&format!("{SLIDING}?timeout=x"), body)
        .await
        .fails(400, "M_INVALID_PARAM");
    for wrong in [
        json!({"lists": []}),
        json!({"lists": {"a": {"ranges": [["x", 1]]}}}),
        json!({"room_subscriptions": {"x": {}}}),
    ] {
        ann.post(SLIDING, wrong).await.fails(400, "M_BAD_JSON");
    }
}

#[tokio::test]
async fn who_is_logged_out_while_waiting_is_told_nothing_more() {
    let server = TestServer::new().await;
    let logout = "/_matrix/client/v3/logout";
    for (name, path) in [
        ("ann", "/_matrix/client/v3/sync?timeout=20000&since="),
        ("bob", "/_matrix/client/v3/events?timeout=20000&from="),
    ] {
        let user = server.register(name).await;
        let token = user.get("/_matrix/client/v3/sync").await.ok()["next_batch"].clone();
        let path = format!("{path}{}", token.as_str().unwrap());
        let (waited, _) = futures::join!(user.get(&path), user.post(logout, json!({})));
        waited.fails(401, "M_UNKNOWN_TOKEN");
    }
    let cas = server.register("cas").await;
    let pos = cas.post(SLIDING, json!({})).await.ok()["pos"].clone();
    let path = format!("{SLIDING}?timeout=20000&pos={}", pos.as_str().unwrap());
    let (waited, _) = futures::join!(cas.post(&path, json!({})), cas.post(logout, json!({})));
    waited.fails(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn presence_is_set_by_its_owner_and_seen_by_those_who_share_a_room() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let path = format!("/_matrix/client/v3/presence/{}/status", ann.user_id);
    let online = json!({"presence": "online", "status_msg": "here"});
    ann.put(&path, online.clone()).await.ok();
    bob.put(&path, online).await.fails(403, "M_FORBIDDEN");
    bob.get(&path).await.fails(403, "M_FORBIDDEN");
    ann.put(&path, json!({"presence": "dancing"}))
        .await
        .fails(400, "M_BAD_JSON");
    ann.put(&path, json!({"status_msg": "x"}))
        .await
        .fails(400, "M_MISSING_PARAM");
    let room_id = ann.create_room(json!({"preset": "public_chat"})).await;
    bob.post(&format!("/_matrix/client/v3/join/{room_id}"), json!({}))
        .await
        .ok();
    let seen = bob.get(&path).await.ok();
    assert_eq!(
        (&seen["presence"], &seen["status_msg"]),
        (&json!("online"), &json!("here"))
    );
    let sync = bob.get("/_matrix/client/v3/sync?set_presence=offline").await.ok();
    let events = sync["presence"]["events"].as_array().unwrap();
    assert_eq!(events.len(), 1, "bob is not there, by his own word");
    assert_eq!(events[0]["sender"], ann.user_id.as_str());
    bob.get("/_matrix/client/v3/sync?set_presence=dancing")
        .await
        .fails(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn presence_can_be_switched_off() {
    let config = hearth_homeserver::Config {
        presence: false,
        ..hearth_homeserver::Config::default()
    };
    let server = TestServer::with(config, crate::ApiConfig::default()).await;
    let ann = server.register("ann").await;
    let path = format!("/_matrix/client/v3/presence/{}/status", ann.user_id);
    ann.get(&path).await.fails(403, "M_FORBIDDEN");
    ann.put(&path, json!({"presence": "online"}))
        .await
        .fails(403, "M_FORBIDDEN");
    assert_eq!(
        ann.get("/_matrix/client/v3/sync").await.ok().get("presence"),
        None
    );
}

#[tokio::test]
async fn threads_are_followed_and_account_data_is_deleted() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room_id = ann.create_room(json!({})).await;
    let root = ann.say(&room_id, "1", "root").await;
    let thread =
        format!("/_matrix/client/unstable/io.element.msc4306/rooms/{room_id}/thread/{root}/subscription");
    ann.get(&thread).await.fails(404, "M_NOT_FOUND");
    ann.put(&thread, json!({})).await.ok();
    assert_eq!(ann.get(&thread).await.ok(), json!({"automatic": false}));
    let elsewhere = ann.say(&room_id, "2", "elsewhere").await;
    ann.put(&thread, json!({"automatic": elsewhere}))
        .await
        .fails(400, "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD");
    let changes = "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions";
    let page = ann.get(&format!("{changes}?dir=b&limit=1")).await.ok();
    assert_eq!(page["subscribed"][&room_id][&root]["automatic"], false);
    assert_eq!(page["unsubscribed"], json!({}));
    ann.get(&format!("{changes}?dir=f"))
        .await
        .fails(400, "M_INVALID_PARAM");
    ann.delete(&thread).await.ok();
    ann.get(&thread).await.fails(404, "M_NOT_FOUND");

    let data = format!("/_matrix/client/v3/user/{}/account_data/org.mine", ann.user_id);
    ann.put(&data, json!({"a": 1})).await.ok();
    let deletion = data.replace("/v3/", "/unstable/org.matrix.msc3391/");
    ann.delete(&deletion).await.ok();
    ann.get(&data).await.fails(404, "M_NOT_FOUND");
}

/// matrix-js-sdk sets to `{}` what it means to delete, and waits until `/sync` tells of it, be it that there was nothing.
#[tokio::test]
async fn account_data_that_is_set_to_nothing_is_told() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room_id = ann.create_room(json!({})).await;
    let user = format!("/_matrix/client/v3/user/{}", ann.user_id);
    let (global, room) = (
        format!("{user}/account_data/org.mine"),
        format!("{user}/rooms/{room_id}/account_data/org.mine"),
    );
    let empty = json!([{"type": "org.mine", "content": {}}]);
    let mut since = ann.get("/_matrix/client/v3/sync").await.ok()["next_batch"].clone();
    for content in [json!({}), json!({"a": 1})] {
        for data in [&global, &room] {
            ann.put(data, content.clone()).await.ok();
            ann.put(data, json!({})).await.ok();
            assert_eq!(ann.get(data).await.ok(), json!({}));
        }
        let path = format!("/_matrix/client/v3/sync?since={}", since.as_str().unwrap());
        let news = ann.get(&path).await.ok();
        assert_eq!(news["account_data"]["events"], empty);
        assert_eq!(news["rooms"]["join"][&room_id]["account_data"]["events"], empty);
        since = news["next_batch"].clone();
    }
    let whole = ann.get("/_matrix/client/v3/sync").await.ok();
    assert_eq!(whole["rooms"]["join"][&room_id]["account_data"]["events"], empty);
}

#[tokio::test]
async fn a_blocked_invite_says_so() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let config = format!(
        "/_matrix/client/v3/user/{}/account_data/m.invite_permission_config",
        bob.user_id
    );
    bob.put(&config, json!({"default_action": "block"})).await.ok();
    let room_id = ann.create_room(json!({})).await;
    ann.post(
        &format!("/_matrix/client/v3/rooms/{room_id}/invite"),
        json!({"user_id": bob.user_id}),
    )
    .await
    .fails(403, "M_INVITE_BLOCKED");
    ann.post("/_matrix/client/v3/createRoom", json!({"invite": [bob.user_id]}))
        .await
        .fails(403, "M_INVITE_BLOCKED");
    assert_eq!(
        bob.get("/_matrix/client/v3/sync").await.ok()["rooms"],
        Value::Null
    );
}

#[tokio::test]
async fn users_are_found_by_what_rooms_and_profiles_tell_of_them() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let path = "/_matrix/client/v3/user_directory/search";
    let found = async |term: &str, limit: u64| {
        let body = json!({"search_term": term, "limit": limit});
        let answer = ann.post(path, body).await.ok();
        let results = answer["results"].as_array().unwrap().clone();
        let ids: Vec<_> = results
            .iter()
            .map(|user| user["user_id"].as_str().unwrap().to_owned())
            .collect();
        (ids, answer["limited"].as_bool().unwrap())
    };
    let name = format!("/_matrix/client/v3/profile/{}/displayname", bob.user_id);
    bob.put(&name, json!({"displayname": "Robert Smith"})).await.ok();
    assert_eq!(found("smith", 10).await.0, [bob.user_id.as_str()]);
    let room_id = bob.create_room(json!({"preset": "public_chat"})).await;
    assert_eq!(found("robert", 10).await.0, [bob.user_id.as_str()]);
    bob.put(&name, json!({"displayname": "Bobby"})).await.ok();
    assert!(
        found("robert", 10).await.0.is_empty(),
        "the room's members have changed"
    );
    assert_eq!(found("BOBBY", 10).await.0, [bob.user_id.as_str()]);
    // The best fit comes first, and the limit is told.
    let boba = server.register("boba").await;
    assert_eq!(
        found("bob", 10).await,
        (vec![bob.user_id.clone(), boba.user_id.clone()], false)
    );
    assert_eq!(found("bob", 1).await, (vec![bob.user_id.clone()], true));
    bob.post(&format!("/_matrix/client/v3/rooms/{room_id}/leave"), json!({}))
        .await
        .ok();
    assert_eq!(
        found("bobby", 10).await.0,
        [bob.user_id.as_str()],
        "of this server"
    );
}

#[tokio::test]
async fn a_sliding_sync_after_a_lost_future_misses_no_message() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let messages = json!({"messages": {(ann.user_id.as_str()): {"*": {"n": 1}}}});
    bob.put("/_matrix/client/v3/sendToDevice/m.test/1", messages)
        .await
        .ok();
    let mut since = "99999".to_owned();
    let mut told = Vec::new();
    for _ in 0..2 {
        let asked = json!({"extensions": {"to_device": {"enabled": true, "since": since}}});
        let answer = ann
            .post(
                "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync",
                asked,
            )
            .await
            .ok();
        let part = &answer["extensions"]["to_device"];
        told.extend(part["events"].as_array().cloned().unwrap_or_default());
        since = part["next_batch"].as_str().unwrap().to_owned();
    }
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["content"], json!({"n": 1}));
}
