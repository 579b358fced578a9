//! Edits, threads, references and annotations: querying them, and what is told with their parents.

use hearth_storage::Table;
use serde_json::{Value, json};

use super::server::{Client, TestServer};

const ROOMS: &str = "/_matrix/client/v3/rooms";
const V1: &str = "/_matrix/client/v1/rooms";

/// Sends an event of `kind`; returns its id.
async fn send(client: &Client<'_>, room_id: &str, kind: &str, txn: &str, content: Value) -> String {
    let path = format!("{ROOMS}/{room_id}/send/{kind}/{txn}");
    let answer = client.put(&path, content).await.ok();
    answer["event_id"].as_str().unwrap().to_owned()
}

fn related(rel_type: &str, parent: &str, body: &str) -> Value {
    json!({"msgtype": "m.text", "body": body, "m.relates_to": {"rel_type": rel_type, "event_id": parent}})
}

fn edit(parent: &str, body: &str) -> Value {
    let mut content = related("m.replace", parent, &format!("* {body}"));
    content["m.new_content"] = json!({"msgtype": "m.text", "body": body});
    content
}

fn reaction(parent: &str, key: &str) -> Value {
    json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": parent, "key": key}})
}

async fn message(client: &Client<'_>, room_id: &str, txn: &str, content: Value) -> String {
    send(client, room_id, "m.room.message", txn, content).await
}

/// What is told of the children of an event with it.
async fn bundle(client: &Client<'_>, room_id: &str, event_id: &str) -> Value {
    let event = client
        .get(&format!("{ROOMS}/{room_id}/event/{event_id}"))
        .await
        .ok();
    event["unsigned"]["m.relations"].clone()
}

async fn redact(client: &Client<'_>, room_id: &str, event_id: &str) {
    let path = format!("{ROOMS}/{room_id}/redact/{event_id}/redact-{}", &event_id[1..]);
    client.put(&path, json!({})).await.ok();
}

