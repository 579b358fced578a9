//! Redactions: which count, when they come early, and when clients see them.

use hearth_homeserver::Error;
use hearth_rooms::Pdu;
use ruma_common::{EventId, OwnedEventId, OwnedRoomId};
use serde_json::json;

use crate::{
    peer::{Peer, auth_of, value},
    support::{Server, device, object},
};

/// A room of alice's that mallory and another, each of their own server, have joined.
struct Scene {
    server: Server,
    mallory: Peer,
    other: Peer,
    room: OwnedRoomId,
    /// The joins of both.
    joins: [Pdu; 2],
}

impl Scene {
    async fn new() -> Self {
        let (server, mallory, other) = (Server::new().await, Peer::new(7), Peer::new(8));
        let room = server.public_room().await;
        let joins = [
            mallory.join(&server, &room).await,
            other.join(&server, &room).await,
        ];
        Self {
            server,
            mallory,
            other,
            room,
            joins,
        }
    }

    async fn auth(&self, peer: usize) -> Vec<OwnedEventId> {
        auth_of(&self.server, &self.room, &self.joins[peer]).await
    }

    async fn is_redacted(&self, target: &EventId) -> bool {
        let event = self
            .server
            .homeserver
            .stored_event(target)
            .await
            .unwrap()
            .unwrap();
        event.decision.redacted_by.is_some() && !event.content().contains_key("body")
    }

    async fn is_shown(&self, event: &EventId) -> bool {
        let alice = self.server.alice();
        let found = self.server.homeserver.event_for(&alice, &self.room, event).await;
        found.is_ok()
    }
}

#[tokio::test]
async fn who_has_neither_power_nor_the_same_server_redacts_nothing() {
    let scene = Scene::new().await;
    let target = scene
        .server
        .say(&scene.server.alice(), &scene.room, "1", "kept")
        .await
        .unwrap();
    let redaction = scene
        .mallory
        .redaction(&scene.room, &scene.joins[1], scene.auth(0).await, &target);
    assert_eq!(
        scene.mallory.tell(&scene.server, &redaction).await,
        json!({}),
        "it is part of the graph"
    );
    assert!(!scene.is_redacted(&target).await);
    assert!(
        !scene.is_shown(redaction.event_id()).await,
        "clients would take it for one that counts"
    );
    let later = scene
        .mallory
        .message(&scene.room, &redaction, scene.auth(0).await, "later");
    assert_eq!(scene.mallory.tell(&scene.server, &later).await, json!({}));
}

#[tokio::test]
async fn the_power_where_the_redaction_stands_counts() {
    let scene = Scene::new().await;
    let (server, alice) = (&scene.server, scene.server.alice());
    let target = server.say(&alice, &scene.room, "1", "old").await.unwrap();
    let before = scene.auth(0).await;
    let levels = server
        .state_content(&scene.room, "m.room.power_levels")
        .await
        .unwrap();
    let mut raised = levels.clone();
    raised["users"][scene.mallory.user().as_str()] = json!(50);
    server
        .set(&alice, &scene.room, "m.room.power_levels", raised)
        .await
        .unwrap();
    let weak = scene
        .mallory
        .redaction(&scene.room, &scene.joins[1], before, &target);
    scene.mallory.tell(server, &weak).await;
    assert!(
        !scene.is_redacted(&target).await,
        "it stands before the promotion"
    );
    let raised = server
        .state(&scene.room, "m.room.power_levels", "")
        .await
        .unwrap();
    let strong = scene
        .mallory
        .redaction(&scene.room, &raised.pdu, scene.auth(0).await, &target);
    scene.mallory.tell(server, &strong).await;
    assert!(scene.is_redacted(&target).await);
    assert!(scene.is_shown(strong.event_id()).await);
}

