//! Syncs that go on from a token.

use hearth_homeserver::{Error, sync::StateForm};
use serde_json::{Value, json};

use crate::{
    sliding::{Slider, first, room},
    support::{Server, bodies, device, empty, joined, kinds, members, object, request},
};

#[tokio::test]
async fn nothing_new_is_an_empty_answer() {
    let server = Server::new().await;
    let alice = server.user("alice");
    server.room(&alice).await;
    let mut client = server.client(&alice).await;
    let token = client.since.clone();
    let answer = client.sync().await;
    assert_eq!(answer, empty(token.as_deref().unwrap()));
}

#[tokio::test]
async fn new_events_are_told_once_and_in_order() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let mut client = server.client(&alice).await;
    server.say_many(&bob, &room_id, 4).await;
    let answer = client.sync().await;
    let room = joined(&answer, &room_id);
    assert_eq!(bodies(&room["timeline"]["events"]), ["0", "1", "2", "3"]);
    assert_eq!(room["timeline"]["limited"], false);
    assert_eq!(room["state"]["events"], json!([]));
    assert_eq!(room.get("summary"), None);
    assert_eq!(client.sync().await.get("rooms"), None);
}

#[tokio::test]
async fn only_the_sending_device_gets_its_transaction_id() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    let client = server.client(&alice).await;
    server.say(&alice, &room_id, "mine").await;
    let since = client.since.as_deref();
    let answer = server.sync(&alice, since, json!({})).await;
    assert!(joined(&answer, &room_id)["timeline"]["events"][0]["unsigned"]["transaction_id"].is_string());
    let other = server
        .homeserver
        .sync(&alice, "OTHER".into(), request(since, json!({})))
        .await
        .unwrap();
    let other = serde_json::to_value(other).unwrap();
    let event = &joined(&other, &room_id)["timeline"]["events"][0];
    assert_eq!(event["content"]["body"], "mine");
    assert_eq!(event["unsigned"].get("transaction_id"), None);
    assert!(event["unsigned"]["age"].is_u64());
}

#[tokio::test]
async fn a_gap_is_limited_and_tells_the_state_that_changed_in_it() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server
        .set(&alice, &room_id, "m.room.name", json!({"name": "old"}))
        .await;
    let mut client = server.client(&alice).await;
    client.filter = json!({"room": {"timeline": {"limit": 3}}});
    server
        .set(&alice, &room_id, "m.room.name", json!({"name": "in the gap"}))
        .await;
    server
        .set(&alice, &room_id, "m.room.topic", json!({"topic": "first"}))
        .await;
    server.join(&bob, &room_id).await;
    server.say_many(&alice, &room_id, 4).await;
    server
        .set(&alice, &room_id, "m.room.topic", json!({"topic": "second"}))
        .await;
    let answer = client.sync().await;
    let room = joined(&answer, &room_id);
    assert_eq!(room["timeline"]["limited"], true);
    assert_eq!(bodies(&room["timeline"]["events"]), ["2", "3"]);
    let state = &room["state"]["events"];
    let mut told = kinds(state);
    told.sort_unstable();
    assert_eq!(
        told,
        ["m.room.member", "m.room.name", "m.room.topic"],
        "what did not change is not told"
    );
    assert_eq!(members(state), [bob.as_str()]);
    let content = |kind: &str| {
        let found = state
            .as_array()
            .unwrap()
            .iter()
            .find(|event| event["type"] == kind);
        found.unwrap()["content"].clone()
    };
    assert_eq!(content("m.room.name"), json!({"name": "in the gap"}));
    assert_eq!(content("m.room.topic"), json!({"topic": "first"}));
    assert_eq!(room["summary"]["m.joined_member_count"], 2);
}

