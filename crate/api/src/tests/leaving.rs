//! What is read of a room by who has left it.

use serde_json::{Value, json};

use super::{
    relations::percent_encode,
    server::{Client, TestServer},
};

const V3: &str = "/_matrix/client/v3";
const ROOMS: &str = "/_matrix/client/v3/rooms";

async fn set(client: &Client<'_>, room: &str, kind: &str, content: Value) {
    let path = format!("{ROOMS}/{room}/state/{kind}/");
    client.put(&path, content).await.ok();
}

async fn change(client: &Client<'_>, room: &str, change: &str, user_id: &str) {
    let path = format!("{ROOMS}/{room}/{change}");
    let body = json!({"user_id": user_id, "reason": change});
    client.post(&path, body).await.ok();
}

async fn since(client: &Client<'_>) -> String {
    let answer = client.get(&format!("{V3}/sync")).await.ok();
    answer["next_batch"].as_str().unwrap().to_owned()
}

/// Everything that `client` can read of the state of a room that they have left, by whatever way.
async fn told(client: &Client<'_>, room: &str, since: &str) -> String {
    let mut told = Vec::new();
    for path in [
        format!("{ROOMS}/{room}/state"),
        format!("{ROOMS}/{room}/state/m.room.topic/"),
        format!("{ROOMS}/{room}/members"),
        format!("{ROOMS}/{room}/initialSync"),
        format!("{V3}/initialSync?archived=true"),
        format!("{V3}/sync?since={since}"),
        format!(
            "{V3}/sync?filter={}",
            percent_encode(r#"{"room":{"include_leave":true}}"#)
        ),
    ] {
        told.push(client.get(&path).await.ok().to_string());
    }
    let search = json!({"search_categories": {"room_events": {"search_term": "fox", "include_state": true}}});
    let found = client.post(&format!("{V3}/search"), search).await.ok();
    assert!(found.to_string().contains("while in"), "{found}");
    told.push(found.to_string());
    told.join("\n")
}

#[tokio::test]
async fn what_becomes_of_a_membership_after_leaving_shows_nothing_of_the_room() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = ann.room_with(&bob).await;
    set(&ann, &room, "m.room.topic", json!({"topic": "while in"})).await;
    ann.say(&room, "0", "a fox").await;
    let before = since(&bob).await;
    change(&ann, &room, "kick", &bob.user_id).await;
    let after = since(&bob).await;
    set(&ann, &room, "m.room.join_rules", json!({"join_rule": "knock"})).await;
    set(&ann, &room, "m.room.topic", json!({"topic": "secret"})).await;
    let knock = format!("{V3}/knock/{room}");
    for step in ["knock", "invite", "ban", "unban"] {
        match step {
            "knock" => drop(bob.post(&knock, json!({})).await.ok()),
            _ => change(&ann, &room, step, &bob.user_id).await,
        }
        if matches!(step, "knock" | "invite") {
            bob.get(&format!("{ROOMS}/{room}/state"))
                .await
                .fails(403, "M_FORBIDDEN");
            bob.post(&format!("{ROOMS}/{room}/leave"), json!({})).await.ok();
        }
        for since in [&before, &after] {
            let told = told(&bob, &room, since).await;
            assert!(!told.contains("secret"), "after {step}: {told}");
        }
    }
    // Who knows that they have left hears of what became of their membership, and of that alone.
    let answer = bob.get(&format!("{V3}/sync?since={after}")).await.ok();
    let left = &answer["rooms"]["leave"][&room];
    assert_eq!(left["timeline"]["events"].as_array().unwrap().len(), 1, "{left}");
    assert_eq!(left["timeline"]["events"][0]["content"]["reason"], "unban");
    // Who does not hears of the leaving too.
    let answer = bob.get(&format!("{V3}/sync?since={before}")).await.ok();
    let events = &answer["rooms"]["leave"][&room]["timeline"]["events"];
    let reasons = events.as_array().unwrap().iter();
    let reasons: Vec<_> = reasons.map(|event| &event["content"]["reason"]).collect();
    assert_eq!(reasons, ["kick", "unban"]);
    // Being in the room again ends it.
    set(&ann, &room, "m.room.join_rules", json!({"join_rule": "public"})).await;
    bob.post(&format!("{ROOMS}/{room}/join"), json!({})).await.ok();
    let topic = bob.get(&format!("{ROOMS}/{room}/state/m.room.topic")).await.ok();
    assert_eq!(topic["topic"], "secret");
}

