//! How much memory a homeserver takes: in a browser it shares what a tab may have.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "../sync/support.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with other tests")]
mod support;

use futures::future::join_all;
use peak_alloc::PeakAlloc;
use serde_json::json;

use crate::support::Server;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// How much a worker with that much in it may take.
const LIMIT: usize = 64 << 20;
const ROOMS: usize = 100;
const EVENTS: usize = 100;

/// What is in the store counts as outside: a browser keeps it on its disk.
#[tokio::test]
async fn a_hundred_rooms_of_a_hundred_events_fit_into_64_mib() {
    let before = ALLOCATOR.current_usage();
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let mut rooms = Vec::new();
    for _ in 0..ROOMS {
        let room_id = server.room(&alice).await;
        server.join(&bob, &room_id).await;
        rooms.push(room_id);
    }
    for _ in 0..EVENTS {
        join_all(
            rooms
                .iter()
                .map(|room_id| server.say(&bob, room_id, "a message of the usual length, or so")),
        )
        .await;
    }
    ALLOCATOR.reset_peak_usage();
    let mut client = server.client(&alice).await;
    client.filter = json!({"room": {"timeline": {"limit": 20}}});
    client.since = None;
    let answer = client.sync().await;
    assert_eq!(answer["rooms"]["join"].as_object().unwrap().len(), ROOMS);
    drop(answer);
    let stored = server.stored_bytes().await;
    let taken = ALLOCATOR.current_usage().saturating_sub(before + stored);
    let peak = ALLOCATOR.peak_usage().saturating_sub(before + stored);
    assert!(
        peak < LIMIT,
        "{} KiB, {} KiB while syncing",
        taken >> 10,
        peak >> 10
    );
}
