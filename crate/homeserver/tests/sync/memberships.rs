//! Rooms that are joined, left, and that users are invited to.

use serde_json::json;

use crate::support::{Server, bodies, joined, kinds, members};

#[tokio::test]
async fn a_newly_joined_room_is_told_with_all_its_state() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let mut client = server.client(&bob).await;
    let room_id = server.room(&alice).await;
    server.say_many(&alice, &room_id, 20).await;
    assert_eq!(
        client.sync().await.get("rooms"),
        None,
        "others' rooms are not told"
    );
    server.join(&bob, &room_id).await;
    let answer = client.sync().await;
    let room = joined(&answer, &room_id);
    assert_eq!(room["timeline"]["limited"], true);
    assert_eq!(room["timeline"]["events"].as_array().unwrap().len(), 10);
    assert!(kinds(&room["state"]["events"]).contains(&"m.room.create"));
    assert_eq!(members(&room["state"]["events"]), [alice.as_str()]);
    assert_eq!(members(&room["timeline"]["events"]), [bob.as_str()]);
    assert_eq!(room["summary"]["m.joined_member_count"], 2);
    assert_eq!(client.sync().await.get("rooms"), None);
}

#[tokio::test]
async fn an_invite_is_told_once_and_stripped() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server
        .set(&alice, &room_id, "m.room.name", json!({"name": "party"}))
        .await;
    let mut client = server.client(&bob).await;
    server
        .homeserver
        .invite_user(&alice, &room_id, &bob, None)
        .await
        .unwrap();
    server.say(&alice, &room_id, "secret").await;
    let answer = client.sync().await;
    assert_eq!(answer["rooms"].as_object().unwrap().len(), 1, "{answer}");
    let state = &answer["rooms"]["invite"][room_id.as_str()]["invite_state"]["events"];
    assert!(kinds(state).contains(&"m.room.name"));
    assert_eq!(members(state).last(), Some(&bob.as_str()));
    let (own, stripped) = state.as_array().unwrap().split_last().unwrap();
    assert!(
        stripped
            .iter()
            .all(|event| event.get("origin_server_ts").is_none())
    );
    assert!(own["event_id"].is_string(), "the invite itself is whole: {own}");
    assert!(own["origin_server_ts"].is_u64(), "{own}");
    server.say(&alice, &room_id, "another secret").await;
    assert_eq!(client.sync().await.get("rooms"), None);
    let initial = server.sync(&bob, None, json!({})).await;
    assert!(initial["rooms"]["invite"].get(room_id.as_str()).is_some());
    server.join(&bob, &room_id).await;
    let answer = client.sync().await;
    assert!(joined(&answer, &room_id).is_object());
    assert_eq!(answer["rooms"].get("invite"), None);
}

#[tokio::test]
async fn leaving_is_told_and_nothing_after_it() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let mut client = server.client(&bob).await;
    server.say(&alice, &room_id, "while in").await;
    server.leave(&bob, &room_id).await;
    server.say(&alice, &room_id, "after").await;
    server
        .set(&alice, &room_id, "m.room.topic", json!({"topic": "after"}))
        .await;
    let answer = client.sync().await;
    let room = &answer["rooms"]["leave"][room_id.as_str()];
    assert_eq!(answer["rooms"].get("join"), None);
    assert_eq!(bodies(&room["timeline"]["events"]), ["while in"]);
    assert_eq!(members(&room["timeline"]["events"]), [bob.as_str()]);
    assert_eq!(kinds(&room["state"]["events"]), Vec::<&str>::new());
    assert_eq!(client.sync().await.get("rooms"), None);
}

#[tokio::test]
async fn a_kick_is_told_as_leaving() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let mut client = server.client(&bob).await;
    server
        .homeserver
        .kick_user(&alice, &room_id, &bob, Some("noise".into()))
        .await
        .unwrap();
    let answer = client.sync().await;
    let events = &answer["rooms"]["leave"][room_id.as_str()]["timeline"]["events"];
    assert_eq!(events[0]["content"]["membership"], "leave");
    assert_eq!(events[0]["sender"], alice.as_str());
}

#[tokio::test]
async fn a_rejected_invite_is_told_as_leaving() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server
        .homeserver
        .invite_user(&alice, &room_id, &bob, None)
        .await
        .unwrap();
    let mut client = server.client(&bob).await;
    server.leave(&bob, &room_id).await;
    let answer = client.sync().await;
    let room = &answer["rooms"]["leave"][room_id.as_str()];
    assert_eq!(members(&room["timeline"]["events"]), [bob.as_str()]);
    assert_eq!(room["timeline"]["events"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn left_rooms_are_in_an_initial_sync_when_asked_for() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server
        .set(&alice, &room_id, "m.room.topic", json!({"topic": "then"}))
        .await;
    server.join(&bob, &room_id).await;
    server.leave(&bob, &room_id).await;
    server
        .set(&alice, &room_id, "m.room.topic", json!({"topic": "now"}))
        .await;
    assert_eq!(server.sync(&bob, None, json!({})).await.get("rooms"), None);
    let filter = json!({"room": {"include_leave": true, "timeline": {"limit": 1}}});
    let answer = server.sync(&bob, None, filter).await;
    let room = &answer["rooms"]["leave"][room_id.as_str()];
    assert_eq!(members(&room["timeline"]["events"]), [bob.as_str()]);
    let state = room["state"]["events"].as_array().unwrap();
    let topic = state
        .iter()
        .find(|event| event["type"] == "m.room.topic")
        .unwrap();
    assert_eq!(topic["content"]["topic"], "then");
}

#[tokio::test]
async fn coming_back_tells_the_room_anew() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let mut client = server.client(&bob).await;
    server.leave(&bob, &room_id).await;
    server
        .set(&alice, &room_id, "m.room.topic", json!({"topic": "while away"}))
        .await;
    server.join(&bob, &room_id).await;
    server.say_many(&alice, &room_id, 10).await;
    let answer = client.sync().await;
    let room = joined(&answer, &room_id);
    assert_eq!(room["timeline"]["limited"], true);
    let told = kinds(&room["state"]["events"]);
    assert!(told.contains(&"m.room.topic") && told.contains(&"m.room.create"));
    assert_eq!(answer["rooms"].get("leave"), None);
}

