//! Two users of one server chat: rooms, members, messages, state, sync.

use serde_json::{Value, json};

use super::server::{Client, TestServer};

const ROOMS: &str = "/_matrix/client/v3/rooms";

/// The texts of the room's messages, oldest first, as `client` can read them.
async fn texts(client: &Client<'_>, room_id: &str) -> Vec<String> {
    let page = client
        .get(&format!("{ROOMS}/{room_id}/messages?dir=b&limit=50"))
        .await
        .ok();
    let bodies = page["chunk"].as_array().unwrap().iter().rev();
    bodies
        .filter_map(|event| event["content"]["body"].as_str().map(str::to_owned))
        .collect()
}

#[tokio::test]
async fn two_users_chat() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room_id = ann
        .create_room(json!({"preset": "private_chat", "name": "Tea"}))
        .await;
    bob.post(&format!("{ROOMS}/{room_id}/join"), json!({}))
        .await
        .fails(403, "M_FORBIDDEN");
    ann.post(
        &format!("{ROOMS}/{room_id}/invite"),
        json!({"user_id": bob.user_id}),
    )
    .await
    .ok();
    let sync = bob.get("/_matrix/client/v3/sync").await.ok();
    assert!(
        sync["rooms"]["invite"][&room_id]["invite_state"]["events"].is_array(),
        "{sync}"
    );
    // Ways into a room come from events: what is no server name among them does no harm.
    let join = format!("/_matrix/client/v3/join/{room_id}?via=bad_host&via=example.org");
    bob.post(&join, Value::Null).await.ok();
    assert_eq!(
        bob.get("/_matrix/client/v3/joined_rooms").await.ok(),
        json!({"joined_rooms": [room_id]})
    );
    let since = bob.get("/_matrix/client/v3/sync").await.ok()["next_batch"].clone();
    let first = ann.say(&room_id, "1", "hello").await;
    assert_eq!(
        ann.say(&room_id, "1", "hello").await,
        first,
        "the same transaction is sent once"
    );
    bob.say(&room_id, "1", "hi").await;
    assert_eq!(texts(&ann, &room_id).await, ["hello", "hi"]);
    let since = since.as_str().unwrap();
    let sync = bob
        .get(&format!("/_matrix/client/v3/sync?since={since}&timeout=0"))
        .await
        .ok();
    let timeline = &sync["rooms"]["join"][&room_id]["timeline"]["events"];
    assert_eq!(timeline[0]["event_id"], first.as_str());
    assert_eq!(timeline[1]["unsigned"]["transaction_id"], "1");
}

#[tokio::test]
async fn a_waiting_sync_hears_of_a_message() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room_id = ann.create_room(json!({})).await;
    let since = ann.get("/_matrix/client/v3/sync").await.ok()["next_batch"].clone();
    let path = format!(
        "/_matrix/client/v3/sync?since={}&timeout=20000",
        since.as_str().unwrap()
    );
    let (sync, sent) = futures::join!(ann.get(&path), ann.say(&room_id, "1", "news"));
    let events = &sync.ok()["rooms"]["join"][&room_id]["timeline"]["events"];
    assert_eq!(events[0]["event_id"], sent.as_str());
}

