//! What sliding sync tells beside the rooms: the extensions of MSC4186.

use std::time::Duration;

use hearth_homeserver::{Error, receipts::ReceiptKind};
use ruma_common::{EventId, RoomId, UserId};
use serde_json::{Value, json};

use crate::{
    sliding::{Slider, first, room, rooms},
    support::{Server, device, kinds, object, settles},
};

/// Moves the user's public receipt.
async fn read(server: &Server, user_id: &UserId, room_id: &RoomId, event_id: &EventId) {
    let receipt = server
        .homeserver
        .set_receipt(user_id, room_id, ReceiptKind::Read, event_id, None);
    receipt.await.unwrap();
}

/// The content of the receipts that are told of a room.
fn receipts<'v>(answer: &'v Value, room_id: &RoomId) -> &'v Value {
    &answer["extensions"]["receipts"]["rooms"][room_id.as_str()]["content"]
}

#[tokio::test]
async fn what_was_read_and_tagged_in_a_room_outside_all_windows_is_told_when_it_comes_back() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let (one, two) = (server.room(&alice).await, server.room(&alice).await);
    server.join(&bob, &one).await;
    let said = server.say(&bob, &one, "unread").await;
    server.say(&alice, &two, "newer").await;
    let body = |count| {
        let mut body = first(count, 2);
        body["extensions"] = json!({"account_data": {"enabled": true}, "receipts": {"enabled": true}});
        body
    };
    let mut client = Slider::new(&server, &alice);
    let answer = client.slide(body(2)).await;
    assert_eq!(room(&answer, &one)["notification_count"], 1);
    assert_eq!(client.slide(body(1)).await["rooms"], json!({}));
    read(&server, &alice, &one, &said).await;
    read(&server, &bob, &one, &said).await;
    let tag = object(json!({"tags": {"m.favourite": {}}}));
    let tagged = server
        .homeserver
        .set_account_data(&alice, Some(&one), "m.tag", tag);
    tagged.await.unwrap();
    let answer = client.slide(body(1)).await;
    assert_eq!(answer["rooms"], json!({}));
    assert_eq!(answer["extensions"].get("receipts"), None);
    let answer = client.slide(body(2)).await;
    assert_eq!(rooms(&answer), [one.as_str()]);
    assert_eq!(room(&answer, &one)["notification_count"], 0);
    let readers = &receipts(&answer, &one)[said.as_str()]["m.read"];
    assert!(readers[alice.as_str()].is_object(), "{answer}");
    assert!(readers[bob.as_str()].is_object(), "{answer}");
    let data = &answer["extensions"]["account_data"]["rooms"][one.as_str()];
    assert_eq!(kinds(data), ["m.tag"]);
    let answer = client.slide(body(2)).await;
    assert_eq!(answer["rooms"], json!({}));
    assert_eq!(answer["extensions"].get("receipts"), None);
}

#[tokio::test]
async fn a_room_that_comes_back_is_told_of_the_receipts_that_moved() {
    let server = Server::new().await;
    let (alice, bob, carol) = (server.user("alice"), server.user("bob"), server.user("carol"));
    let (one, two) = (server.room(&alice).await, server.room(&alice).await);
    server.join(&bob, &one).await;
    server.join(&carol, &one).await;
    let said = server.say(&alice, &one, "read by bob").await;
    let later = server.say(&alice, &one, "read by carol").await;
    server.say(&alice, &two, "newer").await;
    read(&server, &bob, &one, &said).await;
    let body = |count| {
        let mut body = first(count, 3);
        body["extensions"] = json!({"receipts": {"enabled": true}});
        body
    };
    let mut client = Slider::new(&server, &alice);
    let answer = client.slide(body(2)).await;
    assert!(receipts(&answer, &one)[said.as_str()].is_object(), "{answer}");
    client.slide(body(1)).await;
    read(&server, &carol, &one, &later).await;
    client.slide(body(1)).await;
    let answer = client.slide(body(2)).await;
    let told = receipts(&answer, &one);
    assert!(
        told[later.as_str()]["m.read"][carol.as_str()].is_object(),
        "{answer}"
    );
    assert_eq!(told.get(said.as_str()), None, "{answer}");
    // Of a room that was away for long all are told.
    read(&server, &carol, &one, &later).await;
    server.say(&alice, &two, "newer").await;
    read(&server, &alice, &one, &later).await;
    client.slide(body(1)).await;
    server.say_many(&alice, &two, 1_100).await;
    let answer = client.slide(body(2)).await;
    let told = receipts(&answer, &one);
    for (event_id, reader) in [(&said, &bob), (&later, &carol), (&later, &alice)] {
        assert!(
            told[event_id.as_str()]["m.read"][reader.as_str()].is_object(),
            "{answer}"
        );
    }
}

