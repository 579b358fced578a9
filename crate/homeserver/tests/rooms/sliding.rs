//! Sliding sync of state that no event brings: what state resolution makes of a room's branches.

use hearth_homeserver::{accounts::Session, sync::SlidingRequest};
use ruma_common::RoomId;
use serde_json::{Value, json};

use crate::{
    peer::{Peer, auth_of},
    support::{Server, device},
};

/// A connection of alice that goes on from its last answer.
struct Slider<'a> {
    server: &'a Server,
    name: &'a str,
    pos: Option<String>,
}

impl Slider<'_> {
    /// What is new in the first `count` rooms.
    async fn slide(&mut self, count: usize) -> Value {
        let list = json!({
            "ranges": [[0, count - 1]], "timeline_limit": 5, "required_state": [["m.room.topic", ""]],
        });
        let body = json!({ "conn_id": self.name, "lists": { "all": list } });
        let mut request: SlidingRequest = serde_json::from_value(body).unwrap();
        request.pos = self.pos.take();
        let session = Session {
            user_id: self.server.alice(),
            device_id: device().to_owned(),
        };
        let answer = self.server.homeserver.sliding_sync(&session, request).await;
        let answer = serde_json::to_value(answer.unwrap()).unwrap();
        self.pos = answer["pos"].as_str().map(str::to_owned);
        answer
    }
}

/// The topics that are told of a room as its state.
fn topics<'v>(answer: &'v Value, room: &RoomId) -> Vec<&'v str> {
    let told = answer["rooms"][room.as_str()]["required_state"].as_array();
    let told = told.map(Vec::as_slice).unwrap_or_default().iter();
    told.map(|event| event["content"]["topic"].as_str().unwrap())
        .collect()
}

/// The topic of somebody is known to two clients, the window of one of whom loses the room. Then somebody is heard
/// who had put that one out of power beside it, and the topic from before holds again.
#[tokio::test]
async fn a_topic_that_comes_back_is_told() {
    let server = Server::new().await;
    let alice = server.alice();
    let (author, judge) = (Peer::new(7), Peer::new(8));
    let (elsewhere, room) = (server.public_room().await, server.public_room().await);
    let author_join = author.join(&server, &room).await;
    let judge_join = judge.join(&server, &room).await;
    let levels = |author_level| json!({ "users": { author.user().as_str(): author_level, judge.user().as_str(): 100 } });
    for (kind, content) in [
        ("m.room.power_levels", levels(50)),
        ("m.room.topic", json!({ "topic": "older" })),
    ] {
        server.set(&alice, &room, kind, content).await.unwrap();
    }
    let older = server.state(&room, "m.room.topic", "").await.unwrap();
    let by_author = auth_of(&server, &room, &author_join).await;
    let by_judge = auth_of(&server, &room, &judge_join).await;
    let topic = (("m.room.topic", Some("")), json!({ "topic": "newer" }));
    let newer = author.event(&room, &older.pdu, by_author, topic.0, topic.1);
    assert_eq!(author.tell(&server, &newer).await, json!({}));
    server.say(&alice, &elsewhere, "1", "look here").await.unwrap();
    let mut clients = ["near", "far"].map(|name| Slider {
        server: &server,
        name,
        pos: None,
    });
    for client in &mut clients {
        assert_eq!(topics(&client.slide(2).await, &room), ["newer"]);
    }
    let [near, far] = &mut clients;
    let judgement = (("m.room.power_levels", Some("")), levels(0));
    let judgement = judge.event(&room, &older.pdu, by_judge, judgement.0, judgement.1);
    assert_eq!(judge.tell(&server, &judgement).await, json!({}));
    let topic = server.state_content(&room, "m.room.topic").await.unwrap();
    assert_eq!(topic["topic"], "older");
    assert_eq!(topics(&near.slide(2).await, &room), ["older"]);
    assert_eq!(near.slide(2).await["rooms"], json!({}));
    assert_eq!(far.slide(1).await["rooms"], json!({}));
    assert_eq!(topics(&far.slide(2).await, &room), ["older"]);
    assert_eq!(far.slide(2).await["rooms"], json!({}));
}
