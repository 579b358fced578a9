//! A server that does not give what it is asked for: it keeps no other one waiting.

use std::sync::atomic::Ordering;

use futures::{FutureExt, future::select};
use serde_json::json;

use crate::{
    peer::{Peer, auth_of},
    support::{Server, settle},
};

/// How often `server` was asked for the events before one.
fn asked_for_missing(server: &Server) -> usize {
    let asked = server.network.asked.lock().unwrap();
    asked
        .iter()
        .filter(|(_, uri)| uri.contains("/get_missing_events/"))
        .count()
}

#[tokio::test]
async fn who_leaves_a_gap_and_does_not_fill_it_keeps_no_other_server_waiting() {
    let (server, peer, other) = (Server::new().await, Peer::new(7), Peer::new(8));
    let room = server.public_room().await;
    let (join, others) = (peer.join(&server, &room).await, other.join(&server, &room).await);
    let auth = auth_of(&server, &room, &join).await;
    server.network.hangs.store(true, Ordering::Relaxed);
    let unknown = peer.message(&room, &join, auth.clone(), "unknown");
    let after = peer.message(&room, &unknown, auth, "after it");
    let waiting = select(peer.tell(&server, &after).boxed(), settle().boxed()).await;
    assert_eq!(asked_for_missing(&server), 1);
    let auth = auth_of(&server, &room, &others).await;
    let message = other.message(&room, &others, auth, "good day");
    select(other.tell(&server, &message).boxed(), settle().boxed()).await;
    assert_eq!(server.timeline(&room).await.last().unwrap(), "good day");
    drop(waiting);
}

#[tokio::test]
async fn a_server_that_is_not_in_the_room_is_not_asked_to_fill_gaps() {
    let (server, peer, stranger) = (Server::new().await, Peer::new(7), Peer::new(8));
    let room = server.public_room().await;
    let join = peer.join(&server, &room).await;
    let auth = auth_of(&server, &room, &join).await;
    let unknown = stranger.message(&room, &join, auth.clone(), "unknown");
    let after = stranger.message(&room, &unknown, auth.clone(), "after it");
    // It is held: its join may be on its way.
    assert_eq!(stranger.tell(&server, &after).await, json!({}));
    assert_eq!(asked_for_missing(&server), 0);
    let unknown = peer.message(&room, &join, auth.clone(), "unknown");
    let after = peer.message(&room, &unknown, auth, "after it");
    assert_eq!(peer.tell(&server, &after).await, json!({}));
    assert_eq!(asked_for_missing(&server), 1);
}
