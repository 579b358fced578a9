//! Messages from device to device. Spec: Client-Server API, section 'Send-to-Device messaging'.

use hearth_homeserver::encryption::to_device::Messages;
use serde::Deserialize;

use crate::{
    answer::{self, Outcome},
    call::UserCall,
    router::{Route, user},
};

pub(super) fn routes() -> Vec<Route> {
    vec![Route::put("/_matrix/client/v3/sendToDevice/{eventType}/{txnId}", user!(send)).limited()]
}

#[derive(Deserialize)]
struct Request {
    messages: Messages,
}

async fn send(mut call: UserCall) -> Outcome {
    let request: Request = call.json().await?;
    let (kind, txn_id) = (call.param("eventType"), call.param("txnId"));
    call.homeserver()
        .send_to_device(&call.requester, kind, txn_id, request.messages)
        .await?;
    answer::empty()
}
