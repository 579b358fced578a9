//! Messages that are sent into one room at the same time.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use futures::future::{join_all, select};
use hearth_homeserver::Error;
use hearth_storage::Table;
use ruma_common::RoomId;

use crate::support::{Server, settle};

/// The messages of the timeline, oldest first.
async fn said(server: &Server, room: &RoomId) -> Vec<String> {
    let timeline = server.timeline(room).await;
    timeline
        .into_iter()
        .filter(|text| !text.starts_with("m."))
        .collect()
}

#[tokio::test]
async fn what_waits_for_a_commit_is_committed_together() {
    let server = Server::new().await;
    let (alice, room) = (server.alice(), server.public_room().await);
    server.store.take();
    let texts: Vec<_> = (0..30).map(|number| number.to_string()).collect();
    let gate = server.store.gate.lock().await;
    let sending = join_all(texts.iter().map(|text| server.say(&alice, &room, text, text)));
    let open = async {
        settle().await;
        drop(gate);
    };
    let (sent, ()) = futures::join!(sending, open);
    let ids: BTreeSet<_> = sent.into_iter().map(Result::unwrap).collect();
    assert_eq!(ids.len(), 30);
    assert_eq!(said(&server, &room).await, texts);
    let counts = server.store.take();
    assert_eq!((counts.commits, counts.rows_written(Table::Timeline)), (2, 30));
}

#[tokio::test]
async fn each_message_is_judged_on_its_own() {
    let server = Server::new().await;
    let (alice, bob, room) = (server.alice(), server.bob(), server.public_room().await);
    let gate = server.store.gate.lock().await;
    let sending = async {
        futures::join!(
            server.say(&alice, &room, "1", "first"),
            server.say(&alice, &room, "2", "second"),
            server.say(&bob, &room, "1", "bob is not in the room"),
            server.say(&alice, &room, "2", "second"),
            server.say(&alice, &room, "3", "third"),
        )
    };
    let open = async {
        settle().await;
        drop(gate);
    };
    let ((first, second, refused, again, third), ()) = futures::join!(sending, open);
    assert!(matches!(refused, Err(Error::Forbidden(_))));
    assert_eq!(second.unwrap(), again.unwrap());
    assert!(first.is_ok() && third.is_ok());
    assert_eq!(said(&server, &room).await, ["first", "second", "third"]);
}

#[tokio::test]
async fn a_commit_that_fails_fails_all_that_it_holds_and_no_more() {
    let server = Server::new().await;
    let (alice, room) = (server.alice(), server.public_room().await);
    server.say(&alice, &room, "0", "before").await.unwrap();
    server.store.is_full.store(true, Ordering::Relaxed);
    let texts: Vec<_> = (1..10).map(|number| number.to_string()).collect();
    let sent = join_all(texts.iter().map(|text| server.say(&alice, &room, text, text))).await;
    assert!(sent.iter().all(|sent| matches!(sent, Err(Error::Store(_)))));
    server.store.is_full.store(false, Ordering::Relaxed);
    assert_eq!(said(&server, &room).await, ["before"]);
    let sent = join_all(texts.iter().map(|text| server.say(&alice, &room, text, text))).await;
    assert!(sent.iter().all(Result::is_ok));
    let server = server.restarted().await;
    let again = join_all(texts.iter().map(|text| server.say(&alice, &room, text, text))).await;
    for (sent, again) in sent.into_iter().zip(again) {
        assert_eq!(sent.unwrap(), again.unwrap());
    }
    assert_eq!(said(&server, &room).await.len(), 10);
}

#[tokio::test]
async fn who_goes_away_takes_nobody_along() {
    for patience in 0..15 {
        let server = Server::new().await;
        let (alice, room) = (server.alice(), server.public_room().await);
        let gate = server.store.gate.lock().await;
        // The first is being committed; the second takes the third along, and goes away at some time.
        let first = server.say(&alice, &room, "1", "first");
        let gone = Box::pin(server.say(&alice, &room, "2", "second"));
        let third = server.say(&alice, &room, "3", "third");
        let leaving = async {
            let left = Box::pin(async {
                settle().await;
                drop(gate);
                for _ in 0..patience {
                    tokio::task::yield_now().await;
                }
            });
            drop(select(gone, left).await);
        };
        let (first, third, ()) = futures::join!(first, third, leaving);
        assert!(first.is_ok() && third.is_ok());
        settle().await;
        let said = said(&server, &room).await;
        assert_eq!(said.first().map(String::as_str), Some("first"));
        assert_eq!(said.iter().filter(|text| *text == "third").count(), 1);
    }
}
