//! Sliding sync (MSC4186).

use std::time::Duration;

use hearth_homeserver::{Error, accounts::Session, sync::SlidingRequest};
use ruma_common::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde_json::{Value, json};

use crate::support::{Server, bodies, device, kinds, members, object, settles};

/// A client that goes on from its last answer.
pub(crate) struct Slider<'a> {
    server: &'a Server,
    user_id: OwnedUserId,
    pub(crate) pos: Option<String>,
}

impl<'a> Slider<'a> {
    pub(crate) fn new(server: &'a Server, user_id: &UserId) -> Self {
        Self {
            server,
            user_id: user_id.to_owned(),
            pos: None,
        }
    }

    pub(crate) fn session(&self) -> Session {
        Session {
            user_id: self.user_id.clone(),
            device_id: device().to_owned(),
        }
    }

    pub(crate) fn request(&self, body: Value) -> SlidingRequest {
        let mut request: SlidingRequest = serde_json::from_value(body).unwrap();
        request.pos = self.pos.clone();
        request
    }

    pub(crate) async fn ask(&mut self, body: Value) -> Result<Value, Error> {
        let request = self.request(body);
        let answer = self
            .server
            .homeserver
            .sliding_sync(&self.session(), request)
            .await?;
        let answer = serde_json::to_value(answer).unwrap();
        self.pos = Some(answer["pos"].as_str().unwrap().to_owned());
        Ok(answer)
    }

    pub(crate) async fn slide(&mut self, body: Value) -> Value {
        self.ask(body).await.unwrap()
    }
}

/// One list of the first rooms.
pub(crate) fn first(count: u64, limit: u64) -> Value {
    json!({"lists": {"all": {
        "ranges": [[0, count - 1]],
        "timeline_limit": limit,
        "required_state": [["m.room.name", ""], ["m.room.member", "$ME"], ["m.room.member", "$LAZY"]],
    }}})
}

pub(crate) fn rooms(answer: &Value) -> Vec<&str> {
    let rooms = answer["rooms"].as_object().unwrap();
    rooms.keys().map(String::as_str).collect()
}

pub(crate) fn room<'v>(answer: &'v Value, room_id: &RoomId) -> &'v Value {
    &answer["rooms"][room_id.as_str()]
}

#[tokio::test]
async fn the_first_rooms_are_those_where_something_was_said_last() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let (one, two, three) = (
        server.room(&alice).await,
        server.room(&alice).await,
        server.room(&alice).await,
    );
    server.say(&alice, &one, "hello").await;
    let mut client = Slider::new(&server, &alice);
    let answer = client.slide(first(2, 3)).await;
    assert_eq!(answer["lists"]["all"]["count"], 3);
    let mut expected = [one.as_str(), three.as_str()];
    expected.sort_unstable();
    assert_eq!(rooms(&answer), expected);
    let told = room(&answer, &one);
    assert_eq!(told["initial"], true);
    assert_eq!(told["limited"], true);
    assert_eq!(told["joined_count"], 1);
    assert_eq!(told["num_live"], 0);
    assert_eq!(bodies(&told["timeline"]), ["hello"]);
    assert_eq!(told["timeline"].as_array().unwrap().len(), 3);
    assert_eq!(members(&told["required_state"]), [alice.as_str()]);
    assert!(told["prev_batch"].is_string());
    assert!(told["bump_stamp"].as_u64() > room(&answer, &three)["bump_stamp"].as_u64());
    // A state event does not move a room, a message does.
    server
        .set(&alice, &two, "m.room.topic", json!({"topic": "x"}))
        .await;
    assert_eq!(client.slide(first(2, 3)).await["rooms"], json!({}));
    server.say(&alice, &two, "me too").await;
    let answer = client.slide(first(2, 3)).await;
    assert_eq!(rooms(&answer), [two.as_str()]);
    assert_eq!(room(&answer, &two)["initial"], true);
    assert_eq!(room(&answer, &two)["num_live"], 1, "the topic is not news");
}

