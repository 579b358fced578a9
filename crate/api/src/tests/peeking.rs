//! Reading without `/sync`: peeking into rooms that are open to everybody, and the deprecated streams.

use hearth_homeserver::Config;
use serde_json::{Value, json};

use super::server::{Client, TestServer};
use crate::ApiConfig;

const V3: &str = "/_matrix/client/v3";
const ROOMS: &str = "/_matrix/client/v3/rooms";

/// A room that everybody may join, with this history visibility from the beginning.
async fn room(client: &Client<'_>, visibility: &str) -> String {
    let state = json!([{
        "type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": visibility},
    }]);
    let body = json!({"preset": "public_chat", "name": "Tea", "initial_state": state});
    client.create_room(body).await
}

async fn set_visibility(client: &Client<'_>, room: &str, visibility: &str) {
    let path = format!("{ROOMS}/{room}/state/m.room.history_visibility/");
    client
        .put(&path, json!({"history_visibility": visibility}))
        .await
        .ok();
}

async fn membership(client: &Client<'_>, room: &str, change: &str, user_id: &str) {
    let path = format!("{ROOMS}/{room}/{change}");
    client.post(&path, json!({"user_id": user_id})).await.ok();
}

fn ids(events: &Value) -> Vec<&str> {
    let events = events.as_array().unwrap().iter();
    events.map(|event| event["event_id"].as_str().unwrap()).collect()
}

fn bodies(events: &Value) -> Vec<&str> {
    let events = events.as_array().unwrap().iter();
    events
        .filter_map(|event| event["content"]["body"].as_str())
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test]
async fn who_peeks_reads_a_room_and_hears_what_comes() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = room(&ann, "world_readable").await;
    for number in 0..30 {
        ann.say(&room, &number.to_string(), &format!("message {number}"))
            .await;
    }
    let receipt = format!(
        "{ROOMS}/{room}/receipt/m.read/{}",
        ann.say(&room, "last", "last").await
    );
    ann.post(&receipt, json!({})).await.ok();
    let peek = bob
        .get(&format!("{ROOMS}/{room}/initialSync?limit=20"))
        .await
        .ok();
    assert_eq!(peek["room_id"], room.as_str());
    assert!(peek.get("membership").is_none(), "{peek}");
    assert_eq!(peek["visibility"], "private");
    assert_eq!(peek["account_data"], json!([]));
    assert_eq!(peek["presence"], json!([]), "shares no room with anybody");
    assert_eq!(peek["receipts"][0]["type"], "m.receipt");
    let said = bodies(&peek["messages"]["chunk"]);
    assert_eq!((said.len(), said[0], said[19]), (20, "message 11", "last"));
    let state = peek["state"].as_array().unwrap();
    let name = state.iter().find(|event| event["type"] == "m.room.name").unwrap();
    assert_eq!(
        (&name["content"]["name"], &name["room_id"]),
        (&json!("Tea"), &json!(room))
    );
    // What came before is found with `/messages`.
    let start = text(&peek["messages"]["start"]);
    let path = format!("{ROOMS}/{room}/messages?dir=b&limit=11&from={start}");
    let older = bob.get(&path).await.ok();
    let older = bodies(&older["chunk"]);
    assert_eq!((older.len(), older[0]), (11, "message 10"));
    // As matrix-js-sdk polls: without a token at first.
    let events = format!("{V3}/events?room_id={room}&timeout=20000");
    let (first, sent) = futures::join!(bob.get(&events), ann.say(&room, "next", "next"));
    let first = first.ok();
    assert_eq!(ids(&first["chunk"]), [&sent]);
    assert_eq!(first["chunk"][0]["room_id"], room.as_str());
    // And what came meanwhile is there at once.
    let end = text(&peek["messages"]["end"]);
    let since = bob.get(&format!("{events}&from={end}")).await.ok();
    assert_eq!(
        (ids(&since["chunk"]), &since["start"]),
        (vec![&*sent], &json!(end))
    );
    let elsewhere = ann.create_room(json!({})).await;
    ann.say(&elsewhere, "1", "not here").await;
    let then = format!("{V3}/events?room_id={room}&from={}", text(&since["end"]));
    let nothing = bob.get(&then).await.ok();
    assert_eq!(nothing["chunk"], json!([]));
    let nothing = bob.get(&format!("{ROOMS}/{room}/initialSync?limit=0")).await.ok();
    assert_eq!(nothing["messages"]["chunk"], json!([]));
}