/// The users of whom a client is told that they type.
fn typing<'v>(answer: &'v Value, room_id: &RoomId) -> &'v Value {
    &answer["extensions"]["typing"]["rooms"][room_id.as_str()]["content"]["user_ids"]
}

#[tokio::test]
async fn typing_that_ended_while_a_room_was_outside_all_windows_is_told_as_ended() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let (one, two) = (server.room(&alice).await, server.room(&alice).await);
    server.join(&bob, &one).await;
    server.say(&alice, &two, "newer").await;
    let body = |count| {
        let mut body = first(count, 2);
        body["extensions"] = json!({"typing": {"enabled": true}});
        body
    };
    let types = async |server: &Server, timeout| {
        server.homeserver.set_typing(&bob, &one, timeout).await.unwrap();
    };
    let mut client = Slider::new(&server, &alice);
    client.slide(body(2)).await;
    types(&server, Some(60_000)).await;
    assert_eq!(*typing(&client.slide(body(2)).await, &one), json!([bob]));
    client.slide(body(1)).await;
    types(&server, None).await;
    assert_eq!(client.slide(body(1)).await["extensions"].get("typing"), None);
    assert_eq!(client.slide(body(1)).await["extensions"].get("typing"), None);
    assert_eq!(*typing(&client.slide(body(2)).await, &one), json!([]));
    assert_eq!(client.slide(body(2)).await["extensions"].get("typing"), None);
    // It ends with the homeserver, too.
    types(&server, Some(60_000)).await;
    assert_eq!(*typing(&client.slide(body(2)).await, &one), json!([bob]));
    let pos = client.pos.take();
    let server = server.restarted().await;
    let mut client = Slider::new(&server, &alice);
    client.pos = pos;
    client.slide(body(1)).await;
    server.say(&alice, &two, "while the first room is outside").await;
    client.slide(body(1)).await;
    assert_eq!(*typing(&client.slide(body(2)).await, &one), json!([]));
}

#[tokio::test]
async fn who_leaves_types_no_more() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = server.room(&alice).await;
    server.join(&bob, &room).await;
    let mut body = first(1, 2);
    body["extensions"] = json!({"typing": {"enabled": true}});
    let mut client = Slider::new(&server, &alice);
    let homeserver = &server.homeserver;
    homeserver.set_typing(&bob, &room, Some(60_000)).await.unwrap();
    assert_eq!(*typing(&client.slide(body.clone()).await, &room), json!([bob]));
    homeserver.leave_room(&bob, &room, None).await.unwrap();
    assert_eq!(*typing(&client.slide(body).await, &room), json!([]));
}