#[tokio::test]
async fn a_room_joined_and_left_in_between_is_told_whole() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server
        .set(&alice, &room_id, "m.room.name", json!({"name": "party"}))
        .await;
    server.say_many(&alice, &room_id, 20).await;
    let mut client = server.client(&bob).await;
    server.join(&bob, &room_id).await;
    server.leave(&bob, &room_id).await;
    let answer = client.sync().await;
    let room = &answer["rooms"]["leave"][room_id.as_str()];
    assert_eq!(room["timeline"]["limited"], true);
    assert_eq!(members(&room["timeline"]["events"]), [bob.as_str(); 2]);
    let told = kinds(&room["state"]["events"]);
    assert!(
        told.contains(&"m.room.name") && told.contains(&"m.room.create"),
        "{told:?}"
    );
    assert_eq!(client.sync().await.get("rooms"), None);
}

#[tokio::test]
async fn history_from_before_joining_is_hidden_where_the_room_says_so() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    let visibility = json!({"history_visibility": "joined"});
    server
        .set(&alice, &room_id, "m.room.history_visibility", visibility)
        .await;
    server.say(&alice, &room_id, "secret").await;
    server.join(&bob, &room_id).await;
    server.say(&alice, &room_id, "welcome").await;
    let answer = server
        .sync(&bob, None, json!({"room": {"timeline": {"limit": 100}}}))
        .await;
    assert_eq!(
        bodies(&joined(&answer, &room_id)["timeline"]["events"]),
        ["welcome"]
    );
}

/// Spec: Client-Server API, section 'Syncing': the state is that before the timeline.
#[tokio::test]
async fn what_changed_unseen_is_not_undone_by_an_older_event_of_the_timeline() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let visibility = json!({"history_visibility": "joined"});
    server
        .set(&alice, &room_id, "m.room.history_visibility", visibility)
        .await;
    let name = |name: &str| server.set(&alice, &room_id, "m.room.name", json!({"name": name}));
    name("old").await;
    let since = server.client(&bob).await.since;
    server.leave(&bob, &room_id).await;
    name("unseen").await;
    server.say(&alice, &room_id, "secret").await;
    name("new").await;
    server.join(&bob, &room_id).await;
    for since in [None, since.as_deref()] {
        let answer = server.sync(&bob, since, json!({})).await;
        let room = joined(&answer, &room_id);
        let parts = [&room["state"]["events"], &room["timeline"]["events"]];
        let events = parts.into_iter().flat_map(|events| events.as_array().unwrap());
        let names: Vec<_> = events
            .filter_map(|event| event["content"]["name"].as_str())
            .collect();
        assert_eq!(names, ["old", "new"]);
        assert!(bodies(&room["timeline"]["events"]).is_empty());
    }
}

#[tokio::test]
async fn clients_that_know_a_room_are_told_that_it_has_ended_though_it_is_forgotten() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let (joined_room, invited_room) = (server.room(&alice).await, server.room(&alice).await);
    server.join(&bob, &joined_room).await;
    let homeserver = &server.homeserver;
    homeserver
        .invite_user(&alice, &invited_room, &bob, None)
        .await
        .unwrap();
    let since = server.client(&bob).await.since;
    for room_id in [&joined_room, &invited_room] {
        server.leave(&bob, room_id).await;
        homeserver.forget_room(&bob, room_id).await.unwrap();
        assert_eq!(homeserver.user_membership(&bob, room_id), None);
    }
    server.say(&alice, &joined_room, "unheard").await;
    let server = server.restarted().await;
    let answer = server.sync(&bob, since.as_deref(), json!({})).await;
    for room_id in [&joined_room, &invited_room] {
        let told = &answer["rooms"]["leave"][room_id.as_str()];
        assert_eq!(members(&told["timeline"]["events"]), [bob.as_str()], "{answer}");
    }
    let next = answer["next_batch"].as_str();
    assert_eq!(server.sync(&bob, next, json!({})).await.get("rooms"), None);
    // Who begins anew does not know the rooms.
    let filter = json!({ "room": { "include_leave": true } });
    assert_eq!(server.sync(&bob, None, filter).await.get("rooms"), None);
    server.join(&bob, &joined_room).await;
    let answer = server.sync(&bob, since.as_deref(), json!({})).await;
    assert!(joined(&answer, &joined_room).is_object());
    assert_eq!(answer["rooms"]["leave"].get(joined_room.as_str()), None);
}
