//! Invites that any server may send.

use std::sync::atomic::Ordering;

use hearth_homeserver::{
    Error,
    accounts::{Registration, Session},
    sync::SyncRequest,
};
use hearth_storage::{Direction, KeyRange, Store, Table};
use ruma_common::{OwnedRoomId, RoomId, UserId};
use serde_json::{Value, json};

use crate::{
    peer::{Peer, value},
    support::{Server, device, settle},
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
async fn clients_are_shown_only_what_describes_the_room() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let user = sleeper(&server).await;
    let state = |kind: &str, state_key: &str| json!({ "type": kind, "state_key": state_key, "sender": peer.user(), "content": {} });
    let stripped = [
        state("m.room.member", "toString"),
        state("m.room.member", peer.user().as_str()),
        state("m.beacon_info", peer.user().as_str()),
        state("m.room.name", "__proto__"),
        state("m.room.name", ""),
    ];
    invite(&server, &peer, &user, &room(1), &stripped).await.unwrap();
    let shown = server.homeserver.invite_state(&user, &room(1)).await.unwrap();
    let kinds: Vec<_> = shown
        .iter()
        .map(|event| (&event["type"], &event["state_key"]))
        .collect();
    let expected = [
        json!(["m.room.member", peer.user()]),
        json!(["m.room.name", ""]),
        json!(["m.room.member", user]),
    ];
    assert_eq!(json!(kinds), json!(expected));
    let request = SyncRequest::default();
    let synced = server.homeserver.sync(&user, device(), request).await.unwrap();
    let synced = serde_json::to_value(synced).unwrap();
    let told = &synced["rooms"]["invite"][room(1).as_str()]["invite_state"]["events"];
    assert_eq!(told[0]["state_key"], *peer.user().as_str());
    assert_eq!(told.as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn clients_are_shown_nothing_that_is_no_text_where_they_expect_one() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let user = sleeper(&server).await;
    let state = |kind: &str, state_key: &str, content: Value| json!({ "type": kind, "state_key": state_key, "sender": peer.user(), "content": content });
    let member = state(
        "m.room.member",
        peer.user().as_str(),
        json!({ "membership": "join", "displayname": "Mallory", "avatar_url": null }),
    );
    let stripped = [
        state("m.room.create", "", json!({ "type": "m.space" })),
        state("m.room.name", "", json!({ "name": 5 })),
        state("m.room.canonical_alias", "", json!({ "alias": {} })),
        member.clone(),
    ];
    let kind = ("m.room.member", Some(user.as_str()));
    let content = json!({ "membership": "invite", "displayname": [] });
    let room = room(1);
    let pdu = peer.event_after(&room, &[], Vec::new(), kind, content);
    let body = json!({ "room_version": "12", "event": value(&pdu), "invite_room_state": stripped });
    let homeserver = &server.homeserver;
    let received = homeserver.receive_invite(peer.name(), &room, pdu.event_id(), body);
    received.await.unwrap();
    let shown = homeserver.invite_state(&user, &room).await.unwrap();
    assert_eq!(json!(shown[..2]), json!([stripped[0], member]));
    // Their own membership is shown as it is: without it they would not be invited.
    assert_eq!(shown[2]["state_key"], user.as_str());
    assert_eq!(shown.len(), 3);
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

/// Invites `user` to a room and takes that back.
async fn invite_in_vain(server: &Server, peer: &Peer, user: &UserId, room: &OwnedRoomId) {
    let create = json!({
        "type": "m.room.create", "state_key": "", "sender": peer.user(), "content": { "room_version": "12" },
    });
    invite(server, peer, user, room, &[create]).await.unwrap();
    let kind = ("m.room.member", Some(user.as_str()));
    let content = json!({ "membership": "leave", "reason": "never mind" });
    let leave = peer.event_after(room, &[], Vec::new(), kind, content);
    assert_eq!(peer.tell(server, &leave).await, json!({}));
}

#[tokio::test]
async fn whoever_invites_and_takes_back_again_and_again_leaves_no_more() {
    let (server, friend) = (Server::new().await, Peer::new(7));
    let user = sleeper(&server).await;
    friend.join(&server, &server.public_room().await).await;
    let before = rows(&server, Table::Events, b"$").await.len();
    for number in 0..60 {
        invite_in_vain(&server, &friend, &user, &room(number)).await;
    }
    for number in 100..240 {
        let peer = Peer::new(20 + u8::try_from(number % 10).unwrap());
        invite_in_vain(&server, &peer, &user, &room(number)).await;
    }
    let kept: Vec<_> = server.homeserver.memberships(&user).into_keys().collect();
    let expected: Vec<_> = (10..60).chain(140..240).map(room).collect();
    assert_eq!(kept, expected);
    let own = [b"u\0", user.as_bytes()].concat();
    assert_eq!(
        rows(&server, Table::Memberships, &own).await.len(),
        expected.len()
    );
    assert_eq!(rows(&server, Table::Memberships, b"i\0").await.len(), 0);
    let events = rows(&server, Table::Events, b"$").await.len() - before;
    assert_eq!(events, expected.len());
    // Who has refused one is invited again.
    invite(&server, &Peer::new(20), &user, &room(239), &[])
        .await
        .unwrap();
    assert_eq!(
        server.homeserver.memberships(&user)[&room(239)].membership,
        "invite"
    );
}

#[tokio::test]
async fn invites_to_a_room_that_nobody_is_in_any_more_leave_nothing() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let user = sleeper(&server).await;
    let room = server.public_room().await;
    peer.join(&server, &room).await;
    server
        .homeserver
        .leave_room(&server.alice(), &room, None)
        .await
        .unwrap();
    let before = rows(&server, Table::Events, b"$").await.len();
    for number in 0..20 {
        let stripped = vec![described(10); number];
        invite(&server, &peer, &user, &room, &stripped).await.unwrap();
    }
    assert_eq!(rows(&server, Table::Events, b"$").await.len(), before + 1);
    invite_in_vain(&server, &peer, &user, &room).await;
    assert_eq!(rows(&server, Table::Events, b"$").await.len(), before + 1);
    server.homeserver.forget_room(&user, &room).await.unwrap();
    assert_eq!(rows(&server, Table::Events, b"$").await.len(), before);
}

/// matrix-rust-sdk takes a room of which no own membership is told for one that the user is in.
#[tokio::test]
async fn sliding_sync_tells_how_an_invite_ended_though_it_is_forgotten() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let user = sleeper(&server).await;
    let client = Session {
        user_id: user.clone(),
        device_id: device().to_owned(),
    };
    let homeserver = &server.homeserver;
    invite(&server, &peer, &user, &room(1), &[]).await.unwrap();
    let answer = server.slide(&client, Value::Null).await;
    assert!(
        answer["rooms"][room(1).as_str()]["invite_state"].is_array(),
        "{answer}"
    );
    homeserver.leave_room(&user, &room(1), None).await.unwrap();
    homeserver.forget_room(&user, &room(1)).await.unwrap();
    let answer = server.slide(&client, answer["pos"].clone()).await;
    let told = &answer["rooms"][room(1).as_str()]["required_state"];
    assert_eq!(told[0]["content"]["membership"], "leave", "{answer}");
}

#[tokio::test]
async fn of_what_was_forgotten_the_latest_ends_are_kept() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let user = sleeper(&server).await;
    for number in 0..503 {
        invite_in_vain(&server, &peer, &user, &room(number)).await;
        server.homeserver.forget_room(&user, &room(number)).await.unwrap();
    }
    let since = Some(Default::default());
    for server in [&server, &server.restarted().await] {
        let request = SyncRequest {
            since,
            ..SyncRequest::default()
        };
        let answer = server.homeserver.sync(&user, device(), request).await.unwrap();
        let answer = serde_json::to_value(answer).unwrap();
        let told = answer["rooms"]["leave"].as_object().unwrap();
        let expected: Vec<_> = (3..503).map(|number| room(number).to_string()).collect();
        assert_eq!(told.keys().cloned().collect::<Vec<_>>(), expected);
    }
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
