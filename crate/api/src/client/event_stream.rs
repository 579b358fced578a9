//! Reading without `/sync`: a room that one need not be in, and the deprecated endpoints. Spec: Client-Server API,
//! section 'Room Previews'.

use std::time::Duration;

use hearth_homeserver::{Error, sync::EventStreamRequest};
use ruma_common::RoomId;

use super::messages::limit;
use crate::{
    answer::{self, Outcome},
    call::UserCall,
    router::{Route, user},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/_matrix/client/v3/events", user!(events)),
        Route::get("/_matrix/client/v3/events/{eventId}", user!(event)),
        Route::get("/_matrix/client/v3/initialSync", user!(initial_sync)),
        Route::get(
            "/_matrix/client/v3/rooms/{roomId}/initialSync",
            user!(room_initial_sync),
        ),
    ]
}

async fn events(call: UserCall) -> Outcome {
    let session = &call.requester;
    let room_id = call
        .query
        .parsed("room_id", |room_id| RoomId::parse(room_id).ok())?;
    if room_id.is_none() && call.homeserver().standing(&session.user_id).guest {
        // Spec: section 'Guest Access': guests may call it 'as used for room previews'.
        return Err(Error::GuestForbidden("guests name the room".into()).into());
    }
    let request = EventStreamRequest {
        from: call.query.get("from").map(str::parse).transpose()?,
        timeout: Duration::from_millis(call.query.number("timeout")?.unwrap_or_default()),
        room_id,
    };
    let homeserver = call.homeserver();
    let news = homeserver.event_stream(&session.user_id, &session.device_id, request);
    answer::json(&homeserver.while_signed_in(session, news).await?)
}

async fn event(call: UserCall) -> Outcome {
    let (homeserver, event_id) = (call.homeserver(), call.event_id()?);
    let user_id = &call.requester.user_id;
    let event = homeserver.event_anywhere(user_id, &event_id).await?;
    let mut events = homeserver.bundled_events(&[event], call.viewer()).await?;
    answer::json(&events.pop())
}

async fn initial_sync(call: UserCall) -> Outcome {
    let archived = call.query.boolean("archived")?.unwrap_or_default();
    let limit = limit(&call)?;
    answer::json(
        &call
            .homeserver()
            .initial_sync(call.viewer(), limit, archived)
            .await?,
    )
}

async fn room_initial_sync(call: UserCall) -> Outcome {
    let (room_id, limit) = (call.room_id()?, limit(&call)?);
    answer::json(
        &call
            .homeserver()
            .room_initial_sync(call.viewer(), &room_id, limit)
            .await?,
    )
}
