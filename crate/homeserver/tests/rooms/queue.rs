//! What waits for a server that is away.

use std::sync::atomic::Ordering;

use hearth_homeserver::accounts::Session;
use hearth_storage::{Direction, KeyRange, Store, Table, WriteBatch};
use ruma_common::{OwnedRoomId, RoomId};
use serde_json::{Value, json};

use crate::{
    peer::Peer,
    support::{Server, device, settle},
};

/// More than fits into a few transactions.
const MANY: usize = 230;

async fn queued(server: &Server) -> usize {
    let rows = KeyRange::prefix(b"o\0");
    let rows = server
        .store
        .rows
        .scan(Table::Federation, rows, Direction::Forward, 10_000);
    rows.await.unwrap().len()
}

/// The texts that were sent, in order.
fn sent(server: &Server) -> Vec<String> {
    let mail = server.network.mail.lock().unwrap();
    let pdus = mail
        .iter()
        .flat_map(|transaction| transaction["pdus"].as_array().unwrap().clone());
    pdus.filter_map(|pdu| Some(pdu["content"]["body"].as_str()?.to_owned()))
        .collect()
}

/// Says more than fits into a few transactions. What was said, in order.
async fn say_many(server: &Server, room: &RoomId) -> Vec<String> {
    let texts: Vec<_> = (0..MANY).map(|number| number.to_string()).collect();
    for text in &texts {
        server.say(&server.alice(), room, text, text).await.unwrap();
    }
    texts
}

/// Takes mail from now on, until no more comes.
async fn take_all(server: &Server, peer: &Peer) {
    server.network.takes_mail.store(true, Ordering::Relaxed);
    server.homeserver.peer_online(peer.name());
    for _ in 0..20 {
        settle().await;
    }
}

#[tokio::test]
async fn a_long_queue_is_sent_whole_and_in_order() {
    for restarts in [false, true] {
        let (mut server, peer) = (Server::new().await, Peer::new(7));
        let room = server.public_room().await;
        peer.join(&server, &room).await;
        let texts = say_many(&server, &room).await;
        settle().await;
        if restarts {
            server = server.restarted().await;
            settle().await;
        }
        assert_eq!((queued(&server).await, sent(&server).len()), (MANY, 0));
        take_all(&server, &peer).await;
        assert_eq!(sent(&server), texts);
        assert_eq!(queued(&server).await, 0);
        server.say(&server.alice(), &room, "last", "last").await.unwrap();
        settle().await;
        assert_eq!(sent(&server).last().map(String::as_str), Some("last"));
        assert_eq!(sent(&server).len(), MANY + 1);
    }
}

/// A server with a long queue for another one that is away, of which nothing is in memory; and what was said, in order.
async fn with_queue() -> (Server, Peer, OwnedRoomId, Vec<String>) {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let room = server.public_room().await;
    peer.join(&server, &room).await;
    let texts = say_many(&server, &room).await;
    settle().await;
    let server = server.restarted().await;
    settle().await;
    (server, peer, room, texts)
}

#[tokio::test]
async fn what_cannot_be_read_now_is_sent_when_it_can() {
    let (server, peer, _, texts) = with_queue().await;
    server.store.is_unreadable.store(true, Ordering::Relaxed);
    take_all(&server, &peer).await;
    // The first ones, which it tried to send when it started, are in memory.
    assert_eq!((queued(&server).await, sent(&server).len()), (MANY - 50, 50));
    server.store.is_unreadable.store(false, Ordering::Relaxed);
    take_all(&server, &peer).await;
    assert_eq!(sent(&server), texts);
    assert_eq!(queued(&server).await, 0);
}

#[tokio::test]
async fn an_event_that_is_damaged_keeps_back_no_other() {
    let (server, peer, room, mut texts) = with_queue().await;
    let damaged = texts.remove(3);
    let events = server.homeserver.timeline_after(&room, i64::MIN, 1000).await;
    let events = events.unwrap();
    let mut events = events.iter().map(|(_, event)| event);
    let event = events.find(|event| event.content_text("body") == Some(&damaged));
    let mut batch = WriteBatch::new();
    batch.put(Table::Events, event.unwrap().event_id.as_bytes(), b"damaged");
    server.store.rows.commit(batch).await.unwrap();
    let server = server.restarted().await;
    settle().await;
    take_all(&server, &peer).await;
    assert_eq!(sent(&server), texts);
    assert_eq!(queued(&server).await, 0);
}