#[tokio::test]
async fn state_is_set_and_read() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room_id = ann.create_room(json!({"topic": "Tea"})).await;
    let topic = format!("{ROOMS}/{room_id}/state/m.room.topic");
    assert_eq!(ann.get(&topic).await.ok()["topic"], "Tea");
    let sent = ann.put(&topic, json!({"topic": "Cake"})).await.ok();
    assert_eq!(ann.get(&format!("{topic}/")).await.ok()["topic"], "Cake");
    let event = ann.get(&format!("{topic}?format=event")).await.ok();
    assert_eq!(
        (&event["event_id"], &event["type"]),
        (&sent["event_id"], &json!("m.room.topic"))
    );
    ann.put(
        &format!("{ROOMS}/{room_id}/state/org.example/a%2Fb"),
        json!({"x": 1}),
    )
    .await
    .ok();
    assert_eq!(
        ann.get(&format!("{ROOMS}/{room_id}/state/org.example/a%2fb"))
            .await
            .ok(),
        json!({"x": 1})
    );
    let all = ann.get(&format!("{ROOMS}/{room_id}/state")).await.ok();
    assert!(
        all.as_array()
            .unwrap()
            .iter()
            .any(|event| event["state_key"] == "a/b")
    );
    ann.get(&format!("{ROOMS}/{room_id}/state/org.none"))
        .await
        .fails(404, "M_NOT_FOUND");
    bob.get(&topic).await.fails(403, "M_FORBIDDEN");
    bob.put(&topic, json!({"topic": "Mine"}))
        .await
        .fails(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn members_come_and_go() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room_id = ann.create_room(json!({"preset": "public_chat"})).await;
    let room = format!("{ROOMS}/{room_id}");
    bob.post(&format!("{room}/join"), json!({"reason": "tea"}))
        .await
        .ok();
    let members = ann.get(&format!("{room}/joined_members")).await.ok();
    assert_eq!(members["joined"].as_object().unwrap().len(), 2);
    bob.post(&format!("{room}/kick"), json!({"user_id": ann.user_id}))
        .await
        .fails(403, "M_FORBIDDEN");
    ann.post(&format!("{room}/kick"), json!({"user_id": bob.user_id}))
        .await
        .ok();
    let left = ann.get(&format!("{room}/members?membership=leave")).await.ok();
    assert_eq!(left["chunk"][0]["state_key"], bob.user_id.as_str());
    ann.post(&format!("{room}/ban"), json!({"user_id": bob.user_id}))
        .await
        .ok();
    bob.post(&format!("{room}/join"), json!({}))
        .await
        .fails(403, "M_FORBIDDEN");
    ann.post(&format!("{room}/unban"), json!({"user_id": bob.user_id}))
        .await
        .ok();
    bob.post(&format!("{room}/join"), json!({})).await.ok();
    bob.post(&format!("{room}/leave"), json!({})).await.ok();
    bob.post(&format!("{room}/forget"), json!({})).await.ok();
    // A client asks again whose first answer was lost.
    bob.post(&format!("{room}/forget"), json!({})).await.ok();
    bob.get(&format!("{room}/joined_members"))
        .await
        .fails(403, "M_FORBIDDEN");
    ann.post(&format!("{room}/forget"), json!({}))
        .await
        .fails(400, "M_UNKNOWN");
    ann.get(&format!("{room}/members?membership=x"))
        .await
        .fails(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn events_are_read_and_redacted() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room_id = ann.create_room(json!({})).await;
    let room = format!("{ROOMS}/{room_id}");
    let mut ids = Vec::new();
    for text in ["one", "two", "three"] {
        ids.push(ann.say(&room_id, text, text).await);
    }
    assert_eq!(
        ann.get(&format!("{room}/event/{}", ids[1])).await.ok()["content"]["body"],
        "two"
    );
    let context = ann.get(&format!("{room}/context/{}?limit=2", ids[1])).await.ok();
    assert_eq!(context["events_before"][0]["event_id"], ids[0].as_str());
    assert_eq!(context["events_after"][0]["event_id"], ids[2].as_str());
    let redact = format!("{room}/redact/{}/t", ids[1]);
    let redaction = ann.put(&redact, json!({"reason": "typo"})).await.ok();
    assert_eq!(ann.put(&redact, json!({"reason": "typo"})).await.ok(), redaction);
    let event = ann.get(&format!("{room}/event/{}", ids[1])).await.ok();
    assert_eq!(event["content"], json!({}));
    assert_eq!(
        event["unsigned"]["redacted_because"]["event_id"],
        redaction["event_id"]
    );
    ann.get(&format!("{room}/messages"))
        .await
        .fails(400, "M_MISSING_PARAM");
    ann.get(&format!("{room}/messages?dir=x"))
        .await
        .fails(400, "M_INVALID_PARAM");
    ann.get(&format!("{room}/messages?dir=b&from=x"))
        .await
        .fails(400, "M_INVALID_PARAM");
    ann.get(&format!("{room}/messages?dir=b&filter=x"))
        .await
        .fails(400, "M_BAD_JSON");
}

#[tokio::test]
async fn aliases_lead_to_rooms() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room_id = ann
        .create_room(json!({"preset": "public_chat", "room_alias_name": "tea"}))
        .await;
    let alias = |name: &str| format!("%23{name}:{}", server.name);
    let directory = "/_matrix/client/v3/directory/room";
    let found = bob.get(&format!("{directory}/{}", alias("tea"))).await.ok();
    assert_eq!(found["room_id"], room_id.as_str());
    bob.post(&format!("/_matrix/client/v3/join/{}", alias("tea")), json!({}))
        .await
        .ok();
    let cake = format!("{directory}/{}", alias("cake"));
    ann.put(&cake, json!({"room_id": room_id})).await.ok();
    let aliases = ann.get(&format!("{ROOMS}/{room_id}/aliases")).await.ok();
    assert_eq!(aliases["aliases"].as_array().unwrap().len(), 2);
    assert!([400, 409].contains(&ann.put(&cake, json!({"room_id": room_id})).await.status.as_u16()));
    bob.delete(&cake).await.fails(403, "M_FORBIDDEN");
    ann.delete(&cake).await.ok();
    ann.get(&cake).await.fails(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_room_is_no_longer_called_by_an_alias_that_is_removed() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room_id = ann.room_with(&bob).await;
    let directory = "/_matrix/client/v3/directory/room";
    let path = |name: &str| format!("{directory}/%23{name}:{}", server.name);
    let alias = |name: &str| format!("#{name}:{}", server.name);
    for (client, name) in [(&ann, "tea"), (&ann, "cake"), (&bob, "milk")] {
        client.put(&path(name), json!({"room_id": room_id})).await.ok();
    }
    let canonical = format!("{ROOMS}/{room_id}/state/m.room.canonical_alias");
    let names = json!({"alias": alias("tea"), "alt_aliases": [alias("cake"), alias("milk")], "org.x": 1});
    ann.put(&canonical, names.clone()).await.ok();
    // Who may not say what the room is called still takes their alias away.
    bob.delete(&path("milk")).await.ok();
    assert_eq!(ann.get(&canonical).await.ok(), names);
    ann.delete(&path("cake")).await.ok();
    let names = json!({"alias": alias("tea"), "alt_aliases": [alias("milk")], "org.x": 1});
    assert_eq!(ann.get(&canonical).await.ok(), names);
    ann.delete(&path("tea")).await.ok();
    let names = json!({"alt_aliases": [alias("milk")], "org.x": 1});
    assert_eq!(ann.get(&canonical).await.ok(), names);
}

#[tokio::test]
async fn rooms_are_published() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room_id = ann
        .create_room(json!({"preset": "public_chat", "name": "Tea"}))
        .await;
    let visibility = format!("/_matrix/client/v3/directory/list/room/{room_id}");
    assert_eq!(ann.get(&visibility).await.ok()["visibility"], "private");
    ann.put(&visibility, json!({"visibility": "public"})).await.ok();
    let page = server.get("/_matrix/client/v3/publicRooms").await.ok();
    assert_eq!(page["chunk"][0]["room_id"], room_id.as_str());
    let unlimited = server.get("/_matrix/client/v3/publicRooms?limit=0").await.ok();
    assert_eq!(unlimited, page);
    let search = json!({"filter": {"generic_search_term": "coffee"}});
    let page = ann.post("/_matrix/client/v3/publicRooms", search).await.ok();
    assert_eq!(page["chunk"], json!([]));
    ann.put(&visibility, json!({"visibility": "secret"}))
        .await
        .fails(400, "M_BAD_JSON");
}

