//! What filters leave out.

use serde_json::json;

use crate::support::{Server, bodies, joined, kinds};

#[tokio::test]
async fn types_are_filtered_before_the_limit() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    server.say_many(&alice, &room_id, 3).await;
    for number in 0..30 {
        server
            .set(
                &alice,
                &room_id,
                "m.room.topic",
                json!({"topic": number.to_string()}),
            )
            .await;
    }
    let timeline = json!({"types": ["m.room.message"], "limit": 2});
    let answer = server
        .sync(&alice, None, json!({"room": {"timeline": timeline}}))
        .await;
    let room = joined(&answer, &room_id);
    assert_eq!(bodies(&room["timeline"]["events"]), ["1", "2"]);
    assert_eq!(room["timeline"]["limited"], true);
    let state = room["state"]["events"].as_array().unwrap();
    let topic = state
        .iter()
        .find(|event| event["type"] == "m.room.topic")
        .unwrap();
    assert_eq!(
        topic["content"]["topic"], "29",
        "state that the timeline leaves out is told"
    );
}

#[tokio::test]
async fn state_left_out_of_the_timeline_by_a_filter_is_told_as_state() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    let mut client = server.client(&alice).await;
    client.filter = json!({"room": {"timeline": {"types": ["m.room.message"]}}});
    server
        .set(&alice, &room_id, "m.room.topic", json!({"topic": "new"}))
        .await;
    let answer = client.sync().await;
    assert_eq!(
        kinds(&joined(&answer, &room_id)["state"]["events"]),
        ["m.room.topic"]
    );
}

#[tokio::test]
async fn rooms_and_senders_are_filtered() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let (wanted, unwanted) = (server.room(&alice).await, server.room(&alice).await);
    server.join(&bob, &wanted).await;
    let mut client = server.client(&alice).await;
    client.filter = json!({"room": {"not_rooms": [unwanted], "timeline": {"senders": [bob]}}});
    server.say(&alice, &unwanted, "a").await;
    server.say(&alice, &wanted, "b").await;
    server.say(&bob, &wanted, "c").await;
    let answer = client.sync().await;
    assert_eq!(answer["rooms"]["join"].as_object().unwrap().len(), 1);
    assert_eq!(bodies(&joined(&answer, &wanted)["timeline"]["events"]), ["c"]);
}

#[tokio::test]
async fn event_fields_and_format_shape_events() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    let mut client = server.client(&alice).await;
    client.filter = json!({"event_fields": ["type", "content.body"]});
    server.say(&alice, &room_id, "short").await;
    let answer = client.sync().await;
    let expected = json!([{"type": "m.room.message", "content": {"body": "short"}}]);
    assert_eq!(joined(&answer, &room_id)["timeline"]["events"], expected);
    client.filter = json!({"event_format": "federation"});
    server.say(&alice, &room_id, "raw").await;
    let answer = client.sync().await;
    assert!(joined(&answer, &room_id)["timeline"]["events"][0]["prev_events"].is_array());
}

#[tokio::test]
async fn rooms_that_were_left_are_filtered_too() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    server
        .homeserver
        .set_account_data(
            &bob,
            Some(&room_id),
            "m.tag",
            crate::support::object(json!({"tags": {}})),
        )
        .await
        .unwrap();
    server.say(&alice, &room_id, "last").await;
    server.leave(&bob, &room_id).await;
    let filter = json!({"room": {
        "include_leave": true,
        "timeline": {"limit": 1},
        "state": {"types": ["m.room.member", "m.room.create"], "lazy_load_members": true},
    }});
    let answer = server.sync(&bob, None, filter).await;
    let room = &answer["rooms"]["leave"][room_id.as_str()];
    assert_eq!(kinds(&room["timeline"]["events"]), ["m.room.member"]);
    let mut state = kinds(&room["state"]["events"]);
    state.sort_unstable();
    assert_eq!(state, ["m.room.create", "m.room.member"]);
    assert_eq!(kinds(&room["account_data"]["events"]), ["m.tag"]);
    assert_eq!(server.sync(&bob, None, json!({})).await.get("rooms"), None);
}

#[tokio::test]
async fn a_room_that_loses_its_name_is_named_after_its_members() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    server
        .set(&alice, &room_id, "m.room.name", json!({"name": "Tea"}))
        .await;
    let mut client = server.client(&alice).await;
    server.set(&alice, &room_id, "m.room.name", json!({})).await;
    let answer = client.sync().await;
    assert_eq!(joined(&answer, &room_id)["summary"]["m.heroes"], json!([bob]));
}

#[tokio::test]
async fn a_token_from_after_the_present_is_answered_with_everything() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    let answer = server.sync(&alice, Some("s1000000_0"), json!({})).await;
    assert!(kinds(&joined(&answer, &room_id)["timeline"]["events"]).contains(&"m.room.create"));
}
