//! Making rooms, and which the user is in. Spec: Client-Server API, sections 'Creation' and 'Room membership'.

use hearth_homeserver::rooms::{create::CreateRoom, upgrade::UpgradeRoom};
use ruma_common::UserId;
use serde_json::{Value, json};

use crate::{
    answer::{self, Outcome},
    call::UserCall,
    error::ApiError,
    json,
    router::{Route, user},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/_matrix/client/v3/createRoom", user!(create)).limited(),
        Route::get("/_matrix/client/v3/joined_rooms", user!(joined)),
        Route::get("/_matrix/client/v1/mutual_rooms", user!(mutual)),
        // As it was called before it was part of the specification (MSC2666).
        Route::get(
            "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms",
            user!(mutual),
        ),
        Route::get("/_matrix/client/v3/rooms/{roomId}/aliases", user!(aliases)),
        Route::post("/_matrix/client/v3/rooms/{roomId}/upgrade", user!(upgrade)).limited(),
    ]
}

async fn create(mut call: UserCall) -> Outcome {
    let body = call.object_or_empty().await?;
    let third_parties = body.get("invite_3pid").and_then(Value::as_array);
    if third_parties.is_some_and(|invited| !invited.is_empty()) {
        return Err(ApiError::third_party_invite());
    }
    let request: CreateRoom = json::typed(body)?;
    let room_id = call
        .homeserver()
        .create_room(&call.requester.user_id, request)
        .await?;
    answer::json(&json!({"room_id": room_id}))
}

async fn joined(call: UserCall) -> Outcome {
    answer::json(&json!({"joined_rooms": call.homeserver().joined_rooms(&call.requester.user_id)}))
}

/// The rooms that the user shares with another: all of them, in one page.
async fn mutual(call: UserCall) -> Outcome {
    let other = call.query.required("user_id")?;
    let other = UserId::parse(other).map_err(|_| ApiError::invalid_param("user_id is no user id"))?;
    if call.query.get("from").or(call.query.get("batch_token")).is_some() {
        return Err(ApiError::invalid_param("There is one page only"));
    }
    let own = &call.requester.user_id;
    if other == *own {
        return Err(ApiError::invalid_param("user_id is your own"));
    }
    let joined = call.homeserver().mutual_rooms(own, &other).await?;
    answer::json(&json!({"joined": joined, "count": joined.len()}))
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
