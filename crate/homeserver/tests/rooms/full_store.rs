//! Clients read on where nothing can be stored any more.

use std::sync::atomic::Ordering;

use hearth_homeserver::{
    Error,
    accounts::{NewDevice, Registration, Session},
    sync::SyncRequest,
};
use hearth_storage::StoreError;
use serde_json::{Value, json};

use crate::support::{Server, device, object};

/// What a sync from `since` tells a device: the texts of messages for it, and the next token.
async fn sync(server: &Server, session: &Session, since: Option<&str>) -> (Vec<String>, String) {
    let request = SyncRequest {
        since: since.map(|since| since.parse().unwrap()),
        ..SyncRequest::default()
    };
    let homeserver = &server.homeserver;
    let answer = homeserver
        .sync(&session.user_id, &session.device_id, request)
        .await;
    let answer = serde_json::to_value(answer.unwrap()).unwrap();
    let messages = answer["to_device"]["events"].as_array().cloned();
    let text = |message: Value| message["content"]["text"].as_str().unwrap().to_owned();
    let texts = messages.into_iter().flatten().map(text).collect();
    (texts, answer["next_batch"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn messages_for_a_device_stay_and_are_told_once() {
    let server = Server::new().await;
    let homeserver = &server.homeserver;
    let wish = Registration {
        device: Some(NewDevice::default()),
        ..Registration::default()
    };
    let (user_id, login) = homeserver.register(wish).await.unwrap();
    let device_id = login.unwrap().device_id;
    let client = Session { user_id, device_id };
    let send = async |text: &str| {
        let messages = json!({ &client.user_id: { &client.device_id: { "text": text } } });
        let messages = serde_json::from_value(messages).unwrap();
        let sent = homeserver.send_to_device(&client, "m.dummy", text, messages);
        sent.await.unwrap();
    };
    send("first").await;
    let (told, token) = sync(&server, &client, None).await;
    assert_eq!(told, ["first"]);

    server.store.is_full.store(true, Ordering::Relaxed);
    let (told, token) = sync(&server, &client, Some(&token)).await;
    assert!(told.is_empty());
    let (told, _) = sync(&server, &client, None).await;
    assert_eq!(told, ["first"], "it could not be deleted");

    server.store.is_full.store(false, Ordering::Relaxed);
    send("second").await;
    let (told, _) = sync(&server, &client, Some(&token)).await;
    assert_eq!(told, ["second"]);
    let (told, _) = sync(&server, &client, None).await;
    assert_eq!(told, ["second"], "the first is deleted");
}

#[tokio::test]
async fn a_filter_that_is_stored_is_given_its_id() {
    let server = Server::new().await;
    let (homeserver, alice) = (&server.homeserver, server.alice());
    let filter = |limit: u64| object(json!({ "room": { "timeline": { "limit": limit } } }));
    let id = homeserver.store_filter(&alice, &filter(1)).await.unwrap();
    server.store.is_full.store(true, Ordering::Relaxed);
    assert_eq!(homeserver.store_filter(&alice, &filter(1)).await.unwrap(), id);
    let other = homeserver.store_filter(&alice, &filter(2)).await;
    assert!(matches!(other, Err(Error::Store(StoreError::Full))), "{other:?}");
}

#[tokio::test]
async fn sliding_sync_goes_on() {
    let server = Server::new().await;
    let client = Session {
        user_id: server.alice(),
        device_id: device().to_owned(),
    };
    let room_id = server.public_room().await;
    server.store.is_full.store(true, Ordering::Relaxed);
    let answer = server.slide(&client, Value::Null).await;
    assert!(answer["rooms"][room_id.as_str()].is_object(), "{answer}");
    let answer = server.slide(&client, answer["pos"].clone()).await;
    assert_eq!(answer["rooms"], json!({}), "it is told once");
}