fn ids(page: &Value) -> Vec<&str> {
    let events = page["chunk"].as_array().unwrap().iter();
    events.map(|event| event["event_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_newest_valid_edit_is_told_with_its_event() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = ann.room_with(&bob).await;
    let original = ann.say(&room, "0", "helo").await;
    assert_eq!(bundle(&bob, &room, &original).await, Value::Null);
    let first = message(&ann, &room, "1", edit(&original, "hallo")).await;
    message(&bob, &room, "1", edit(&original, "not mine")).await;
    send(&ann, &room, "org.example", "2", edit(&original, "another type")).await;
    message(
        &ann,
        &room,
        "3",
        related("m.replace", &original, "without new content"),
    )
    .await;
    let replaced = bundle(&bob, &room, &original).await;
    assert_eq!(replaced["m.replace"]["event_id"], first.as_str(), "{replaced}");
    let second = message(&ann, &room, "4", edit(&original, "hello")).await;
    let event = bob.get(&format!("{ROOMS}/{room}/event/{original}")).await.ok();
    assert_eq!(event["content"]["body"], "helo", "the content stays what it was");
    let replacement = &event["unsigned"]["m.relations"]["m.replace"];
    assert_eq!(replacement["event_id"], second.as_str());
    assert_eq!(replacement["content"]["m.new_content"]["body"], "hello");
    assert_eq!(
        bundle(&bob, &room, &second).await,
        Value::Null,
        "an edit is not edited"
    );
    message(&ann, &room, "5", edit(&second, "edit of an edit")).await;
    assert_eq!(
        bundle(&bob, &room, &second).await,
        Value::Null,
        "an edit is not edited"
    );
    redact(&ann, &room, &second).await;
    let replaced = bundle(&bob, &room, &original).await;
    assert_eq!(replaced["m.replace"]["event_id"], first.as_str(), "{replaced}");
    redact(&ann, &room, &original).await;
    assert_eq!(bundle(&bob, &room, &original).await, Value::Null);
}

#[tokio::test]
async fn threads_are_told_with_their_roots() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let cat = server.register("cat").await;
    let room = ann.room_with(&bob).await;
    cat.post(&format!("/_matrix/client/v3/join/{room}"), json!({}))
        .await
        .ok();
    let root = ann.say(&room, "0", "root").await;
    message(&bob, &room, "1", related("m.thread", &root, "one")).await;
    let last = message(&bob, &room, "2", related("m.thread", &root, "two")).await;
    let better = message(&bob, &room, "3", edit(&last, "zwei")).await;
    let threads = async |client: &Client<'_>| bundle(client, &room, &root).await["m.thread"].clone();
    let thread = threads(&bob).await;
    assert_eq!(
        (&thread["count"], &thread["latest_event"]["event_id"]),
        (&json!(2), &json!(last))
    );
    let edited = &thread["latest_event"]["unsigned"]["m.relations"]["m.replace"]["event_id"];
    assert_eq!(edited, better.as_str());
    for (client, participated) in [(&ann, true), (&bob, true), (&cat, false)] {
        assert_eq!(threads(client).await["current_user_participated"], participated);
    }
    redact(&bob, &room, &last).await;
    let thread = threads(&cat).await;
    assert_eq!(thread["count"], 1);
    assert_eq!(thread["latest_event"]["content"]["body"], "one");
    let answer = ann
        .put(
            &format!("{ROOMS}/{room}/send/m.room.message/9"),
            related(
                "m.thread",
                thread["latest_event"]["event_id"].as_str().unwrap(),
                "nested",
            ),
        )
        .await;
    answer.fails(400, "M_UNKNOWN");
}

#[tokio::test]
async fn what_relates_is_told_wherever_its_parent_is() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = ann.room_with(&bob).await;
    let root = ann.say(&room, "0", "root").await;
    let child = message(&bob, &room, "1", related("m.thread", &root, "child")).await;
    let reference = message(&bob, &room, "2", related("m.reference", &root, "see above")).await;
    let expected = json!({"chunk": [{"event_id": reference}]});
    let check = |event: &Value, place: &str| {
        assert_eq!(event["event_id"], root.as_str(), "{place}");
        let relations = &event["unsigned"]["m.relations"];
        assert_eq!(relations["m.reference"], expected, "{place}");
        assert_eq!(
            relations["m.thread"]["latest_event"]["event_id"],
            child.as_str(),
            "{place}"
        );
    };
    let find = |events: &Value| {
        let mut events = events.as_array().unwrap().iter();
        events
            .find(|event| event["event_id"] == root.as_str())
            .cloned()
            .unwrap()
    };
    let sync = ann.get("/_matrix/client/v3/sync").await.ok();
    check(&find(&sync["rooms"]["join"][&room]["timeline"]["events"]), "sync");
    let messages = ann.get(&format!("{ROOMS}/{room}/messages?dir=b")).await.ok();
    check(&find(&messages["chunk"]), "messages");
    let context = ann.get(&format!("{ROOMS}/{room}/context/{child}")).await.ok();
    check(&find(&context["events_before"]), "context");
    let context = ann.get(&format!("{ROOMS}/{room}/context/{root}")).await.ok();
    check(&context["event"], "context");
    let threads = ann.get(&format!("{V1}/{room}/threads")).await.ok();
    check(&threads["chunk"][0], "threads");
    let event = ann.get(&format!("{ROOMS}/{room}/event/{root}")).await.ok();
    check(&event, "event");
}

