//! What another server may do to a room, and what it may not.

use std::time::Duration;

use hearth_homeserver::{
    Error, JsonObject,
    accounts::Registration,
    media::{MediaId, MediaUri},
    presence::PresenceState,
};
use hearth_rooms::{RoomVersion, builder::sign_template};
use hearth_storage::{Direction, KeyRange, Store, Table, WriteBatch};
use ruma_common::{RoomId, UserId};
use serde_json::{Value, json};

use crate::{
    peer::{Peer, auth_of, pieces, value},
    support::{Server, device, object},
};

#[tokio::test]
async fn a_peer_joins_and_speaks() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let room = server.public_room().await;
    let join = peer.join(&server, &room).await;
    assert_eq!(server.membership(&peer.user(), &room).await, "join");
    let met = server.network.met.lock().unwrap().clone();
    assert!(met.iter().any(|met| met == peer.name()), "{met:?}");
    let auth = auth_of(&server, &room, &join).await;
    let message = peer.message(&room, &join, auth, "good day");
    let answer = peer.send(&server, "1", &[value(&message)]).await;
    assert_eq!(answer["pdus"], json!({ message.event_id().as_str(): {} }));
    assert_eq!(server.timeline(&room).await.last().unwrap(), "good day");
    assert_eq!(
        peer.send(&server, "2", &[value(&message)]).await["pdus"],
        answer["pdus"]
    );
    assert_eq!(
        server
            .timeline(&room)
            .await
            .iter()
            .filter(|body| *body == "good day")
            .count(),
        1
    );
    let restarted = server.restarted().await;
    assert_eq!(restarted.timeline(&room).await.last().unwrap(), "good day");
    assert!(
        restarted
            .homeserver
            .known_servers()
            .await
            .unwrap()
            .contains(peer.name())
    );
}

#[tokio::test]
async fn servers_of_small_rooms_come_first_and_none_for_its_name() {
    let (server, mut peers) = (Server::new().await, (1..=9).map(Peer::new).collect::<Vec<_>>());
    peers.sort_by(|one, other| one.name().cmp(other.name()));
    let large = server.public_room().await;
    for peer in &peers {
        peer.join(&server, &large).await;
    }
    let friend = peers.pop().unwrap();
    friend.join(&server, &server.public_room().await).await;
    let nearest = server.homeserver.nearest_servers().await.unwrap();
    assert_eq!(nearest[0], friend.name());
    let others: Vec<_> = peers.iter().map(Peer::name).collect();
    assert_ne!(nearest[1..], others);
    let mut sorted = nearest[1..].to_vec();
    sorted.sort();
    assert_eq!(sorted, others);
    let again = server.restarted().await.homeserver.nearest_servers().await;
    assert_eq!(again.unwrap(), nearest);
}

/// However large a room is, what is told of it is never in memory as a whole.
#[tokio::test]
async fn the_state_of_a_room_is_written_in_pieces() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let (homeserver, room) = (&server.homeserver, server.public_room().await);
    peer.join(&server, &room).await;
    for index in 0..250 {
        let (alice, key) = (server.alice(), index.to_string());
        let event = homeserver.send_state(&alice, &room, "org.example", &key, JsonObject::new());
        event.await.unwrap();
    }
    let last = server.say(&server.alice(), &room, "1", "here").await.unwrap();
    let state = homeserver
        .federation_state(peer.name(), &room, &last)
        .await
        .unwrap();
    let pieces = pieces(&server, state).await;
    assert!(pieces.len() > 3, "{} pieces", pieces.len());
    let whole: Value = serde_json::from_slice(&pieces.concat()).unwrap();
    let ids = homeserver
        .federation_state_ids(peer.name(), &room, &last)
        .await
        .unwrap();
    let count = |list: &str| whole[list].as_array().unwrap().len();
    assert_eq!(count("pdus"), ids.pdu_ids.len());
    assert_eq!(count("auth_chain"), ids.auth_chain_ids.len());
}

#[tokio::test]
async fn a_piece_of_a_file_is_not_taken_if_it_is_larger_than_what_was_asked_for() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let uri = MediaUri {
        server: peer.name().to_owned(),
        id: MediaId::parse("abc").unwrap(),
    };
    server
        .homeserver
        .media(&uri, Duration::ZERO, true)
        .await
        .unwrap_err();
    assert_eq!(*server.network.limits.lock().unwrap(), [(2 << 20) + (64 << 10)]);
}