#[tokio::test]
async fn what_is_posted_while_a_queue_is_sent_is_sent_once() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let room = server.public_room().await;
    peer.join(&server, &room).await;
    let texts: Vec<_> = (0..2 * MANY).map(|number| number.to_string()).collect();
    for (number, text) in texts.iter().enumerate() {
        server.say(&server.alice(), &room, text, text).await.unwrap();
        if number == MANY {
            server.network.takes_mail.store(true, Ordering::Relaxed);
            server.homeserver.peer_online(peer.name());
        }
    }
    for _ in 0..20 {
        settle().await;
    }
    assert_eq!(sent(&server), texts);
    assert_eq!(queued(&server).await, 0);
}

#[tokio::test]
async fn what_is_too_large_is_sent_in_parts() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let room = server.public_room().await;
    peer.join(&server, &room).await;
    let texts = say_many(&server, &room).await;
    settle().await;
    server.network.most_events.store(1, Ordering::Relaxed);
    server.network.takes_mail.store(true, Ordering::Relaxed);
    let asked = || server.network.asked.lock().unwrap().len();
    let before = asked();
    server.homeserver.peer_online(peer.name());
    settle().await;
    assert_eq!(asked(), before + 1, "what is refused is not tried again at once");
    // The clock stands still: only this ends a pause.
    for _ in 0..10 * texts.len() {
        if queued(&server).await == 0 {
            break;
        }
        server.homeserver.peer_online(peer.name());
        settle().await;
    }
    assert_eq!(sent(&server), texts);
    assert_eq!(queued(&server).await, 0);
}

/// Queues messages for devices of the peer's user.
async fn send_keys(server: &Server, peer: &Peer, texts: &[String]) {
    let session = Session {
        user_id: server.alice(),
        device_id: device().to_owned(),
    };
    for text in texts {
        let messages = json!({ peer.user(): { "*": { "key": text } } });
        let messages = serde_json::from_value(messages).unwrap();
        let homeserver = &server.homeserver;
        let sent = homeserver.send_to_device(&session, "m.room_key", text, messages);
        sent.await.unwrap();
    }
}

/// The texts of the messages for devices that were sent, in order.
fn sent_keys(server: &Server, peer: &Peer) -> Vec<String> {
    let mail = server.network.mail.lock().unwrap();
    let edus = mail
        .iter()
        .flat_map(|transaction| transaction["edus"].as_array().unwrap().clone());
    let key = |edu: Value| edu["content"]["messages"][peer.user().as_str()]["*"]["key"].clone();
    edus.filter_map(|edu| Some(key(edu).as_str()?.to_owned()))
        .collect()
}

#[tokio::test]
async fn of_what_is_refused_only_what_is_to_blame_is_lost() {
    for (bad_event, bad_key) in [(77, 77), (77, 120), (120, 77)] {
        let (server, peer) = (Server::new().await, Peer::new(7));
        let room = server.public_room().await;
        peer.join(&server, &room).await;
        let mut texts: Vec<_> = (0..MANY).map(|number| number.to_string()).collect();
        let mut keys: Vec<_> = (0..MANY).map(|number| format!("key {number}")).collect();
        texts[bad_event] = "poison".into();
        keys[bad_key] = "poison".into();
        for text in &texts {
            server.say(&server.alice(), &room, text, text).await.unwrap();
        }
        send_keys(&server, &peer, &keys).await;
        settle().await;
        *server.network.poison.lock().unwrap() = Some("poison");
        server.network.takes_mail.store(true, Ordering::Relaxed);
        // The clock stands still: only this ends a pause.
        for _ in 0..50 {
            server.homeserver.peer_online(peer.name());
            settle().await;
        }
        texts.remove(bad_event);
        keys.remove(bad_key);
        assert_eq!(sent(&server), texts);
        assert_eq!(sent_keys(&server, &peer), keys);
        assert_eq!(queued(&server).await, 0);
    }
}

