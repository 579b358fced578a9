//! Room aliases and the published directory. Spec: Client-Server API, sections 'Room aliases' and 'Listing rooms'.

use hearth_homeserver::rooms::directory::DirectoryQuery;
use ruma_common::{OwnedRoomAliasId, OwnedRoomId, OwnedServerName, ServerName};
use serde::Deserialize;
use serde_json::json;

use crate::{
    answer::{self, Outcome},
    auth,
    call::{Call, PublicCall, UserCall},
    error::ApiError,
    router::{Route, public, user},
};

const ALIAS: &str = "/_matrix/client/v3/directory/room/{roomAlias}";
const VISIBILITY: &str = "/_matrix/client/v3/directory/list/room/{roomId}";
const ROOMS: &str = "/_matrix/client/v3/publicRooms";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(ALIAS, public!(resolve)),
        Route::put(ALIAS, user!(set)).limited(),
        Route::delete(ALIAS, user!(remove)).limited(),
        Route::get(VISIBILITY, public!(visibility)),
        Route::put(VISIBILITY, user!(set_visibility)).limited(),
        Route::get(ROOMS, public!(list)),
        Route::post(ROOMS, user!(search)),
    ]
}

async fn resolve(call: PublicCall) -> Outcome {
    let (room_id, servers) = call.homeserver().resolve_alias(&alias(&call)?).await?;
    answer::json(&json!({"room_id": room_id, "servers": servers}))
}

#[derive(Deserialize)]
struct SetAlias {
    room_id: OwnedRoomId,
}

async fn set(mut call: UserCall) -> Outcome {
    let request: SetAlias = call.json().await?;
    call.homeserver()
        .set_alias(&call.requester.user_id, &alias(&call)?, &request.room_id)
        .await?;
    answer::empty()
}

async fn remove(call: UserCall) -> Outcome {
    call.homeserver()
        .remove_alias(&call.requester.user_id, &alias(&call)?)
        .await?;
    answer::empty()
}

fn alias<R>(call: &Call<R>) -> Result<OwnedRoomAliasId, ApiError> {
    call.id("roomAlias")
}

async fn visibility(call: PublicCall) -> Outcome {
    let published = call.homeserver().is_published(&call.room_id()?).await?;
    answer::json(&json!({"visibility": if published { "public" } else { "private" }}))
}

#[derive(Deserialize)]
struct SetVisibility {
    #[serde(default)]
    visibility: Visibility,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Visibility {
    #[default]
    Public,
    Private,
}

async fn set_visibility(mut call: UserCall) -> Outcome {
    let request: SetVisibility = call.json_or_empty().await?;
    let published = request.visibility == Visibility::Public;
    call.homeserver()
        .set_published(&call.requester.user_id, &call.room_id()?, published)
        .await?;
    answer::empty()
}

/// For anybody; who asks for the directory of another server has to say who they are.
async fn list(call: PublicCall) -> Outcome {
    let server = server(&call)?;
    if server.is_some() {
        auth::session(call.homeserver(), &call.headers, &call.query, false)?;
    }
    let query = DirectoryQuery {
        limit: call.query.number("limit")?,
        since: call.query.get("since").map(str::to_owned),
        filter: None,
        server,
    };
    answer::json(&call.homeserver().public_rooms(query).await?)
}

async fn search(mut call: UserCall) -> Outcome {
    let query: DirectoryQuery = call.json_or_empty().await?;
    let query = DirectoryQuery {
        server: server(&call)?,
        ..query
    };
    answer::json(&call.homeserver().public_rooms(query).await?)
}

/// The server whose directory is asked for.
fn server<R>(call: &Call<R>) -> Result<Option<OwnedServerName>, ApiError> {
    call.query.parsed("server", |name| ServerName::parse(name).ok())
}
