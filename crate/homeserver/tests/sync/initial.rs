//! The first sync of a client.

use hearth_homeserver::sync::{StateForm, SyncRequest};
use serde_json::json;

use crate::support::{Server, bodies, joined, kinds, members, object, request};

#[tokio::test]
async fn a_user_without_rooms_is_told_of_their_push_rules() {
    let server = Server::new().await;
    let answer = server.sync(&server.user("alice"), None, json!({})).await;
    assert_eq!(answer.get("rooms"), None);
    assert_eq!(kinds(&answer["account_data"]["events"]), ["m.push_rules"]);
    assert!(answer["account_data"]["events"][0]["content"]["global"]["underride"].is_array());
}

#[tokio::test]
async fn a_short_room_is_told_whole() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    server.say(&alice, &room_id, "hello").await;
    let answer = server
        .sync(&alice, None, json!({"room": {"timeline": {"limit": 100}}}))
        .await;
    let room = joined(&answer, &room_id);
    assert_eq!(room["timeline"]["limited"], false);
    assert_eq!(kinds(&room["timeline"]["events"])[0], "m.room.create");
    assert_eq!(bodies(&room["timeline"]["events"]), ["hello"]);
    assert_eq!(room["state"]["events"], json!([]), "all state is in the timeline");
    assert!(room["timeline"]["prev_batch"].is_string());
}

#[tokio::test]
async fn a_long_room_is_told_from_its_end_with_the_state_before() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    server
        .set(&alice, &room_id, "m.room.name", json!({"name": "first"}))
        .await;
    server.say_many(&alice, &room_id, 5).await;
    server
        .set(&alice, &room_id, "m.room.name", json!({"name": "second"}))
        .await;
    let answer = server
        .sync(&alice, None, json!({"room": {"timeline": {"limit": 3}}}))
        .await;
    let room = joined(&answer, &room_id);
    assert_eq!(room["timeline"]["limited"], true);
    assert_eq!(bodies(&room["timeline"]["events"]), ["3", "4"]);
    assert_eq!(kinds(&room["timeline"]["events"])[2], "m.room.name");
    let state = room["state"]["events"].as_array().unwrap();
    let names: Vec<_> = state
        .iter()
        .filter(|event| event["type"] == "m.room.name")
        .collect();
    assert_eq!(names.len(), 1);
    assert_eq!(
        names[0]["content"]["name"], "first",
        "state is as of the start of the timeline"
    );
    assert!(kinds(&room["state"]["events"]).contains(&"m.room.create"));
    let renamed = &room["timeline"]["events"][2]["unsigned"];
    assert_eq!(renamed["prev_content"]["name"], "first");
    assert_eq!(renamed["replaces_state"], names[0]["event_id"]);
    assert_eq!(renamed["prev_sender"], names[0]["sender"]);
}

#[tokio::test]
async fn state_after_is_as_of_the_end_of_the_timeline() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    server
        .set(&alice, &room_id, "m.room.name", json!({"name": "first"}))
        .await;
    server
        .set(&alice, &room_id, "m.room.name", json!({"name": "second"}))
        .await;
    let mut request = request(None, json!({"room": {"timeline": {"limit": 1}}}));
    request.state_form = StateForm::After;
    let answer = server.sync_with(&alice, request).await;
    let room = joined(&answer, &room_id);
    assert_eq!(room.get("state"), None);
    let state = room["state_after"]["events"].as_array().unwrap();
    let names: Vec<_> = state
        .iter()
        .filter(|event| event["type"] == "m.room.name")
        .collect();
    assert_eq!(names.len(), 1);
    assert_eq!(names[0]["content"]["name"], "second");
}

#[tokio::test]
async fn the_summary_names_heroes_of_a_room_without_name() {
    let server = Server::new().await;
    let (alice, bob, carol) = (server.user("alice"), server.user("bob"), server.user("carol"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    server
        .homeserver
        .invite_user(&alice, &room_id, &carol, None)
        .await
        .unwrap();
    let answer = server.sync(&alice, None, json!({})).await;
    let expected = json!({
        "m.heroes": [bob, carol], "m.joined_member_count": 2, "m.invited_member_count": 1,
    });
    assert_eq!(joined(&answer, &room_id)["summary"], expected);
    server
        .set(&alice, &room_id, "m.room.name", json!({"name": "named"}))
        .await;
    let answer = server.sync(&alice, None, json!({})).await;
    assert_eq!(joined(&answer, &room_id)["summary"].get("m.heroes"), None);
}

#[tokio::test]
async fn lazy_loading_sends_senders_heroes_and_oneself() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    server
        .set(&alice, &room_id, "m.room.name", json!({"name": "named"}))
        .await;
    let others: Vec<_> = (0..5)
        .map(|number| server.user(&format!("user{number}")))
        .collect();
    for other in &others {
        server.join(other, &room_id).await;
    }
    server.say(&others[3], &room_id, "hi").await;
    let filter = json!({"room": {"timeline": {"limit": 1}, "state": {"lazy_load_members": true}}});
    let answer = server.sync(&alice, None, filter).await;
    let mut told = members(&joined(&answer, &room_id)["state"]["events"]);
    told.sort_unstable();
    assert_eq!(told, [alice.as_str(), others[3].as_str()]);
    assert_eq!(joined(&answer, &room_id)["summary"]["m.joined_member_count"], 6);
}

#[tokio::test]
async fn account_data_of_rooms_and_global_is_told() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    let set = |room_id, kind, content| {
        server
            .homeserver
            .set_account_data(&alice, room_id, kind, object(content))
    };
    set(Some(&*room_id), "m.tag", json!({"tags": {"u.x": {}}}))
        .await
        .unwrap();
    set(None, "m.direct", json!({"@b:x": []})).await.unwrap();
    let answer = server.sync(&alice, None, json!({})).await;
    let tags = json!([{"type": "m.tag", "content": {"tags": {"u.x": {}}}}]);
    assert_eq!(joined(&answer, &room_id)["account_data"]["events"], tags);
    assert_eq!(
        kinds(&answer["account_data"]["events"]),
        ["m.direct", "m.push_rules"]
    );
}

#[tokio::test]
async fn an_initial_sync_does_not_wait() {
    let server = Server::new().await;
    let request = SyncRequest {
        timeout: std::time::Duration::from_secs(30),
        ..SyncRequest::default()
    };
    let answer = server.sync_with(&server.user("alice"), request).await;
    assert!(answer["next_batch"].is_string());
}