#[tokio::test]
async fn who_was_demoted_redacts_only_what_their_own_server_sent() {
    let scene = Scene::new().await;
    let (server, alice, mallory) = (&scene.server, scene.server.alice(), &scene.mallory);
    let kept = server.say(&alice, &scene.room, "1", "kept").await.unwrap();
    let set = async |power: u8| {
        let levels = json!({ "users": { mallory.user(): power }, "redact": 50 });
        let set = server.set(&alice, &scene.room, "m.room.power_levels", levels);
        set.await.unwrap();
        let set = server.state(&scene.room, "m.room.power_levels", "").await;
        set.unwrap().pdu.clone()
    };
    let promoted = set(50).await;
    let auth = scene.auth(0).await;
    let own = mallory.message(&scene.room, &promoted, auth.clone(), "regretted");
    assert_eq!(mallory.tell(server, &own).await, json!({}));
    set(0).await;
    for (target, is_taken) in [(&*kept, false), (own.event_id(), true)] {
        let redaction = mallory.redaction(&scene.room, &own, auth.clone(), target);
        assert_eq!(mallory.tell(server, &redaction).await, json!({}));
        assert_eq!(scene.is_redacted(target).await, is_taken);
        assert_eq!(scene.is_shown(redaction.event_id()).await, is_taken);
    }
    // Nor do they redact more if their redaction comes before its target.
    let text = "regretted later";
    let others = scene
        .other
        .message(&scene.room, &promoted, scene.auth(1).await, text);
    let own = mallory.message(&scene.room, &promoted, auth.clone(), text);
    for (from, target, is_taken) in [(&scene.other, &others, false), (mallory, &own, true)] {
        let redaction = mallory.redaction(&scene.room, &promoted, auth.clone(), target.event_id());
        assert_eq!(mallory.tell(server, &redaction).await, json!({}));
        assert_eq!(from.tell(server, target).await, json!({}));
        assert_eq!(scene.is_redacted(target.event_id()).await, is_taken);
    }
}

#[tokio::test]
async fn an_early_redaction_is_held_until_its_target_is_seen() {
    let scene = Scene::new().await;
    let auth = scene.auth(0).await;
    let target = scene
        .mallory
        .message(&scene.room, &scene.joins[1], auth.clone(), "regretted");
    let redaction = scene
        .mallory
        .redaction(&scene.room, &scene.joins[1], auth, target.event_id());
    scene.mallory.tell(&scene.server, &redaction).await;
    assert!(!scene.is_shown(redaction.event_id()).await);
    scene.mallory.tell(&scene.server, &target).await;
    assert!(scene.is_redacted(target.event_id()).await);
    assert!(scene.is_shown(redaction.event_id()).await);
    let restarted = scene.server.restarted().await;
    let stored = restarted
        .homeserver
        .stored_event(redaction.event_id())
        .await
        .unwrap()
        .unwrap();
    assert!(stored.is_shown());
}

#[tokio::test]
async fn early_redactions_that_may_not_do_not_hide_those_that_may() {
    let scene = Scene::new().await;
    let target = scene
        .mallory
        .message(&scene.room, &scene.joins[1], scene.auth(0).await, "regretted");
    let own = scene.mallory.redaction(
        &scene.room,
        &scene.joins[1],
        scene.auth(0).await,
        target.event_id(),
    );
    let foreign = scene
        .other
        .redaction(&scene.room, &own, scene.auth(1).await, target.event_id());
    scene.mallory.tell(&scene.server, &own).await;
    scene.other.tell(&scene.server, &foreign).await;
    scene.mallory.tell(&scene.server, &target).await;
    assert!(scene.is_redacted(target.event_id()).await);
    assert!(scene.is_shown(own.event_id()).await);
    assert!(!scene.is_shown(foreign.event_id()).await);

    let untouched = scene
        .mallory
        .message(&scene.room, &target, scene.auth(0).await, "kept");
    let foreign = scene
        .other
        .redaction(&scene.room, &target, scene.auth(1).await, untouched.event_id());
    scene.other.tell(&scene.server, &foreign).await;
    scene.mallory.tell(&scene.server, &untouched).await;
    assert!(!scene.is_redacted(untouched.event_id()).await);
    assert!(!scene.is_shown(foreign.event_id()).await);
}

