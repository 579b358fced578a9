//! Full-text search.

use hearth_storage::Table;
use serde_json::{Value, json};

use super::server::{Answer, Client, TestServer};

const ROOMS: &str = "/_matrix/client/v3/rooms";

async fn ask(client: &Client<'_>, query: &str, request: Value) -> Answer {
    let body = json!({"search_categories": {"room_events": request}});
    client
        .post(&format!("/_matrix/client/v3/search{query}"), body)
        .await
}

async fn search(client: &Client<'_>, request: Value) -> Value {
    ask(client, "", request).await.ok()["search_categories"]["room_events"].clone()
}

/// The texts of results, in order.
fn texts(found: &Value) -> Vec<&str> {
    let results = found["results"].as_array().unwrap().iter();
    let content = results.map(|result| &result["result"]["content"]);
    content
        .map(|content| {
            ["body", "name", "topic"]
                .iter()
                .find_map(|field| content[field].as_str())
                .unwrap()
        })
        .collect()
}

async fn recent(client: &Client<'_>, term: &str) -> Vec<String> {
    let found = search(client, json!({"search_term": term, "order_by": "recent"})).await;
    texts(&found).into_iter().map(str::to_owned).collect()
}

/// How many rows of the index are about `word`.
async fn rows_of(server: &TestServer, word: &str) -> usize {
    let word = format!("\0{word}\0").into_bytes();
    let rows = server.dump().await.into_iter();
    rows.filter(|(table, (key, _))| {
        *table == Table::Search && key.windows(word.len()).any(|part| part == word)
    })
    .count()
}

/// Waits until there are rows of the index about `word`.
async fn indexed(server: &TestServer, word: &str) {
    for _ in 0..10_000 {
        if rows_of(server, word).await > 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{word} did not come into the index");
}

#[tokio::test]
async fn events_with_all_words_are_found_in_one_s_own_rooms() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = ann.room_with(&bob).await;
    let private = bob
        .create_room(json!({"preset": "private_chat", "name": "Blue secrets"}))
        .await;
    for (txn, text) in ["The quick brown fox", "the lazy dog", "A FOX and a dog", "Füchse"]
        .iter()
        .enumerate()
    {
        ann.say(&room, &txn.to_string(), text).await;
    }
    bob.say(&private, "0", "my fox").await;
    assert_eq!(
        recent(&ann, "fox").await,
        ["A FOX and a dog", "The quick brown fox"]
    );
    assert_eq!(recent(&ann, "Dog fox").await, ["A FOX and a dog"]);
    assert_eq!(recent(&ann, "füchse").await, ["Füchse"]);
    assert_eq!(recent(&ann, "cat").await, Vec::<String>::new());
    assert_eq!(recent(&ann, "foxes").await, Vec::<String>::new());
    assert_eq!(recent(&ann, " ! ").await, Vec::<String>::new());
    assert_eq!(
        recent(&bob, "fox").await,
        ["my fox", "A FOX and a dog", "The quick brown fox"]
    );
    assert_eq!(recent(&bob, "secrets").await, ["Blue secrets"]);
    bob.post(&format!("{ROOMS}/{room}/leave"), json!({})).await.ok();
    ann.say(&room, "later", "fox after you left").await;
    assert_eq!(
        recent(&bob, "fox").await,
        ["my fox", "A FOX and a dog", "The quick brown fox"]
    );
    bob.post(&format!("{ROOMS}/{room}/forget"), json!({})).await.ok();
    assert_eq!(recent(&bob, "fox").await, ["my fox"]);
    let path = format!(
        "/_matrix/client/v3/user/{}/account_data/m.ignored_user_list",
        bob.user_id
    );
    bob.put(&path, json!({"ignored_users": {&ann.user_id: {}}}))
        .await
        .ok();
    bob.post(&format!("/_matrix/client/v3/join/{room}"), json!({}))
        .await
        .ok();
    assert_eq!(
        recent(&bob, "fox").await,
        ["my fox"],
        "ignored users are left out"
    );
}

