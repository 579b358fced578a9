//! Joining, leaving and inviting. Spec: Server-Server API, sections 'Joining rooms', 'Leaving rooms' and
//! 'Inviting to a room'.

use crate::{
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
        Route::get(
            "/_matrix/federation/v1/make_leave/{roomId}/{userId}",
            server!(make_leave),
        ),
        Route::put(
            "/_matrix/federation/v2/send_leave/{roomId}/{eventId}",
            server!(send_leave),
        ),
        Route::put(
            "/_matrix/federation/v2/invite/{roomId}/{eventId}",
            server!(invite),
        ),
    ]
}

async fn make_join(call: ServerCall) -> Outcome {
    let versions: Vec<String> = call.query.all("ver").map(str::to_owned).collect();
    let (room_id, user_id) = (call.room_id()?, call.user_id()?);
    answer::json(
        &call
            .homeserver()
            .make_join(&call.requester, &room_id, &user_id, &versions)
            .await?,
    )
}

async fn send_join(mut call: ServerCall) -> Outcome {
    let event = call.object().await?.into();
    let (room_id, event_id) = (call.room_id()?, call.event_id()?);
    let omit_members = call.query.boolean("omit_members")?.unwrap_or_default();
    answer::json(
        &call
            .homeserver()
            .accept_join(&call.requester, &room_id, &event_id, event, omit_members)
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
