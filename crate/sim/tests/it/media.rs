//! Files that users of other servers see.

use std::time::Duration;

use futures::TryStreamExt as _;
use hearth_homeserver::media::{Description, MediaUri};
use hearth_sim::{Client, World};
use ruma_common::UserId;

use crate::{world, world_with_room};

/// More than two pieces of what one server asks another for at once.
const LENGTH: usize = 5 << 20;

fn noise() -> Vec<u8> {
    (0..LENGTH).map(|at| (at ^ (at >> 9)) as u8).collect()
}

fn upload(world: &World, client: &Client) -> MediaUri {
    let homeserver = world.server(client.server).homeserver().unwrap().clone();
    let user_id = UserId::parse(client.user_id.as_str()).unwrap();
    world.block_on(async move {
        let description = Description::new(Some("image/png"), Some("a \"b\"; ö.png")).unwrap();
        let mut upload = homeserver.upload(&user_id, description).unwrap();
        upload.write(&noise()).await.unwrap();
        upload.finish().await.unwrap()
    })
}

/// What a user of `server` gets at `uri`: the description and the bytes, or why not.
fn download(world: &World, server: usize, uri: &MediaUri) -> Result<(Description, Vec<u8>), String> {
    let homeserver = world.server(server).homeserver().unwrap().clone();
    let uri = uri.clone();
    world.block_on(async move {
        let media = homeserver.media(&uri, Duration::ZERO, true).await;
        let media = media.map_err(|error| error.to_string())?;
        let chunks: Vec<_> = homeserver
            .read_media(&media, 0..media.size)
            .try_collect()
            .await
            .map_err(|error| error.to_string())?;
        Ok((media.description, chunks.concat()))
    })
}

#[test]
fn a_file_is_fetched_from_its_server_and_kept() {
    let (world, clients) = world(60, 2);
    let uri = upload(&world, &clients[0]);
    let (description, bytes) = download(&world, 1, &uri).unwrap();
    assert_eq!(description.content_type, "image/png");
    assert_eq!(description.file_name.as_deref(), Some("a \"b\"; ö.png"));
    assert!(bytes == noise());
    world.cut(0, 1);
    assert!(download(&world, 1, &uri).unwrap().1 == noise());
}

#[test]
fn another_member_hands_a_file_on() {
    let (world, clients, _) = world_with_room(61, 3);
    let uri = upload(&world, &clients[0]);
    world.cut(0, 2);
    assert!(download(&world, 2, &uri).is_err());
    download(&world, 1, &uri).unwrap();
    assert!(download(&world, 2, &uri).unwrap().1 == noise());
}

#[test]
fn a_file_that_is_not_what_its_id_says_is_refused() {
    let (world, clients, _) = world_with_room(62, 2);
    let uri = upload(&world, &clients[0]);
    // The first server claims to have a file of that id: the one of another id.
    let liar = world.server(0).store().clone();
    world.block_on(async move {
        use hearth_storage::{Direction, KeyRange, Table, WriteBatch};
        let rows = liar.scan(
            Table::Media,
            KeyRange::prefix(b"b".as_slice()),
            Direction::Forward,
            1,
        );
        let (key, mut chunk) = rows.await.unwrap().pop().unwrap();
        chunk[7] ^= 1;
        let mut batch = WriteBatch::new();
        batch.put(Table::Media, key, chunk);
        liar.commit(batch).await.unwrap();
    });
    assert!(download(&world, 1, &uri).is_err());
}

#[test]
fn a_name_that_cannot_be_is_left_out() {
    let (world, clients) = world(63, 2);
    let homeserver = world.server(0).homeserver().unwrap().clone();
    let user_id = UserId::parse(clients[0].user_id.as_str()).unwrap();
    let store = world.server(0).store().clone();
    let uri = world.block_on(async move {
        use hearth_storage::{Direction, KeyRange, Table, WriteBatch};
        let (uri, _) = homeserver.reserve_media(&user_id).await.unwrap();
        let description = Description::new(Some("image/png"), Some("short")).unwrap();
        let upload = homeserver.upload_reserved(&user_id, &uri.server, uri.id.clone(), description);
        let mut upload = upload.await.unwrap();
        upload.write(b"bytes").await.unwrap();
        let uri = upload.finish().await.unwrap();
        // As another kind of server may have it, which takes longer names.
        let prefix = KeyRange::prefix(b"f\0".as_slice());
        let rows = store.scan(Table::Media, prefix, Direction::Forward, 1).await;
        let (key, record) = rows.unwrap().pop().unwrap();
        let record = String::from_utf8(record).unwrap();
        let mut batch = WriteBatch::new();
        let record = record.replace("short", &"long".repeat(300));
        batch.put(Table::Media, key, record.into_bytes());
        store.commit(batch).await.unwrap();
        uri
    });
    let (description, bytes) = download(&world, 1, &uri).unwrap();
    assert_eq!(description, Description::new(Some("image/png"), None).unwrap());
    assert_eq!(bytes, b"bytes");
}