#[tokio::test]
async fn children_are_queried_by_relation_and_type() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = ann.room_with(&bob).await;
    let root = ann.say(&room, "0", "root").await;
    let mut children = Vec::new();
    for number in 0..7 {
        let text = number.to_string();
        children.push(message(&bob, &room, &text, related("m.thread", &root, &text)).await);
    }
    let thumb = send(&ann, &room, "m.reaction", "r", reaction(&root, "+")).await;
    let answer = ann
        .put(&format!("{ROOMS}/{room}/send/m.reaction/s"), reaction(&root, "+"))
        .await;
    answer.fails(400, "M_DUPLICATE_ANNOTATION");
    send(&ann, &room, "m.reaction", "t", reaction(&children[0], "+")).await;
    let query = async |path: &str| ann.get(&format!("{V1}/{room}/relations/{root}{path}")).await.ok();
    assert_eq!(
        query("/m.annotation").await["chunk"][0]["event_id"],
        thumb.as_str()
    );
    assert_eq!(ids(&query("/m.thread/m.room.message?limit=20").await).len(), 7);
    assert_eq!(ids(&query("/m.thread/m.reaction").await), Vec::<&str>::new());
    assert_eq!(ids(&query("?limit=20").await).len(), 8);
    let deep = query("?limit=20&recurse=true").await;
    assert_eq!((ids(&deep).len(), &deep["recursion_depth"]), (9, &json!(3)));
    for (direction, mut expected) in [
        ("b", children.iter().rev().collect::<Vec<_>>()),
        ("f", children.iter().collect()),
    ] {
        let (mut from, mut found) = (String::new(), Vec::new());
        loop {
            let page = query(&format!("/m.thread?limit=3&dir={direction}{from}")).await;
            found.extend(ids(&page).into_iter().map(str::to_owned));
            match page["next_batch"].as_str() {
                Some(next) => from = format!("&from={next}"),
                None => break,
            }
        }
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{direction}");
        expected.clear();
    }
    let outsider = server.register("eve").await;
    let private = ann.create_room(json!({"preset": "private_chat"})).await;
    let secret = ann.say(&private, "0", "secret").await;
    outsider
        .get(&format!("{V1}/{private}/relations/{secret}"))
        .await
        .fails(404, "M_NOT_FOUND");
    outsider
        .get(&format!("{V1}/{private}/threads"))
        .await
        .fails(403, "M_FORBIDDEN");
    for query in ["?dir=x", "?limit=x", "?from=x", "?recurse=1"] {
        let path = format!("{V1}/{room}/relations/{root}{query}");
        ann.get(&path).await.fails(400, "M_INVALID_PARAM");
    }
    ann.get(&format!("{V1}/{room}/threads?include=x"))
        .await
        .fails(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn long_threads_are_followed_to_their_end_in_both_directions() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room = ann.create_room(json!({})).await;
    let root = ann.say(&room, "root", "root").await;
    let mut expected = Vec::new();
    for number in 0..520 {
        let text = number.to_string();
        expected.push(message(&ann, &room, &text, related("m.thread", &root, &text)).await);
    }
    let all = async |direction: &str| {
        let (mut from, mut found) = (String::new(), Vec::new());
        loop {
            let query = format!("recurse=true&limit=100&dir={direction}{from}");
            let page = ann
                .get(&format!("{V1}/{room}/relations/{root}?{query}"))
                .await
                .ok();
            found.extend(ids(&page).into_iter().map(str::to_owned));
            assert!(found.len() <= 1000, "it ends");
            match page["next_batch"].as_str() {
                Some(next) => from = format!("&from={next}"),
                None => return found,
            }
        }
    };
    let backwards = |ids: &[String]| ids.iter().rev().cloned().collect::<Vec<_>>();
    assert!(all("f").await == expected);
    assert!(all("b").await == backwards(&expected));
    for number in 0..50 {
        let reaction = reaction(&expected[number], "+");
        expected.push(send(&ann, &room, "m.reaction", &format!("r{number}"), reaction).await);
    }
    assert_eq!(expected.len(), 570);
    assert!(all("f").await == expected);
    assert!(all("b").await == backwards(&expected));
}

#[tokio::test]
async fn a_thread_has_what_its_reader_may_see() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = ann.room_with(&bob).await;
    let root = ann.say(&room, "0", "root").await;
    let first = message(&ann, &room, "1", related("m.thread", &root, "one")).await;
    let seen_by = async |client: &Client<'_>| {
        let thread = &bundle(client, &room, &root).await["m.thread"];
        (
            thread["count"].clone(),
            thread["latest_event"]["event_id"].clone(),
        )
    };
    bob.post(&format!("{ROOMS}/{room}/leave"), json!({})).await.ok();
    let visibility = format!("{ROOMS}/{room}/state/m.room.history_visibility/");
    ann.put(&visibility, json!({"history_visibility": "joined"}))
        .await
        .ok();
    message(&ann, &room, "2", related("m.thread", &root, "two")).await;
    assert_eq!(seen_by(&bob).await, (json!(1), json!(first)));
    bob.post(&format!("{ROOMS}/{room}/join"), json!({})).await.ok();
    assert_eq!(seen_by(&bob).await, (json!(1), json!(first)));
    let last = message(&ann, &room, "3", related("m.thread", &root, "three")).await;
    assert_eq!(seen_by(&bob).await, (json!(2), json!(last)));
    assert_eq!(seen_by(&ann).await, (json!(3), json!(last)));
}

