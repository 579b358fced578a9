//! Invites that any server may send.

use std::sync::atomic::Ordering;

use hearth_homeserver::{Error, accounts::Registration};
use hearth_storage::{Direction, KeyRange, Store, Table};
use ruma_common::{OwnedRoomId, RoomId, UserId};
use serde_json::{Value, json};

use crate::{
    peer::{Peer, value},
    support::{Server, settle},
};

/// A room that nobody here knows.
fn room(number: usize) -> OwnedRoomId {
    RoomId::parse(format!("!{number:043}")).unwrap()
}

/// Invites `user` to a room with `stripped` as its description.
async fn invite(
    server: &Server,
    peer: &Peer,
    user: &UserId,
    room: &RoomId,
    stripped: &[Value],
) -> Result<Value, Error> {
    let kind = ("m.room.member", Some(user.as_str()));
    let content = json!({ "membership": "invite", "reason": stripped.len() });
    let pdu = peer.event_after(&room.to_owned(), &[], Vec::new(), kind, content);
    let body = json!({ "room_version": "12", "event": value(&pdu), "invite_room_state": stripped });
    let homeserver = &server.homeserver;
    homeserver
        .receive_invite(peer.name(), room, pdu.event_id(), body)
        .await
}

async fn sleeper(server: &Server) -> ruma_common::OwnedUserId {
    let wish = Registration {
        username: Some("sleeper".into()),
        ..Registration::default()
    };
    server.homeserver.register(wish).await.unwrap().0
}

async fn rows(server: &Server, table: Table, prefix: &[u8]) -> Vec<Vec<u8>> {
    let range = KeyRange::prefix(prefix);
    let rows = server.store.rows.scan(table, range, Direction::Forward, 10_000);
    rows.await.unwrap().into_iter().map(|(_, row)| row).collect()
}

fn described(bytes: usize) -> Value {
    json!({
        "type": "m.room.topic", "state_key": "", "sender": "@mallory:example.org",
        "content": { "topic": "x".repeat(bytes) },
    })
}

#[tokio::test]
async fn what_is_kept_of_an_invite_is_bounded() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let user = sleeper(&server).await;
    let small = described(10);
    let stripped = [described(20_000), described(900_000), small.clone()];
    invite(&server, &peer, &user, &room(1), &stripped).await.unwrap();
    let state = server.homeserver.invite_state(&user, &room(1)).await.unwrap();
    assert_eq!(state.len(), 3);
    assert_eq!(Value::Object(state[1].clone()), small);
    assert_eq!(state[2]["type"], "m.room.member");
}

#[tokio::test]
async fn strangers_cannot_take_the_places_of_those_who_are_known() {
    let (server, friend) = (Server::new().await, Peer::new(7));
    let user = sleeper(&server).await;
    friend.join(&server, &server.public_room().await).await;
    let mut taken = 0;
    for stranger in 0..4 {
        for number in 0..60 {
            let room = room(100 * (stranger + 1) + number);
            let peer = Peer::new(20 + u8::try_from(stranger).unwrap());
            match invite(&server, &peer, &user, &room, &[]).await {
                Ok(_) => taken += 1,
                Err(error) => assert!(matches!(error, Error::Forbidden(_)), "{error:?}"),
            }
        }
    }
    assert_eq!(taken, 100);
    invite(&server, &friend, &user, &room(1), &[]).await.unwrap();
    assert_eq!(server.homeserver.memberships(&user).len(), 101);
}

#[tokio::test]
async fn an_invite_that_is_replaced_leaves_nothing() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let user = sleeper(&server).await;
    for number in 0..20 {
        let stripped = vec![described(10); number];
        invite(&server, &peer, &user, &room(1), &stripped).await.unwrap();
    }
    let events = rows(&server, Table::Events, b"$").await;
    assert_eq!(events.len(), 1);
    assert!(String::from_utf8_lossy(&events[0]).contains(r#""reason":19"#));
    assert_eq!(server.homeserver.memberships(&user).len(), 1);
}

#[tokio::test]
async fn a_closed_account_declines_a_few_invites_at_a_time() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let user = sleeper(&server).await;
    for number in 0..10 {
        invite(&server, &peer, &user, &room(number), &[]).await.unwrap();
    }
    server.network.hangs.store(true, Ordering::Relaxed);
    server.homeserver.deactivate(&user, false).await.unwrap();
    settle().await;
    assert_eq!(server.network.asked.lock().unwrap().len(), 4);
}