#[tokio::test]
async fn words_that_fit_better_come_first() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room = ann.create_room(json!({})).await;
    for (txn, text) in [
        "a kettle, and much else that is said beside it here",
        "kettle kettle",
        "nothing",
        "no kettle today",
    ]
    .iter()
    .enumerate()
    {
        ann.say(&room, &txn.to_string(), text).await;
    }
    let found = search(&ann, json!({"search_term": "kettle"})).await;
    assert_eq!(texts(&found)[0], "kettle kettle");
    assert_eq!(
        texts(&found)[2],
        "a kettle, and much else that is said beside it here"
    );
    let ranks = found["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["rank"].as_f64().unwrap());
    assert!(
        ranks
            .collect::<Vec<_>>()
            .is_sorted_by(|first, second| first >= second)
    );
    assert_eq!(
        (&found["count"], &found["highlights"]),
        (&json!(3), &json!(["kettle"]))
    );
}

#[tokio::test]
async fn results_are_filtered_grouped_and_put_into_context() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let path = format!("/_matrix/client/v3/profile/{}/displayname", bob.user_id);
    bob.put(&path, json!({"displayname": "Bob"})).await.ok();
    let room = ann.room_with(&bob).await;
    let other = ann
        .create_room(json!({"name": "Tea room", "topic": "All about tea"}))
        .await;
    ann.say(&room, "0", "before").await;
    let tea = ann.say(&room, "1", "tea?").await;
    bob.say(&room, "2", "yes, tea").await;
    ann.put(
        &format!("{ROOMS}/{other}/send/m.room.message/1"),
        json!({"msgtype": "m.image", "body": "tea", "url": "mxc://a/b"}),
    )
    .await
    .ok();
    let with = async |more: Value| {
        let mut request = json!({"search_term": "tea", "order_by": "recent"});
        request
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        search(&ann, request).await
    };
    let all = ["tea", "yes, tea", "tea?", "All about tea", "Tea room"];
    assert_eq!(texts(&with(json!({})).await), all);
    for (more, expected) in [
        (json!({"keys": ["content.body"]}), &[0, 1, 2][..]),
        (json!({"keys": ["content.name", "content.topic"]}), &[3, 4]),
        (json!({"filter": {"rooms": [room]}}), &[1, 2]),
        (json!({"filter": {"not_rooms": [room]}}), &[0, 3, 4]),
        (json!({"filter": {"senders": [bob.user_id]}}), &[1]),
        (
            json!({"filter": {"not_senders": [bob.user_id], "types": ["m.room.message"]}}),
            &[0, 2],
        ),
        (json!({"filter": {"not_types": ["m.room.*"]}}), &[]),
        (json!({"filter": {"contains_url": true}}), &[0]),
        (json!({"filter": {"limit": 2}}), &[0, 1]),
        (json!({"filter": {"rooms": ["!elsewhere:x"]}}), &[]),
    ] {
        let expected: Vec<_> = expected.iter().map(|number: &usize| all[*number]).collect();
        assert_eq!(texts(&with(more.clone()).await), expected, "{more}");
    }
    let grouped = with(json!({"groupings": {"group_by": [{"key": "sender"}, {"key": "room_id"}]}})).await;
    assert_eq!(
        grouped["groups"]["sender"][&bob.user_id]["results"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(grouped["groups"]["room_id"][&other]["order"], 0);
    assert_eq!(grouped["groups"]["room_id"][&room]["results"][1], tea.as_str());
    let context = with(json!({
        "filter": {"rooms": [room]}, "include_state": true,
        "event_context": {"before_limit": 1, "after_limit": 1, "include_profile": true},
    }))
    .await;
    let around = &context["results"][1]["context"];
    assert_eq!(around["events_before"][0]["content"]["body"], "before");
    assert_eq!(around["events_after"][0]["content"]["body"], "yes, tea");
    assert_eq!(around["profile_info"][&bob.user_id]["displayname"], "Bob");
    let state = context["state"][&room].as_array().unwrap();
    assert!(state.iter().any(|event| event["type"] == "m.room.create"));
    for bad in [
        json!({}),
        json!({"search_term": 1}),
        json!({"search_term": "a", "order_by": "size"}),
    ] {
        let answer = ask(&ann, "", bad.clone()).await;
        assert_eq!(answer.status.as_u16(), 400, "{bad}");
    }
    ask(&ann, "?next_batch=x", json!({"search_term": "a"}))
        .await
        .fails(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn results_come_page_by_page_while_more_is_said() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room = ann.create_room(json!({})).await;
    for number in 0..25 {
        ann.say(&room, &number.to_string(), &format!("word {number}"))
            .await;
    }
    for order in ["recent", "rank"] {
        let (mut query, mut found) = (String::new(), Vec::new());
        loop {
            let request = json!({"search_term": "word", "order_by": order});
            let page = ask(&ann, &query, request).await.ok()["search_categories"]["room_events"].clone();
            found.extend(texts(&page).into_iter().map(str::to_owned));
            ann.say(&room, &format!("{order}{}", found.len()), "another word")
                .await;
            match page["next_batch"].as_str() {
                Some(next) => query = format!("?next_batch={next}"),
                None => break,
            }
        }
        found.retain(|text| text != "another word");
        found.sort();
        let mut expected: Vec<_> = (0..25).map(|number| format!("word {number}")).collect();
        expected.sort();
        assert_eq!(found, expected, "{order}");
    }
}

#[tokio::test]
async fn redacted_words_leave_the_index() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room = ann.create_room(json!({})).await;
    let mut secrets = Vec::new();
    for number in 0..200 {
        let text = if number % 20 == 3 {
            "password hunter2"
        } else {
            "password policy"
        };
        let event_id = ann.say(&room, &number.to_string(), text).await;
        if number % 20 == 3 {
            secrets.push(event_id);
        }
    }
    indexed(&server, "hunter2").await;
    assert_eq!(recent(&ann, "hunter2 password").await.len(), 10);
    for (number, event_id) in secrets.iter().enumerate() {
        let path = format!("{ROOMS}/{room}/redact/{event_id}/redact{number}");
        ann.put(&path, json!({})).await.ok();
        let request = json!({"search_term": "hunter2", "filter": {"limit": 100}});
        assert_eq!(search(&ann, request).await["count"], 9 - number);
    }
    assert_eq!(rows_of(&server, "hunter2").await, 0);
    assert!(rows_of(&server, "policy").await > 0);
    let found = search(&ann, json!({"search_term": "password"})).await;
    assert_eq!(found["count"], 190);
}

#[tokio::test]
async fn a_database_without_the_index_gains_it() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room = ann.create_room(json!({})).await;
    for number in 0..500 {
        ann.say(&room, &number.to_string(), &format!("needle{number} hay"))
            .await;
    }
    let parts = ann.parts();
    server.drop_index(Table::Search, b"search").await;
    let server = server.restarted().await;
    let ann = server.resume(&parts);
    indexed(&server, "needle300").await;
    for number in [0, 127, 128, 300, 499] {
        let needle = format!("needle{number}");
        assert_eq!(recent(&ann, &needle).await, [format!("{needle} hay")]);
    }
    let found = search(&ann, json!({"search_term": "hay"})).await;
    assert_eq!(found["count"], 500);
}