#[tokio::test]
async fn receipts_markers_and_typing_are_synced() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room_id = ann.create_room(json!({"preset": "public_chat"})).await;
    let room = format!("{ROOMS}/{room_id}");
    bob.post(&format!("{room}/join"), json!({})).await.ok();
    let event_id = ann.say(&room_id, "1", "hello").await;
    bob.post(&format!("{room}/receipt/m.read/{event_id}"), json!({}))
        .await
        .ok();
    bob.post(&format!("{room}/read_markers"), json!({"m.fully_read": event_id}))
        .await
        .ok();
    bob.put(
        &format!("{room}/typing/{}", bob.user_id),
        json!({"typing": true, "timeout": 20000}),
    )
    .await
    .ok();
    let sync = ann.get("/_matrix/client/v3/sync").await.ok();
    let ephemeral = &sync["rooms"]["join"][&room_id]["ephemeral"]["events"];
    let of = |kind: &str| {
        ephemeral
            .as_array()
            .unwrap()
            .iter()
            .find(|event| event["type"] == kind)
            .unwrap()
    };
    assert!(of("m.receipt")["content"][&event_id]["m.read"][&bob.user_id].is_object());
    assert_eq!(of("m.typing")["content"]["user_ids"], json!([bob.user_id]));
    bob.post(&format!("{room}/receipt/m.other/{event_id}"), json!({}))
        .await
        .fails(400, "M_INVALID_PARAM");
    let typing = format!("{room}/typing/{}", ann.user_id);
    bob.put(&typing, json!({"typing": true}))
        .await
        .fails(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn everything_is_still_there_after_a_restart() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room_id = ann.create_room(json!({})).await;
    ann.say(&room_id, "1", "hello").await;
    let (token, txn) = (
        ann.token.clone(),
        format!("{ROOMS}/{room_id}/send/m.room.message/1"),
    );
    let body = json!({"msgtype": "m.text", "body": "hello"});
    let before = ann.put(&txn, body.clone()).await.ok();
    let server = server.restarted().await;
    let again = server
        .raw(&http::Method::PUT, &txn, Some(&token), body.to_string().into())
        .await
        .ok();
    assert_eq!(again, before);
}

