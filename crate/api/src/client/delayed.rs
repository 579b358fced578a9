//! Events that are sent later (MSC4140), as matrix-js-sdk 43 asks for them.

use hearth_homeserver::rooms::delayed::{Action, DelayedEvent, Wish};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    answer::{self, Outcome},
    call::{PublicCall, UserCall},
    error::ApiError,
    router::{Route, public, user},
};

const ALL: &str = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events";
const ONE: &str = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}";
const ACTION: &str = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}/{action}";
/// What a request to send an event has in its query if that is to happen later.
const DELAY: &str = "org.matrix.msc4140.delay";
/// What it has if that is to happen with another event: an older form.
const PARENT: &str = "org.matrix.msc4140.parent_delay_id";
/// The most events of a list.
const PAGE: usize = 100;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(ALL, user!(list)),
        Route::get(ONE, user!(get)),
        // Whoever has the id may: a service that notices that a client is gone has no access token.
        Route::post(ONE, public!(update)).limited(),
        Route::post(ACTION, public!(act)).limited(),
    ]
}

/// By how much the event is to be delayed, in milliseconds; `None` if it is not.
///
/// # Errors
/// `M_INVALID_PARAM` if the delay is no number, or depends on another event.
pub(super) fn delay(call: &UserCall) -> Result<Option<u64>, ApiError> {
    if call.query.get(PARENT).is_some() {
        return Err(ApiError::invalid_param(
            "Events cannot depend on others that are delayed",
        ));
    }
    call.query.number(DELAY)
}

/// Sends later what `call` asks for.
pub(super) async fn send_later(call: UserCall, wish: Wish<'_>) -> Outcome {
    let (session, room_id) = (call.requester.clone(), call.room_id()?);
    let homeserver = call.homeserver().clone();
    drop(call);
    let sending = homeserver.send_later(&session.user_id, &session.device_id, &room_id, wish);
    answer::json(&json!({"delay_id": sending.await?}))
}

async fn list(call: UserCall) -> Outcome {
    let from = call.query.number("from")?.unwrap_or_default();
    let status = call.query.get("status");
    if !matches!(status, None | Some("scheduled" | "finalised")) {
        return Err(ApiError::invalid_param(
            "status is neither scheduled nor finalised",
        ));
    }
    let ids: Vec<_> = call.query.all("delay_id").map(str::to_owned).collect();
    let wanted = |event: &DelayedEvent| {
        let is_of_status = match status {
            Some("scheduled") => event.finalised.is_none(),
            Some(_) => event.finalised.is_some(),
            None => true,
        };
        is_of_status && (ids.is_empty() || ids.contains(&event.delay_id))
    };
    let user_id = call.requester.user_id.clone();
    let mut events = call.homeserver().delayed_events(&user_id).await?;
    events.retain(wanted);
    let start = usize::try_from(from).unwrap_or(usize::MAX);
    let end = start.saturating_add(PAGE);
    let more = events.len() > end;
    let page: Vec<_> = events.into_iter().skip(start).take(PAGE).collect();
    let (scheduled, finalised): (Vec<_>, Vec<_>) = page.iter().partition(|event| event.finalised.is_none());
    let scheduled: Vec<_> = scheduled.into_iter().map(scheduled_json).collect();
    let mut body = json!({
        // As Synapse calls it, after an earlier form of the proposal.
        "delayed_events": scheduled,
        "scheduled": scheduled,
        "finalised": finalised.into_iter().filter_map(finalised_json).collect::<Vec<_>>(),
    });
    if more {
        body["next_batch"] = end.to_string().into();
    }
    answer::json(&body)
}

async fn get(call: UserCall) -> Outcome {
    let user_id = &call.requester.user_id;
    let event = call
        .homeserver()
        .delayed_event(user_id, call.param("delayId"))
        .await?;
    let mut body = json!({
        "delay_id": event.delay_id, "room_id": event.room_id, "type": event.kind, "content": event.content,
        "delay_ms": event.delay, "delayed_since_ts": event.running_since,
    });
    if let Some(state_key) = &event.state_key {
        body["state_key"] = state_key.as_str().into();
    }
    if let Some(finalised) = &event.finalised {
        body["finalised"] = json!({"finalised_ts": finalised.at});
        if let Some(event_id) = &finalised.event_id {
            body["finalised"]["event_id"] = json!(event_id);
        }
        if let Some(error) = &finalised.error {
            body["finalised"]["error"] = error_json(error);
        }
    }
    answer::json(&body)
}

#[derive(Deserialize)]
struct Update {
    action: String,
}

/// The older form, whose action is in the body.
async fn update(mut call: PublicCall) -> Outcome {
    let Update { action } = call.json().await?;
    let action = action_of(&action)?;
    finish(call, action).await
}

async fn act(mut call: PublicCall) -> Outcome {
    call.object_or_empty().await?;
    let action = action_of(call.param("action")).map_err(|_| ApiError::unrecognized())?;
    finish(call, action).await
}

fn action_of(action: &str) -> Result<Action, ApiError> {
    match action {
        "cancel" => Ok(Action::Cancel),
        "restart" => Ok(Action::Restart),
        "send" => Ok(Action::Send),
        _ => Err(ApiError::invalid_param(
            "The action is none of cancel, restart and send",
        )),
    }
}

async fn finish(call: PublicCall, action: Action) -> Outcome {
    call.homeserver()
        .update_delayed(call.param("delayId"), action)
        .await?;
    answer::empty()
}

fn scheduled_json(event: &DelayedEvent) -> Value {
    let mut json = json!({
        "delay_id": event.delay_id, "room_id": event.room_id, "type": event.kind, "content": event.content,
        "delay": event.delay, "running_since": event.running_since,
    });
    if let Some(state_key) = &event.state_key {
        json["state_key"] = state_key.as_str().into();
    }
    json
}

fn finalised_json(event: &DelayedEvent) -> Option<Value> {
    let finalised = event.finalised.as_ref()?;
    let mut json = json!({
        "delayed_event": scheduled_json(event), "outcome": finalised.outcome, "reason": finalised.reason,
        "origin_server_ts": finalised.at,
    });
    if let Some(event_id) = &finalised.event_id {
        json["event_id"] = json!(event_id);
    }
    if let Some(error) = &finalised.error {
        json["error"] = error_json(error);
    }
    Some(json)
}

fn error_json(error: &str) -> Value {
    json!({"errcode": "M_FORBIDDEN", "error": error})
}
