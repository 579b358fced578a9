//! Messages for devices: how many may wait, and that each comes once.

use std::sync::Arc;

use futures::{
    FutureExt,
    future::{join, join3},
};
use hearth_homeserver::{
    Error,
    accounts::{NewDevice, Registration, Session},
    sync::{SyncRequest, SyncToken},
};
use hearth_storage::{Direction, KeyRange, Store, Table};
use ruma_common::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use serde_json::{Value, json};

use crate::{
    peer::Peer,
    support::{Server, device, object, settle},
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
    let mut known = None;
    let received = server
        .homeserver
        .receive_direct_to_device(peer.name(), &content, &mut known);
    received.await.unwrap();
}

/// Sends messages of `user`.
async fn send_own(server: &Server, user: &UserId, txn: &str, messages: &Value) -> Result<(), Error> {
    let session = Session {
        user_id: user.to_owned(),
        device_id: device().to_owned(),
    };
    let messages = serde_json::from_value(messages.clone()).unwrap();
    let homeserver = &server.homeserver;
    homeserver
        .send_to_device(&session, "m.room_key", txn, messages)
        .await
}

/// How many messages of `peer` wait, and how many bytes they have.
async fn waiting(server: &Server, peer: &Peer) -> (usize, usize) {
    waiting_of(server, &peer.user()).await
}

async fn waiting_of(server: &Server, user: &UserId) -> (usize, usize) {
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
        .filter(|row| serde_json::from_slice::<Value>(row).unwrap()["sender"] == user.as_str())
        .collect();
    (sent.len(), sent.iter().map(Vec::len).sum())
}

/// How many bytes of strangers wait.
async fn flood(server: &Server) -> usize {
    let mut flood = 0;
    for number in STRANGERS {
        flood += waiting(server, &Peer::new(number)).await.1;
    }
    flood
}

/// Sends more than may wait of strangers.
async fn send_flood(server: &Server, message: &Value) {
    for number in STRANGERS {
        let stranger = Peer::new(number);
        for id in 0..10 {
            send(server, &stranger, &id.to_string(), message.clone()).await;
        }
    }
}

/// The servers of strangers.
const STRANGERS: std::ops::Range<u8> = 20..30;

fn large() -> String {
    "x".repeat(60_000)
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_loss_of_power() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let (user_id, device_id) = sleeper(&server).await;
    let room = server.public_room().await;
    peer.join(&server, &room).await;
    settle().await;
    let strict = || server.store.take().strict;
    strict();
    let message = json!({ user_id: { device_id: { "text": "key" } } });
    send(&server, &peer, "1", message.clone()).await;
    assert_eq!(strict(), 1, "from another server");
    send_own(&server, &server.alice(), "1", &message).await.unwrap();
    assert_eq!(strict(), 1, "for a device of this server");
    let remote = json!({ peer.user(): { "DEVICE": { "text": "key" } } });
    send_own(&server, &server.alice(), "2", &remote).await.unwrap();
    assert_eq!(strict(), 1, "for another server");
    let nobody = json!({ server.alice(): { "NONE": { "text": "key" } } });
    send_own(&server, &server.alice(), "3", &nobody).await.unwrap();
    assert_eq!(strict(), 0, "for nobody");
}

#[tokio::test]
async fn who_floods_a_device_loses_what_is_newest_and_nobody_else_loses_anything() {
    let (server, friend) = (Server::new().await, Peer::new(7));
    let (user_id, device_id) = sleeper(&server).await;
    let room = server.public_room().await;
    friend.join(&server, &room).await;
    let message = |text: &str| json!({ &user_id: { &device_id: { "text": text } } });
    send(&server, &friend, "first", message("key")).await;
    let large = message(&large());
    send_flood(&server, &large).await;
    let strangers = flood(&server).await;
    assert!((500_000..=1_048_576).contains(&strangers), "{strangers} bytes");
    for id in 0..200 {
        send(&server, &friend, &id.to_string(), large.clone()).await;
    }
    let (count, bytes) = waiting(&server, &friend).await;
    assert!((100..200).contains(&count), "{count} messages, {bytes} bytes");
    // The same after a restart, when what waits is counted anew.
    let server = server.restarted().await;
    send(&server, &friend, "last", large.clone()).await;
    send(&server, &Peer::new(20), "last", large.clone()).await;
    send(&server, &Peer::new(30), "last", large).await;
    assert_eq!(waiting(&server, &friend).await, (count, bytes));
    assert_eq!(flood(&server).await, strangers);
    assert_eq!(waiting(&server, &Peer::new(30)).await.0, 0);
    let own = json!({ "text": "hello" });
    let other = Peer::new(9);
    other.join(&server, &room).await;
    send(&server, &other, "1", json!({ &user_id: { &device_id: own } })).await;
    assert_eq!(waiting(&server, &other).await.0, 1);
}

#[tokio::test]
async fn who_floods_a_device_of_their_server_leaves_room_for_its_other_users() {
    let server = Server::new().await;
    let (user_id, device_id) = sleeper(&server).await;
    let message = json!({ &user_id: { &device_id: { "text": large() } } });
    for txn in 0..400 {
        send_own(&server, &server.alice(), &txn.to_string(), &message)
            .await
            .unwrap();
    }
    let (count, bytes) = waiting_of(&server, &server.alice()).await;
    assert!((200..400).contains(&count), "{count} messages, {bytes} bytes");
    send_own(&server, &server.bob(), "1", &message).await.unwrap();
    assert_eq!(waiting_of(&server, &server.bob()).await.0, 1);
}

