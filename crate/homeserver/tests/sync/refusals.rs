//! Whom users do not want to hear from: ignored users, invites that are not taken, policy lists.

use hearth_homeserver::{Error, rooms::create::CreateRoom};
use ruma_common::{OwnedRoomId, UserId};
use serde_json::{Value, json};

use crate::support::{Server, bodies, joined, kinds, object, page};

async fn account_data(server: &Server, user_id: &UserId, kind: &str, content: Value) {
    server
        .homeserver
        .set_account_data(user_id, None, kind, object(content))
        .await
        .unwrap();
}

async fn invite(server: &Server, from: &UserId, to: &UserId) -> Result<OwnedRoomId, Error> {
    let room_id = server.room(from).await;
    server.homeserver.invite_user(from, &room_id, to, None).await?;
    Ok(room_id)
}

fn invites(answer: &Value) -> Vec<&str> {
    let invites = answer["rooms"]["invite"].as_object();
    invites
        .into_iter()
        .flatten()
        .map(|(room_id, _)| room_id.as_str())
        .collect()
}

#[tokio::test]
async fn messages_of_ignored_users_are_not_shown_and_their_state_is() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    let mut client = server.client(&alice).await;
    account_data(
        &server,
        &alice,
        "m.ignored_user_list",
        json!({"ignored_users": {&*bob: {}}}),
    )
    .await;
    client.sync().await;
    server.say(&bob, &room_id, "unheard").await;
    assert_eq!(client.sync().await.get("rooms"), None);
    server.leave(&bob, &room_id).await;
    let answer = client.sync().await;
    assert_eq!(
        kinds(&joined(&answer, &room_id)["timeline"]["events"]),
        ["m.room.member"]
    );
    let history = page(None, hearth_homeserver::messages::PageDirection::Backward, 50);
    assert!(bodies(&server.messages(&alice, &room_id, history.clone()).await["chunk"]).is_empty());
    account_data(
        &server,
        &alice,
        "m.ignored_user_list",
        json!({"ignored_users": {}}),
    )
    .await;
    assert_eq!(
        bodies(&server.messages(&alice, &room_id, history).await["chunk"]),
        ["unheard"]
    );
}

#[tokio::test]
async fn invites_of_ignored_users_are_taken_and_not_shown() {
    let server = Server::new().await;
    let (alice, bob, carol) = (server.user("alice"), server.user("bob"), server.user("carol"));
    account_data(
        &server,
        &alice,
        "m.ignored_user_list",
        json!({"ignored_users": {&*bob: {}}}),
    )
    .await;
    let mut client = server.client(&alice).await;
    let hidden = invite(&server, &bob, &alice).await.unwrap();
    let shown = invite(&server, &carol, &alice).await.unwrap();
    assert_eq!(invites(&client.sync().await), [shown.as_str()]);
    assert_eq!(
        invites(&server.sync(&alice, None, json!({})).await),
        [shown.as_str()]
    );
    account_data(&server, &alice, "m.ignored_user_list", json!({})).await;
    assert!(invites(&server.sync(&alice, None, json!({})).await).contains(&hidden.as_str()));
}

#[tokio::test]
async fn invites_are_refused_as_the_account_data_says() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    account_data(
        &server,
        &alice,
        "m.invite_permission_config",
        json!({"default_action": "block"}),
    )
    .await;
    assert!(matches!(
        invite(&server, &bob, &alice).await,
        Err(Error::InviteBlocked)
    ));
    let request = CreateRoom {
        invite: vec![alice.clone()],
        ..CreateRoom::default()
    };
    let created = server.homeserver.create_room(&bob, request).await;
    assert!(matches!(created, Err(Error::InviteBlocked)));
    account_data(&server, &alice, "m.invite_permission_config", json!({})).await;
    let finer = json!({"blocked_users": [&*bob]});
    account_data(
        &server,
        &alice,
        "org.matrix.msc4155.invite_permission_config",
        finer,
    )
    .await;
    assert!(matches!(
        invite(&server, &bob, &alice).await,
        Err(Error::InviteBlocked)
    ));
    invite(&server, &server.user("carol"), &alice).await.unwrap();
}

