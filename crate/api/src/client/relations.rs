//! Relations and threads. Spec: Client-Server API, sections 'Querying relationships' and 'Querying threads in a
//! room'.

use hearth_homeserver::{
    messages::PageDirection,
    relations::{Include, RelationsRequest, ThreadsRequest},
};

use super::messages::{direction, limit};
use crate::{
    answer::{self, Outcome},
    call::UserCall,
    router::{Route, user},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}",
            user!(relations),
        ),
        Route::get(
            "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}",
            user!(relations),
        ),
        Route::get(
            "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}",
            user!(relations),
        ),
        Route::get("/_matrix/client/v1/rooms/{roomId}/threads", user!(threads)),
    ]
}

async fn relations(call: UserCall) -> Outcome {
    let (room_id, event_id) = (call.room_id()?, call.event_id()?);
    let direction = call.query.parsed("dir", direction)?;
    let request = RelationsRequest {
        rel_type: named(&call, "relType"),
        kind: named(&call, "eventType"),
        from: call.query.get("from").map(str::parse).transpose()?,
        to: call.query.get("to").map(str::parse).transpose()?,
        direction: direction.unwrap_or(PageDirection::Backward),
        limit: limit(&call)?,
        recurse: call.query.boolean("recurse")?.unwrap_or_default(),
    };
    let homeserver = call.homeserver();
    answer::json(
        &homeserver
            .relations(call.viewer(), &room_id, &event_id, request)
            .await?,
    )
}

/// A parameter of the path that not all of the routes have.
fn named(call: &UserCall, name: &str) -> Option<String> {
    Some(call.param(name).to_owned()).filter(|value| !value.is_empty())
}

async fn threads(call: UserCall) -> Outcome {
    let room_id = call.room_id()?;
    let request = ThreadsRequest {
        include: call.query.parsed("include", include)?.unwrap_or_default(),
        from: call.query.get("from").map(str::parse).transpose()?,
        limit: limit(&call)?,
    };
    answer::json(
        &call
            .homeserver()
            .threads(call.viewer(), &room_id, request)
            .await?,
    )
}

fn include(name: &str) -> Option<Include> {
    match name {
        "all" => Some(Include::All),
        "participated" => Some(Include::Participated),
        _ => None,
    }
}