#[tokio::test]
async fn forged_and_forbidden_events_are_refused() {
    let (server, peer, other) = (Server::new().await, Peer::new(7), Peer::new(8));
    let room = server.public_room().await;
    let join = peer.join(&server, &room).await;
    let auth = auth_of(&server, &room, &join).await;
    let before = server.timeline(&room).await;
    let mut forged = value(&peer.message(&room, &join, auth.clone(), "forged"));
    forged["signatures"] = json!({ peer.name().as_str(): { "ed25519:1": "AAAA" } });
    let outsider = other.message(&room, &join, auth.clone(), "not a member");
    let mut unsigned = value(&peer.message(&room, &join, auth.clone(), "unsigned"));
    unsigned["signatures"] = json!({});
    let unauthorised = peer.message(&room, &join, Vec::new(), "no auth events");
    let pdus = [forged, value(&outsider), unsigned, value(&unauthorised)];
    let answer = peer.send(&server, "1", &pdus).await;
    let results = answer["pdus"].as_object().unwrap();
    assert_eq!(results.len(), 4, "{answer}");
    assert!(
        results.values().all(|result| result["error"].is_string()),
        "{answer}"
    );
    assert_eq!(server.timeline(&room).await, before);
    let good = peer.message(&room, &join, auth, "still fine");
    peer.send(&server, "2", &[json!("garbage"), json!({}), value(&good)])
        .await;
    assert_eq!(server.timeline(&room).await.last().unwrap(), "still fine");
}

#[tokio::test]
async fn altered_content_is_redacted() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let room = server.public_room().await;
    let join = peer.join(&server, &room).await;
    let auth = auth_of(&server, &room, &join).await;
    let message = peer.message(&room, &join, auth, "original");
    let mut altered = value(&message);
    altered["content"]["body"] = "altered".into();
    peer.send(&server, "1", &[altered]).await;
    let stored = server
        .homeserver
        .stored_event(message.event_id())
        .await
        .unwrap()
        .unwrap();
    assert!(stored.content().is_empty());
}

#[tokio::test]
async fn a_redaction_before_its_target_is_applied_when_that_comes() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let room = server.public_room().await;
    let join = peer.join(&server, &room).await;
    let auth = auth_of(&server, &room, &join).await;
    let target = peer.message(&room, &join, auth.clone(), "regretted");
    let redaction = peer.redaction(&room, &join, auth, target.event_id());
    peer.send(&server, "1", &[value(&redaction)]).await;
    peer.send(&server, "2", &[value(&target)]).await;
    let stored = server
        .homeserver
        .stored_event(target.event_id())
        .await
        .unwrap()
        .unwrap();
    assert!(stored.content().is_empty());
    assert_eq!(stored.decision.redacted_by.as_deref(), Some(redaction.event_id()));
}

#[tokio::test]
async fn oversize_and_malformed_transactions_are_refused() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let receive = |body: Value| server.homeserver.receive_transaction(peer.name(), "t", body);
    assert!(matches!(receive(json!([])).await, Err(Error::BadJson(_))));
    assert!(matches!(
        receive(json!({ "pdus": {} })).await,
        Err(Error::BadJson(_))
    ));
    assert!(matches!(
        receive(json!({ "pdus": vec![json!({}); 51] })).await,
        Err(Error::InvalidParam(_))
    ));
    let edus = json!({ "pdus": [], "edus": vec![json!({}); 101] });
    assert!(matches!(receive(edus).await, Err(Error::InvalidParam(_))));
}