#[tokio::test]
async fn the_events_of_a_gap_are_found_from_its_prev_batch() {
    use hearth_homeserver::messages::PageDirection::Backward;
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    let mut client = server.client(&alice).await;
    client.filter = json!({"room": {"timeline": {"limit": 2}}});
    server.say_many(&alice, &room_id, 6).await;
    let answer = client.sync().await;
    let timeline = &joined(&answer, &room_id)["timeline"];
    assert_eq!(bodies(&timeline["events"]), ["4", "5"]);
    let page = crate::support::page(timeline["prev_batch"].as_str(), Backward, 4);
    let page = server.messages(&alice, &room_id, page).await;
    assert_eq!(bodies(&page["chunk"]), ["3", "2", "1", "0"]);
}

#[tokio::test]
async fn a_gap_of_many_events_is_told_from_its_end() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    let mut client = server.client(&alice).await;
    server
        .set(&alice, &room_id, "m.room.name", json!({"name": "named"}))
        .await;
    server.say_many(&alice, &room_id, 250).await;
    let answer = client.sync().await;
    let room = joined(&answer, &room_id);
    assert_eq!(bodies(&room["timeline"]["events"]).len(), 10);
    assert_eq!(bodies(&room["timeline"]["events"])[9], "249");
    assert_eq!(room["timeline"]["limited"], true);
    assert_eq!(kinds(&room["state"]["events"]), ["m.room.name"]);
}

#[tokio::test]
async fn tokens_are_valid_after_a_restart() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let since = server.client(&alice).await.since.unwrap();
    server.say(&bob, &room_id, "before").await;
    let server = server.restarted().await;
    server.say(&bob, &room_id, "after").await;
    let answer = server.sync(&alice, Some(&since), json!({})).await;
    assert_eq!(
        bodies(&joined(&answer, &room_id)["timeline"]["events"]),
        ["before", "after"]
    );
    assert!(answer["next_batch"].as_str() > Some(&since));
}

#[tokio::test]
async fn account_data_is_told_when_it_changes() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    let mut client = server.client(&alice).await;
    let set = |room_id, kind| {
        server
            .homeserver
            .set_account_data(&alice, room_id, kind, object(json!({"a": 1})))
    };
    set(None, "org.global").await.unwrap();
    let answer = client.sync().await;
    assert_eq!(
        answer["account_data"]["events"],
        json!([{"type": "org.global", "content": {"a": 1}}])
    );
    assert_eq!(answer.get("rooms"), None);
    set(Some(&*room_id), "org.room").await.unwrap();
    let answer = client.sync().await;
    assert_eq!(answer.get("account_data"), None);
    let data = &joined(&answer, &room_id)["account_data"]["events"];
    assert_eq!(*data, json!([{"type": "org.room", "content": {"a": 1}}]));
}

#[tokio::test]
async fn full_state_tells_all_state_of_all_rooms() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    let client = server.client(&alice).await;
    let mut request = request(client.since.as_deref(), json!({}));
    request.full_state = true;
    let answer = server.sync_with(&alice, request).await;
    let room = joined(&answer, &room_id);
    assert!(kinds(&room["state"]["events"]).contains(&"m.room.create"));
    assert_eq!(room["timeline"]["events"], json!([]));
    assert_eq!(room["timeline"]["limited"], false);
}

#[tokio::test]
async fn lazy_loading_sends_the_senders_of_new_events() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let mut client = server.client(&alice).await;
    client.filter = json!({"room": {"state": {"lazy_load_members": true}}});
    server.say(&bob, &room_id, "hi").await;
    let answer = client.sync().await;
    assert_eq!(
        members(&joined(&answer, &room_id)["state"]["events"]),
        [bob.as_str()]
    );
}

#[tokio::test]
async fn lazy_loading_sends_what_a_sender_was_before_they_changed_it() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let since = server.client(&alice).await.since;
    for name in ["Bob", "Robert", "Bobby"] {
        server.say(&bob, &room_id, "hi").await;
        let content = object(json!({"membership": "join", "displayname": name}));
        let set = server
            .homeserver
            .send_state(&bob, &room_id, "m.room.member", bob.as_str(), content);
        set.await.unwrap();
    }
    for timeline in [json!({}), json!({"limit": 3})] {
        let filter = json!({"room": {"state": {"lazy_load_members": true}, "timeline": timeline}});
        let answer = server.sync(&alice, since.as_deref(), filter).await;
        let state = &joined(&answer, &room_id)["state"]["events"];
        assert_eq!(members(state), [bob.as_str()], "{state}");
        // The three of the shorter timeline begin with the second change.
        let name = state[0]["content"]["displayname"].as_str();
        assert_eq!(name, (timeline != json!({})).then_some("Bob"));
    }
}

