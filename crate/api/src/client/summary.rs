//! What rooms and spaces are like before one joins them. Spec: Client-Server API, sections 'Room summaries' and 'Spaces'.

use hearth_homeserver::rooms::hierarchy::HierarchyQuery;
use ruma_common::OwnedRoomOrAliasId;

use crate::{
    answer::{self, Outcome},
    auth,
    call::{PublicCall, UserCall},
    error::ApiError,
    router::{Route, public, user},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/_matrix/client/v1/room_summary/{roomIdOrAlias}",
            public!(summary),
        ),
        // As it was called before it was part of the specification (MSC3266).
        Route::get(
            "/_matrix/client/unstable/im.nheko.summary/summary/{roomIdOrAlias}",
            public!(summary),
        ),
        Route::get("/_matrix/client/v1/rooms/{roomId}/hierarchy", user!(hierarchy)),
        // As it was called before it was part of the specification (MSC2946).
        Route::get(
            "/_matrix/client/unstable/org.matrix.msc2946/rooms/{roomId}/hierarchy",
            user!(hierarchy),
        ),
    ]
}

/// For anybody; who shows a token is told of more rooms, and the token has to be right.
async fn summary(call: PublicCall) -> Outcome {
    let room: OwnedRoomOrAliasId = call.id("roomIdOrAlias")?;
    let via = call.query.servers();
    let session = auth::optional_session(call.homeserver(), &call.headers, &call.query)?;
    let user_id = session.as_ref().map(|session| &*session.user_id);
    answer::json(&call.homeserver().room_summary(user_id, &room, &via).await?)
}

async fn hierarchy(call: UserCall) -> Outcome {
    let query = HierarchyQuery {
        suggested_only: call.query.boolean("suggested_only")?.unwrap_or_default(),
        limit: call.query.number("limit")?,
        max_depth: call.query.number("max_depth")?,
        from: call.query.get("from").map(str::to_owned),
        via: call.query.servers(),
    };
    if query.limit == Some(0) {
        return Err(ApiError::invalid_param("limit is 0"));
    }
    let user_id = &call.requester.user_id;
    answer::json(
        &call
            .homeserver()
            .hierarchy(user_id, &call.room_id()?, query)
            .await?,
    )
}
