//! Reporting rooms, events and users. Spec: Client-Server API, section 'Reporting Content'.

use hearth_homeserver::accounts::reports::{Subject, is_score};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    answer::{self, Outcome},
    call::UserCall,
    error::ApiError,
    router::{Route, user},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/_matrix/client/v3/rooms/{roomId}/report", user!(room)).limited(),
        Route::post("/_matrix/client/v3/rooms/{roomId}/report/{eventId}", user!(event)).limited(),
        Route::post("/_matrix/client/v3/users/{userId}/report", user!(reported_user)).limited(),
        // Ours: what was reported, for the administrator.
        Route::get("/_matrix/client/unstable/org.hearth/reports", user!(list)),
    ]
}

#[derive(Deserialize)]
struct Body {
    reason: Option<String>,
    score: Option<Value>,
}

async fn room(call: UserCall) -> Outcome {
    let room_id = call.room_id()?;
    keep_reasoned(call, Subject::Room { room_id }).await
}

async fn event(mut call: UserCall) -> Outcome {
    let (room_id, event_id) = (call.room_id()?, call.event_id()?);
    let body: Body = call.json_or_empty().await?;
    keep(call, Subject::Event { room_id, event_id }, body).await
}

async fn reported_user(call: UserCall) -> Outcome {
    let user_id = call.user_id()?;
    keep_reasoned(call, Subject::User { user_id }).await
}

/// Of a room or a user, where the specification wants a reason.
async fn keep_reasoned(mut call: UserCall, subject: Subject) -> Outcome {
    let body: Body = call.json().await?;
    match body.reason {
        Some(_) => keep(call, subject, body).await,
        None => Err(ApiError::missing_param("reason is missing")),
    }
}

async fn keep(call: UserCall, subject: Subject, body: Body) -> Outcome {
    if body.score.is_some_and(|score| !is_score(&score)) {
        return Err(ApiError::invalid_param("score is not from -100 to 0"));
    }
    call.homeserver()
        .report(&call.requester.user_id, subject, body.reason)
        .await?;
    answer::empty()
}

async fn list(call: UserCall) -> Outcome {
    let reports = call.homeserver().reports(&call.requester.user_id).await?;
    answer::json(&json!({"reports": reports}))
}