#[tokio::test]
async fn outsiders_are_told_nothing() {
    let (server, peer, other) = (Server::new().await, Peer::new(7), Peer::new(8));
    let room = server.public_room().await;
    let join = peer.join(&server, &room).await;
    let homeserver = &server.homeserver;
    let event_id = join.event_id();
    assert!(homeserver.federation_event(peer.name(), event_id).await.is_ok());
    assert!(matches!(
        homeserver.federation_event(other.name(), event_id).await,
        Err(Error::NotFound(_))
    ));
    let state = homeserver
        .federation_state_ids(other.name(), &room, event_id)
        .await;
    assert!(matches!(state, Err(Error::Forbidden(_))));
    let history = homeserver
        .backfill(other.name(), &room, &[event_id.to_owned()], 10)
        .await;
    assert!(matches!(history, Err(Error::Forbidden(_))));
    let history = homeserver
        .backfill(peer.name(), &room, &[event_id.to_owned()], 100)
        .await
        .unwrap();
    let kinds: Vec<_> = history["pdus"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pdu| pdu["type"].clone())
        .collect();
    assert_eq!(kinds.last().unwrap(), "m.room.create");
    let members = homeserver
        .make_join(other.name(), &room, &peer.user(), &["12".to_owned()])
        .await;
    assert!(matches!(members, Err(Error::Forbidden(_))));
}

/// Spec: Client-Server API, section 'Account deactivation'.
#[tokio::test]
async fn what_was_said_by_who_is_erased_is_not_given_out() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let homeserver = &server.homeserver;
    let wish = Registration {
        username: Some("carol".into()),
        ..Registration::default()
    };
    let (carol, _) = homeserver.register(wish).await.unwrap();
    let room = server.public_room().await;
    let alias = (&*room).into();
    homeserver.join_room(&carol, alias, &[], None).await.unwrap();
    let said = server.say(&carol, &room, "1", "regrettable").await.unwrap();
    let others = server.say(&server.alice(), &room, "2", "harmless").await.unwrap();
    peer.join(&server, &room).await;
    let bodies = async || {
        let from = std::slice::from_ref(&others);
        let history = homeserver.backfill(peer.name(), &room, from, 100).await.unwrap();
        let event = homeserver.federation_event(peer.name(), &said).await.unwrap();
        let body = json!({"latest_events": [others], "limit": 1});
        let missing = homeserver.missing_events(peer.name(), &room, body).await.unwrap();
        let asked = [said.clone(), others.clone()];
        let some = homeserver
            .federation_events(peer.name(), &room, &asked)
            .await
            .unwrap();
        let some = pieces(&server, some).await.concat();
        let answers = [
            history.to_string(),
            event.to_string(),
            missing.to_string(),
            String::from_utf8(some).unwrap(),
        ];
        answers.map(|answer| (answer.contains("regrettable"), answer.contains(carol.as_str())))
    };
    assert_eq!(bodies().await, [(true, true); 4]);
    homeserver.deactivate(&carol, true).await.unwrap();
    assert_eq!(bodies().await, [(false, true); 4]);
}

#[tokio::test]
async fn when_the_last_local_member_has_left_nothing_more_comes_in() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let room = server.public_room().await;
    let join = peer.join(&server, &room).await;
    let auth = auth_of(&server, &room, &join).await;
    server
        .homeserver
        .leave_room(&server.alice(), &room, None)
        .await
        .unwrap();
    let before = server.timeline(&room).await;
    let answer = peer
        .send(
            &server,
            "1",
            &[value(&peer.message(&room, &join, auth, "anybody?"))],
        )
        .await;
    assert_eq!(answer["pdus"], json!({}));
    assert_eq!(server.timeline(&room).await, before);
}

#[tokio::test]
async fn who_stays_in_a_room_may_ask_a_server_that_has_left_what_it_knew() {
    let (server, peer, stranger) = (Server::new().await, Peer::new(7), Peer::new(8));
    let (homeserver, room) = (&server.homeserver, server.public_room().await);
    let early = server.say(&server.alice(), &room, "1", "early").await.unwrap();
    peer.join(&server, &room).await;
    let alice = server.alice();
    homeserver.leave_room(&alice, &room, None).await.unwrap();
    let ids = homeserver.federation_state_ids(peer.name(), &room, &early).await;
    assert!(!ids.unwrap().pdu_ids.is_empty());
    let asked = [early.clone()];
    let events = homeserver.federation_events(peer.name(), &room, &asked).await;
    let events = pieces(&server, events.unwrap()).await.concat();
    // Whoever is in the room may see what was said in it before: the history is shared.
    assert!(String::from_utf8(events).unwrap().contains("early"));
    let ids = homeserver.federation_state_ids(stranger.name(), &room, &early);
    assert!(matches!(ids.await, Err(Error::NotFound(_))));
    let page = homeserver.backfill(peer.name(), &room, &asked, 10).await;
    assert!(
        matches!(page, Err(Error::NotFound(_))),
        "whoever has left gives no history"
    );
}