#[tokio::test]
async fn with_older_events_come_the_receipts_at_them() {
    let server = Server::new().await;
    let (alice, bob, carol) = (server.user("alice"), server.user("bob"), server.user("carol"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    server.join(&carol, &room_id).await;
    server.say_many(&alice, &room_id, 3).await;
    let older = server.say(&alice, &room_id, "read by carol").await;
    server.say_many(&alice, &room_id, 3).await;
    let old = server.say(&alice, &room_id, "read by bob").await;
    server.say_many(&alice, &room_id, 3).await;
    read(&server, &bob, &room_id, &old).await;
    let body = |limit| {
        let mut body = first(1, limit);
        body["extensions"] = json!({"receipts": {"enabled": true}});
        body
    };
    let mut client = Slider::new(&server, &alice);
    let answer = client.slide(body(1)).await;
    assert_eq!(answer["extensions"].get("receipts"), None, "{answer}");
    // What moves meanwhile is told as well, wherever it is.
    read(&server, &carol, &room_id, &older).await;
    let answer = client.slide(body(5)).await;
    assert_eq!(room(&answer, &room_id)["unstable_expanded_timeline"], true);
    let told = receipts(&answer, &room_id);
    assert!(told[old.as_str()]["m.read"][bob.as_str()].is_object(), "{answer}");
    assert!(
        told[older.as_str()]["m.read"][carol.as_str()].is_object(),
        "{answer}"
    );
    let answer = client.slide(body(5)).await;
    assert_eq!(answer["extensions"].get("receipts"), None);
}

#[tokio::test]
async fn extensions_tell_what_is_beside_the_rooms() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let said = server.say(&alice, &room_id, "read this").await;
    let mut body = first(5, 5);
    body["extensions"] = json!({
        "account_data": {"enabled": true}, "receipts": {"enabled": true}, "typing": {"enabled": true},
        "to_device": {"enabled": true}, "e2ee": {"enabled": true},
    });
    let mut client = Slider::new(&server, &alice);
    let tag = object(json!({"tags": {}}));
    server
        .homeserver
        .set_account_data(&alice, Some(&room_id), "m.tag", tag.clone())
        .await
        .unwrap();
    let answer = client.slide(body.clone()).await;
    let extensions = &answer["extensions"];
    assert_eq!(kinds(&extensions["account_data"]["global"]), ["m.push_rules"]);
    assert_eq!(
        kinds(&extensions["account_data"]["rooms"][room_id.as_str()]),
        ["m.tag"]
    );
    assert!(extensions["to_device"]["next_batch"].is_string());
    assert_eq!(
        extensions["e2ee"]["device_one_time_keys_count"]["signed_curve25519"],
        0
    );
    assert_eq!(extensions.get("typing"), None);
    read(&server, &bob, &room_id, &said).await;
    server
        .homeserver
        .set_typing(&bob, &room_id, Some(10_000))
        .await
        .unwrap();
    server
        .homeserver
        .set_account_data(&alice, Some(&room_id), "org.mine", tag.clone())
        .await
        .unwrap();
    server
        .homeserver
        .set_account_data(&alice, None, "org.global", tag)
        .await
        .unwrap();
    let answer = client.slide(body.clone()).await;
    let extensions = &answer["extensions"];
    assert_eq!(
        extensions["typing"]["rooms"][room_id.as_str()]["content"]["user_ids"],
        json!([bob])
    );
    let readers = &receipts(&answer, &room_id)[said.as_str()]["m.read"];
    assert!(readers[bob.as_str()].is_object(), "{answer}");
    assert_eq!(
        kinds(&extensions["account_data"]["rooms"][room_id.as_str()]),
        ["org.mine"]
    );
    assert_eq!(kinds(&extensions["account_data"]["global"]), ["org.global"]);
    assert_eq!(answer["rooms"], json!({}), "none of that is news of the room");
    let mut other = body.clone();
    other["extensions"]["typing"]["lists"] = json!([]);
    server.homeserver.set_typing(&bob, &room_id, None).await.unwrap();
    assert_eq!(client.slide(other).await["extensions"].get("typing"), None);
}

/// matrix-rust-sdk has a connection for keys alone. Each answer of it makes the client back up its keys, and so does Synapse's
/// at any event.
#[tokio::test]
async fn a_connection_for_keys_is_answered_when_its_user_has_encrypted_something() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let body = json!({"conn_id": "encryption", "extensions": {"e2ee": {"enabled": true}}});
    let mut client = Slider::new(&server, &alice);
    client.slide(body.clone()).await;
    let mut request = client.request(body);
    request.timeout = Duration::from_secs(20);
    let session = client.session();
    let mut waiting = Box::pin(server.homeserver.sliding_sync(&session, request));
    assert!(settles(&mut waiting).await.is_none());
    let encrypt = async |user_id: &UserId| {
        let content = object(json!({"algorithm": "m.megolm.v1.aes-sha2"}));
        let sent =
            server
                .homeserver
                .send_message(user_id, device(), &room_id, "m.room.encrypted", "1", content);
        sent.await.unwrap();
    };
    server.say(&alice, &room_id, "not encrypted").await;
    encrypt(&bob).await;
    assert!(settles(&mut waiting).await.is_none());
    encrypt(&alice).await;
    assert!(settles(&mut waiting).await.is_none());
    // What alice's device has sent, it is told of a moment after the answer.
    server.clock.advance(Duration::from_millis(10));
    let answer = settles(&mut waiting).await.unwrap().unwrap();
    assert!(answer.extensions.e2ee.is_some());
}