#[tokio::test]
async fn a_room_stays_in_its_place_whatever_nobody_looks_at() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let (one, two) = (server.room(&alice).await, server.room(&alice).await);
    for room_id in [&one, &two] {
        server.join(&bob, room_id).await;
    }
    let said = server.say(&bob, &one, "x").await;
    server.say(&bob, &two, "y").await;
    let stamps = async |server: &Server| {
        let answer = Slider::new(server, &alice).slide(first(2, 1)).await;
        [&one, &two].map(|room_id| room(&answer, room_id)["bump_stamp"].as_u64().unwrap())
    };
    let [older, newer] = stamps(&server).await;
    assert!(older < newer);
    for number in 0..140 {
        let key = number.to_string();
        let relation = json!({"rel_type": "m.annotation", "event_id": said, "key": key});
        let content = object(json!({"m.relates_to": relation}));
        let reaction = server
            .homeserver
            .send_message(&bob, device(), &one, "m.reaction", &key, content);
        reaction.await.unwrap();
    }
    let renamed = object(json!({"membership": "join", "displayname": "Alice"}));
    let renamed = server
        .homeserver
        .send_state(&alice, &one, "m.room.member", alice.as_str(), renamed);
    renamed.await.unwrap();
    assert_eq!(stamps(&server).await, [older, newer]);
    let server = server.restarted().await;
    assert_eq!(stamps(&server).await, [older, newer]);
    let answer = Slider::new(&server, &alice).slide(first(1, 1)).await;
    assert_eq!(rooms(&answer), [two.as_str()]);
}

#[tokio::test]
async fn a_room_that_is_sent_is_told_of_what_is_new_only() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let mut client = Slider::new(&server, &alice);
    client.slide(first(1, 3)).await;
    assert_eq!(client.slide(first(1, 3)).await["rooms"], json!({}));
    server.say(&bob, &room_id, "news").await;
    server
        .set(&alice, &room_id, "m.room.name", json!({"name": "Tea"}))
        .await;
    server
        .set(
            &alice,
            &room_id,
            "m.room.topic",
            json!({"topic": "not asked for"}),
        )
        .await;
    let answer = client.slide(first(1, 5)).await;
    assert_eq!(
        room(&answer, &room_id)["unstable_expanded_timeline"],
        true,
        "more is asked for"
    );
    server
        .set(&alice, &room_id, "m.room.name", json!({"name": "Cake"}))
        .await;
    server.say(&bob, &room_id, "more").await;
    let answer = client.slide(first(1, 5)).await;
    let told = room(&answer, &room_id);
    assert_eq!(told.get("initial"), None);
    assert_eq!(told.get("limited"), None);
    assert_eq!(kinds(&told["timeline"]), ["m.room.name", "m.room.message"]);
    assert_eq!(told["num_live"], 2);
    assert_eq!(told["name"], "Cake");
    let mut state = kinds(&told["required_state"]);
    state.sort_unstable();
    assert_eq!(
        state,
        ["m.room.member", "m.room.member", "m.room.name"],
        "the name, and who spoke"
    );
    assert_eq!(told["notification_count"], 2, "to set a name is not to read");
}

#[tokio::test]
async fn a_room_that_comes_back_is_told_of_what_was_missed() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let (one, two) = (server.room(&alice).await, server.room(&alice).await);
    let mut client = Slider::new(&server, &alice);
    assert_eq!(rooms(&client.slide(first(2, 2)).await).len(), 2);
    server.say(&alice, &one, "a").await;
    server.say(&alice, &two, "b").await;
    assert_eq!(rooms(&client.slide(first(1, 2)).await), [two.as_str()]);
    server.say(&alice, &two, "c").await;
    assert_eq!(rooms(&client.slide(first(1, 2)).await), [two.as_str()]);
    server.say(&alice, &one, "d").await;
    let answer = client.slide(first(1, 2)).await;
    assert_eq!(rooms(&answer), [one.as_str()]);
    assert_eq!(room(&answer, &one).get("initial"), None);
    assert_eq!(bodies(&room(&answer, &one)["timeline"]), ["a", "d"]);
    assert_eq!(room(&answer, &one).get("limited"), None);
    assert_eq!(room(&answer, &one)["num_live"], 1);
    assert_eq!(client.slide(first(1, 2)).await["rooms"], json!({}));
}

