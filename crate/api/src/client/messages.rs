//! History. Spec: Client-Server API, section 'Getting events for a room'.

use hearth_homeserver::{
    messages::{MessagesRequest, PageDirection},
    sync::EventFilter,
};

use crate::{
    answer::{self, Outcome},
    call::UserCall,
    error::ApiError,
    query::Query,
    router::{Route, user},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/_matrix/client/v3/rooms/{roomId}/messages", user!(messages)),
        Route::get("/_matrix/client/v3/rooms/{roomId}/event/{eventId}", user!(event)),
        Route::get(
            "/_matrix/client/v3/rooms/{roomId}/context/{eventId}",
            user!(context),
        ),
        Route::get(
            "/_matrix/client/v1/rooms/{roomId}/timestamp_to_event",
            user!(timestamp_to_event),
        ),
    ]
}

async fn messages(call: UserCall) -> Outcome {
    let room_id = call.room_id()?;
    let direction = call.query.parsed("dir", direction)?;
    let request = MessagesRequest {
        from: call.query.get("from").map(str::parse).transpose()?,
        to: call.query.get("to").map(str::parse).transpose()?,
        direction: direction.ok_or_else(|| ApiError::missing_param("Missing query parameter dir"))?,
        limit: limit(&call)?,
        filter: filter(&call)?,
    };
    answer::json(
        &call
            .homeserver()
            .messages(call.viewer(), &room_id, request)
            .await?,
    )
}

async fn event(call: UserCall) -> Outcome {
    let user_id = &call.requester.user_id;
    let event = call
        .homeserver()
        .event_for(user_id, &call.room_id()?, &call.event_id()?)
        .await?;
    let mut events = call.homeserver().bundled_events(&[event], call.viewer()).await?;
    answer::json(&events.pop())
}

async fn context(call: UserCall) -> Outcome {
    let (room_id, event_id) = (call.room_id()?, call.event_id()?);
    let (limit, filter) = (limit(&call)?, filter(&call)?);
    answer::json(
        &call
            .homeserver()
            .event_context(call.viewer(), &room_id, &event_id, limit, &filter)
            .await?,
    )
}

async fn timestamp_to_event(call: UserCall) -> Outcome {
    let (room_id, user_id) = (call.room_id()?, &call.requester.user_id);
    let (ts, direction) = moment(&call.query)?;
    answer::json(
        &call
            .homeserver()
            .event_at(user_id, &room_id, ts, direction)
            .await?,
    )
}

/// The moment that a query names, and the direction in which to look from there.
pub(crate) fn moment(query: &Query) -> Result<(u64, PageDirection), ApiError> {
    let missing = |name: &str| ApiError::missing_param(format!("Missing query parameter {name}"));
    let ts = query.number("ts")?.ok_or_else(|| missing("ts"))?;
    let direction = query.parsed("dir", direction)?;
    Ok((ts, direction.ok_or_else(|| missing("dir"))?))
}

pub(super) fn direction(name: &str) -> Option<PageDirection> {
    match name {
        "b" => Some(PageDirection::Backward),
        "f" => Some(PageDirection::Forward),
        _ => None,
    }
}

pub(super) fn limit(call: &UserCall) -> Result<Option<usize>, ApiError> {
    Ok(call
        .query
        .number("limit")?
        .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)))
}

fn filter(call: &UserCall) -> Result<EventFilter, ApiError> {
    Ok(call
        .query
        .get("filter")
        .map(EventFilter::parse)
        .transpose()?
        .unwrap_or_default())
}
