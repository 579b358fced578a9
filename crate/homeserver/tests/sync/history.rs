//! Pages of history, events in context, members.

use hearth_homeserver::{
    Error,
    messages::{
        MembersRequest, MessagesRequest,
        PageDirection::{self, Backward, Forward},
    },
    rooms::client_event::Viewer,
    sync::EventFilter,
};
use ruma_common::{RoomId, UserId};
use serde_json::json;

use crate::support::{Server, bodies, joined, members, page};

/// Every body of the room's history, page by page.
async fn all_bodies(
    server: &Server,
    user_id: &UserId,
    room_id: &RoomId,
    direction: PageDirection,
) -> Vec<String> {
    let (mut all, mut from) = (Vec::new(), None::<String>);
    for _ in 0..100 {
        let answer = server
            .messages(user_id, room_id, page(from.as_deref(), direction, 7))
            .await;
        all.extend(bodies(&answer["chunk"]).into_iter().map(str::to_owned));
        if let Some(from) = &from {
            assert_eq!(answer["start"].as_str(), Some(from.as_str()));
        }
        from = match answer["end"].as_str() {
            Some(end) => Some(end.to_owned()),
            None => return all,
        };
    }
    panic!("the history has no end");
}

#[tokio::test]
async fn pages_lose_nothing_and_repeat_nothing() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    let other = server.room(&alice).await;
    for number in 0..40 {
        server.say(&alice, &room_id, &number.to_string()).await;
        server.say(&alice, &other, "elsewhere").await;
    }
    let expected: Vec<_> = (0..40).map(|number| number.to_string()).collect();
    assert_eq!(all_bodies(&server, &alice, &room_id, Forward).await, expected);
    let mut backward = all_bodies(&server, &alice, &room_id, Backward).await;
    backward.reverse();
    assert_eq!(backward, expected);
}

#[tokio::test]
async fn a_page_stops_at_to() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    server.say(&alice, &room_id, "before").await;
    let since = server.client(&alice).await.since.unwrap();
    server.say_many(&alice, &room_id, 3).await;
    let mut request = page(None, Backward, 100);
    request.to = Some(since.parse().unwrap());
    let answer = server.messages(&alice, &room_id, request).await;
    assert_eq!(bodies(&answer["chunk"]), ["2", "1", "0"]);
    let mut request = page(None, Forward, 100);
    request.to = Some(since.parse().unwrap());
    let answer = server.messages(&alice, &room_id, request).await;
    assert_eq!(bodies(&answer["chunk"]), ["before"]);
}

#[tokio::test]
async fn a_sync_token_begins_a_page_in_both_directions() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    server.say(&alice, &room_id, "before").await;
    let since = server.client(&alice).await.since.unwrap();
    server.say(&alice, &room_id, "after").await;
    let older = server
        .messages(&alice, &room_id, page(Some(&since), Backward, 1))
        .await;
    assert_eq!(bodies(&older["chunk"]), ["before"]);
    let newer = server
        .messages(&alice, &room_id, page(Some(&since), Forward, 1))
        .await;
    assert_eq!(bodies(&newer["chunk"]), ["after"]);
}

#[tokio::test]
async fn filters_and_lazy_loading_apply_to_pages() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    server.say(&bob, &room_id, "from bob").await;
    server.say(&alice, &room_id, "from alice").await;
    let filter = json!({"senders": [bob], "types": ["m.room.message"], "lazy_load_members": true});
    let filter = EventFilter::parse(&filter.to_string()).unwrap();
    let answer = server
        .messages(
            &alice,
            &room_id,
            MessagesRequest {
                filter,
                ..page(None, Backward, 5)
            },
        )
        .await;
    assert_eq!(bodies(&answer["chunk"]), ["from bob"]);
    assert_eq!(members(&answer["state"]), [bob.as_str()]);
}