/// How many EDUs that must arrive wait for the peer.
async fn lasting(server: &Server) -> usize {
    let rows = KeyRange::prefix(b"e\0");
    let rows = server
        .store
        .rows
        .scan(Table::Federation, rows, Direction::Forward, 100_000);
    rows.await.unwrap().len()
}

#[tokio::test]
async fn changes_of_devices_are_told_where_no_message_fits_any_more() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let room = server.public_room().await;
    peer.join(&server, &room).await;
    let mut batch = WriteBatch::new();
    for number in 0..10_000_u64 {
        let key = [b"e\0", peer.name().as_bytes(), &[0], &number.to_be_bytes()].concat();
        batch.put(Table::Federation, key, b"{}");
    }
    server.store.rows.commit(batch).await.unwrap();
    let server = server.restarted().await;
    settle().await;
    send_keys(&server, &peer, &["too much".into()]).await;
    assert_eq!(lasting(&server).await, 10_000);
    let master = json!({
        "user_id": server.alice(), "usage": ["master"], "keys": { "ed25519:public": "public" },
    });
    let upload = serde_json::from_value(json!({ "master_key": master })).unwrap();
    let alice = server.alice();
    let stored = server.homeserver.set_cross_signing(&alice, upload, true);
    assert!(stored.await.unwrap());
    assert_eq!(lasting(&server).await, 10_001);
}

#[tokio::test]
async fn an_edu_that_cannot_be_sent_keeps_back_no_other() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let room = server.public_room().await;
    peer.join(&server, &room).await;
    let nested = "[".repeat(125) + &"]".repeat(125);
    let mut batch = WriteBatch::new();
    // As an earlier version has stored them: two that do not fit into JSON, and more than a transaction takes that
    // cannot even be read.
    let contents = ["{\"n\":1e20}".into(), format!("{{\"n\":{nested}}}")];
    let unreadable = std::iter::repeat_n("{".to_owned(), 60);
    for (number, content) in contents.into_iter().chain(unreadable).enumerate() {
        let key = [
            b"e\0",
            peer.name().as_bytes(),
            &[0],
            &(number as u64).to_be_bytes(),
        ]
        .concat();
        let edu = format!("{{\"edu_type\":\"m.direct_to_device\",\"content\":{content}}}");
        batch.put(Table::Federation, key, edu.as_bytes());
    }
    server.store.rows.commit(batch).await.unwrap();
    let server = server.restarted().await;
    settle().await;
    send_keys(&server, &peer, &["key".into()]).await;
    server
        .say(&server.alice(), &room, "hello", "hello")
        .await
        .unwrap();
    take_all(&server, &peer).await;
    assert_eq!(sent(&server), ["hello"]);
    assert_eq!(sent_keys(&server, &peer), ["key"]);
    assert_eq!(lasting(&server).await, 0);
}

#[tokio::test]
async fn a_queue_of_the_first_release_is_sent() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let room = server.public_room().await;
    peer.join(&server, &room).await;
    let mut batch = WriteBatch::new();
    for text in ["1", "2", "3"] {
        let event_id = server.say(&server.alice(), &room, text, text).await.unwrap();
        let order = server.homeserver.stored_event(&event_id).await.unwrap();
        let order = order.unwrap().decision.order.unwrap();
        let key = [b"o\0", peer.name().as_bytes(), &[0], &order.to_be_bytes()].concat();
        batch.put(Table::Federation, key, event_id.as_bytes());
    }
    server.store.rows.commit(batch).await.unwrap();
    assert_eq!(queued(&server).await, 3);
    let server = server.restarted().await;
    settle().await;
    server.network.takes_mail.store(true, Ordering::Relaxed);
    server.homeserver.peer_online(peer.name());
    settle().await;
    assert_eq!(sent(&server), ["1", "2", "3"]);
    assert_eq!(queued(&server).await, 0);
}