#[tokio::test]
async fn filters_say_which_rooms_are_in_a_list() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let plain = server.room(&alice).await;
    let secret = server.room(&alice).await;
    let encryption = json!({"algorithm": "m.megolm.v1.aes-sha2"});
    server.set(&alice, &secret, "m.room.encryption", encryption).await;
    server
        .set(&alice, &plain, "m.room.name", json!({"name": "Tea house"}))
        .await;
    let invited = server.room(&bob).await;
    server
        .homeserver
        .invite_user(&bob, &invited, &alice, None)
        .await
        .unwrap();
    let data = |room_id: Option<&RoomId>, kind: &'static str, content: Value| {
        let (homeserver, alice) = (server.homeserver.clone(), alice.clone());
        let room_id = room_id.map(ToOwned::to_owned);
        async move {
            homeserver
                .set_account_data(&alice, room_id.as_deref(), kind, object(content))
                .await
                .unwrap();
        }
    };
    data(None, "m.direct", json!({bob.as_str(): [secret]})).await;
    data(Some(&plain), "m.tag", json!({"tags": {"m.favourite": {}}})).await;
    let count = async |filters: Value| {
        let list = json!({"lists": {"x": {"ranges": [[0, 9]], "timeline_limit": 1, "filters": filters}}});
        let answer = Slider::new(&server, &alice).slide(list).await;
        let all = answer["rooms"].as_object().unwrap();
        assert_eq!(answer["lists"]["x"]["count"], all.len());
        all.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(count(json!({})).await.len(), 3);
    assert_eq!(count(json!({"is_encrypted": true})).await, [secret.as_str()]);
    assert_eq!(count(json!({"is_dm": true})).await, [secret.as_str()]);
    assert_eq!(count(json!({"is_invite": true})).await, [invited.as_str()]);
    assert_eq!(count(json!({"room_name_like": "tea"})).await, [plain.as_str()]);
    assert_eq!(count(json!({"tags": ["m.favourite"]})).await, [plain.as_str()]);
    assert_eq!(
        count(json!({"not_tags": ["m.favourite"], "is_invite": false})).await,
        [secret.as_str()]
    );
    assert_eq!(
        count(json!({"room_types": ["m.space"]})).await,
        Vec::<String>::new()
    );
    assert_eq!(count(json!({"not_room_types": ["m.space"]})).await.len(), 3);
    assert_eq!(
        count(json!({"room_types": [null], "is_dm": false, "is_invite": false})).await,
        [plain.as_str()]
    );
    server.set(&alice, &plain, "m.space.child", json!({})).await;
    let child = json!({"via": ["x"]});
    server
        .homeserver
        .send_state(&alice, &plain, "m.space.child", secret.as_str(), object(child))
        .await
        .unwrap();
    assert_eq!(count(json!({"spaces": [plain]})).await, [secret.as_str()]);
    assert_eq!(count(json!({"spaces": [secret]})).await, Vec::<String>::new());
}

#[tokio::test]
async fn invites_are_told_stripped_and_leaving_is_told() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&bob).await;
    let mut client = Slider::new(&server, &alice);
    client.slide(first(5, 5)).await;
    server
        .homeserver
        .invite_user(&bob, &room_id, &alice, None)
        .await
        .unwrap();
    let answer = client.slide(first(5, 5)).await;
    let told = room(&answer, &room_id);
    assert_eq!(told["initial"], true);
    assert_eq!(members(&told["invite_state"]), [bob.as_str(), alice.as_str()]);
    assert_eq!(told.get("timeline"), None);
    assert_eq!(client.slide(first(5, 5)).await["rooms"], json!({}));
    server.join(&alice, &room_id).await;
    let answer = client.slide(first(5, 5)).await;
    assert_eq!(room(&answer, &room_id)["initial"], true);
    assert_eq!(room(&answer, &room_id).get("invite_state"), None);
    server.say(&bob, &room_id, "bye").await;
    server.leave(&alice, &room_id).await;
    server.say(&bob, &room_id, "unheard").await;
    let answer = client.slide(first(5, 5)).await;
    assert_eq!(answer["lists"]["all"]["count"], 0);
    let told = room(&answer, &room_id);
    assert_eq!(bodies(&told["timeline"]), ["bye"]);
    assert_eq!(told["required_state"][0]["content"]["membership"], "leave");
    assert_eq!(client.slide(first(5, 5)).await["rooms"], json!({}));
}

