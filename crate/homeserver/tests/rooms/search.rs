//! What search costs in the store, counted, and what it finds of history that came late.

use hearth_homeserver::{rooms::client_event::Viewer, search::SearchResults};
use hearth_storage::Table;
use ruma_common::RoomId;
use serde_json::json;

use crate::support::{Server, device, settle};

async fn search(server: &Server, text: &str) -> SearchResults {
    let request = serde_json::from_value(json!({ "search_term": text, "order_by": "recent" })).unwrap();
    let alice = server.alice();
    let viewer = Viewer {
        user_id: &alice,
        device_id: Some(device()),
    };
    server.homeserver.search(viewer, &request, None).await.unwrap()
}

async fn say_many(server: &Server, room: &RoomId, from: usize, to: usize) {
    for number in from..to {
        let rare = if number % 500 == 7 { "rare" } else { "usual" };
        let text = format!("common {rare} words{} are said here", number % 50);
        server
            .say(&server.alice(), room, &number.to_string(), &text)
            .await
            .unwrap();
    }
    for _ in 0..100 {
        settle().await;
    }
}

#[tokio::test]
async fn sending_writes_no_words_and_searching_reads_few_rows() {
    let server = Server::new().await;
    let room = server.public_room().await;
    server.store.take();
    server
        .say(&server.alice(), &room, "first", "hello")
        .await
        .unwrap();
    settle().await;
    assert_eq!(server.store.take().rows_written(Table::Search), 0);
    let mut costs = Vec::new();
    for (from, to) in [(0, 1_000), (1_000, 4_000)] {
        say_many(&server, &room, from, to).await;
        // What has gathered since the last block is put into the index by the first search.
        search(&server, "rare").await;
        server.store.take();
        assert_eq!(search(&server, "rare").await.count, to / 500);
        costs.push(server.store.take());
        let results = search(&server, "common rare").await;
        assert_eq!(results.count, to / 500);
        let counts = server.store.take();
        let blocks = to / 128 + 2;
        // A row for each word and block, whatever the number of its events.
        assert!(counts.rows_read(Table::Search) <= 2 * blocks + 4, "{counts:?}");
    }
    assert_eq!(costs[0].reads.len(), costs[1].reads.len());
    assert!(costs[1].rows_read(Table::Search) <= 12, "{:?}", costs[1]);
    assert!(costs[1].rows_read(Table::Timeline) <= 50, "{:?}", costs[1]);
}
