//! What things cost in the store, counted: nothing but what is asked for grows with a room.

use hearth_homeserver::sync::{Filter, SyncRequest};
use hearth_storage::Table;
use ruma_common::{OwnedRoomId, UserId};
use serde_json::{Value, json};

use crate::{
    counting::Counts,
    large_room::{Form, SERVERS, user, with_members},
    support::{Server, device, settle},
};

/// A room of alice with that many members more, just after a restart.
async fn room_of(members: usize) -> (Server, OwnedRoomId) {
    let server = Server::new().await;
    let room = server.public_room().await;
    let server = with_members(server, &room, members, Form::Counted).await;
    settle().await;
    server.store.take();
    (server, room)
}

async fn rooms_of_all_sizes() -> Vec<(Server, OwnedRoomId)> {
    vec![room_of(10).await, room_of(1_000).await, room_of(20_000).await]
}

#[tokio::test]
async fn costs_do_not_grow_with_the_room() {
    let rooms = rooms_of_all_sizes().await;
    messages_cost_the_same(&rooms).await;
    state_changes_write_one_path_of_the_tree(&rooms).await;
    lazy_syncs_read_the_state_but_its_members(rooms).await;
}

async fn sent(server: &Server, room: &OwnedRoomId, txn: &str) -> Counts {
    server.say(&server.alice(), room, txn, "hello").await.unwrap();
    settle().await;
    server.store.take()
}

async fn messages_cost_the_same(rooms: &[(Server, OwnedRoomId)]) {
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for (server, room) in rooms {
        cold.push(sent(server, room, "1").await);
        sent(server, room, "2").await;
        warm.push(sent(server, room, "3").await);
    }
    for counts in &warm {
        assert_eq!(counts, &warm[0]);
        // The write itself tells whether the transaction is new.
        assert_eq!(counts.reads, []);
        assert_eq!(counts.rows_written(Table::Federation), usize::from(SERVERS));
        assert_eq!((counts.commits, counts.rows_written(Table::State)), (1, 0));
    }
    for counts in &cold {
        assert_eq!(counts.writes, cold[0].writes);
        // Only the path from the root of the state to the sender's membership gets longer: by one node for each
        // sixteenfold.
        let others = |counts: &Counts| {
            let reads = counts.reads.iter().filter(|(table, _)| *table != Table::State);
            reads.copied().collect::<Vec<_>>()
        };
        assert_eq!(others(counts), others(&cold[0]));
        assert!(counts.reads_of(Table::State) <= 6, "{counts:?}");
        assert!(counts.rows_read(Table::State) <= 10, "{counts:?}");
    }
}

async fn state_changes_write_one_path_of_the_tree(rooms: &[(Server, OwnedRoomId)]) {
    for (server, room) in rooms {
        let topic = json!({ "topic": "t" });
        server
            .set(&server.alice(), room, "m.room.topic", topic)
            .await
            .unwrap();
        settle().await;
        let counts = server.store.take();
        assert!(counts.rows_written(Table::State) <= 4, "{counts:?}");
        server.join(&server.bob(), room).await.unwrap();
        settle().await;
        let counts = server.store.take();
        // A full bucket is parted in up to eight.
        assert!(counts.rows_written(Table::State) <= 15, "{counts:?}");
        // Bob's row, his own row, and that of his server; the row of an invite he might have had.
        assert_eq!(counts.rows_written(Table::Memberships), 4, "{counts:?}");
        assert!(counts.rows_read(Table::State) <= 14, "{counts:?}");
        assert!(counts.rows_read(Table::Events) <= 8, "{counts:?}");
    }
}

async fn lazy_syncs_read_the_state_but_its_members(rooms: Vec<(Server, OwnedRoomId)>) {
    for (server, room) in rooms {
        let server = server.restarted().await;
        settle().await;
        server.store.take();
        let filter =
            json!({ "room": { "state": { "lazy_load_members": true }, "timeline": { "limit": 3 } } });
        let answer = sync(&server, &server.alice(), filter).await;
        let counts = server.store.take();
        let told = &answer["rooms"]["join"][room.as_str()];
        assert_eq!(told["summary"]["m.heroes"].as_array().unwrap().len(), 5);
        assert!(counts.rows_read(Table::Events) <= 30, "{counts:?}");
        assert!(counts.rows_read(Table::State) <= 60, "{counts:?}");
        assert!(counts.rows_read(Table::Memberships) <= 64 + 10, "{counts:?}");
        assert!(counts.reads.len() <= 25, "{counts:?}");
    }
}

#[tokio::test]
async fn a_sync_of_all_members_reads_them_in_few_calls() {
    let (server, room) = room_of(3_000).await;
    let answer = sync(&server, &server.alice(), json!({})).await;
    let counts = server.store.take();
    let state = &answer["rooms"]["join"][room.as_str()]["state"]["events"];
    let state = state.as_array().unwrap();
    assert!(state.iter().any(|event| event["state_key"] == user(2_999)));
    // Pages of 200 events, so that others have their turn in between.
    let pages = counts.reads_of(Table::Events);
    assert!(pages <= 3_000 / 200 + 8, "{pages}");
    assert!(counts.reads.len() - pages < 29, "{}", counts.reads.len());
}

#[tokio::test]
async fn opening_a_homeserver_reads_no_room() {
    let mut opened = Vec::new();
    for size in [10, 500] {
        let (server, _) = room_of(size).await;
        let counts = server.restarted().await.store.take();
        assert_eq!(counts.reads_of(Table::Rooms) + counts.reads_of(Table::State), 0);
        opened.push(counts);
    }
    assert_eq!(opened[0], opened[1]);
}

async fn sync(server: &Server, user: &UserId, filter: Value) -> Value {
    let request = SyncRequest {
        filter: Filter::parse(&filter.to_string()).unwrap(),
        ..SyncRequest::default()
    };
    let answer = server.homeserver.sync(user, device(), request).await.unwrap();
    serde_json::to_value(answer).unwrap()
}
