//! Events, history and state. Spec: Server-Server API, sections 'Retrieving events' and 'Backfilling and
//! retrieving missing events'.

use ruma_common::{EventId, OwnedEventId};
use serde_json::Value;

use crate::{
    answer::{self, Outcome},
    call::ServerCall,
    client::messages::moment,
    error::ApiError,
    router::{Route, server},
};

/// The most event ids that one request may begin at.
const MAX_FROM: usize = 50;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/_matrix/federation/v1/event/{eventId}", server!(event)),
        Route::get(
            "/_matrix/federation/v1/event_auth/{roomId}/{eventId}",
            server!(event_auth),
        ),
        Route::get(
            "/_matrix/federation/v1/timestamp_to_event/{roomId}",
            server!(timestamp_to_event),
        ),
        Route::get("/_matrix/federation/v1/state/{roomId}", server!(state)),
        Route::get("/_matrix/federation/v1/state_ids/{roomId}", server!(state_ids)),
        Route::get("/_matrix/federation/v1/backfill/{roomId}", server!(backfill)),
        Route::post(
            "/_matrix/federation/v1/get_missing_events/{roomId}",
            server!(missing_events),
        ),
        Route::post(
            "/_matrix/federation/unstable/org.hearth/events/{roomId}",
            server!(events),
        ),
        Route::post("/_matrix/federation/unstable/org.hearth/heads", server!(heads)),
    ]
}

async fn event(call: ServerCall) -> Outcome {
    answer::json(
        &call
            .homeserver()
            .federation_event(&call.requester, &call.event_id()?)
            .await?,
    )
}

async fn event_auth(call: ServerCall) -> Outcome {
    let (room_id, event_id) = (call.room_id()?, call.event_id()?);
    let answer = call
        .homeserver()
        .federation_event_auth(&call.requester, &room_id, &event_id)
        .await?;
    answer::bulk(call.homeserver(), answer)
}

async fn timestamp_to_event(call: ServerCall) -> Outcome {
    let room_id = call.room_id()?;
    let (ts, direction) = moment(&call.query)?;
    answer::json(
        &call
            .homeserver()
            .federation_event_at(&call.requester, &room_id, ts, direction)
            .await?,
    )
}

async fn state(call: ServerCall) -> Outcome {
    let (room_id, event_id) = (call.room_id()?, at(&call)?);
    let answer = call
        .homeserver()
        .federation_state(&call.requester, &room_id, &event_id)
        .await?;
    answer::bulk(call.homeserver(), answer)
}

async fn state_ids(call: ServerCall) -> Outcome {
    let (room_id, event_id) = (call.room_id()?, at(&call)?);
    answer::json(
        &call
            .homeserver()
            .federation_state_ids(&call.requester, &room_id, &event_id)
            .await?,
    )
}

async fn backfill(call: ServerCall) -> Outcome {
    let limit = call.query.required("limit")?;
    let limit = limit
        .parse()
        .map_err(|_| ApiError::invalid_param("limit is no number"))?;
    let from: Vec<OwnedEventId> = call
        .query
        .all("v")
        .take(MAX_FROM)
        .map(parse)
        .collect::<Result<_, _>>()?;
    if from.is_empty() {
        return Err(ApiError::missing_param("Missing query parameter v"));
    }
    answer::json(
        &call
            .homeserver()
            .backfill(&call.requester, &call.room_id()?, &from, limit)
            .await?,
    )
}

async fn missing_events(mut call: ServerCall) -> Outcome {
    let body = call.object().await?.into();
    answer::json(
        &call
            .homeserver()
            .missing_events(&call.requester, &call.room_id()?, body)
            .await?,
    )
}

async fn events(mut call: ServerCall) -> Outcome {
    let body = call.object().await?;
    let ids = body
        .get("event_ids")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let ids: Vec<OwnedEventId> = ids
        .map(|id| parse(id.as_str().unwrap_or_default()))
        .collect::<Result<_, _>>()?;
    let answer = call
        .homeserver()
        .federation_events(&call.requester, &call.room_id()?, &ids)
        .await?;
    answer::bulk(call.homeserver(), answer)
}

async fn heads(mut call: ServerCall) -> Outcome {
    let body = call.object().await?.into();
    answer::json(&call.homeserver().tell_heads(&call.requester, &body).await?)
}

/// The query parameter `event_id`.
fn at(call: &ServerCall) -> Result<OwnedEventId, ApiError> {
    parse(call.query.required("event_id")?)
}

fn parse(id: &str) -> Result<OwnedEventId, ApiError> {
    EventId::parse(id).map_err(|_| ApiError::invalid_param(format!("{id:?} is no event id")))
}