#[tokio::test]
async fn threads_come_in_the_order_of_their_latest_events() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = ann.room_with(&bob).await;
    let mut roots = Vec::new();
    for number in 0..5 {
        roots.push(ann.say(&room, &format!("root{number}"), "root").await);
        message(
            &ann,
            &room,
            &format!("first{number}"),
            related("m.thread", &roots[number], "a"),
        )
        .await;
    }
    let late = message(&bob, &room, "late", related("m.thread", &roots[1], "late")).await;
    let list = async |client: &Client<'_>, query: &str| {
        let (mut from, mut found) = (String::new(), Vec::<String>::new());
        loop {
            let page = client
                .get(&format!("{V1}/{room}/threads?limit=2&{query}{from}"))
                .await
                .ok();
            found.extend(ids(&page).into_iter().map(str::to_owned));
            match page["next_batch"].as_str() {
                Some(next) => from = format!("&from={next}"),
                None => return found,
            }
        }
    };
    let order = |wanted: [usize; 5]| wanted.map(|number| roots[number].clone()).to_vec();
    assert_eq!(list(&ann, "include=all").await, order([1, 4, 3, 2, 0]));
    assert_eq!(list(&bob, "include=participated").await, [roots[1].clone()]);
    redact(&bob, &room, &late).await;
    assert_eq!(list(&ann, "").await, order([4, 3, 2, 1, 0]));
    assert_eq!(list(&bob, "include=participated").await, Vec::<String>::new());
}

#[tokio::test]
async fn what_ignored_users_send_is_left_out() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = ann.room_with(&bob).await;
    let root = ann.say(&room, "0", "root").await;
    message(&ann, &room, "1", related("m.thread", &root, "mine")).await;
    let hidden = message(&bob, &room, "1", related("m.thread", &root, "theirs")).await;
    let since = ann.get("/_matrix/client/v3/sync").await.ok()["next_batch"].clone();
    let ignore = json!({"ignored_users": {&bob.user_id: {}}});
    let path = format!(
        "/_matrix/client/v3/user/{}/account_data/m.ignored_user_list",
        ann.user_id
    );
    ann.put(&path, ignore).await.ok();
    let thread = &bundle(&ann, &room, &root).await["m.thread"];
    assert_eq!(
        (&thread["count"], &thread["latest_event"]["content"]["body"]),
        (&json!(1), &json!("mine"))
    );
    let children = ann.get(&format!("{V1}/{room}/relations/{root}")).await.ok();
    assert_eq!(ids(&children).len(), 1);
    ann.get(&format!("{ROOMS}/{room}/event/{hidden}"))
        .await
        .fails(404, "M_NOT_FOUND");
    bob.say(&room, "2", "hello?").await;
    bob.put(
        &format!(
            "/_matrix/client/v3/rooms/{room}/state/m.room.member/{}",
            bob.user_id
        ),
        json!({"membership": "join", "displayname": "Bobby"}),
    )
    .await
    .ok();
    let path = format!("/_matrix/client/v3/sync?since={}", since.as_str().unwrap());
    let sync = ann.get(&path).await.ok();
    let joined = &sync["rooms"]["join"][&room];
    let kinds = joined["timeline"]["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["type"].clone());
    assert_eq!(
        kinds.collect::<Vec<_>>(),
        ["m.room.member"],
        "state is told all the same"
    );
    assert_eq!(joined["unread_notifications"]["notification_count"], 0);
    let messages = ann
        .get(&format!("{ROOMS}/{room}/messages?dir=b&limit=50"))
        .await
        .ok();
    let theirs =
        |event: &&Value| event["sender"] == bob.user_id.as_str() && event["type"] == "m.room.message";
    assert_eq!(
        messages["chunk"]
            .as_array()
            .unwrap()
            .iter()
            .filter(theirs)
            .count(),
        0
    );
    let private = bob.create_room(json!({"preset": "private_chat"})).await;
    bob.post(
        &format!("{ROOMS}/{private}/invite"),
        json!({"user_id": ann.user_id}),
    )
    .await
    .ok();
    let sync = ann.get("/_matrix/client/v3/sync").await.ok();
    assert_eq!(sync["rooms"]["invite"], Value::Null, "invites are left out too");
}