/// A policy list of `owner` with one rule.
async fn policy_list(server: &Server, owner: &UserId, kind: &str, entity: &str) -> OwnedRoomId {
    let room_id = server.room(owner).await;
    let rule = json!({"entity": entity, "recommendation": "m.ban", "reason": "spam"});
    server.set(owner, &room_id, kind, rule).await;
    room_id
}

#[tokio::test]
async fn a_policy_list_counts_for_whoever_subscribes_to_it() {
    let server = Server::new().await;
    let (alice, carol, spammer) = (server.user("alice"), server.user("carol"), server.user("spam-1"));
    let list = policy_list(&server, &carol, "m.policy.rule.user", "@spam-*").await;
    let room_id = server.room(&alice).await;
    server.join(&spammer, &room_id).await;
    server.join(&alice, &list).await;
    let mut client = server.client(&alice).await;
    server.say(&spammer, &room_id, "buy").await;
    assert_eq!(
        bodies(&joined(&client.sync().await, &room_id)["timeline"]["events"]),
        ["buy"]
    );
    let subscribed = json!({"org.matrix.msc3847.ignore.invites": {"sources": [list]}});
    account_data(&server, &alice, "org.matrix.msc3847.policies", subscribed).await;
    client.sync().await;
    server.say(&spammer, &room_id, "buy more").await;
    assert_eq!(client.sync().await.get("rooms"), None);
    assert!(matches!(
        invite(&server, &spammer, &alice).await,
        Err(Error::InviteBlocked)
    ));
    invite(&server, &spammer, &server.user("bob")).await.unwrap();
    // The rule is lifted: its event stays, without a recommendation.
    server.set(&carol, &list, "m.policy.rule.user", json!({})).await;
    server.say(&spammer, &room_id, "sorry").await;
    assert_eq!(
        bodies(&joined(&client.sync().await, &room_id)["timeline"]["events"]),
        ["sorry"]
    );
    invite(&server, &spammer, &alice).await.unwrap();
}

#[tokio::test]
async fn a_list_that_the_user_is_not_in_does_not_count() {
    let server = Server::new().await;
    let (alice, bob, carol) = (server.user("alice"), server.user("bob"), server.user("carol"));
    let list = policy_list(&server, &carol, "m.policy.rule.server", "*").await;
    let watched = json!({"references": [format!("https://matrix.to/#/{list}")]});
    account_data(&server, &alice, "org.matrix.mjolnir.watched_lists", watched).await;
    invite(&server, &bob, &alice).await.unwrap();
    server.join(&alice, &list).await;
    assert!(matches!(
        invite(&server, &bob, &alice).await,
        Err(Error::InviteBlocked)
    ));
}

#[tokio::test]
async fn account_data_is_deleted() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    let homeserver = &server.homeserver;
    account_data(&server, &alice, "org.mine", json!({"a": 1})).await;
    homeserver
        .set_account_data(&alice, Some(&room_id), "org.mine", object(json!({"b": 1})))
        .await
        .unwrap();
    let mut client = server.client(&alice).await;
    homeserver
        .delete_account_data(&alice, None, "org.mine")
        .await
        .unwrap();
    homeserver
        .delete_account_data(&alice, Some(&room_id), "org.mine")
        .await
        .unwrap();
    homeserver
        .delete_account_data(&alice, None, "org.never")
        .await
        .unwrap();
    let empty = json!([{"type": "org.mine", "content": {}}]);
    let answer = client.sync().await;
    assert_eq!(answer["account_data"]["events"], empty);
    assert_eq!(joined(&answer, &room_id)["account_data"]["events"], empty);
    assert_eq!(
        homeserver.account_data(&alice, None, "org.mine").await.unwrap(),
        None
    );
    let answer = server.sync(&alice, None, json!({})).await;
    assert!(!kinds(&answer["account_data"]["events"]).contains(&"org.mine"));
}
