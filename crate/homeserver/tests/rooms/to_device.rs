//! Messages for devices that other servers send.

use hearth_homeserver::accounts::{NewDevice, Registration};
use hearth_storage::{Direction, KeyRange, Store, Table};
use ruma_common::{OwnedDeviceId, OwnedUserId};
use serde_json::{Value, json};

use crate::{
    peer::Peer,
    support::{Server, object},
};

/// A user with a device that is away.
async fn sleeper(server: &Server) -> (OwnedUserId, OwnedDeviceId) {
    let wish = Registration {
        username: Some("sleeper".into()),
        device: Some(NewDevice::default()),
        ..Registration::default()
    };
    let (user_id, login) = server.homeserver.register(wish).await.unwrap();
    (user_id, login.unwrap().device_id)
}

async fn send(server: &Server, peer: &Peer, id: &str, messages: Value) {
    let content = object(json!({
        "sender": peer.user(), "type": "m.room_key", "message_id": id, "messages": messages,
    }));
    let received = server.homeserver.receive_direct_to_device(peer.name(), &content);
    received.await.unwrap();
}

/// How many messages of `peer` wait, and how many bytes they have.
async fn waiting(server: &Server, peer: &Peer) -> (usize, usize) {
    let rows = KeyRange::prefix(b"t\0");
    let rows = server
        .store
        .rows
        .scan(Table::Keys, rows, Direction::Forward, 10_000);
    let sent: Vec<_> = rows
        .await
        .unwrap()
        .into_iter()
        .map(|(_, row)| row)
        .filter(|row| serde_json::from_slice::<Value>(row).unwrap()["sender"] == peer.user().as_str())
        .collect();
    (sent.len(), sent.iter().map(Vec::len).sum())
}

#[tokio::test]
async fn who_floods_a_device_loses_what_is_newest_and_nobody_else_loses_anything() {
    let (server, friend) = (Server::new().await, Peer::new(7));
    let (user_id, device_id) = sleeper(&server).await;
    let room = server.public_room().await;
    friend.join(&server, &room).await;
    let message = |text: &str| json!({ &user_id: { &device_id: { "text": text } } });
    send(&server, &friend, "first", message("key")).await;
    let large = message(&"x".repeat(60_000));
    for number in 0..10 {
        let stranger = Peer::new(20 + number);
        for id in 0..10 {
            send(&server, &stranger, &id.to_string(), large.clone()).await;
        }
    }
    let mut flood = 0;
    for number in 0..10 {
        flood += waiting(&server, &Peer::new(20 + number)).await.1;
    }
    assert!((500_000..=1_048_576).contains(&flood), "{flood} bytes");
    for id in 0..200 {
        send(&server, &friend, &id.to_string(), large.clone()).await;
    }
    let (count, bytes) = waiting(&server, &friend).await;
    assert!((100..200).contains(&count), "{count} messages, {bytes} bytes");
    // The same after a restart, when what waits is counted anew.
    let server = server.restarted().await;
    send(&server, &friend, "last", large).await;
    send(&server, &Peer::new(20), "last", message(&"x".repeat(60_000))).await;
    assert_eq!(waiting(&server, &friend).await, (count, bytes));
    let own = json!({ "text": "hello" });
    let other = Peer::new(9);
    other.join(&server, &room).await;
    send(&server, &other, "1", json!({ &user_id: { &device_id: own } })).await;
    assert_eq!(waiting(&server, &other).await.0, 1);
}

#[tokio::test]
async fn only_the_message_that_is_too_large_is_dropped() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let (user_id, device_id) = sleeper(&server).await;
    let messages = json!({
        &user_id: { &device_id: { "text": "key" } },
        server.alice(): { "*": { "text": "x".repeat(70_000) } },
    });
    send(&server, &peer, "1", messages).await;
    assert_eq!(waiting(&server, &peer).await.0, 1);
}