/// A sync from `since`. The token that it gives.
async fn sync(server: &Server, user: &UserId, device: &DeviceId, since: Option<SyncToken>) -> SyncToken {
    let request = SyncRequest {
        since,
        ..SyncRequest::default()
    };
    let answer = server.homeserver.sync(user, device, request).await.unwrap();
    answer.next_batch.parse().unwrap()
}

/// A device of a server's user for which as much waits as may of `friend`, and the client's token once it was told some
/// of that.
async fn full(server: &Server, friend: &Peer) -> (OwnedUserId, OwnedDeviceId, Value, SyncToken) {
    let (user_id, device_id) = sleeper(server).await;
    friend.join(server, &server.public_room().await).await;
    let message = json!({ &user_id: { &device_id: { "text": large() } } });
    for id in 0..200 {
        send(server, friend, &id.to_string(), message.clone()).await;
    }
    let token = sync(server, &user_id, &device_id, None).await;
    (user_id, device_id, message, token)
}

/// Sends as many messages as fit in place of those that the client has got.
async fn refill(server: &Server, friend: &Peer, message: &Value, before: usize) {
    let (after, _) = waiting(server, friend).await;
    assert!(after < before, "{after} of {before} wait");
    for id in after..before {
        send(server, friend, &format!("more {id}"), message.clone()).await;
    }
    assert_eq!(waiting(server, friend).await.0, before);
}

#[tokio::test]
async fn what_a_client_has_got_makes_room_even_if_it_goes_away_meanwhile() {
    let (server, friend) = (Server::new().await, Peer::new(7));
    let (user_id, device_id, message, token) = full(&server, &friend).await;
    let (before, _) = waiting(&server, &friend).await;
    let closed = server.store.gate.lock().await;
    sync(&server, &user_id, &device_id, Some(token)).now_or_never();
    assert_eq!(waiting(&server, &friend).await.0, before);
    drop(closed);
    settle().await;
    refill(&server, &friend, &message, before).await;
}

#[tokio::test]
async fn what_a_client_has_got_makes_room_even_if_the_rest_is_counted_meanwhile() {
    let (server, friend) = (Server::new().await, Peer::new(7));
    let (user_id, device_id, message, token) = full(&server, &friend).await;
    let (before, _) = waiting(&server, &friend).await;
    let server = server.restarted().await;
    let lock = Arc::new(async_lock::Mutex::new(()));
    let closed = lock.lock().await;
    *server.store.late.lock().unwrap() = Some((b"t\0", lock.clone()));
    let next = send(&server, &friend, "next", message.clone());
    let acknowledging = sync(&server, &user_id, &device_id, Some(token));
    let open = async {
        settle().await;
        drop(closed);
    };
    join3(next, acknowledging, open).await;
    refill(&server, &friend, &message, before).await;
}

#[tokio::test]
async fn what_is_sent_again_while_it_is_stored_comes_once() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let (user_id, device_id) = sleeper(&server).await;
    let (message, alice) = (
        json!({ &user_id: { &device_id: { "text": "key" } } }),
        server.alice(),
    );
    let closed = server.store.gate.lock().await;
    // Whoever sends goes away before there is an answer.
    send(&server, &peer, "1", message.clone()).now_or_never();
    send_own(&server, &alice, "1", &message).now_or_never();
    settle().await;
    let again = join(
        send(&server, &peer, "1", message.clone()),
        send_own(&server, &alice, "1", &message),
    );
    let open = async {
        settle().await;
        drop(closed);
    };
    join(again, open).await.0.1.unwrap();
    assert_eq!(waiting(&server, &peer).await.0, 1);
    assert_eq!(waiting_of(&server, &alice).await.0, 1);
}

#[tokio::test]
async fn a_transaction_looks_up_at_most_once_who_is_known() {
    let (server, stranger) = (Server::new().await, Peer::new(20));
    let (user_id, device_id) = sleeper(&server).await;
    let room = server.public_room().await;
    Peer::new(7).join(&server, &room).await;
    let message = json!({ &user_id: { &device_id: { "text": large() } } });
    send_flood(&server, &message).await;
    // Rooms that are not in memory have to be read for it.
    let server = server.restarted().await;
    for (messages, expected) in [
        (json!({}), 0),
        (json!({ &user_id: {} }), 0),
        (json!({ stranger.user(): { "*": {} } }), 0),
        (message, 1),
    ] {
        let edu = |id: usize| {
            json!({ "edu_type": "m.direct_to_device", "content": {
                "sender": stranger.user(), "type": "m.room_key", "message_id": format!("new {id}"),
                "messages": messages,
            } })
        };
        let edus: Vec<_> = (0..10).map(edu).collect();
        let body = json!({ "origin": stranger.name(), "origin_server_ts": 1, "pdus": [], "edus": edus });
        server.store.take();
        let txn = messages.to_string();
        let received = server.homeserver.receive_transaction(stranger.name(), &txn, body);
        received.await.unwrap();
        let counts = server.store.take();
        assert_eq!(counts.reads_of(Table::Memberships), expected);
        assert_eq!(counts.reads_of(Table::Keys) > 0, expected > 0);
    }
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