#[tokio::test]
async fn requests_are_signed_and_checked() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let check = |uri: &str, header: &str| {
        server
            .homeserver
            .authenticate(&http::Method::GET, uri, &[header], &[])
    };
    let header = signed(&peer, server.homeserver.server_name().as_str(), "/_matrix/x?a=b");
    assert_eq!(check("/_matrix/x?a=b", &header).unwrap(), peer.name());
    for (uri, header) in [
        ("/_matrix/x?a=c", header.clone()),
        (
            "/_matrix/x?a=b",
            header.replace(peer.identity.server_name(), Peer::new(8).identity.server_name()),
        ),
        (
            "/_matrix/x?a=b",
            signed(&peer, "elsewhere.example", "/_matrix/x?a=b"),
        ),
        ("/_matrix/x?a=b", "X-Matrix".to_owned()),
        ("/_matrix/x?a=b", "Bearer abc".to_owned()),
        ("/_matrix/x?a=b", String::new()),
    ] {
        assert!(
            matches!(check(uri, &header), Err(Error::Unauthorized(_))),
            "{uri} {header}"
        );
    }
}

fn signed(peer: &Peer, destination: &str, uri: &str) -> String {
    let request = json!({ "method": "GET", "uri": uri, "origin": peer.name(), "destination": destination });
    let mut request = serde_json::from_value(request).unwrap();
    ruma_signatures::sign_json(peer.name().as_str(), peer.identity.key_pair(), &mut request).unwrap();
    let request = serde_json::to_value(request).unwrap();
    let signature = request["signatures"][peer.name().as_str()]["ed25519:1"]
        .as_str()
        .unwrap()
        .to_owned();
    format!(
        "X-Matrix origin=\"{}\",destination=\"{destination}\",key=\"ed25519:1\",sig=\"{signature}\"",
        peer.name()
    )
}

#[tokio::test]
async fn what_is_sent_is_queued_for_the_other_servers_and_survives() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let room = server.public_room().await;
    peer.join(&server, &room).await;
    server
        .say(&server.alice(), &room, "1", "for mallory")
        .await
        .unwrap();
    let restarted = server.restarted().await;
    for server in [&server, &restarted] {
        while server.network.asked.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let asked = server.network.asked.lock().unwrap()[0].clone();
        assert_eq!(asked.0, peer.name().as_str());
        assert!(asked.1.starts_with("/_matrix/federation/v1/send/"), "{}", asked.1);
    }
}

#[tokio::test]
async fn a_restricted_room_lets_in_another_servers_member_of_the_room_it_names() {
    let (server, peer, stranger) = (Server::new().await, Peer::new(7), Peer::new(8));
    let club = server.public_room().await;
    peer.join(&server, &club).await;
    let rules =
        json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": club }] });
    let state = json!([{ "type": "m.room.join_rules", "state_key": "", "content": rules }]);
    let back_room = server.create(json!({ "initial_state": state })).await.unwrap();
    peer.join(&server, &back_room).await;
    assert_eq!(server.membership(&peer.user(), &back_room).await, "join");
    let versions = ["12".to_owned()];
    let refused = server
        .homeserver
        .make_join(stranger.name(), &back_room, &stranger.user(), &versions)
        .await;
    assert!(matches!(refused, Err(Error::Forbidden(_))), "{refused:?}");
}