#[tokio::test]
async fn members_are_told_as_of_a_moment_that_the_user_may_know() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let (cat, dan) = (server.register("cat").await, server.register("dan").await);
    let room = ann.room_with(&dan).await;
    let members = async |client: &Client<'_>, at: &str| {
        let path = format!("{ROOMS}/{room}/members?at={at}");
        client.get(&path).await
    };
    set(
        &ann,
        &room,
        "m.room.history_visibility",
        json!({"history_visibility": "joined"}),
    )
    .await;
    ann.say(&room, "0", "hello").await;
    let early = since(&ann).await;
    bob.post(&format!("{V3}/join/{room}"), json!({})).await.ok();
    let joined = since(&bob).await;
    members(&bob, &early).await.fails(403, "M_FORBIDDEN");
    assert!(
        members(&bob, &joined)
            .await
            .ok()
            .to_string()
            .contains(&bob.user_id)
    );
    assert_eq!(
        members(&ann, &early).await.ok()["chunk"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    bob.post(&format!("{ROOMS}/{room}/leave"), json!({})).await.ok();
    cat.post(&format!("{V3}/join/{room}"), json!({})).await.ok();
    change(&ann, &room, "ban", &dan.user_id).await;
    for at in ["s999999999_0", &since(&ann).await, &joined] {
        let told = members(&bob, at).await.ok();
        assert_eq!(told["chunk"].as_array().unwrap().len(), 3, "{told}");
        assert!(!told.to_string().contains(&cat.user_id), "{told}");
        assert!(!told.to_string().contains("ban"), "{told}");
    }
    // Two filters are two ways to pass.
    for (filter, expected) in [
        ("membership=join", 2),
        ("not_membership=join", 2),
        ("membership=ban&not_membership=leave", 3),
        ("membership=join&not_membership=join", 4),
    ] {
        let told = ann.get(&format!("{ROOMS}/{room}/members?{filter}")).await.ok();
        assert_eq!(told["chunk"].as_array().unwrap().len(), expected, "{filter}");
    }
}

#[tokio::test]
async fn old_pages_have_members_as_they_were() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let cat = server.register("cat").await;
    let room = ann.room_with(&bob).await;
    cat.post(&format!("{V3}/join/{room}"), json!({})).await.ok();
    let said = cat.say(&room, "0", "hello").await;
    bob.post(&format!("{ROOMS}/{room}/leave"), json!({})).await.ok();
    change(&ann, &room, "ban", &cat.user_id).await;
    let lazy = percent_encode(r#"{"lazy_load_members":true}"#);
    for direction in ["b", "f"] {
        let path = format!("{ROOMS}/{room}/messages?dir={direction}&limit=50&filter={lazy}");
        let page = bob.get(&path).await.ok();
        let state = page["state"].as_array().unwrap().iter();
        let of_cat = state.filter(|event| event["state_key"] == cat.user_id.as_str());
        let memberships: Vec<_> = of_cat.map(|event| &event["content"]["membership"]).collect();
        assert_eq!(memberships, ["join"], "{page}");
    }
    let types = percent_encode(r#"{"types":["m.room.m*"]}"#);
    let around = ann
        .get(&format!("{ROOMS}/{room}/context/{said}?filter={types}"))
        .await
        .ok();
    let state = around["state"].as_array().unwrap();
    assert_eq!(state.len(), 3, "{around}");
    assert!(
        state.iter().all(|event| event["type"] == "m.room.member"),
        "{around}"
    );
}

#[tokio::test]
async fn what_was_forgotten_is_shown_no_more() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = ann.room_with(&bob).await;
    let said = ann.say(&room, "0", "hello").await;
    bob.post(&format!("{ROOMS}/{room}/leave"), json!({})).await.ok();
    let read = async || {
        let mut answers = Vec::new();
        for path in [
            format!("{ROOMS}/{room}/event/{said}"),
            format!("{ROOMS}/{room}/context/{said}"),
            format!("/_matrix/client/v1/rooms/{room}/relations/{said}"),
        ] {
            answers.push(bob.get(&path).await);
        }
        answers
    };
    for answer in read().await {
        answer.ok();
    }
    bob.post(&format!("{ROOMS}/{room}/forget"), json!({})).await.ok();
    for answer in read().await {
        answer.fails(404, "M_NOT_FOUND");
    }
}