#[tokio::test]
async fn a_new_connection_is_told_who_removed_the_user_until_they_forget_the_room() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let [kicked, banned, left] = [
        server.room(&bob).await,
        server.room(&bob).await,
        server.room(&bob).await,
    ];
    for room_id in [&kicked, &banned, &left] {
        server.join(&alice, room_id).await;
        server
            .set(&bob, room_id, "m.room.name", json!({"name": "before"}))
            .await;
    }
    server.leave(&alice, &left).await;
    let homeserver = &server.homeserver;
    homeserver.kick_user(&bob, &kicked, &alice, None).await.unwrap();
    homeserver.ban_user(&bob, &banned, &alice, None).await.unwrap();
    for room_id in [&kicked, &banned, &left] {
        server
            .set(&bob, room_id, "m.room.name", json!({"name": "after"}))
            .await;
    }
    let mut list = first(5, 1);
    list["lists"]["all"]["required_state"] = json!([["m.room.name", ""]]);
    let mut client = Slider::new(&server, &alice);
    let answer = client.slide(list.clone()).await;
    assert_eq!(answer["lists"]["all"]["count"], 0);
    assert_eq!(answer["rooms"].as_object().unwrap().len(), 2);
    for (room_id, membership) in [(&kicked, "leave"), (&banned, "ban")] {
        let told = room(&answer, room_id);
        assert_eq!(told["initial"], true);
        assert_eq!(told["required_state"][0]["content"]["membership"], membership);
        assert_eq!(told["required_state"][1]["content"]["name"], "before");
        let events = told["timeline"].as_array().unwrap();
        assert_eq!(events.last().unwrap()["content"]["membership"], membership);
    }
    assert_eq!(client.slide(list.clone()).await["rooms"], json!({}));
    homeserver.forget_room(&alice, &kicked).await.unwrap();
    let mut client = Slider::new(&server, &alice);
    let answer = client.slide(list).await;
    assert_eq!(
        answer["rooms"].as_object().unwrap().keys().collect::<Vec<_>>(),
        [banned.as_str()]
    );
}

#[tokio::test]
async fn a_connection_is_told_that_a_room_has_ended_though_it_is_forgotten() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&bob).await;
    server.join(&alice, &room_id).await;
    let mut client = Slider::new(&server, &alice);
    client.slide(first(5, 5)).await;
    server.leave(&alice, &room_id).await;
    server.homeserver.forget_room(&alice, &room_id).await.unwrap();
    let answer = client.slide(first(5, 5)).await;
    assert_eq!(answer["lists"]["all"]["count"], 0);
    let told = room(&answer, &room_id);
    assert_eq!(told["required_state"][0]["content"]["membership"], "leave");
    assert_eq!(client.slide(first(5, 5)).await["rooms"], json!({}));
    let mut client = Slider::new(&server, &alice);
    assert_eq!(client.slide(first(5, 5)).await["rooms"], json!({}));
}

#[tokio::test]
async fn a_connection_goes_on_after_a_restart() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    let mut client = Slider::new(&server, &alice);
    client.slide(first(5, 5)).await;
    let pos = client.pos.clone();
    let server = server.restarted().await;
    server.say(&alice, &room_id, "after").await;
    let mut client = Slider::new(&server, &alice);
    client.pos = pos.clone();
    let answer = client.slide(first(5, 5)).await;
    assert_eq!(room(&answer, &room_id).get("initial"), None);
    assert_eq!(bodies(&room(&answer, &room_id)["timeline"]), ["after"]);
    // The answer may have been lost: the same request again.
    client.pos = pos.clone();
    assert_eq!(
        bodies(&room(&client.slide(first(5, 5)).await, &room_id)["timeline"]),
        ["after"]
    );
    // A new beginning of the connection ends the one before.
    Slider::new(&server, &alice).slide(first(5, 5)).await;
    client.pos = pos;
    assert!(matches!(client.ask(first(5, 5)).await, Err(Error::UnknownPos)));
    for pos in ["", "x", "1-s1_1", "s1_1", "99999999999999999999-s1_1"] {
        client.pos = Some(pos.to_owned());
        assert!(
            matches!(client.ask(first(5, 5)).await, Err(Error::UnknownPos)),
            "{pos}"
        );
    }
}