#[tokio::test]
async fn who_is_taken_out_of_the_state_is_no_member_in_any_respect() {
    let server = Server::new().await;
    let (mallory, other) = (Peer::new(7), Peer::new(8));
    let room = server.public_room().await;
    let join = mallory.join(&server, &room).await;
    let levels = json!({ "users": { mallory.user().as_str(): 100 } });
    server
        .set(&server.alice(), &room, "m.room.power_levels", levels)
        .await
        .unwrap();
    let before = server.state(&room, "m.room.power_levels", "").await.unwrap();
    other.join(&server, &room).await;
    let members = async || {
        let opened = server.homeserver.room(&room).await.unwrap().unwrap();
        let snapshot = opened.snapshot();
        let servers = server.homeserver.servers(&snapshot).await.unwrap();
        let is_there = servers.contains_key(other.name());
        (snapshot.members().joined, snapshot.members().all, is_there)
    };
    assert_eq!(members().await, (3, 3, true));
    // Beside the join, somebody with the power to do so had closed the room.
    let auth = auth_of(&server, &room, &join).await;
    let rules = json!({ "join_rule": "invite" });
    let closing = mallory.event(&room, &before.pdu, auth, ("m.room.join_rules", Some("")), rules);
    let answer = mallory.send(&server, "1", &[value(&closing)]).await;
    assert_eq!(answer["pdus"], json!({ closing.event_id().as_str(): {} }));
    assert_eq!(server.membership(&other.user(), &room).await, "leave");
    assert_eq!(members().await, (2, 2, false));
    let row = format!("r\0{room}\0{}", other.user());
    let row = server.store.rows.get(Table::Memberships, row.as_bytes()).await;
    assert_eq!(row.unwrap(), None);
}

#[tokio::test]
async fn what_waits_for_a_server_that_stays_away_is_bounded() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let (room, other) = (server.public_room().await, server.public_room().await);
    peer.join(&server, &room).await;
    peer.join(&server, &other).await;
    server.say(&server.alice(), &other, "once", "once").await.unwrap();
    let mut newest = None;
    for number in 0..600 {
        let txn = number.to_string();
        newest = Some(
            server
                .say(&server.alice(), &room, &txn, "anybody?")
                .await
                .unwrap(),
        );
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let rows = server
        .store
        .scan(
            Table::Federation,
            KeyRange::prefix(b"o\0"),
            Direction::Forward,
            2000,
        )
        .await
        .unwrap();
    assert!(rows.len() < 150, "{} rows", rows.len());
    let waits = |room: &RoomId, event: &str| {
        let value = format!("{room}\0{event}");
        rows.iter().any(|(_, row)| *row == value.as_bytes())
    };
    assert!(
        waits(&room, newest.unwrap().as_str()),
        "the newest event of the busy room"
    );
    let of_other = rows.iter().filter(|(_, row)| row.starts_with(other.as_bytes()));
    assert_eq!(of_other.count(), 1, "and of the quiet one");
    server.restarted().await;
}

#[tokio::test]
async fn a_malformed_canonical_alias_of_another_server_can_be_taken_away() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let (alice, room) = (server.alice(), server.public_room().await);
    let join = peer.join(&server, &room).await;
    let mut levels = server.state_content(&room, "m.room.power_levels").await.unwrap();
    levels["users"][peer.user().as_str()] = json!(50);
    server
        .set(&alice, &room, "m.room.power_levels", levels)
        .await
        .unwrap();
    let raised = server.state(&room, "m.room.power_levels", "").await.unwrap();
    let auth = auth_of(&server, &room, &join).await;
    let kind = ("m.room.canonical_alias", Some(""));
    let alias = peer.event(&room, &raised.pdu, auth, kind, json!({ "alt_aliases": ["x", 7] }));
    peer.tell(&server, &alias).await;
    let present = server.state_content(&room, kind.0).await;
    assert_eq!(present, Some(json!({ "alt_aliases": ["x", 7] })));
    let malformed = server.set(&alice, &room, kind.0, json!({ "alias": "x" })).await;
    assert!(matches!(malformed, Err(Error::InvalidParam(_))));
    let many: Vec<_> = (0..200)
        .map(|number| format!("#{number}:elsewhere.example"))
        .collect();
    let many = server
        .set(&alice, &room, kind.0, json!({ "alt_aliases": many }))
        .await;
    assert!(matches!(many, Err(Error::InvalidParam(_))));
    server.set(&alice, &room, kind.0, json!({})).await.unwrap();
}

