//! Joining, knocking, inviting, leaving, kicking, banning. Spec: Client-Server API, section 'Room membership'.

use ruma_common::{OwnedRoomOrAliasId, OwnedUserId, RoomOrAliasId};
use serde::Deserialize;
use serde_json::json;

use crate::{
    answer::{self, Outcome},
    call::UserCall,
    error::ApiError,
    json,
    router::{Route, user},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/_matrix/client/v3/join/{roomIdOrAlias}", user!(join_by_alias)).limited(),
        Route::post("/_matrix/client/v3/rooms/{roomId}/join", user!(join)).limited(),
        Route::post("/_matrix/client/v3/knock/{roomIdOrAlias}", user!(knock)).limited(),
        Route::post("/_matrix/client/v3/rooms/{roomId}/invite", user!(invite)).limited(),
        Route::post("/_matrix/client/v3/rooms/{roomId}/leave", user!(leave)).limited(),
        Route::post("/_matrix/client/v3/rooms/{roomId}/forget", user!(forget)).limited(),
        Route::post("/_matrix/client/v3/rooms/{roomId}/kick", user!(kick)).limited(),
        Route::post("/_matrix/client/v3/rooms/{roomId}/ban", user!(ban)).limited(),
        Route::post("/_matrix/client/v3/rooms/{roomId}/unban", user!(unban)).limited(),
    ]
}

/// A body with a reason at most.
#[derive(Deserialize)]
struct Reason {
    reason: Option<String>,
}

/// A body that names a user.
#[derive(Deserialize)]
struct Target {
    user_id: OwnedUserId,
    reason: Option<String>,
}

async fn join_by_alias(call: UserCall) -> Outcome {
    let room: OwnedRoomOrAliasId = call.id("roomIdOrAlias")?;
    join_room(call, &room).await
}

async fn join(call: UserCall) -> Outcome {
    let room = call.room_id()?;
    join_room(call, (&*room).into()).await
}

async fn join_room(mut call: UserCall, room: &RoomOrAliasId) -> Outcome {
    let body: Reason = call.json_or_empty().await?;
    let via = call.query.servers();
    let room_id = call
        .homeserver()
        .join_room(&call.requester.user_id, room, &via, body.reason)
        .await?;
    answer::json(&json!({"room_id": room_id}))
}

async fn knock(mut call: UserCall) -> Outcome {
    let room: OwnedRoomOrAliasId = call.id("roomIdOrAlias")?;
    let body: Reason = call.json_or_empty().await?;
    let via = call.query.servers();
    let room_id = call
        .homeserver()
        .knock(&call.requester.user_id, &room, &via, body.reason)
        .await?;
    answer::json(&json!({"room_id": room_id}))
}

async fn invite(mut call: UserCall) -> Outcome {
    let body = call.object().await?;
    if !body.contains_key("user_id") && body.contains_key("medium") {
        return Err(ApiError::third_party_invite());
    }
    let target: Target = json::typed(body)?;
    let user_id = &call.requester.user_id;
    call.homeserver()
        .invite_user(user_id, &call.room_id()?, &target.user_id, target.reason)
        .await?;
    answer::empty()
}

async fn leave(mut call: UserCall) -> Outcome {
    let body: Reason = call.json_or_empty().await?;
    call.homeserver()
        .leave_room(&call.requester.user_id, &call.room_id()?, body.reason)
        .await?;
    answer::empty()
}

async fn forget(mut call: UserCall) -> Outcome {
    call.object_or_empty().await?;
    call.homeserver()
        .forget_room(&call.requester.user_id, &call.room_id()?)
        .await?;
    answer::empty()
}

async fn kick(mut call: UserCall) -> Outcome {
    let target = target(&mut call).await?;
    let user_id = &call.requester.user_id;
    call.homeserver()
        .kick_user(user_id, &call.room_id()?, &target.user_id, target.reason)
        .await?;
    answer::empty()
}

async fn ban(mut call: UserCall) -> Outcome {
    let target = target(&mut call).await?;
    let user_id = &call.requester.user_id;
    call.homeserver()
        .ban_user(user_id, &call.room_id()?, &target.user_id, target.reason)
        .await?;
    answer::empty()
}

async fn unban(mut call: UserCall) -> Outcome {
    let target = target(&mut call).await?;
    let user_id = &call.requester.user_id;
    call.homeserver()
        .unban_user(user_id, &call.room_id()?, &target.user_id, target.reason)
        .await?;
    answer::empty()
}

async fn target(call: &mut UserCall) -> Result<Target, ApiError> {
    call.json().await
}
