//! What it costs in the store, counted, to read a thread to its end.

use hearth_homeserver::{
    relations::{Relations, RelationsRequest},
    rooms::client_event::Viewer,
    sync::PageToken,
};
use hearth_storage::Table;
use ruma_common::{EventId, OwnedEventId, RoomId};
use serde_json::{Value, json};

use crate::support::{Server, device, object};

/// Sends an event that relates to another.
async fn relate(server: &Server, room: &RoomId, txn: &str, rel_type: &str, parent: &EventId) -> OwnedEventId {
    let relation = json!({ "rel_type": rel_type, "event_id": parent, "key": txn });
    let content = object(json!({ "m.relates_to": relation }));
    let alice = server.alice();
    let sent = server
        .homeserver
        .send_message(&alice, device(), room, "org.example.child", txn, content);
    sent.await.unwrap()
}

/// A page of the newest descendants before `from`.
async fn page(server: &Server, room: &RoomId, root: &EventId, from: Option<&str>) -> Relations {
    let alice = server.alice();
    let viewer = Viewer {
        user_id: &alice,
        device_id: Some(device()),
    };
    let request = RelationsRequest {
        from: from.map(|from| from.parse::<PageToken>().unwrap()),
        limit: Some(20),
        recurse: true,
        ..RelationsRequest::default()
    };
    let page = server.homeserver.relations(viewer, room, root, request).await;
    page.unwrap()
}

/// The ids of a page.
fn ids(page: &Relations) -> Vec<OwnedEventId> {
    let events = serde_json::to_value(&page.chunk).unwrap();
    let events = events.as_array().unwrap().iter();
    let id = |event: &Value| EventId::parse(event["event_id"].as_str().unwrap()).unwrap();
    events.map(id).collect()
}

#[tokio::test]
async fn a_thread_is_followed_once_for_all_its_pages() {
    let server = Server::new().await;
    let room = server.public_room().await;
    let root = server.say(&server.alice(), &room, "root", "root").await.unwrap();
    let mut expected = Vec::new();
    for number in 0..150 {
        let child = relate(&server, &room, &format!("c{number}"), "m.thread", &root).await;
        expected.push(child.clone());
        if number % 50 == 0 {
            expected.push(relate(&server, &room, &format!("r{number}"), "m.annotation", &child).await);
        }
    }
    expected.reverse();
    server.store.take();
    let first = page(&server, &room, &root, None).await;
    assert_eq!(ids(&first), expected[..20]);
    // The children of the root, of its children, and of theirs.
    let followed = server.store.take().reads_of(Table::Relations);
    assert!(followed > 150, "{followed}");
    let second = page(&server, &room, &root, first.next_batch.as_deref()).await;
    assert_eq!(ids(&second), expected[20..40]);
    let counts = server.store.take();
    assert!(counts.reads_of(Table::Relations) <= 2, "{counts:?}");
    // What has come in between is told, and what was taken back is not.
    let new = relate(&server, &room, "new", "m.thread", &root).await;
    assert_eq!(ids(&page(&server, &room, &root, None).await)[0], new);
    let alice = server.alice();
    let redacted = server
        .homeserver
        .redact_event(&alice, device(), &room, &new, "redact", None);
    redacted.await.unwrap();
    let again = page(&server, &room, &root, None).await;
    assert_eq!(ids(&again), expected[..20]);
    let mut all = ids(&again);
    let mut next = again.next_batch;
    while let Some(from) = next {
        let page = page(&server, &room, &root, Some(&from)).await;
        all.extend(ids(&page));
        next = page.next_batch;
    }
    assert_eq!(all, expected);
}