#[tokio::test]
async fn local_users_are_seen_however_many_others_are_there() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let (alice, room) = (server.alice(), server.public_room().await);
    peer.join(&server, &room).await;
    let key = |user: &str| format!("r\0{room}\0{user}").into_bytes();
    let rows = &server.store.rows;
    let known = key(peer.user().as_str());
    let row = rows.get(Table::Memberships, &known).await.unwrap().unwrap();
    let others: Vec<_> = (0..20_001)
        .map(|number| format!("@{number}:{}", peer.name()))
        .collect();
    let mut batch = WriteBatch::new();
    for other in &others {
        batch.put(Table::Memberships, key(other), row.clone());
    }
    rows.commit(batch).await.unwrap();
    let presence_of = async |user: &str| {
        let user = UserId::parse(user).unwrap();
        server.homeserver.presence_of(&alice, &user).await.unwrap()["presence"].clone()
    };
    let (last, others) = others.split_last().unwrap();
    for presence in ["online", "offline"] {
        for some in others.chunks(100) {
            let push = some
                .iter()
                .map(|user| json!({ "user_id": user, "presence": presence, "status_msg": "x" }));
            let edu = object(json!({ "push": push.collect::<Vec<_>>() }));
            server
                .homeserver
                .receive_presence(peer.name(), &edu)
                .await
                .unwrap();
        }
        assert_eq!(presence_of(&others[19_998]).await, presence);
        let homeserver = &server.homeserver;
        homeserver.note_sync(&alice, device(), PresenceState::Online, Duration::ZERO);
        assert_eq!(presence_of(alice.as_str()).await, "online");
    }
    // Who has gone is forgotten for who comes, status message or not.
    let edu = object(json!({ "push": [{ "user_id": last, "presence": "online" }] }));
    server
        .homeserver
        .receive_presence(peer.name(), &edu)
        .await
        .unwrap();
    assert_eq!(presence_of(last).await, "online");
}

#[tokio::test]
async fn a_knock_that_was_refused_tells_no_more_of_the_room() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let (alice, room) = (server.alice(), server.public_room().await);
    let rule = json!({ "join_rule": "knock" });
    server
        .set(&alice, &room, "m.room.join_rules", rule)
        .await
        .unwrap();
    let (homeserver, user, versions) = (&server.homeserver, peer.user(), [String::from("12")]);
    let making = homeserver.make_knock(peer.name(), &room, &user, &versions);
    let made = making.await.unwrap();
    let template = serde_json::from_value(made["event"].clone()).unwrap();
    let (name, key) = (peer.identity.server_name(), peer.identity.key_pair());
    let knock = sign_template(RoomVersion::V12, template, name, key).unwrap();
    let send = || homeserver.accept_knock(peer.name(), &room, knock.event_id(), value(&knock));
    for _ in 0..2 {
        let described = send().await.unwrap();
        assert!(!described["knock_room_state"].as_array().unwrap().is_empty());
    }
    let refusing = homeserver.kick_user(&alice, &room, &user, None);
    refusing.await.unwrap();
    assert!(matches!(send().await, Err(Error::Forbidden(_))));
}

#[tokio::test]
async fn edus_of_a_server_in_no_room_cost_one_look() {
    let (server, peer) = (Server::new().await, Peer::new(7));
    let room = server.public_room().await;
    let said = server.say(&server.alice(), &room, "1", "read me").await.unwrap();
    let receipt = json!({ "m.read": { peer.user(): { "event_ids": [said], "data": { "ts": 1 } } } });
    let unknown = (0..2_000).map(|number| format!("!~{number}:x"));
    let rooms = unknown.chain([room.to_string()]);
    let read: JsonObject = rooms.map(|room| (room, receipt.clone())).collect();
    let push = json!({ "user_id": peer.user(), "presence": "online" });
    let edus = json!([
        { "edu_type": "m.receipt", "content": read },
        { "edu_type": "m.presence", "content": { "push": vec![push; 100] } },
        { "edu_type": "m.device_list_update", "content": {
            "user_id": peer.user(), "device_id": "D", "stream_id": 1,
        } },
    ]);
    let send = async |txn: &str| {
        let body = json!({ "origin": peer.name(), "origin_server_ts": 1, "pdus": [], "edus": edus });
        server.store.take();
        let receiving = server.homeserver.receive_transaction(peer.name(), txn, body);
        receiving.await.unwrap();
        server.store.take()
    };
    let stranger = send("1").await;
    peer.join(&server, &room).await;
    let member = send("2").await;
    assert_eq!(
        (
            stranger.reads_of(Table::Memberships),
            stranger.reads_of(Table::Rooms),
            member.reads_of(Table::Rooms)
        ),
        (1, 0, 499),
    );
    assert_eq!(server.homeserver.room_receipts(&room).await.unwrap().len(), 1);
}
