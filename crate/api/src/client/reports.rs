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
    keep(call, Subject::Room { room_id }).await
}

async fn event(call: UserCall) -> Outcome {
    let (room_id, event_id) = (call.room_id()?, call.event_id()?);
    keep(call, Subject::Event { room_id, event_id }).await
}

async fn reported_user(call: UserCall) -> Outcome {
    let user_id = call.user_id()?;
    keep(call, Subject::User { user_id }).await
}

async fn keep(mut call: UserCall, subject: Subject) -> Outcome {
    let body: Body = call.json_or_empty().await?;
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