#[tokio::test]
async fn a_database_without_the_index_gains_it() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room = ann.create_room(json!({})).await;
    let root = ann.say(&room, "0", "root").await;
    for number in 1..=300 {
        let text = number.to_string();
        message(&ann, &room, &text, related("m.thread", &root, &text)).await;
    }
    message(&ann, &room, "edit", edit(&root, "better")).await;
    let before = bundle(&ann, &room, &root).await;
    assert_eq!(before["m.thread"]["count"], 300);
    let parts = ann.parts();
    server.drop_index(Table::Relations, b"relations").await;
    let server = server.restarted().await;
    let ann = server.resume(&parts);
    message(&ann, &room, "new", related("m.thread", &root, "new")).await;
    let mut found = Value::Null;
    for _ in 0..1000 {
        found = bundle(&ann, &room, &root).await;
        if found["m.thread"]["count"] == 301 && !found["m.replace"].is_null() {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(found["m.thread"]["count"], 301);
    assert_eq!(found["m.thread"]["latest_event"]["content"]["body"], "new");
    assert_eq!(found["m.replace"]["event_id"], before["m.replace"]["event_id"]);
    let page = ann
        .get(&format!("{V1}/{room}/relations/{root}/m.thread?limit=400"))
        .await
        .ok();
    assert_eq!(ids(&page).len(), 301);
}

#[tokio::test]
async fn what_is_read_of_a_thread_while_the_index_is_filled_is_not_kept() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room = ann.create_room(json!({})).await;
    let root = ann.say(&room, "0", "root").await;
    for number in 1..=20 {
        let text = number.to_string();
        message(&ann, &room, &text, related("m.thread", &root, &text)).await;
    }
    let parts = ann.parts();
    server.drop_index(Table::Relations, b"relations").await;
    let server = server.restarted().await;
    let ann = server.resume(&parts);
    let path = format!("{V1}/{room}/relations/{root}?recurse=true&limit=50");
    let found = async || ids(&ann.get(&path).await.ok()).len();
    assert_eq!(found().await, 0, "it is read before the index is filled");
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(found().await, 20);
}

