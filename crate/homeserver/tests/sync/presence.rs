//! Who is there.

use std::time::Duration;

use hearth_homeserver::{Error, presence::PresenceState};
use ruma_common::{ServerName, UserId};
use serde_json::{Value, json};

use crate::support::{Client, Server, device, object, request, settles};

/// Says by a sync that a user is there.
async fn appear(server: &Server, user_id: &UserId, state: PresenceState) {
    let mut request = request(None, json!({}));
    request.presence = state;
    server.sync_with(user_id, request).await;
}

/// What the next answer tells of presence: users with their states.
async fn told(client: &mut Client<'_>) -> Vec<(String, String)> {
    let answer = client.sync().await;
    let events = answer["presence"]["events"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let told = events.iter().map(|event| {
        assert_eq!(event["type"], "m.presence");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&event["sender"]), text(&event["content"]["presence"]))
    });
    told.collect()
}

fn is(user_id: &UserId, state: &str) -> Vec<(String, String)> {
    vec![(user_id.to_string(), state.to_owned())]
}

/// Lets time pass, so that whoever looks who has gone does so.
async fn pass(server: &Server, seconds: u64) {
    for _ in 0..seconds.div_ceil(10) {
        server.clock.advance(Duration::from_secs(10));
        settles(&mut std::future::pending::<()>()).await;
    }
}

#[tokio::test]
async fn those_who_share_a_room_hear_of_each_other() {
    let server = Server::new().await;
    let (alice, bob, carol) = (server.user("alice"), server.user("bob"), server.user("carol"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let mut watching = server.client(&bob).await;
    let mut stranger = server.client(&carol).await;
    appear(&server, &alice, PresenceState::Online).await;
    assert_eq!(told(&mut watching).await, is(&alice, "online"));
    assert_eq!(told(&mut watching).await, [], "once");
    assert_eq!(told(&mut stranger).await, []);
    // Who comes into the room hears of those who are there already.
    server.join(&carol, &room_id).await;
    assert_eq!(told(&mut stranger).await, is(&alice, "online"));
    // So does a new client.
    let answer = server.sync(&bob, None, json!({})).await;
    assert_eq!(answer["presence"]["events"][0]["sender"], alice.as_str());
    let filter = json!({"presence": {"not_senders": [alice]}});
    assert_eq!(server.sync(&bob, None, filter).await.get("presence"), None);
    assert_eq!(
        server
            .sync(&bob, None, json!({"presence": {"types": []}}))
            .await
            .get("presence"),
        None
    );
}

#[tokio::test]
async fn who_does_nothing_is_away_and_who_does_not_sync_is_gone() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let mut watching = server.client(&bob).await;
    let status = async || {
        object(Value::Object(
            server.homeserver.presence_of(&bob, &alice).await.unwrap(),
        ))
    };
    for _ in 0..8 {
        appear(&server, &alice, PresenceState::Online).await;
        pass(&server, 20).await;
    }
    assert_eq!(told(&mut watching).await, is(&alice, "online"));
    let seen = status().await;
    assert_eq!(
        (
            seen["currently_active"].as_bool(),
            seen["last_active_ago"].as_u64()
        ),
        (Some(false), Some(160_000))
    );
    for _ in 0..8 {
        appear(&server, &alice, PresenceState::Online).await;
        pass(&server, 20).await;
    }
    assert_eq!(told(&mut watching).await, is(&alice, "unavailable"));
    appear(&server, &alice, PresenceState::Online).await;
    server.say(&alice, &room_id, "back").await;
    assert_eq!(status().await["presence"], "online");
    assert_eq!(status().await["currently_active"], true);
    assert_eq!(told(&mut watching).await, is(&alice, "online"));
    pass(&server, 60).await;
    assert_eq!(told(&mut watching).await, is(&alice, "offline"));
    assert_eq!(status().await["presence"], "offline");
    assert_eq!(status().await["last_active_ago"], 60_000);
}

#[tokio::test]
async fn a_client_says_how_present_it_is() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let status = async || server.homeserver.presence_of(&alice, &alice).await.unwrap()["presence"].clone();
    appear(&server, &alice, PresenceState::Offline).await;
    assert_eq!(status().await, "offline");
    appear(&server, &alice, PresenceState::Unavailable).await;
    assert_eq!(status().await, "unavailable");
    appear(&server, &alice, PresenceState::Online).await;
    assert_eq!(status().await, "online");
}

#[tokio::test]
async fn a_status_message_outlives_a_restart() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let homeserver = &server.homeserver;
    let refused = homeserver.presence_of(&bob, &alice).await;
    assert!(matches!(refused, Err(Error::Forbidden(_))), "they share no room");
    homeserver
        .set_presence(
            &alice,
            device(),
            PresenceState::Online,
            Some("out for tea".into()),
        )
        .await
        .unwrap();
    let long = homeserver.set_presence(&alice, device(), PresenceState::Online, Some("x".repeat(2000)));
    assert!(matches!(long.await, Err(Error::InvalidParam(_))));
    let server = server.restarted().await;
    let status = server.homeserver.presence_of(&alice, &alice).await.unwrap();
    assert_eq!(
        Value::Object(status),
        json!({"presence": "offline", "status_msg": "out for tea"})
    );
    server
        .homeserver
        .set_presence(&alice, device(), PresenceState::Unavailable, None)
        .await
        .unwrap();
    let status = server.homeserver.presence_of(&alice, &alice).await.unwrap();
    assert_eq!(
        (status.get("status_msg"), &status["presence"]),
        (None, &json!("unavailable"))
    );
}

#[tokio::test]
async fn a_change_ends_the_wait() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let mut request = request(server.client(&alice).await.since.as_deref(), json!({}));
    request.timeout = Duration::from_secs(20);
    let mut waiting = Box::pin(server.sync_with(&alice, request));
    assert!(settles(&mut waiting).await.is_none());
    appear(&server, &server.user("nobody"), PresenceState::Online).await;
    assert!(settles(&mut waiting).await.is_none(), "whom one does not know");
    appear(&server, &bob, PresenceState::Online).await;
    assert_eq!(waiting.await["presence"]["events"][0]["sender"], bob.as_str());
}

#[tokio::test]
async fn other_servers_speak_for_their_own_users_only() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let edu = object(json!({"push": [
        {"user_id": "@x:elsewhere.example", "presence": "online", "last_active_ago": 1},
        {"user_id": alice, "presence": "online", "last_active_ago": 1},
        {"user_id": 7},
    ]}));
    let origin = <&ServerName>::try_from("elsewhere.example").unwrap();
    server.homeserver.receive_presence(origin, &edu).await.unwrap();
    let status = server.homeserver.presence_of(&alice, &alice).await.unwrap();
    assert_eq!(status["presence"], "offline");
    let answer = server.sync(&alice, None, json!({})).await;
    assert_eq!(answer.get("presence"), None, "nobody here knows them");
}
