//! Sliding sync (MSC4186).

use std::time::Duration;

use hearth_homeserver::sync::SlidingRequest;

use super::sync::presence;
use crate::{
    answer::{self, Outcome},
    call::UserCall,
    router::{Route, user},
};

pub(super) fn routes() -> Vec<Route> {
    let path = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";
    vec![Route::post(path, user!(sync))]
}

async fn sync(mut call: UserCall) -> Outcome {
    let mut request: SlidingRequest = call.json().await?;
    request.pos = call.query.get("pos").map(str::to_owned);
    request.timeout = Duration::from_millis(call.query.number("timeout")?.unwrap_or_default());
    request.presence = presence(&call)?;
    answer::json(&call.homeserver().sliding_sync(&call.requester, request).await?)
}
