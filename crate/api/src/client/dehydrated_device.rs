//! Dehydrated devices: proposal MSC3814, at the paths that matrix-js-sdk calls.

use hearth_homeserver::encryption::dehydrated::Dehydration;
use ruma_common::OwnedDeviceId;
use serde::Deserialize;
use serde_json::json;

use crate::{
    answer::{self, Outcome},
    call::UserCall,
    router::{Route, user},
};

const DEVICE: &str = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device";
const EVENTS: &str = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{deviceId}/events";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(DEVICE, user!(get)),
        Route::put(DEVICE, user!(put)).limited(),
        Route::delete(DEVICE, user!(delete)).limited(),
        Route::get(EVENTS, user!(events)),
        // The proposal itself has the method POST.
        Route::post(EVENTS, user!(posted_events)),
    ]
}

async fn get(call: UserCall) -> Outcome {
    answer::json(
        &call
            .homeserver()
            .dehydrated_device(&call.requester.user_id)
            .await?,
    )
}

async fn put(mut call: UserCall) -> Outcome {
    let wish: Dehydration = call.json().await?;
    let device_id = call.homeserver().dehydrate(&call.requester.user_id, wish).await?;
    answer::json(&json!({"device_id": device_id}))
}

async fn delete(call: UserCall) -> Outcome {
    let device_id = call
        .homeserver()
        .delete_dehydrated(&call.requester.user_id)
        .await?;
    answer::json(&json!({"device_id": device_id}))
}

async fn events(call: UserCall) -> Outcome {
    let from = call.query.get("next_batch").or(call.query.get("from"));
    let from = from.map(str::to_owned);
    tell(call, from).await
}

#[derive(Deserialize)]
struct From {
    next_batch: Option<String>,
}

async fn posted_events(mut call: UserCall) -> Outcome {
    let from: From = call.json_or_empty().await?;
    tell(call, from.next_batch).await
}

async fn tell(call: UserCall, from: Option<String>) -> Outcome {
    let device_id: OwnedDeviceId = call.param("deviceId").into();
    let events = call
        .homeserver()
        .dehydrated_events(&call.requester.user_id, &device_id, from.as_deref())
        .await?;
    answer::json(&events)
}
