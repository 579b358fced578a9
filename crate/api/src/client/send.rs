//! Sending and redacting. Spec: Client-Server API, sections 'Sending events to a room' and 'Redactions'.

use hearth_homeserver::rooms::delayed::Wish;
use serde::Deserialize;
use serde_json::json;

use super::delayed;
use crate::{
    answer::{self, Outcome},
    call::UserCall,
    router::{Route, user},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::put(
            "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}",
            user!(send),
        )
        .limited(),
        Route::put(
            "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}",
            user!(redact),
        )
        .limited(),
    ]
}

async fn send(mut call: UserCall) -> Outcome {
    let content = call.object().await?;
    if let Some(delay) = delayed::delay(&call)? {
        let (kind, txn_id) = (call.param("eventType").to_owned(), call.param("txnId").to_owned());
        let wish = Wish {
            kind: &kind,
            state_key: None,
            txn_id: Some(&txn_id),
            content,
            delay,
        };
        return delayed::send_later(call, wish).await;
    }
    let session = &call.requester;
    let (room_id, kind, txn_id) = (call.room_id()?, call.param("eventType"), call.param("txnId"));
    let sending = call.homeserver().send_message(
        &session.user_id,
        &session.device_id,
        &room_id,
        kind,
        txn_id,
        content,
    );
    answer::json(&json!({"event_id": sending.await?}))
}

#[derive(Deserialize)]
struct Redact {
    reason: Option<String>,
}

async fn redact(mut call: UserCall) -> Outcome {
    let body: Redact = call.json_or_empty().await?;
    let session = &call.requester;
    let (room_id, target, txn_id) = (call.room_id()?, call.event_id()?, call.param("txnId"));
    let redacting = call.homeserver().redact_event(
        &session.user_id,
        &session.device_id,
        &room_id,
        &target,
        txn_id,
        body.reason,
    );
    answer::json(&json!({"event_id": redacting.await?}))
}