#[tokio::test]
async fn a_redacted_redaction_still_counts() {
    let scene = Scene::new().await;
    let auth = scene.auth(0).await;
    let target = scene
        .mallory
        .message(&scene.room, &scene.joins[1], auth.clone(), "regretted");
    let first = scene
        .mallory
        .redaction(&scene.room, &scene.joins[1], auth.clone(), target.event_id());
    let second = scene
        .mallory
        .redaction(&scene.room, &first, auth, first.event_id());
    for pdu in [&first, &second, &target] {
        assert_eq!(scene.mallory.tell(&scene.server, pdu).await, json!({}));
    }
    assert!(scene.is_redacted(target.event_id()).await);
}

#[tokio::test]
async fn refused_redactions_take_no_effect() {
    let scene = Scene::new().await;
    let (server, alice) = (&scene.server, scene.server.alice());
    let auth = scene.auth(0).await;
    let target = scene
        .mallory
        .message(&scene.room, &scene.joins[1], auth.clone(), "evidence");
    scene.mallory.tell(server, &target).await;
    let rejected = scene
        .mallory
        .redaction(&scene.room, &target, Vec::new(), target.event_id());
    assert!(scene.mallory.tell(server, &rejected).await["error"].is_string());
    server
        .homeserver
        .ban_user(&alice, &scene.room, &scene.mallory.user(), None)
        .await
        .unwrap();
    let late = scene
        .mallory
        .redaction(&scene.room, &target, auth, target.event_id());
    scene.mallory.tell(server, &late).await;
    assert!(!scene.is_redacted(target.event_id()).await);
}

