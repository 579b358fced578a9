//! What comes late from another branch of a room, where nobody knew who has come and gone since: what clients are
//! told of it.

use hearth_homeserver::{
    accounts::Session,
    messages::{MembersRequest, MessagesRequest},
    rooms::client_event::Viewer,
    sync::{Filter, SlidingRequest, SyncRequest},
};
use ruma_common::{OwnedRoomId, UserId};
use serde_json::{Value, json};

use crate::{
    peer::{Peer, auth_of},
    support::{Server, device},
};

/// A room whose history only those see who are there. Carol goes and bob comes while a server is cut off.
struct Fork {
    server: Server,
    room: OwnedRoomId,
}

impl Fork {
    async fn new() -> Self {
        let (server, peer) = (Server::new().await, Peer::new(7));
        let room = server.public_room().await;
        let (bob, carol) = (server.bob(), server.user("carol"));
        let joined = json!({ "history_visibility": "joined" });
        let kind = "m.room.history_visibility";
        server.set(&server.alice(), &room, kind, joined).await.unwrap();
        server.join(&carol, &room).await.unwrap();
        let join = peer.join(&server, &room).await;
        let auth = auth_of(&server, &room, &join).await;
        server.homeserver.leave_room(&carol, &room, None).await.unwrap();
        server.join(&bob, &room).await.unwrap();
        server.say(&bob, &room, "1", "to all").await.unwrap();
        let late = peer.message(&room, &join, auth, "not to bob");
        assert_eq!(peer.tell(&server, &late).await, json!({}));
        assert_eq!(server.timeline(&room).await.last().unwrap(), "not to bob");
        Self { server, room }
    }

    async fn sync(&self, user: &UserId) -> Value {
        let request = SyncRequest {
            filter: Filter::parse(r#"{"room": {"timeline": {"limit": 2}}}"#).unwrap(),
            ..SyncRequest::default()
        };
        let answer = self.server.homeserver.sync(user, device(), request);
        serde_json::to_value(answer.await.unwrap()).unwrap()
    }

    /// The messages among the last two events that a user is told of: by both kinds of sync, and as history.
    async fn told(&self, user: &UserId) -> [Vec<String>; 3] {
        let Self { server, room } = self;
        let synced = self.sync(user).await;
        let list = json!({ "ranges": [[0, 0]], "timeline_limit": 2 });
        let slid = serde_json::from_value::<SlidingRequest>(json!({ "lists": { "all": list } })).unwrap();
        let session = Session {
            user_id: user.to_owned(),
            device_id: device().to_owned(),
        };
        let slid = server.homeserver.sliding_sync(&session, slid).await.unwrap();
        let slid = serde_json::to_value(slid).unwrap();
        let page = MessagesRequest {
            limit: Some(2),
            ..MessagesRequest::default()
        };
        let history = server.homeserver.messages(viewer(user), room, page);
        let history = serde_json::to_value(history.await.unwrap()).unwrap();
        let mut paged = texts(&history["chunk"]);
        paged.reverse();
        [
            texts(&synced["rooms"]["join"][room.as_str()]["timeline"]["events"]),
            texts(&slid["rooms"][room.as_str()]["timeline"]),
            paged,
        ]
    }
}

fn viewer(user_id: &UserId) -> Viewer<'_> {
    Viewer {
        user_id,
        device_id: None,
    }
}

fn texts(events: &Value) -> Vec<String> {
    let events = events.as_array().unwrap().iter();
    let bodies = events.filter_map(|event| event["content"]["body"].as_str());
    bodies.map(str::to_owned).collect()
}

#[tokio::test]
async fn nobody_is_told_of_what_was_said_where_they_were_not() {
    let fork = Fork::new().await;
    let server = &fork.server;
    assert_eq!(fork.told(&server.alice()).await, [["to all", "not to bob"]; 3]);
    assert_eq!(fork.told(&server.bob()).await, [["to all"]; 3]);
    // That whoever comes now may see what is said from now on changes nothing about it.
    let shared = json!({ "history_visibility": "shared" });
    let kind = "m.room.history_visibility";
    server
        .set(&server.alice(), &fork.room, kind, shared)
        .await
        .unwrap();
    assert_eq!(fork.told(&server.bob()).await, [["to all"]; 3]);
}

#[tokio::test]
async fn members_as_of_then_are_those_of_the_room_and_not_of_a_branch() {
    let fork = Fork::new().await;
    let Fork { server, room } = &fork;
    for user in [server.alice(), server.bob()] {
        let now = fork.sync(&user).await["next_batch"].clone();
        let request = MembersRequest {
            at: Some(now.as_str().unwrap().parse().unwrap()),
            not_membership: Some("leave".into()),
            ..MembersRequest::default()
        };
        let members = server.homeserver.members(viewer(&user), room, &request).await;
        let mut members: Vec<_> = members
            .unwrap()
            .iter()
            .map(|event| event.pdu().state_key().unwrap().to_owned())
            .collect();
        members.sort();
        let peer = Peer::new(7).user();
        let mut expected = [server.alice(), server.bob(), peer].map(|user| user.to_string());
        expected.sort();
        assert_eq!(members, expected, "{user}");
    }
}