#[tokio::test]
async fn threads_are_followed() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let root = server.say(&alice, &room_id, "root").await;
    let reply = async |text: &str| {
        let relation = json!({"rel_type": "m.thread", "event_id": root});
        let content = json!({"msgtype": "m.text", "body": text, "m.relates_to": relation});
        server.send(&bob, &room_id, content).await
    };
    let first_reply = reply("one").await;
    let mut body = first(5, 5);
    body["extensions"] = json!({"io.element.msc4308.thread_subscriptions": {"enabled": true}});
    let mut client = Slider::new(&server, &alice);
    client.slide(body.clone()).await;
    let homeserver = &server.homeserver;
    let none = homeserver.thread_subscription(&alice, &room_id, &root).await;
    assert!(matches!(none, Err(Error::NotFound(_))));
    homeserver
        .subscribe_thread(&alice, &room_id, &root, Some(&first_reply))
        .await
        .unwrap();
    assert!(
        homeserver
            .thread_subscription(&alice, &room_id, &root)
            .await
            .unwrap()
    );
    let changes = async |client: &mut Slider<'_>| {
        let answer = client.slide(body.clone()).await;
        answer["extensions"]["io.element.msc4308.thread_subscriptions"].clone()
    };
    let told = changes(&mut client).await;
    assert_eq!(
        told["subscribed"][room_id.as_str()][root.as_str()]["automatic"],
        true
    );
    assert_eq!(changes(&mut client).await, Value::Null);
    homeserver
        .unsubscribe_thread(&alice, &room_id, &root)
        .await
        .unwrap();
    let told = changes(&mut client).await;
    assert!(told["unsubscribed"][room_id.as_str()][root.as_str()]["bump_stamp"].is_u64());
    let again = homeserver
        .subscribe_thread(&alice, &room_id, &root, Some(&first_reply))
        .await;
    assert!(matches!(again, Err(Error::ConflictingUnsubscription)));
    let outside = server.say(&bob, &room_id, "elsewhere").await;
    let outside = homeserver
        .subscribe_thread(&alice, &room_id, &root, Some(&outside))
        .await;
    assert!(matches!(outside, Err(Error::NotInThread)));
    let newer = reply("two").await;
    homeserver
        .subscribe_thread(&alice, &room_id, &root, Some(&newer))
        .await
        .unwrap();
    homeserver
        .subscribe_thread(&alice, &room_id, &root, None)
        .await
        .unwrap();
    assert!(
        !homeserver
            .thread_subscription(&alice, &room_id, &root)
            .await
            .unwrap()
    );
    homeserver
        .subscribe_thread(&alice, &room_id, &root, Some(&newer))
        .await
        .unwrap();
    assert!(
        !homeserver
            .thread_subscription(&alice, &room_id, &root)
            .await
            .unwrap(),
        "the user's choice stays"
    );
    let all = homeserver
        .subscription_changes(&alice, 0, u64::MAX, 10)
        .await
        .unwrap();
    assert_eq!(
        (all.subscribed.len(), all.unsubscribed.len(), all.prev_batch),
        (1, 0, None)
    );
    let stranger = homeserver
        .subscribe_thread(&server.user("carol"), &room_id, &root, None)
        .await;
    assert!(matches!(stranger, Err(Error::NotFound(_))));
}