#[tokio::test]
async fn encrypted_messages_have_no_words() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let room = ann.create_room(json!({})).await;
    let content =
        json!({"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "cipher", "session_id": "cipher"});
    ann.put(&format!("{ROOMS}/{room}/send/m.room.encrypted/1"), content)
        .await
        .ok();
    assert_eq!(recent(&ann, "cipher").await, Vec::<String>::new());
    assert_eq!(rows_of(&server, "cipher").await, 0);
}

#[tokio::test]
async fn a_search_of_a_room_finds_what_was_said_in_those_that_it_replaced() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let cat = server.register("cat").await;
    let first = ann
        .create_room(json!({"preset": "public_chat", "room_version": "10"}))
        .await;
    bob.post(&format!("/_matrix/client/v3/join/{first}"), json!({}))
        .await
        .ok();
    ann.say(&first, "0", "fox of the first room").await;
    bob.post(&format!("{ROOMS}/{first}/leave"), json!({})).await.ok();
    ann.say(&first, "1", "fox behind the back").await;
    let mut last = first.clone();
    for (txn, text) in ["fox of the second", "fox of the third"].iter().enumerate() {
        let upgrade = json!({"new_version": "11"});
        let upgraded = ann.post(&format!("{ROOMS}/{last}/upgrade"), upgrade).await.ok();
        last = upgraded["replacement_room"].as_str().unwrap().to_owned();
        ann.say(&last, &txn.to_string(), text).await;
    }
    let join = format!("/_matrix/client/v3/join/{last}");
    for joining in [&bob, &cat] {
        joining.post(&join, json!({})).await.ok();
    }
    let in_last = |not_rooms: &[&str]| {
        let filter = json!({"rooms": [last], "not_rooms": not_rooms});
        json!({"search_term": "fox", "order_by": "recent", "filter": filter})
    };
    let found = search(&ann, in_last(&[])).await;
    let all = [
        "fox of the third",
        "fox of the second",
        "fox behind the back",
        "fox of the first room",
    ];
    assert_eq!(texts(&found), all);
    let found = search(&ann, in_last(&[&first])).await;
    assert_eq!(texts(&found), all[..2]);
    let found = search(&bob, in_last(&[])).await;
    assert_eq!(texts(&found), ["fox of the third", "fox of the first room"]);
    let found = search(&cat, in_last(&[])).await;
    assert_eq!(texts(&found), ["fox of the third"]);
    bob.post(&format!("{ROOMS}/{first}/forget"), json!({})).await.ok();
    let found = search(&bob, in_last(&[])).await;
    assert_eq!(
        texts(&found),
        ["fox of the third"],
        "what is forgotten is not searched"
    );
}