#[tokio::test]
async fn history_is_shown_to_those_who_may_see_it() {
    let server = Server::new().await;
    let (alice, bob, eve) = (server.user("alice"), server.user("bob"), server.user("eve"));
    let room_id = server.room(&alice).await;
    server.join(&bob, &room_id).await;
    server.say(&alice, &room_id, "shared").await;
    server.leave(&bob, &room_id).await;
    server.say(&alice, &room_id, "after bob").await;
    let answer = server.messages(&bob, &room_id, page(None, Backward, 100)).await;
    assert_eq!(bodies(&answer["chunk"]), ["shared"]);
    assert!(matches!(
        server.messages_error(&eve, &room_id).await,
        Error::Forbidden(_)
    ));
    let open = json!({"history_visibility": "world_readable"});
    server
        .set(&alice, &room_id, "m.room.history_visibility", open)
        .await;
    server.say(&alice, &room_id, "open").await;
    let answer = server.messages(&eve, &room_id, page(None, Backward, 1)).await;
    assert_eq!(bodies(&answer["chunk"]), ["open"]);
}

#[tokio::test]
async fn an_event_is_shown_with_what_is_around_it() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    server.say_many(&alice, &room_id, 5).await;
    let event_id = server.say(&alice, &room_id, "middle").await;
    server.say_many(&alice, &room_id, 5).await;
    let viewer = Viewer {
        user_id: &alice,
        device_id: None,
    };
    let filter = EventFilter::default();
    let context = server
        .homeserver
        .event_context(viewer, &room_id, &event_id, Some(4), &filter)
        .await
        .unwrap();
    let context = serde_json::to_value(context).unwrap();
    assert_eq!(context["event"]["content"]["body"], "middle");
    assert_eq!(bodies(&context["events_before"]), ["4", "3"]);
    assert_eq!(bodies(&context["events_after"]), ["0", "1"]);
    assert_eq!(members(&context["state"]), [alice.as_str()]);
    let older = server
        .messages(&alice, &room_id, page(context["start"].as_str(), Backward, 3))
        .await;
    assert_eq!(bodies(&older["chunk"]), ["2", "1", "0"]);
    let newer = server
        .messages(&alice, &room_id, page(context["end"].as_str(), Forward, 3))
        .await;
    assert_eq!(bodies(&newer["chunk"]), ["2", "3", "4"]);
}

#[tokio::test]
async fn members_are_listed_now_and_then() {
    let server = Server::new().await;
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room_id = server.room(&alice).await;
    let before = server.sync(&alice, None, json!({})).await;
    let before = before["next_batch"].as_str().unwrap();
    server.join(&bob, &room_id).await;
    server.leave(&bob, &room_id).await;
    let viewer = Viewer {
        user_id: &alice,
        device_id: None,
    };
    let list = |request: MembersRequest| {
        let (homeserver, room_id) = (server.homeserver.clone(), room_id.clone());
        async move {
            let list = homeserver.members(viewer, &room_id, &request).await.unwrap();
            let users = list
                .iter()
                .map(|event| event.pdu().state_key().unwrap().to_owned());
            users.collect::<Vec<_>>()
        }
    };
    assert_eq!(list(MembersRequest::default()).await.len(), 2);
    let request = MembersRequest {
        not_membership: Some("leave".into()),
        ..MembersRequest::default()
    };
    assert_eq!(list(request).await, [alice.as_str()]);
    let request = MembersRequest {
        membership: Some("leave".into()),
        ..MembersRequest::default()
    };
    assert_eq!(list(request).await, [bob.as_str()]);
    let request = MembersRequest {
        at: Some(before.parse().unwrap()),
        ..MembersRequest::default()
    };
    assert_eq!(list(request).await, [alice.as_str()]);
}

#[tokio::test]
async fn the_prev_batch_of_a_whole_room_leads_to_its_end() {
    let server = Server::new().await;
    let alice = server.user("alice");
    let room_id = server.room(&alice).await;
    let answer = server
        .sync(&alice, None, json!({"room": {"timeline": {"limit": 100}}}))
        .await;
    let prev_batch = joined(&answer, &room_id)["timeline"]["prev_batch"].as_str();
    let answer = server
        .messages(&alice, &room_id, page(prev_batch, Backward, 10))
        .await;
    assert_eq!(answer["chunk"], json!([]));
    assert_eq!(answer.get("end"), None);
}
