//! State events, read and set. Spec: Client-Server API, sections 'Getting events for a room' and 'Sending events'.

use hearth_homeserver::rooms::delayed::Wish;
use serde_json::json;

use super::delayed;
use crate::{
    answer::{self, Outcome},
    call::UserCall,
    error::ApiError,
    router::{Route, user},
};

const STATE: &str = "/_matrix/client/v3/rooms/{roomId}/state";
const WITHOUT_KEY: &str = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}";
const EMPTY_KEY: &str = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/";
const WITH_KEY: &str = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(STATE, user!(all)),
        Route::get(WITHOUT_KEY, user!(get)),
        Route::get(EMPTY_KEY, user!(get)),
        Route::get(WITH_KEY, user!(get)),
        Route::put(WITHOUT_KEY, user!(put)).limited(),
        Route::put(EMPTY_KEY, user!(put)).limited(),
        Route::put(WITH_KEY, user!(put)).limited(),
    ]
}

async fn all(call: UserCall) -> Outcome {
    let state = call
        .homeserver()
        .room_state(&call.requester.user_id, &call.room_id()?)
        .await?;
    answer::json(&call.homeserver().client_events(&state, call.viewer()).await?)
}

async fn get(call: UserCall) -> Outcome {
    let (kind, state_key) = (call.param("eventType"), call.param("stateKey"));
    let user_id = &call.requester.user_id;
    let event = call
        .homeserver()
        .state_event(user_id, &call.room_id()?, kind, state_key)
        .await?;
    match call.query.get("format") {
        None | Some("content") => answer::json(&call.homeserver().client_content(&event, call.viewer())),
        Some("event") => {
            let mut events = call.homeserver().client_events(&[event], call.viewer()).await?;
            answer::json(&events.pop())
        }
        Some(_) => Err(ApiError::invalid_param("format is neither content nor event")),
    }
}

async fn put(mut call: UserCall) -> Outcome {
    let content = call.object().await?;
    if let Some(delay) = delayed::delay(&call)? {
        let (kind, state_key) = (
            call.param("eventType").to_owned(),
            call.param("stateKey").to_owned(),
        );
        let wish = Wish {
            kind: &kind,
            state_key: Some(&state_key),
            txn_id: None,
            content,
            delay,
        };
        return delayed::send_later(call, wish).await;
    }
    let (kind, state_key) = (call.param("eventType"), call.param("stateKey"));
    let user_id = &call.requester.user_id;
    let event_id = call
        .homeserver()
        .send_state(user_id, &call.room_id()?, kind, state_key, content)
        .await?;
    answer::json(&json!({"event_id": event_id}))
}
