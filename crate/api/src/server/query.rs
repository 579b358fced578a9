//! Queries. Spec: Server-Server API, sections 'Querying for information', 'Public Room Directory' and
//! 'Device Management'.

use hearth_homeserver::rooms::directory::DirectoryQuery;
use ruma_common::{RoomAliasId, UserId};
use serde_json::{Map, Value, json};

use crate::{
    answer::{self, Outcome},
    call::ServerCall,
    error::ApiError,
    router::{Route, server},
};

const ROOMS: &str = "/_matrix/federation/v1/publicRooms";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/_matrix/federation/v1/query/profile", server!(profile)),
        Route::get("/_matrix/federation/v1/query/directory", server!(directory)),
        Route::get(ROOMS, server!(list)),
        Route::post(ROOMS, server!(search)),
        Route::get("/_matrix/federation/v1/user/devices/{userId}", server!(devices)),
    ]
}

async fn profile(call: ServerCall) -> Outcome {
    let user_id = call.query.required("user_id")?;
    let user_id = UserId::parse(user_id).map_err(|_| ApiError::invalid_param("user_id is no user id"))?;
    let mut profile = call.homeserver().local_profile(&user_id).await?;
    match call.query.get("field") {
        None => answer::json(&profile),
        Some(field) => {
            let found: Map<String, Value> = profile.remove_entry(field).into_iter().collect();
            answer::json(&found)
        }
    }
}

async fn directory(call: ServerCall) -> Outcome {
    let alias = call.query.required("room_alias")?;
    let alias = RoomAliasId::parse(alias).map_err(|_| ApiError::invalid_param("room_alias is no alias"))?;
    answer::json(&call.homeserver().query_directory(&alias).await?)
}

async fn list(call: ServerCall) -> Outcome {
    let query = DirectoryQuery {
        limit: call.query.number("limit")?,
        since: call.query.get("since").map(str::to_owned),
        ..DirectoryQuery::default()
    };
    answer::json(&call.homeserver().public_rooms(query).await?)
}

async fn search(mut call: ServerCall) -> Outcome {
    let query: DirectoryQuery = call.json_or_empty().await?;
    answer::json(&call.homeserver().public_rooms(query).await?)
}

/// Devices have no end-to-end encryption keys yet, so there are none to tell of.
async fn devices(call: ServerCall) -> Outcome {
    let user_id = call.user_id()?;
    call.homeserver().local_profile(&user_id).await?;
    answer::json(&json!({"user_id": user_id, "stream_id": 0, "devices": []}))
}
