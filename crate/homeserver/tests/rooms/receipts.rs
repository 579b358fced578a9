//! Receipts where there are many.

use hearth_homeserver::receipts::ReceiptKind;
use hearth_storage::{Store, Table, WriteBatch};
use ruma_common::{EventId, RoomId};
use serde_json::json;

use crate::{
    peer::Peer,
    support::{NOW, Server, object},
};

/// Takes in that the peer's user has read up to `event_id` in `thread`.
async fn read(server: &Server, peer: &Peer, room: &RoomId, event_id: &EventId, thread: &str, ts: u64) {
    let receipt = json!({ "event_ids": [event_id], "data": { "ts": ts, "thread_id": thread } });
    let edu = object(json!({ room.as_str(): { "m.read": { peer.user().as_str(): receipt } } }));
    let receiving = server.homeserver.receive_receipts(peer.name(), &edu);
    receiving.await.unwrap();
}

#[tokio::test]
async fn who_reads_many_threads_is_still_seen_to_read() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let (alice, room) = (server.alice(), server.public_room().await);
    peer.join(&server, &room).await;
    let first = server.say(&alice, &room, "1", "first").await.unwrap();
    let second = server.say(&alice, &room, "2", "second").await.unwrap();
    read(&server, &peer, &room, &first, "main", 0).await;
    for number in 1..=210 {
        read(&server, &peer, &room, &first, &format!("${number}"), number).await;
    }
    read(&server, &peer, &room, &second, "main", 211).await;
    for server in [&server, &server.restarted().await] {
        let receipts = server.homeserver.room_receipts(&room).await.unwrap();
        let of = |thread: &str| {
            let mut receipts = receipts.iter();
            receipts.find(|(key, _)| key.thread.as_deref() == Some(thread))
        };
        assert_eq!(of("main").unwrap().1.event_id, second);
        assert!(of("$210").is_some());
        assert!(of("$1").is_none());
        assert_eq!(receipts.len(), 200);
    }
}

#[tokio::test]
async fn a_receipt_takes_no_more_room_and_no_later_time_than_there_is() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let room = server.public_room().await;
    peer.join(&server, &room).await;
    let ids = [255, 254].map(|length| EventId::parse(format!("${}", "a".repeat(length))).unwrap());
    for (id, thread) in ids.iter().zip(["too long", "longest"]) {
        read(&server, &peer, &room, id, thread, u64::MAX).await;
    }
    let receipts = server.homeserver.room_receipts(&room).await.unwrap();
    let kept: Vec<_> = receipts
        .values()
        .map(|receipt| (&receipt.event_id, receipt.ts))
        .collect();
    assert_eq!(kept, [(&ids[1], NOW)]);
}

#[tokio::test]
async fn receipts_of_local_users_are_known_however_many_others_have() {
    let server = Server::new().await;
    let (alice, zoe, room) = (server.alice(), server.user("zoe"), server.public_room().await);
    server.join(&zoe, &room).await.unwrap();
    let said = server.say(&alice, &room, "1", "read me").await.unwrap();
    let homeserver = &server.homeserver;
    let reading = homeserver.set_receipt(&zoe, &room, ReceiptKind::Read, &said, None);
    reading.await.unwrap();
    let mut batch = WriteBatch::new();
    for number in 0..50_000 {
        let key = format!("{room}\0@{number}:elsewhere.example\0m.read\0");
        let row = json!({ "e": said, "t": 1 }).to_string();
        batch.put(Table::Receipts, key.into_bytes(), row.into_bytes());
    }
    server.store.rows.commit(batch).await.unwrap();
    let server = server.restarted().await;
    let receipts = server.homeserver.room_receipts(&room).await.unwrap();
    assert!(receipts.keys().any(|key| key.user_id == zoe));
}
