//! Backups of room keys. Spec: Client-Server API, section 'Server-side key backups'.

use hearth_homeserver::encryption::backup::{BackedUpKey, BackupKeys, BackupScope, NewVersion, RoomKeys};
use ruma_common::OwnedRoomId;
use serde_json::json;

use crate::{
    answer::{self, Outcome},
    call::UserCall,
    error::ApiError,
    router::{Route, user},
};

const VERSIONS: &str = "/_matrix/client/v3/room_keys/version";
const VERSION: &str = "/_matrix/client/v3/room_keys/version/{version}";
const ALL: &str = "/_matrix/client/v3/room_keys/keys";
const ROOM: &str = "/_matrix/client/v3/room_keys/keys/{roomId}";
const SESSION: &str = "/_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post(VERSIONS, user!(create)).limited(),
        Route::get(VERSIONS, user!(newest)),
        Route::get(VERSION, user!(version)),
        Route::put(VERSION, user!(update)).limited(),
        Route::delete(VERSION, user!(delete)).limited(),
        Route::put(ALL, user!(put_all)).limited(),
        Route::get(ALL, user!(get_all)),
        Route::delete(ALL, user!(delete_all)).limited(),
        Route::put(ROOM, user!(put_room)).limited(),
        Route::get(ROOM, user!(get_room)),
        Route::delete(ROOM, user!(delete_room)).limited(),
        Route::put(SESSION, user!(put_session)).limited(),
        Route::get(SESSION, user!(get_session)),
        Route::delete(SESSION, user!(delete_session)).limited(),
    ]
}

async fn create(mut call: UserCall) -> Outcome {
    let new: NewVersion = call.json().await?;
    let version = call
        .homeserver()
        .create_backup(&call.requester.user_id, new)
        .await?;
    answer::json(&json!({"version": version}))
}

async fn newest(call: UserCall) -> Outcome {
    answer::json(&call.homeserver().backup(&call.requester.user_id, None).await?)
}

async fn version(call: UserCall) -> Outcome {
    let version = Some(call.param("version"));
    answer::json(&call.homeserver().backup(&call.requester.user_id, version).await?)
}

async fn update(mut call: UserCall) -> Outcome {
    let new: NewVersion = call.json().await?;
    let user_id = &call.requester.user_id;
    call.homeserver()
        .update_backup(user_id, call.param("version"), new)
        .await?;
    answer::empty()
}

async fn delete(call: UserCall) -> Outcome {
    let user_id = &call.requester.user_id;
    call.homeserver()
        .delete_backup(user_id, call.param("version"))
        .await?;
    answer::empty()
}

async fn put_all(mut call: UserCall) -> Outcome {
    let keys: BackupKeys = call.json().await?;
    put(call, keys).await
}

async fn put_room(mut call: UserCall) -> Outcome {
    let room_id = call.room_id()?;
    let rooms = [(room_id, call.json::<RoomKeys>().await?)].into();
    put(call, BackupKeys { rooms }).await
}

async fn put_session(mut call: UserCall) -> Outcome {
    let (room_id, session_id) = (call.room_id()?, session_id(&call));
    let sessions = [(session_id, call.json::<BackedUpKey>().await?)].into();
    let rooms = [(room_id, RoomKeys { sessions })].into();
    put(call, BackupKeys { rooms }).await
}

async fn put(call: UserCall, keys: BackupKeys) -> Outcome {
    let (user_id, version) = (&call.requester.user_id, call.query.required("version")?);
    answer::json(&call.homeserver().put_room_keys(user_id, version, keys).await?)
}

async fn get_all(call: UserCall) -> Outcome {
    answer::json(&get(call, BackupScope::All).await?)
}

async fn get_room(call: UserCall) -> Outcome {
    let room_id = call.room_id()?;
    let mut keys = get(call, BackupScope::Room(&room_id)).await?;
    answer::json(&keys.rooms.remove(&room_id).unwrap_or_default())
}

async fn get_session(call: UserCall) -> Outcome {
    let (room_id, session_id): (OwnedRoomId, _) = (call.room_id()?, session_id(&call));
    let mut keys = get(call, BackupScope::Session(&room_id, &session_id)).await?;
    let key = keys
        .rooms
        .remove(&room_id)
        .and_then(|mut room| room.sessions.remove(&session_id));
    match key {
        Some(key) => answer::json(&key),
        None => Err(ApiError::not_found("There is no such key")),
    }
}

async fn get(call: UserCall, scope: BackupScope<'_>) -> Result<BackupKeys, ApiError> {
    let (user_id, version) = (&call.requester.user_id, call.query.required("version")?);
    Ok(call.homeserver().room_keys(user_id, version, scope).await?)
}

async fn delete_all(call: UserCall) -> Outcome {
    remove(call, BackupScope::All).await
}

async fn delete_room(call: UserCall) -> Outcome {
    let room_id = call.room_id()?;
    remove(call, BackupScope::Room(&room_id)).await
}

async fn delete_session(call: UserCall) -> Outcome {
    let (room_id, session_id) = (call.room_id()?, session_id(&call));
    remove(call, BackupScope::Session(&room_id, &session_id)).await
}

async fn remove(call: UserCall, scope: BackupScope<'_>) -> Outcome {
    let (user_id, version) = (&call.requester.user_id, call.query.required("version")?);
    answer::json(
        &call
            .homeserver()
            .delete_room_keys(user_id, version, scope)
            .await?,
    )
}

fn session_id(call: &UserCall) -> String {
    call.param("sessionId").to_owned()
}