#[tokio::test]
async fn redacted_state_stays_state_without_its_content() {
    let scene = Scene::new().await;
    let (server, alice) = (&scene.server, scene.server.alice());
    let topic = server
        .set(&alice, &scene.room, "m.room.topic", json!({ "topic": "x" }))
        .await
        .unwrap();
    let levels = server
        .state(&scene.room, "m.room.power_levels", "")
        .await
        .unwrap();
    for (txn, target) in [("1", &topic), ("2", &levels.event_id)] {
        server
            .homeserver
            .redact_event(&alice, device(), &scene.room, target, txn, None)
            .await
            .unwrap();
    }
    assert_eq!(
        server.state_content(&scene.room, "m.room.topic").await.unwrap(),
        json!({})
    );
    let kept = server
        .state_content(&scene.room, "m.room.power_levels")
        .await
        .unwrap();
    assert_eq!(
        kept["state_default"],
        levels.content()["state_default"],
        "what authorises is kept"
    );
    server
        .set(&alice, &scene.room, "m.room.topic", json!({ "topic": "y" }))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_event_of_another_room_is_not_redacted() {
    let scene = Scene::new().await;
    let server = &scene.server;
    let elsewhere = server.public_room().await;
    let join = scene.mallory.join(server, &elsewhere).await;
    let auth = auth_of(server, &elsewhere, &join).await;
    let target = scene.mallory.message(&elsewhere, &join, auth, "elsewhere");
    let redaction = scene.mallory.redaction(
        &scene.room,
        &scene.joins[1],
        scene.auth(0).await,
        target.event_id(),
    );
    scene.mallory.tell(server, &redaction).await;
    scene.mallory.send(server, "t", &[value(&target)]).await;
    assert!(!scene.is_redacted(target.event_id()).await);
    assert!(!scene.is_shown(redaction.event_id()).await);
}

#[tokio::test]
async fn what_a_room_cannot_do_without_is_not_redacted() {
    let server = Server::new().await;
    let (alice, room) = (server.alice(), server.public_room().await);
    let homeserver = &server.homeserver;
    let set = async |kind: &str, content| {
        let content = object(content);
        homeserver
            .send_state(&alice, &room, kind, "", content)
            .await
            .unwrap()
    };
    let acl = set("m.room.server_acl", json!({ "allow": ["*"] })).await;
    let topic = set("m.room.topic", json!({ "topic": "rude" })).await;
    let create = homeserver
        .state_event(&alice, &room, "m.room.create", "")
        .await
        .unwrap();
    for target in [&acl, &create.event_id] {
        let redaction = homeserver.redact_event(&alice, device(), &room, target, target.as_str(), None);
        assert!(matches!(redaction.await, Err(Error::Forbidden(_))));
        let content = object(json!({ "redacts": target }));
        let kind = "m.room.redaction";
        let redaction = homeserver.send_message(&alice, device(), &room, kind, target.as_str(), content);
        assert!(matches!(redaction.await, Err(Error::Forbidden(_))));
    }
    homeserver
        .redact_event(&alice, device(), &room, &topic, "topic", None)
        .await
        .unwrap();
}

/// Transaction ids are of one path, and that of a redaction names what is redacted.
#[tokio::test]
async fn one_transaction_id_redacts_several_events_each_once() {
    let server = Server::new().await;
    let (alice, room) = (server.alice(), server.public_room().await);
    let mut redactions = Vec::new();
    for text in ["first", "second"] {
        let said = server.say(&alice, &room, text, text).await.unwrap();
        for _ in 0..2 {
            let redaction = server
                .homeserver
                .redact_event(&alice, device(), &room, &said, "1", None);
            redactions.push(redaction.await.unwrap());
        }
    }
    assert_eq!(redactions[0], redactions[1]);
    assert_eq!(redactions[2], redactions[3]);
    let shown = server.timeline(&room).await;
    assert_eq!(shown.iter().filter(|kind| *kind == "m.room.redaction").count(), 2);
    assert!(!shown.contains(&"second".to_owned()), "{shown:?}");
}

#[tokio::test]
async fn no_other_server_redacts_what_a_room_cannot_do_without() {
    let scene = Scene::new().await;
    let (server, alice, mallory) = (&scene.server, scene.server.alice(), &scene.mallory);
    let levels = server.state_content(&scene.room, "m.room.power_levels").await;
    let raise = async |power: u8| {
        let mut levels = levels.clone().unwrap();
        levels["users"][mallory.user().as_str()] = json!(power);
        let set = server.set(&alice, &scene.room, "m.room.power_levels", levels);
        set.await.unwrap();
        let set = server.state(&scene.room, "m.room.power_levels", "").await;
        set.unwrap().pdu.clone()
    };
    let list = |prev: &Pdu, auth, denied: &str| {
        let content = json!({ "allow": ["*"], "deny": [denied] });
        let kind = ("m.room.server_acl", Some(""));
        mallory.event(&scene.room, prev, auth, kind, content)
    };
    let raised = raise(100).await;
    let auth = scene.auth(0).await;
    let (first, second) = (
        list(&raised, auth.clone(), "one"),
        list(&raised, auth.clone(), "two"),
    );
    let early = mallory.redaction(&scene.room, &raised, auth, second.event_id());
    for pdu in [&first, &early, &second] {
        assert_eq!(mallory.tell(server, pdu).await, json!({}));
    }
    let demoted = raise(0).await;
    let auth = scene.auth(0).await;
    let late = mallory.redaction(&scene.room, &demoted, auth, first.event_id());
    assert_eq!(mallory.tell(server, &late).await, json!({}));
    let mut taken = Vec::new();
    for (list, redaction) in [(&first, &late), (&second, &early)] {
        taken.push(scene.is_redacted(list.event_id()).await);
        taken.push(scene.is_shown(redaction.event_id()).await);
    }
    assert_eq!(taken, [false; 4]);
}
