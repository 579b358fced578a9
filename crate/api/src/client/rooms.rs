//! Making rooms, and which the user is in. Spec: Client-Server API, sections 'Creation' and 'Room membership'.

use hearth_homeserver::rooms::{create::CreateRoom, upgrade::UpgradeRoom};
use serde_json::json;

use crate::{
    answer::{self, Outcome},
    call::UserCall,
    router::{Route, user},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/_matrix/client/v3/createRoom", user!(create)).limited(),
        Route::get("/_matrix/client/v3/joined_rooms", user!(joined)),
        Route::get("/_matrix/client/v3/rooms/{roomId}/aliases", user!(aliases)),
        Route::post("/_matrix/client/v3/rooms/{roomId}/upgrade", user!(upgrade)).limited(),
    ]
}

async fn create(mut call: UserCall) -> Outcome {
    let request: CreateRoom = call.json_or_empty().await?;
    let room_id = call
        .homeserver()
        .create_room(&call.requester.user_id, request)
        .await?;
    answer::json(&json!({"room_id": room_id}))
}

async fn joined(call: UserCall) -> Outcome {
    answer::json(&json!({"joined_rooms": call.homeserver().joined_rooms(&call.requester.user_id)}))
}

async fn aliases(call: UserCall) -> Outcome {
    let aliases = call
        .homeserver()
        .room_aliases(&call.requester.user_id, &call.room_id()?)
        .await?;
    answer::json(&json!({"aliases": aliases}))
}

async fn upgrade(mut call: UserCall) -> Outcome {
    let room_id = call.room_id()?;
    let request: UpgradeRoom = call.json().await?;
    let replacement = call
        .homeserver()
        .upgrade_room(&call.requester.user_id, &room_id, request)
        .await?;
    answer::json(&json!({"replacement_room": replacement}))
}