#[tokio::test]
async fn nobody_peeks_where_they_may_not() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let closed = room(&ann, "shared").await;
    let refused = async |room: &str| {
        for path in [
            format!("{ROOMS}/{room}/initialSync"),
            format!("{V3}/events?timeout=20000&room_id={room}"),
        ] {
            bob.get(&path).await.fails_at(&path, 403, "M_FORBIDDEN");
        }
    };
    refused(&closed).await;
    refused("!unknown:example.org").await;
    membership(&ann, &closed, "invite", &bob.user_id).await;
    refused(&closed).await;
    // Nobody here keeps a room up to date that all have left.
    let left = room(&ann, "world_readable").await;
    ann.say(&left, "1", "over").await;
    ann.post(&format!("{ROOMS}/{left}/leave"), json!({})).await.ok();
    refused(&left).await;
    let open = room(&ann, "world_readable").await;
    for wrong in ["from=x", "from=t5", "timeout=x", "timeout=-1", "room_id=x"] {
        let path = format!("{V3}/events?room_id={open}&{wrong}");
        let path = path.replace(&format!("room_id={open}&room_id"), "room_id");
        bob.get(&path).await.fails_at(&path, 400, "M_INVALID_PARAM");
    }
    bob.get(&format!("{ROOMS}/{open}/initialSync?limit=x"))
        .await
        .fails(400, "M_INVALID_PARAM");
    for path in [
        format!("{ROOMS}/{open}/initialSync"),
        format!("{V3}/events"),
        format!("{V3}/initialSync"),
        format!("{V3}/events/$event"),
    ] {
        server.get(&path).await.fails_at(&path, 401, "M_MISSING_TOKEN");
    }
    // A token of a database that was rolled back: there is nothing after the present.
    let future = bob
        .get(&format!("{V3}/events?room_id={open}&from=s999999999_0"))
        .await
        .ok();
    assert_eq!(future["chunk"], json!([]));
    assert_ne!(future["end"], "s999999999_0");
}

#[tokio::test]
async fn history_visibility_holds_for_who_peeks() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = room(&ann, "shared").await;
    let begun = ann.get(&format!("{V3}/events")).await.ok();
    ann.say(&room, "1", "secret").await;
    set_visibility(&ann, &room, "world_readable").await;
    ann.say(&room, "2", "open").await;
    let path = format!("{ROOMS}/{room}/initialSync?limit=50");
    let peek = bob.get(&path).await.ok();
    assert_eq!(bodies(&peek["messages"]["chunk"]), ["open"]);
    let events = format!("{V3}/events?room_id={room}&timeout=20000");
    let all = bob
        .get(&format!("{events}&from={}", text(&begun["end"])))
        .await
        .ok();
    assert_eq!(bodies(&all["chunk"]), ["open"]);
    // The change that ends it is still told; then there is no more.
    let (last, ()) = futures::join!(bob.get(&events), set_visibility(&ann, &room, "joined"));
    let last = last.ok();
    assert_eq!(last["chunk"][0]["content"]["history_visibility"], "joined");
    ann.say(&room, "3", "secret again").await;
    let end = text(&last["end"]);
    let after = bob.get(&format!("{events}&from={end}")).await;
    after.fails(403, "M_FORBIDDEN");
    bob.get(&path).await.fails(403, "M_FORBIDDEN");
    // Who is ignored is not heard.
    set_visibility(&ann, &room, "world_readable").await;
    let ignored = json!({"ignored_users": {&ann.user_id: {}}});
    let data = format!("{V3}/user/{}/account_data/m.ignored_user_list", bob.user_id);
    bob.put(&data, ignored).await.ok();
    ann.say(&room, "4", "unheard").await;
    let heard = bob
        .get(&format!("{V3}/events?room_id={room}&from={end}"))
        .await
        .ok();
    assert_eq!(bodies(&heard["chunk"]), [""; 0]);
}