#[tokio::test]
async fn a_position_stays_however_many_answers_to_it_are_lost() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let mut client = Slider::new(&server, &alice);
    client.slide(first(9, 1)).await;
    let held = client.pos.clone();
    for count in 1..6 {
        server.room(&alice).await;
        client.pos.clone_from(&held);
        assert_eq!(rooms(&client.slide(first(9, 1)).await).len(), count);
    }
    // The last answer has come.
    server.room(&alice).await;
    assert_eq!(rooms(&client.slide(first(9, 1)).await).len(), 1);
    client.pos = held;
    assert!(matches!(client.ask(first(9, 1)).await, Err(Error::UnknownPos)));
}

#[tokio::test]
async fn a_position_stays_if_others_take_its_place_in_memory() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let mut client = Slider::new(&server, &alice);
    client.slide(first(9, 1)).await;
    let mut request = client.request(first(9, 1));
    request.timeout = Duration::from_secs(20);
    let session = client.session();
    let mut waiting = Box::pin(server.homeserver.sliding_sync(&session, request.clone()));
    assert!(settles(&mut waiting).await.is_none());
    for number in 0..100 {
        let other = Session {
            user_id: alice.clone(),
            device_id: format!("OTHER{number}").into(),
        };
        let request = Slider::new(&server, &alice).request(first(9, 1));
        server.homeserver.sliding_sync(&other, request).await.unwrap();
    }
    server.clock.advance(Duration::from_secs(1));
    let room_id = server.room(&alice).await;
    assert!(waiting.await.unwrap().rooms[&room_id].initial);
    // That answer was lost.
    let again = server.homeserver.sliding_sync(&session, request).await;
    assert!(again.unwrap().rooms[&room_id].initial);
}

#[tokio::test]
async fn connections_do_not_disturb_each_other() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    let named = |name: &str| {
        let mut body = first(5, 5);
        body["conn_id"] = json!(name);
        body["txn_id"] = json!("t");
        body
    };
    let (mut one, mut two) = (Slider::new(&server, &alice), Slider::new(&server, &alice));
    assert_eq!(one.slide(named("one")).await["txn_id"], "t");
    two.slide(named("two")).await;
    server.say(&alice, &room_id, "both").await;
    for (client, name) in [(&mut one, "one"), (&mut two, "two")] {
        assert_eq!(
            bodies(&room(&client.slide(named(name)).await, &room_id)["timeline"]),
            ["both"]
        );
    }
}

#[tokio::test]
async fn the_oldest_of_many_connections_of_a_device_is_forgotten() {
    let server = Server::new().await;
    let alice = server.user("alice");
    server.room(&alice).await;
    let named = |name: u32| {
        let mut body = first(5, 5);
        body["conn_id"] = json!(name.to_string());
        body
    };
    let mut oldest = Slider::new(&server, &alice);
    oldest.slide(named(0)).await;
    for name in 1..10 {
        server.clock.advance(Duration::from_secs(1));
        Slider::new(&server, &alice).slide(named(name)).await;
    }
    oldest.slide(named(0)).await;
    Slider::new(&server, &alice).slide(named(10)).await;
    let answer = oldest.ask(named(0)).await;
    assert!(matches!(answer, Err(Error::UnknownPos)), "{answer:?}");
}

#[tokio::test]
async fn subscriptions_are_sent_wherever_the_room_is() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let (mine, others) = (server.room(&alice).await, server.room(&bob).await);
    let config = json!({"timeline_limit": 2, "required_state": [["*", "*"]]});
    let body = json!({"room_subscriptions": {mine.as_str(): config, others.as_str(): config}});
    let mut client = Slider::new(&server, &alice);
    let answer = client.slide(body.clone()).await;
    assert_eq!(rooms(&answer), [mine.as_str()], "only one's own rooms");
    assert!(kinds(&room(&answer, &mine)["required_state"]).contains(&"m.room.create"));
    server.say(&alice, &mine, "subscribed").await;
    assert_eq!(
        bodies(&room(&client.slide(body).await, &mine)["timeline"]),
        ["subscribed"]
    );
}