/// As before each gap of a timeline.
#[tokio::test]
async fn positions_that_are_left_out_are_nothing_that_was_missed() {
    let mut server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    server.say(&alice, &room_id, "before").await;
    let since = server.client(&alice).await.since;
    let mut client = Slider::new(&server, &alice);
    client.slide(first(1, 5)).await;
    let pos = client.pos;
    for (count, step, is_too_much) in [(1, 60_000, false), (50_000, 1, true)] {
        server = server.restarted_with_entries(count, step).await;
        server.say(&alice, &room_id, "after").await;
        let answer = server.sync(&alice, since.as_deref(), json!({})).await;
        let told = joined(&answer, &room_id);
        assert_eq!(bodies(&told["timeline"]["events"]), ["after"]);
        assert_eq!(told["state"]["events"] != json!([]), is_too_much, "{count}");
        let mut client = Slider::new(&server, &alice);
        client.pos.clone_from(&pos);
        match client.ask(first(1, 5)).await {
            Ok(answer) => assert_eq!(bodies(&room(&answer, &room_id)["timeline"]), ["after"]),
            Err(error) => assert!(is_too_much && matches!(error, Error::UnknownPos), "{error:?}"),
        }
    }
}

#[tokio::test]
async fn a_token_of_a_lost_future_is_no_reason_to_miss_anything() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    let answer = server.sync(&alice, Some("s99999_0"), json!({})).await;
    let next = answer["next_batch"].as_str().unwrap().to_owned();
    server.say(&alice, &room_id, "new").await;
    let answer = server.sync(&alice, Some(&next), json!({})).await;
    assert_eq!(bodies(&joined(&answer, &room_id)["timeline"]["events"]), ["new"]);
}

#[tokio::test]
async fn redactions_are_told() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    let event_id = server.say(&alice, &room_id, "regret").await;
    let mut client = server.client(&alice).await;
    server
        .homeserver
        .redact_event(&alice, device(), &room_id, &event_id, "redact", None)
        .await
        .unwrap();
    let answer = client.sync().await;
    let events = &joined(&answer, &room_id)["timeline"]["events"];
    assert_eq!(kinds(events), ["m.room.redaction"]);
    let answer: Value = server.sync(&alice, None, json!({})).await;
    assert_eq!(
        bodies(&joined(&answer, &room_id)["timeline"]["events"]),
        Vec::<&str>::new()
    );
}

#[tokio::test]
async fn state_after_tells_the_state_of_the_timeline_too() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    let client = server.client(&alice).await;
    server
        .set(&alice, &room_id, "m.room.topic", json!({"topic": "first"}))
        .await;
    server
        .set(&alice, &room_id, "m.room.topic", json!({"topic": "second"}))
        .await;
    server.join(&bob, &room_id).await;
    let lazy = json!({"room": {"state": {"lazy_load_members": true}}});
    let mut request = request(client.since.as_deref(), lazy);
    request.state_form = StateForm::AfterUnstable;
    let answer = server.sync_with(&alice, request).await;
    let room = joined(&answer, &room_id);
    assert_eq!((room.get("state"), room.get("state_after")), (None, None));
    let state = &room["org.matrix.msc4222.state_after"]["events"];
    assert_eq!(
        members(state),
        [bob.as_str(), alice.as_str()],
        "the change, and the sender"
    );
    let topics: Vec<_> = state
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["type"] == "m.room.topic")
        .collect();
    assert_eq!(topics.len(), 1);
    assert_eq!(topics[0]["content"]["topic"], "second");
}