#[tokio::test]
async fn a_poll_of_a_room_ends_when_it_may_not_be_read_any_more() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = room(&ann, "shared").await;
    membership(&bob, &room, "join", "").await;
    let path = format!("{V3}/events?room_id={room}");
    let begun = bob.get(&path).await.ok();
    membership(&ann, &room, "kick", &bob.user_id).await;
    let from = text(&begun["end"]);
    bob.get(&format!("{path}&from={from}"))
        .await
        .fails(403, "M_FORBIDDEN");
    // The stream of all rooms tells them of it.
    let own = bob.get(&format!("{V3}/events?from={from}")).await.ok();
    assert_eq!(own["chunk"][0]["content"]["membership"], "leave");
}

#[tokio::test]
async fn who_has_left_sees_what_was_before() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = room(&ann, "shared").await;
    membership(&bob, &room, "join", "").await;
    let begun = bob.get(&format!("{V3}/initialSync")).await.ok();
    let from = text(&begun["end"]).to_owned();
    ann.say(&room, "1", "before").await;
    membership(&ann, &room, "kick", &bob.user_id).await;
    ann.say(&room, "2", "after").await;
    let path = format!("{ROOMS}/{room}/state/m.room.name/");
    ann.put(&path, json!({"name": "Coffee"})).await.ok();
    let path = format!("{ROOMS}/{room}/initialSync?limit=3");
    let left = bob.get(&path).await.ok();
    assert_eq!(left["membership"], "leave");
    assert_eq!(bodies(&left["messages"]["chunk"]), ["before"]);
    let mut state = left["state"].as_array().unwrap().iter();
    let name = state.find(|event| event["type"] == "m.room.name").unwrap();
    assert_eq!(name["content"]["name"], "Tea");
    let stream = bob.get(&format!("{V3}/events?from={from}")).await.ok();
    assert_eq!(bodies(&stream["chunk"]), ["before"]);
    assert_eq!(
        stream["chunk"].as_array().unwrap().len(),
        2,
        "and the end: {stream}"
    );
    let rooms = async |query: &str| {
        let sync = bob.get(&format!("{V3}/initialSync?limit=5{query}")).await.ok();
        sync["rooms"].clone()
    };
    assert_eq!(rooms("").await, json!([]));
    let archived = rooms("&archived=true").await;
    assert_eq!(bodies(&archived[0]["messages"]["chunk"]), ["before"]);
    // A room that is open to everybody is open to them too.
    set_visibility(&ann, &room, "world_readable").await;
    ann.say(&room, "3", "for all").await;
    let open = bob.get(&path).await.ok();
    assert_eq!(bodies(&open["messages"]["chunk"]), ["for all"]);
    let again = bob.get(&format!("{V3}/events?from={from}")).await.ok();
    assert_eq!(ids(&again["chunk"]), ids(&stream["chunk"]));
}