/// As matrix-js-sdk asks: it says each subscription once, and when it ends.
#[tokio::test]
async fn a_subscription_lasts_until_it_is_ended() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let (first, second) = (server.room(&alice).await, server.room(&alice).await);
    let mut client = Slider::new(&server, &alice);
    for room_id in [&first, &second] {
        let config = json!({"timeline_limit": 1});
        client
            .slide(json!({"room_subscriptions": {room_id.as_str(): config}}))
            .await;
    }
    for text in ["one", "two"] {
        server.say(&alice, &first, text).await;
        server.say(&alice, &second, text).await;
        let answer = client.slide(json!({})).await;
        assert_eq!(bodies(&room(&answer, &first)["timeline"]), [text]);
        assert_eq!(bodies(&room(&answer, &second)["timeline"]), [text]);
    }
    client.slide(json!({"unsubscribe_rooms": [first]})).await;
    server.say(&alice, &first, "three").await;
    server.say(&alice, &second, "three").await;
    assert_eq!(rooms(&client.slide(json!({})).await), [second.as_str()]);
}

#[tokio::test]
async fn subscriptions_of_a_connection_are_not_endless() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let all = [
        server.room(&alice).await,
        server.room(&alice).await,
        server.room(&alice).await,
    ];
    let mut client = Slider::new(&server, &alice);
    let required: Vec<_> = (0..500)
        .map(|number| json!([format!("{number:0>200}"), ""]))
        .collect();
    let ask = |rooms: &[OwnedRoomId]| {
        let config = json!({"required_state": required, "timeline_limit": 1});
        let rooms = rooms.iter().map(|room_id| (room_id.to_string(), config.clone()));
        json!({"room_subscriptions": Value::Object(rooms.collect())})
    };
    let mut told = Vec::new();
    for room_id in &all {
        client.slide(ask(std::slice::from_ref(room_id))).await;
        for room_id in &all {
            server.say(&alice, room_id, "news").await;
        }
        told.push(rooms(&client.slide(json!({})).await).len());
    }
    // A third one is too much with those of before, which are forgotten.
    assert_eq!(told, [1, 2, 1]);
    let refused = client.ask(ask(&all)).await;
    assert!(matches!(refused, Err(Error::InvalidParam(_))), "{refused:?}");
    client.slide(ask(&all[1..])).await;
}

#[tokio::test]
async fn a_message_ends_the_wait() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let mut client = Slider::new(&server, &alice);
    client.slide(first(5, 5)).await;
    let mut request = client.request(first(5, 5));
    request.timeout = Duration::from_secs(20);
    let session = client.session();
    let mut waiting = Box::pin(server.homeserver.sliding_sync(&session, request.clone()));
    assert!(settles(&mut waiting).await.is_none());
    server.say(&bob, &room_id, "wake up").await;
    let answer = serde_json::to_value(waiting.await.unwrap()).unwrap();
    assert_eq!(bodies(&room(&answer, &room_id)["timeline"]), ["wake up"]);
    request.pos = Some(answer["pos"].as_str().unwrap().to_owned());
    let mut waiting = Box::pin(server.homeserver.sliding_sync(&session, request));
    assert!(settles(&mut waiting).await.is_none());
    server.clock.advance(Duration::from_secs(20));
    let answer = settles(&mut waiting).await.unwrap().unwrap();
    assert!(answer.rooms.is_empty());
}

#[tokio::test]
async fn nothing_new_costs_no_read() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    server.say(&bob, &room_id, "first").await;
    let mut body = first(5, 5);
    body["lists"]["all"]["filters"] = json!({"is_encrypted": false, "is_dm": false});
    let mut client = Slider::new(&server, &alice);
    client.slide(body.clone()).await;
    let bobs = server.room(&bob).await;
    server.say(&bob, &bobs, "to myself").await;
    let before = server.reads();
    client.slide(body.clone()).await;
    assert_eq!(server.reads() - before, 0);
}
