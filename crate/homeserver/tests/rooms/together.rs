//! Messages that are sent into one room at the same time.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering, mpsc},
    thread,
    time::Duration,
};

use futures::future::{join_all, select};
use hearth_homeserver::Error;
use hearth_storage::Table;
use ruma_common::RoomId;
use serde_json::json;
use tokio::runtime;

use crate::support::{Server, device, object, settle};

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
async fn the_same_reaction_twice_at_once_is_one() {
    let server = Server::new().await;
    let (alice, bob, room) = (server.alice(), server.bob(), server.public_room().await);
    server.join(&bob, &room).await.unwrap();
    let said = server.say(&alice, &room, "0", "said").await.unwrap();
    let react = |user, txn, key: &str| {
        let relation = json!({ "rel_type": "m.annotation", "event_id": said, "key": key });
        let content = object(json!({ "m.relates_to": relation }));
        server
            .homeserver
            .send_message(user, device(), &room, "m.reaction", txn, content)
    };
    let gate = server.store.gate.lock().await;
    let sending = async {
        futures::join!(
            react(&alice, "1", "+"),
            react(&alice, "2", "+"),
            react(&alice, "3", "-"),
            react(&bob, "1", "+"),
            react(&alice, "4", "+"),
        )
    };
    let open = async {
        settle().await;
        drop(gate);
    };
    let ((first, second, other, of_bob, third), ()) = futures::join!(sending, open);
    assert!(first.is_ok() && other.is_ok() && of_bob.is_ok());
    for again in [second, third] {
        assert!(matches!(again, Err(Error::DuplicateAnnotation)), "{again:?}");
    }
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

/// How long a thread that never comes to rest is waited for. A test that succeeds does not wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is said in a room if each message is sent by a task of its own.
async fn said_by_tasks(count: usize) -> Vec<String> {
    let server = Arc::new(Server::new().await);
    let room = server.public_room().await;
    let gate = server.store.gate.lock().await;
    let send = |number: usize| {
        let (server, room) = (server.clone(), room.clone());
        let send = async move {
            let text = number.to_string();
            server.say(&server.alice(), &room, &text, &text).await
        };
        tokio::spawn(send)
    };
    let sending: Vec<_> = (0..count).map(send).collect();
    settle().await;
    drop(gate);
    for sent in join_all(sending).await {
        sent.unwrap().unwrap();
    }
    said(&server, &room).await
}

/// In a worker there is one thread. Whoever sees its message taken along by another task has to wait for that
/// task, and must not keep the thread from it by looking again and again.
#[test]
fn tasks_on_one_thread_wait_for_each_other() {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().build().unwrap();
        tell.send(runtime.block_on(said_by_tasks(20))).unwrap();
    });
    // A thread that is kept busy cannot say so itself.
    let said = told.recv_timeout(PATIENCE).expect("the thread came to rest");
    assert_eq!(said.len(), 20);
}