#[tokio::test]
async fn a_room_is_searched_once_whoever_names_it() {
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    let named = ann.create_room(json!({})).await;
    ann.say(&named, "0", "fox").await;
    // Its creator says that the room replaces another, which does not say so.
    let naming = json!({"creation_content": {"predecessor": {"room_id": named}}});
    let naming = ann.create_room(naming).await;
    let found = search(
        &ann,
        json!({"search_term": "fox", "filter": {"rooms": [naming, named]}}),
    )
    .await;
    assert_eq!(texts(&found), ["fox"]);
    let found = search(&ann, json!({"search_term": "fox", "filter": {"rooms": [named]}})).await;
    assert_eq!(found["count"], 1);
}

#[tokio::test]
async fn who_is_invited_again_is_not_told_the_state_of_the_meantime() {
    let server = TestServer::new().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let room = ann.room_with(&bob).await;
    ann.say(&room, "0", "fox").await;
    bob.post(&format!("{ROOMS}/{room}/leave"), json!({})).await.ok();
    let topic = format!("{ROOMS}/{room}/state/m.room.topic");
    ann.put(&topic, json!({"topic": "what Bob may not know"}))
        .await
        .ok();
    let request = json!({"search_term": "fox", "include_state": true});
    let found = search(&bob, request.clone()).await;
    assert!(found["state"][&room].is_array());
    assert!(!found.to_string().contains("may not know"));
    let invite = json!({"user_id": bob.user_id});
    ann.post(&format!("{ROOMS}/{room}/invite"), invite).await.ok();
    let found = search(&bob, request).await;
    assert_eq!(texts(&found), ["fox"]);
    assert!(!found.to_string().contains("may not know"));
}

#[tokio::test]
async fn words_of_the_erased_are_found_by_those_alone_who_were_there() {
    let server = TestServer::new().await;
    let [ann, bob, cat] = [
        server.register("ann").await,
        server.register("bob").await,
        server.register("cat").await,
    ];
    let room = ann.create_room(json!({"preset": "public_chat"})).await;
    let join = format!("/_matrix/client/v3/join/{room}");
    bob.post(&join, json!({})).await.ok();
    ann.say(&room, "1", "Regrettable").await;
    bob.say(&room, "2", "afterwards").await;
    let body = json!({"auth": {"type": "m.login.dummy"}, "erase": true});
    ann.post("/_matrix/client/v3/account/deactivate", body).await.ok();
    cat.post(&join, json!({})).await.ok();
    assert_eq!(recent(&bob, "regrettable").await, ["Regrettable"]);
    let found = search(&cat, json!({"search_term": "regrettable"})).await;
    assert_eq!((&found["results"], &found["count"]), (&json!([]), &json!(0)));
    let context = json!({"include_profile": true});
    for (reader, name) in [(&bob, json!("ann")), (&cat, Value::Null)] {
        let found = search(
            reader,
            json!({"search_term": "afterwards", "event_context": context}),
        )
        .await;
        let around = &found["results"][0]["context"];
        assert_eq!(around["profile_info"][&ann.user_id]["displayname"], name);
    }
}
