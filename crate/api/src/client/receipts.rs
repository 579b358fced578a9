//! Receipts and read markers. Spec: Client-Server API, sections 'Receipts' and 'Fully read markers'.

use hearth_homeserver::receipts::ReceiptKind;
use ruma_common::OwnedEventId;
use serde::Deserialize;

use crate::{
    answer::{self, Outcome},
    call::UserCall,
    error::ApiError,
    router::{Route, user},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post(
            "/_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}",
            user!(receipt),
        ),
        Route::post(
            "/_matrix/client/v3/rooms/{roomId}/read_markers",
            user!(read_markers),
        ),
    ]
}

#[derive(Deserialize)]
struct Thread {
    thread_id: Option<String>,
}

async fn receipt(mut call: UserCall) -> Outcome {
    let thread = call.json_or_empty::<Thread>().await?.thread_id;
    if thread.as_deref() == Some("") {
        return Err(ApiError::invalid_param("thread_id is empty"));
    }
    let (room_id, event_id, user_id) = (call.room_id()?, call.event_id()?, &call.requester.user_id);
    let name = call.param("receiptType");
    if name == "m.fully_read" {
        if thread.is_some() {
            return Err(ApiError::invalid_param("m.fully_read has no thread_id"));
        }
        call.homeserver()
            .set_fully_read(user_id, &room_id, &event_id)
            .await?;
        return answer::empty();
    }
    let kind = ReceiptKind::from_name(name);
    let kind = kind.ok_or_else(|| ApiError::invalid_param("No such receipt type"))?;
    call.homeserver()
        .set_receipt(user_id, &room_id, kind, &event_id, thread)
        .await?;
    answer::empty()
}

#[derive(Deserialize)]
struct ReadMarkers {
    #[serde(rename = "m.fully_read")]
    fully_read: Option<OwnedEventId>,
    #[serde(rename = "m.read")]
    read: Option<OwnedEventId>,
    #[serde(rename = "m.read.private")]
    read_private: Option<OwnedEventId>,
}

async fn read_markers(mut call: UserCall) -> Outcome {
    let markers: ReadMarkers = call.json_or_empty().await?;
    let (room_id, user_id) = (call.room_id()?, &call.requester.user_id);
    if let Some(event_id) = markers.fully_read {
        call.homeserver()
            .set_fully_read(user_id, &room_id, &event_id)
            .await?;
    }
    let receipts = [
        (ReceiptKind::Read, markers.read),
        (ReceiptKind::ReadPrivate, markers.read_private),
    ];
    for (kind, event_id) in receipts {
        if let Some(event_id) = event_id {
            call.homeserver()
                .set_receipt(user_id, &room_id, kind, &event_id, None)
                .await?;
        }
    }
    answer::empty()
}
