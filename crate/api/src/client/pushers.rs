//! Pushers and notifications. Spec: Client-Server API, section 'Push Notifications'.

use serde_json::json;

use super::messages::limit;
use crate::{
    answer::{self, Outcome},
    call::UserCall,
    router::{Route, user},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/_matrix/client/v3/pushers", user!(pushers)),
        Route::post("/_matrix/client/v3/pushers/set", user!(set_pusher)),
        Route::get("/_matrix/client/v3/notifications", user!(notifications)),
    ]
}

async fn pushers(call: UserCall) -> Outcome {
    let pushers = call.homeserver().pushers(&call.requester.user_id).await?;
    answer::json(&json!({"pushers": pushers}))
}

async fn set_pusher(mut call: UserCall) -> Outcome {
    let pusher = call.object().await?;
    let (user_id, device_id) = (&call.requester.user_id, &call.requester.device_id);
    call.homeserver().set_pusher(user_id, device_id, pusher).await?;
    answer::empty()
}

async fn notifications(call: UserCall) -> Outcome {
    let highlights = call.query.get("only") == Some("highlight");
    let (from, limit) = (call.query.get("from"), limit(&call)?);
    let homeserver = call.homeserver();
    answer::json(
        &homeserver
            .notifications(call.viewer(), from, limit, highlights)
            .await?,
    )
}
