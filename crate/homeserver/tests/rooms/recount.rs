//! Databases of the first release, which kept no counts of members, and left some rows behind.

use hearth_storage::{Direction, KeyRange, Store, Table};
use ruma_common::{ServerName, UserId};

use crate::{
    large_room::{Form, SERVERS, leave_stale_row, user, with_members},
    support::Server,
};

#[tokio::test]
async fn members_of_an_old_database_are_counted_once() {
    let server = Server::new().await;
    let room = server.public_room().await;
    leave_stale_row(&server, &room, 500).await;
    let server = with_members(server, &room, 50, Form::Uncounted).await;
    for _ in 0..2 {
        let opened = server.homeserver.room(&room).await.unwrap().unwrap();
        let snapshot = opened.snapshot();
        let members = snapshot.members();
        assert_eq!((members.joined, members.invited), (51, 0));
        assert_eq!((members.local, members.all), (1, 51));
        let servers = server.homeserver.servers(&snapshot).await.unwrap();
        assert_eq!(servers.len(), usize::from(SERVERS) + 1);
        assert_eq!(servers.values().sum::<u64>(), 51);
    }
    server.store.take();
    let server = server.restarted().await;
    server.homeserver.room(&room).await.unwrap().unwrap();
    assert_eq!(server.store.take().commits, 0);
    let rows = KeyRange::prefix(format!("r\0{room}\0"));
    let rows = server
        .store
        .rows
        .scan(Table::Memberships, rows, Direction::Forward, 1000);
    let keys: Vec<_> = rows.await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), 51);
    assert!(!keys.contains(&format!("r\0{room}\0{}", user(500)).into_bytes()));
}

#[tokio::test]
async fn counts_follow_the_members() {
    let server = Server::new().await;
    let (alice, bob) = (server.alice(), server.bob());
    let room = server.public_room().await;
    let server = with_members(server, &room, 4, Form::Uncounted).await;
    let counts = async |server: &Server| {
        let opened = server.homeserver.room(&room).await.unwrap().unwrap();
        let members = opened.snapshot().members();
        (members.joined, members.invited, members.local, members.all)
    };
    assert_eq!(counts(&server).await, (5, 0, 1, 5));
    server
        .homeserver
        .invite_user(&alice, &room, &bob, None)
        .await
        .unwrap();
    assert_eq!(counts(&server).await, (5, 1, 1, 6));
    server.join(&bob, &room).await.unwrap();
    assert_eq!(counts(&server).await, (6, 0, 2, 6));
    let remote = UserId::parse(user(1)).unwrap();
    let its_server: &ServerName = remote.server_name();
    let has_server = async |server: &Server| {
        let opened = server.homeserver.room(&room).await.unwrap().unwrap();
        let servers = server.homeserver.servers(&opened.snapshot()).await.unwrap();
        servers.contains_key(its_server)
    };
    assert!(has_server(&server).await);
    server
        .homeserver
        .ban_user(&alice, &room, &remote, None)
        .await
        .unwrap();
    assert_eq!(counts(&server).await, (5, 0, 2, 6));
    assert!(!has_server(&server).await);
    server.homeserver.leave_room(&bob, &room, None).await.unwrap();
    assert_eq!(counts(&server).await, (4, 0, 1, 6));
    let server = server.restarted().await;
    assert_eq!(counts(&server).await, (4, 0, 1, 6));
    assert!(!has_server(&server).await);
}
