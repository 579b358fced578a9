//! Queries. Spec: Server-Server API, sections 'Querying for information', 'Public Room Directory', 'Spaces'
//! and 'Device Management'.

use hearth_homeserver::{
    encryption::{key_claim::Claims, key_query::WantedKeys},
    ordered::object,
    rooms::directory::DirectoryQuery,
};
use ruma_common::{RoomAliasId, UserId};
use serde::Deserialize;

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
        Route::get("/_matrix/federation/v1/hierarchy/{roomId}", server!(hierarchy)),
        Route::get("/_matrix/federation/v1/query/{queryType}", server!(unknown)),
        Route::get(ROOMS, server!(list)),
        Route::post(ROOMS, server!(search)),
        Route::get("/_matrix/federation/v1/user/devices/{userId}", server!(devices)),
        Route::post("/_matrix/federation/v1/user/keys/query", server!(query_keys)).limited(),
        Route::post("/_matrix/federation/v1/user/keys/claim", server!(claim_keys)).limited(),
    ]
}

async fn profile(call: ServerCall) -> Outcome {
    let user_id = call.query.required("user_id")?;
    let user_id = UserId::parse(user_id).map_err(|_| ApiError::invalid_param("user_id is no user id"))?;
    let mut profile = call.homeserver().local_profile(&user_id).await?;
    match call.query.get("field") {
        None => answer::json(&profile),
        Some(field) => answer::json(&object(profile.remove_entry(field))),
    }
}

async fn directory(call: ServerCall) -> Outcome {
    let alias = call.query.required("room_alias")?;
    let alias = RoomAliasId::parse(alias).map_err(|_| ApiError::invalid_param("room_alias is no alias"))?;
    answer::json(&call.homeserver().query_directory(&alias).await?)
}

/// Queries that nobody has told us of.
async fn unknown(call: ServerCall) -> Outcome {
    let kind = call.param("queryType");
    Err(ApiError::not_found(format!("There are no queries for {kind:?}")))
}

async fn hierarchy(call: ServerCall) -> Outcome {
    let suggested_only = call.query.boolean("suggested_only")?.unwrap_or_default();
    let (origin, room_id) = (&call.requester, call.room_id()?);
    let homeserver = call.homeserver();
    answer::json(
        &homeserver
            .federation_hierarchy(origin, &room_id, suggested_only)
            .await?,
    )
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

async fn devices(call: ServerCall) -> Outcome {
    answer::json(&call.homeserver().federation_devices(&call.user_id()?).await?)
}

#[derive(Deserialize)]
struct Query {
    device_keys: WantedKeys,
}

async fn query_keys(mut call: ServerCall) -> Outcome {
    let query: Query = call.json().await?;
    answer::json(&call.homeserver().federation_query_keys(query.device_keys).await?)
}

#[derive(Deserialize)]
struct Claim {
    one_time_keys: Claims,
}

async fn claim_keys(mut call: ServerCall) -> Outcome {
    let claim: Claim = call.json().await?;
    answer::json(
        &call
            .homeserver()
            .federation_claim_keys(claim.one_time_keys)
            .await?,
    )
}
