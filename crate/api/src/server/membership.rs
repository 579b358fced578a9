//! Joining, knocking, leaving and inviting. Spec: Server-Server API, sections 'Joining rooms', 'Knocking upon a room',
//! 'Leaving rooms' and 'Inviting to a room'.

use futures::{StreamExt as _, stream};
use serde_json::json;

use crate::{
    Body,
    answer::{self, Outcome},
    call::ServerCall,
    router::{Route, server},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/_matrix/federation/v1/make_join/{roomId}/{userId}",
            server!(make_join),
        ),
        Route::put(
            "/_matrix/federation/v2/send_join/{roomId}/{eventId}",
            server!(send_join),
        ),
        Route::put(
            "/_matrix/federation/v1/send_join/{roomId}/{eventId}",
            server!(send_join_v1),
        ),
        Route::get(
            "/_matrix/federation/v1/make_knock/{roomId}/{userId}",
            server!(make_knock),
        ),
        Route::put(
            "/_matrix/federation/v1/send_knock/{roomId}/{eventId}",
            server!(send_knock),
        ),
        Route::get(
            "/_matrix/federation/v1/make_leave/{roomId}/{userId}",
            server!(make_leave),
        ),
        Route::put(
            "/_matrix/federation/v2/send_leave/{roomId}/{eventId}",
            server!(send_leave),
        ),
        Route::put(
            "/_matrix/federation/v1/send_leave/{roomId}/{eventId}",
            server!(send_leave_v1),
        ),
        Route::put(
            "/_matrix/federation/v2/invite/{roomId}/{eventId}",
            server!(invite),
        ),
        Route::put(
            "/_matrix/federation/v1/invite/{roomId}/{eventId}",
            server!(invite_v1),
        ),
    ]
}

async fn make_join(call: ServerCall) -> Outcome {
    let (room_id, user_id, versions) = (call.room_id()?, call.user_id()?, versions(&call));
    answer::json(
        &call
            .homeserver()
            .make_join(&call.requester, &room_id, &user_id, &versions)
            .await?,
    )
}

/// The room versions that the other server supports.
fn versions(call: &ServerCall) -> Vec<String> {
    let mut versions: Vec<String> = call.query.all("ver").map(str::to_owned).collect();
    if versions.is_empty() {
        versions.push("1".into());
    }
    versions
}

async fn send_join(mut call: ServerCall) -> Outcome {
    let event = call.object().await?.into();
    let (room_id, event_id) = (call.room_id()?, call.event_id()?);
    let omit_members = call.query.boolean("omit_members")?.unwrap_or_default();
    let accepted = call
        .homeserver()
        .accept_join(&call.requester, &room_id, &event_id, event, omit_members)
        .await?;
    answer::bulk(call.homeserver(), accepted)
}

/// The deprecated form, whose answer is in an array with its status.
async fn send_join_v1(mut call: ServerCall) -> Outcome {
    let event = call.object().await?.into();
    let (room_id, event_id) = (call.room_id()?, call.event_id()?);
    let accepted = call
        .homeserver()
        .accept_join(&call.requester, &room_id, &event_id, event, false)
        .await?;
    let answer = answer::bulk(call.homeserver(), accepted)?;
    let part = |text: &'static str| stream::once(async move { Ok(text.into()) });
    Ok(answer.map(|body| Body::stream(part("[200,").chain(body).chain(part("]")))))
}

async fn make_knock(call: ServerCall) -> Outcome {
    let (room_id, user_id, versions) = (call.room_id()?, call.user_id()?, versions(&call));
    answer::json(
        &call
            .homeserver()
            .make_knock(&call.requester, &room_id, &user_id, &versions)
            .await?,
    )
}

async fn send_knock(mut call: ServerCall) -> Outcome {
    let event = call.object().await?.into();
    let (room_id, event_id) = (call.room_id()?, call.event_id()?);
    answer::json(
        &call
            .homeserver()
            .accept_knock(&call.requester, &room_id, &event_id, event)
            .await?,
    )
}

async fn make_leave(call: ServerCall) -> Outcome {
    let (room_id, user_id) = (call.room_id()?, call.user_id()?);
    answer::json(
        &call
            .homeserver()
            .make_leave(&call.requester, &room_id, &user_id)
            .await?,
    )
}

async fn send_leave(mut call: ServerCall) -> Outcome {
    let event = call.object().await?.into();
    let (room_id, event_id) = (call.room_id()?, call.event_id()?);
    answer::json(
        &call
            .homeserver()
            .accept_leave(&call.requester, &room_id, &event_id, event)
            .await?,
    )
}

/// The deprecated form, whose answer is in an array with its status.
async fn send_leave_v1(mut call: ServerCall) -> Outcome {
    let event = call.object().await?.into();
    let (room_id, event_id) = (call.room_id()?, call.event_id()?);
    let accepted = call
        .homeserver()
        .accept_leave(&call.requester, &room_id, &event_id, event)
        .await?;
    answer::json(&(200, accepted))
}

async fn invite(mut call: ServerCall) -> Outcome {
    let body = call.object().await?.into();
    let (room_id, event_id) = (call.room_id()?, call.event_id()?);
    answer::json(
        &call
            .homeserver()
            .receive_invite(&call.requester, &room_id, &event_id, body)
            .await?,
    )
}

/// The deprecated form, for rooms of versions 1 and 2, whose events have one format: the body is the event, with
/// the stripped state in `unsigned`, and the answer is in an array with its status.
async fn invite_v1(mut call: ServerCall) -> Outcome {
    let event = call.object().await?;
    let (room_id, event_id) = (call.room_id()?, call.event_id()?);
    let unsigned = event.get("unsigned");
    let stripped = unsigned.and_then(|unsigned| unsigned.get("invite_room_state"));
    let stripped = stripped.cloned().unwrap_or_default();
    let body = json!({ "room_version": "1", "event": event, "invite_room_state": stripped });
    let signed = call
        .homeserver()
        .receive_invite(&call.requester, &room_id, &event_id, body)
        .await?;
    answer::json(&(200, signed))
}