#[tokio::test]
async fn a_room_is_upgraded() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room_id = ann
        .create_room(json!({"preset": "public_chat", "room_version": "10"}))
        .await;
    bob.post(&format!("{ROOMS}/{room_id}/join"), json!({})).await.ok();
    let upgrade = format!("{ROOMS}/{room_id}/upgrade");
    bob.post(&upgrade, json!({"new_version": "12"}))
        .await
        .fails(403, "M_FORBIDDEN");
    ann.post(&upgrade, json!({"new_version": "0"}))
        .await
        .fails(400, "M_UNSUPPORTED_ROOM_VERSION");
    ann.post(&upgrade, json!({"new_version": 12}))
        .await
        .fails(400, "M_BAD_JSON");
    ann.post(
        &upgrade,
        json!({"new_version": "12", "additional_creators": ["bob"]}),
    )
    .await
    .fails(400, "M_BAD_JSON");
    ann.post(
        &format!("{ROOMS}/!nowhere:example.org/upgrade"),
        json!({"new_version": "12"}),
    )
    .await
    .fails(404, "M_NOT_FOUND");
    let answer = ann
        .post(
            &upgrade,
            json!({"new_version": "12", "additional_creators": [bob.user_id]}),
        )
        .await
        .ok();
    let replacement = answer["replacement_room"].as_str().unwrap();
    let tombstone = ann
        .get(&format!("{ROOMS}/{room_id}/state/m.room.tombstone"))
        .await
        .ok();
    assert_eq!(tombstone["replacement_room"], replacement);
    bob.post(&format!("{ROOMS}/{replacement}/join"), json!({}))
        .await
        .ok();
    let create = bob
        .get(&format!("{ROOMS}/{replacement}/state/m.room.create"))
        .await
        .ok();
    assert_eq!(create["additional_creators"], json!([bob.user_id]));
}

/// No identity server is asked. Spec: section 'Third-party invites'.
#[tokio::test]
async fn nobody_is_invited_by_an_address() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room = ann.create_room(json!({"invite_3pid": []})).await;
    let before = server.dump().await;
    let address = json!({
        "id_server": "matrix.org", "id_access_token": "t", "medium": "email", "address": "bob@example.org",
    });
    let invite = format!("/_matrix/client/v3/rooms/{room}/invite");
    ann.post(&invite, address.clone())
        .await
        .fails(403, "M_SERVER_NOT_TRUSTED");
    ann.post("/_matrix/client/v3/createRoom", json!({"invite_3pid": [address]}))
        .await
        .fails(403, "M_SERVER_NOT_TRUSTED");
    ann.post(&invite, json!({})).await.fails(400, "M_MISSING_PARAM");
    assert_eq!(server.dump().await, before);
}

#[tokio::test]
async fn a_new_room_names_no_alias_but_its_own() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let (_, name) = ann.user_id.split_once(':').unwrap();
    let create = async |content: Value| {
        let state = json!([{"type": "m.room.canonical_alias", "state_key": "", "content": content}]);
        let body = json!({"room_alias_name": "tea", "initial_state": state});
        ann.post("/_matrix/client/v3/createRoom", body).await
    };
    let malformed = create(json!({"alt_aliases": ["x"]})).await;
    malformed.fails(400, "M_INVALID_PARAM");
    let other = create(json!({"alias": format!("#coffee:{name}")})).await;
    other.fails(400, "M_BAD_ALIAS");
    create(json!({"alias": format!("#tea:{name}")})).await.ok();
}

#[tokio::test]
async fn the_directory_of_another_server_is_for_users() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let path = "/_matrix/client/v3/publicRooms?server=elsewhere.example";
    server.get(path).await.fails(401, "M_MISSING_TOKEN");
    assert_ne!(ann.get(path).await.status, 401);
}