/// The ids of events that one user gets of a room by a filter for events: in `/messages`, in the timeline of
/// `/sync`, in `/context` and in `/search`. All events have the word "word".
async fn filtered(client: &Client<'_>, room: &str, around: &str, filter: &Value) -> [Vec<String>; 4] {
    let ids = |events: &Value| {
        let events = events.as_array().into_iter().flatten();
        let messages = events.filter(|event| event["type"] == "m.room.message");
        let mut ids: Vec<_> = messages
            .map(|event| event["event_id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        ids
    };
    let text = percent_encode(&filter.to_string());
    let page = client
        .get(&format!("{ROOMS}/{room}/messages?dir=b&limit=100&filter={text}"))
        .await
        .ok();
    let context = client
        .get(&format!(
            "{ROOMS}/{room}/context/{around}?limit=100&filter={text}"
        ))
        .await
        .ok();
    let mut timeline = filter.clone();
    timeline["limit"] = 100.into();
    let of_sync = percent_encode(&json!({"room": {"timeline": timeline}}).to_string());
    let synced = client
        .get(&format!("/_matrix/client/v3/sync?filter={of_sync}"))
        .await
        .ok();
    let request = json!({"search_term": "word", "filter": timeline});
    let body = json!({"search_categories": {"room_events": request}});
    let found = client.post("/_matrix/client/v3/search", body).await.ok();
    let found = found["search_categories"]["room_events"]["results"].clone();
    let results = found.as_array().unwrap().iter();
    let found: Vec<_> = results.map(|result| result["result"].clone()).collect();
    [
        ids(&page["chunk"]),
        ids(&context["events_before"]),
        ids(&synced["rooms"]["join"][room]["timeline"]["events"]),
        ids(&found.into()),
    ]
}

pub(super) fn percent_encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn filters_ask_who_relates_to_events_and_how() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = ann.room_with(&bob).await;
    let threaded = ann.say(&room, "0", "word of a thread").await;
    let liked = ann.say(&room, "1", "word that is liked").await;
    let both = ann.say(&room, "2", "word of both").await;
    ann.say(&room, "3", "word alone").await;
    let last = ann.say(&room, "4", "the last").await;
    let child = json!({"m.relates_to": {"rel_type": "m.thread", "event_id": threaded}});
    send(&ann, &room, "org.example.child", "5", child).await;
    send(&bob, &room, "m.reaction", "6", reaction(&liked, "+")).await;
    // More children than are read at once lie before the one that is asked for.
    send(&bob, &room, "m.reaction", "7", reaction(&both, "+")).await;
    for number in 0..60 {
        let content = reaction(&both, &number.to_string());
        send(&ann, &room, "m.reaction", &format!("b{number}"), content).await;
    }
    let senders = |users: &[&Client<'_>]| {
        let users: Vec<_> = users.iter().map(|user| &user.user_id).collect();
        json!({"related_by_senders": users})
    };
    let rel_types = |types: &[&str]| json!({"related_by_rel_types": types});
    let (annotation, thread) = ("m.annotation", "m.thread");
    for (filter, expected) in [
        (rel_types(&[thread]), vec![&threaded]),
        (rel_types(&[annotation]), vec![&liked, &both]),
        (rel_types(&[annotation, thread]), vec![&threaded, &liked, &both]),
        (rel_types(&["m.reference"]), vec![]),
        (senders(&[&bob]), vec![&liked, &both]),
        (senders(&[&ann]), vec![&threaded, &both]),
        (
            json!({"related_by_senders": [bob.user_id], "related_by_rel_types": [thread]}),
            vec![],
        ),
        (
            json!({"related_by_senders": [ann.user_id], "related_by_rel_types": [annotation, thread]}),
            vec![&threaded, &both],
        ),
    ] {
        let mut expected: Vec<_> = expected.into_iter().cloned().collect();
        expected.sort();
        for (place, found) in filtered(&bob, &room, &last, &filter).await.iter().enumerate() {
            assert_eq!(*found, expected, "{filter} at {place}");
        }
    }
    let none = json!({"related_by_senders": [], "related_by_rel_types": []});
    assert_eq!(filtered(&bob, &room, &last, &none).await[0].len(), 5);
    ann.get(&format!(
        "{ROOMS}/{room}/messages?dir=b&filter=%7B%22related_by_senders%22:1%7D"
    ))
    .await
    .fails(400, "M_BAD_JSON");
}

#[tokio::test]
async fn filters_do_not_tell_of_relations_that_one_may_not_see() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = ann.room_with(&bob).await;
    let parent = ann.say(&room, "0", "word").await;
    let like = send(&ann, &room, "m.reaction", "1", reaction(&parent, "+")).await;
    let filter = json!({"related_by_rel_types": ["m.annotation"]});
    assert_eq!(filtered(&bob, &room, &like, &filter).await[0].len(), 1);
    redact(&ann, &room, &like).await;
    assert_eq!(filtered(&bob, &room, &like, &filter).await[0], [""; 0]);
    bob.post(&format!("{ROOMS}/{room}/leave"), json!({})).await.ok();
    send(&ann, &room, "m.reaction", "2", reaction(&parent, "-")).await;
    assert_eq!(filtered(&bob, &room, &parent, &filter).await[0], [""; 0]);
    assert_eq!(filtered(&ann, &room, &parent, &filter).await[0], [parent]);
}

#[tokio::test]
async fn state_is_filtered_by_what_relates_to_it() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = ann.room_with(&bob).await;
    let topic = format!("{ROOMS}/{room}/state/m.room.topic");
    let topic = ann.put(&topic, json!({"topic": "liked"})).await.ok();
    let topic = topic["event_id"].as_str().unwrap();
    send(&bob, &room, "m.reaction", "0", reaction(topic, "+")).await;
    let filter = json!({"room": {
        "state": {"related_by_senders": [bob.user_id]}, "timeline": {"limit": 1}, "include_leave": true,
    }});
    let sync = format!(
        "/_matrix/client/v3/sync?filter={}",
        percent_encode(&filter.to_string())
    );
    for section in ["join", "leave"] {
        let synced = ann.get(&sync).await.ok();
        let state = synced["rooms"][section][&room]["state"]["events"]
            .as_array()
            .unwrap();
        let told: Vec<_> = state
            .iter()
            .map(|event| event["event_id"].as_str().unwrap())
            .collect();
        assert_eq!(told, [topic], "{section}");
        ann.post(&format!("{ROOMS}/{room}/leave"), json!({})).await.ok();
    }
}
