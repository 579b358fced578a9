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
    let (homeserver, session) = (call.homeserver(), &call.requester);
    let news = homeserver.sliding_sync(session, request);
    answer::json(&homeserver.while_signed_in(session, news).await?)
}