#[tokio::test]
async fn the_old_streams_tell_of_all_rooms_of_a_user() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let tea = room(&ann, "shared").await;
    membership(&bob, &tea, "join", "").await;
    let foreign = room(&ann, "world_readable").await;
    let invited = ann.create_room(json!({})).await;
    membership(&ann, &invited, "invite", &bob.user_id).await;
    let tag = format!("{V3}/user/{}/rooms/{tea}/tags/work", bob.user_id);
    bob.put(&tag, json!({"order": 0.5})).await.ok();
    let data = format!("{V3}/user/{}/account_data/org.example", bob.user_id);
    bob.put(&data, json!({"a": 1})).await.ok();
    let presence = format!("{V3}/presence/{}/status", ann.user_id);
    ann.put(&presence, json!({"presence": "online", "status_msg": "here"}))
        .await
        .ok();
    ann.say(&tea, "1", "hello").await;
    let sync = bob.get(&format!("{V3}/initialSync?limit=1")).await.ok();
    let rooms = sync["rooms"].as_array().unwrap();
    assert_eq!(rooms.len(), 2);
    let find = |id: &str| rooms.iter().find(|room| room["room_id"] == id).unwrap();
    let (joined, invite) = (find(&tea), find(&invited));
    assert_eq!(
        (&joined["membership"], &invite["membership"]),
        (&json!("join"), &json!("invite"))
    );
    assert_eq!(bodies(&joined["messages"]["chunk"]), ["hello"]);
    assert_eq!(joined["account_data"][0]["content"]["tags"]["work"]["order"], 0.5);
    assert_eq!(invite["invite"]["state_key"], bob.user_id.as_str());
    assert!(invite.get("state").is_none(), "{invite}");
    let here = |events: &Value| {
        let mut events = events.as_array().unwrap().iter();
        events
            .any(|event| event["sender"] == ann.user_id.as_str() && event["content"]["status_msg"] == "here")
    };
    assert!(here(&sync["presence"]) && here(&joined["presence"]), "{sync}");
    let mut data = sync["account_data"].as_array().unwrap().iter();
    assert!(data.any(|event| event["type"] == "org.example" && event["content"]["a"] == 1));

    let from = text(&sync["end"]);
    let events = format!("{V3}/events?timeout=20000&from=");
    ann.say(&foreign, "2", "not bob's").await;
    let path = format!("{events}{from}");
    let (first, sent) = futures::join!(bob.get(&path), ann.say(&tea, "3", "more"));
    let first = first.ok();
    assert_eq!(ids(&first["chunk"]), [&sent]);
    let next = room(&ann, "shared").await;
    membership(&ann, &next, "invite", &bob.user_id).await;
    let second = bob.get(&format!("{events}{}", text(&first["end"]))).await.ok();
    let second = second["chunk"].as_array().unwrap();
    assert_eq!(second.len(), 1, "{second:#?}");
    assert_eq!(
        (&second[0]["room_id"], &second[0]["content"]["membership"]),
        (&json!(next), &json!("invite"))
    );
    // A token of the stream does not swallow what waits for the device.
    let send = format!("{V3}/sendToDevice/org.example.note/1");
    let messages = json!({"messages": {&bob.user_id: {&bob.device_id: {"a": 1}}}});
    ann.put(&send, messages).await.ok();
    let end = bob.get(&format!("{V3}/events")).await.ok()["end"].clone();
    let sync = bob.get(&format!("{V3}/sync?since={}", text(&end))).await.ok();
    assert_eq!(sync["to_device"]["events"][0]["content"]["a"], 1);
}

#[tokio::test]
async fn a_long_stream_comes_in_parts_without_a_gap() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room = room(&ann, "world_readable").await;
    let mut from = text(&ann.get(&format!("{V3}/events")).await.ok()["end"]).to_owned();
    let mut sent = Vec::new();
    for number in 0..250 {
        sent.push(ann.say(&room, &number.to_string(), "x").await);
    }
    let mut heard = Vec::new();
    loop {
        let part = ann.get(&format!("{V3}/events?from={from}")).await.ok();
        let events = ids(&part["chunk"]);
        assert!(events.len() <= 100, "{}", events.len());
        if events.is_empty() {
            break;
        }
        heard.extend(events.into_iter().map(str::to_owned));
        from = text(&part["end"]).to_owned();
    }
    assert_eq!(heard, sent);
}

#[tokio::test]
async fn an_event_is_found_by_its_id_alone() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = room(&ann, "shared").await;
    let event_id = ann.say(&room, "1", "hello").await;
    let path = format!("{V3}/events/{event_id}");
    let event = ann.get(&path).await.ok();
    assert_eq!(
        (&event["content"]["body"], &event["room_id"]),
        (&json!("hello"), &json!(room))
    );
    bob.get(&path).await.fails(404, "M_NOT_FOUND");
    ann.get(&format!("{V3}/events/$unknown"))
        .await
        .fails(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn guests_peek_and_do_not_stream() {
    let config = Config {
        guests: true,
        ..Config::default()
    };
    let server = TestServer::with(config, ApiConfig::default()).await;
    let ann = server.register("ann").await;
    let room = room(&ann, "world_readable").await;
    ann.say(&room, "1", "welcome").await;
    let guest = server.post(&format!("{V3}/register?kind=guest"), json!({})).await;
    let guest = server.client(&guest.ok());
    let peek = guest.get(&format!("{ROOMS}/{room}/initialSync")).await.ok();
    let said = bodies(&peek["messages"]["chunk"]);
    assert_eq!(said, ["welcome"]);
    let end = text(&peek["messages"]["end"]);
    let path = format!("{V3}/events?room_id={room}&from={end}");
    assert_eq!(guest.get(&path).await.ok()["chunk"], json!([]));
    for path in ["events", "initialSync"] {
        let answer = guest.get(&format!("{V3}/{path}")).await;
        answer.fails_at(path, 403, "M_GUEST_ACCESS_FORBIDDEN");
    }
}
