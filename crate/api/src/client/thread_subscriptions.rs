//! Which threads a user follows (MSC4306, MSC4308).

use ruma_common::OwnedEventId;
use serde::Deserialize;
use serde_json::json;

use crate::{
    answer::{self, Outcome},
    call::UserCall,
    error::ApiError,
    router::{Route, user},
};

const SUBSCRIPTION: &str =
    "/_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{threadRoot}/subscription";
/// How many changes a page has if the client does not say, and at most.
const LIMIT: u64 = 100;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(SUBSCRIPTION, user!(get)),
        Route::put(SUBSCRIPTION, user!(put)).limited(),
        Route::delete(SUBSCRIPTION, user!(delete)).limited(),
        Route::get(
            "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions",
            user!(changes),
        ),
    ]
}

fn thread(call: &UserCall) -> Result<OwnedEventId, ApiError> {
    call.id("threadRoot")
}

async fn get(call: UserCall) -> Outcome {
    let automatic = call
        .homeserver()
        .thread_subscription(&call.requester.user_id, &call.room_id()?, &thread(&call)?)
        .await?;
    answer::json(&json!({"automatic": automatic}))
}

#[derive(Deserialize)]
struct Subscribe {
    automatic: Option<OwnedEventId>,
}

async fn put(mut call: UserCall) -> Outcome {
    let (room_id, thread) = (call.room_id()?, thread(&call)?);
    let request: Subscribe = call.json_or_empty().await?;
    call.homeserver()
        .subscribe_thread(
            &call.requester.user_id,
            &room_id,
            &thread,
            request.automatic.as_deref(),
        )
        .await?;
    answer::empty()
}

async fn delete(call: UserCall) -> Outcome {
    call.homeserver()
        .unsubscribe_thread(&call.requester.user_id, &call.room_id()?, &thread(&call)?)
        .await?;
    answer::empty()
}

/// Pages go from new to old: `from` is where the last one ended, `to` where the client's knowledge does.
async fn changes(call: UserCall) -> Outcome {
    if call.query.get("dir").is_some_and(|direction| direction != "b") {
        return Err(ApiError::invalid_param("dir can only be b"));
    }
    let limit = call.query.number("limit")?.unwrap_or(LIMIT).clamp(1, LIMIT);
    let from = call.query.number("from")?.unwrap_or(u64::MAX);
    let to = call.query.parsed("to", place)?.unwrap_or_default();
    let changes = call
        .homeserver()
        .subscription_changes(
            &call.requester.user_id,
            to,
            from,
            usize::try_from(limit).unwrap_or(usize::MAX),
        )
        .await?;
    // matrix-rust-sdk reads no page that lacks one of the two.
    let mut page = json!({"subscribed": changes.subscribed, "unsubscribed": changes.unsubscribed});
    if let (Some(page), Some(end)) = (page.as_object_mut(), changes.prev_batch) {
        page.insert("end".into(), end.into());
    }
    answer::json(&page)
}

/// The log position that a token of this endpoint or a `pos` of sliding sync is.
fn place(token: &str) -> Option<u64> {
    match token.parse() {
        Ok(place) => Some(place),
        Err(_) => hearth_homeserver::sync::position_of_pos(token),
    }
}
