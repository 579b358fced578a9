//! Version and keys. Spec: Server-Server API, sections 'Server discovery', 'Retrieving server keys' and 'OpenID'.

use std::collections::BTreeMap;

use ruma_common::OwnedServerName;
use serde::Deserialize;
use serde_json::json;

use crate::{
    answer::{self, Outcome},
    call::PublicCall,
    error::ApiError,
    router::{Route, public},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/_matrix/federation/v1/version", public!(version)),
        Route::get("/_matrix/federation/v1/openid/userinfo", public!(userinfo)),
        Route::get("/_matrix/key/v2/server", public!(keys)),
        Route::get("/_matrix/key/v2/query/{serverName}", public!(keys_of)).limited(),
        Route::post("/_matrix/key/v2/query", public!(keys_of_many)).limited(),
    ]
}

async fn version(_: PublicCall) -> Outcome {
    answer::json(&json!({"server": {"name": "Hearth", "version": env!("CARGO_PKG_VERSION")}}))
}

/// Who has the OpenID token. Spec: section 'OpenID'.
async fn userinfo(call: PublicCall) -> Outcome {
    let token = call
        .query
        .get("access_token")
        .ok_or_else(ApiError::missing_token)?;
    answer::json(&json!({"sub": call.homeserver().openid_user(token).await?}))
}

async fn keys(call: PublicCall) -> Outcome {
    answer::json(&call.homeserver().server_keys()?)
}

async fn keys_of(call: PublicCall) -> Outcome {
    let server: OwnedServerName = call.id("serverName")?;
    let least = call.query.number("minimum_valid_until_ts")?;
    answer::json(&call.homeserver().notarised_keys(&[(server, least)]).await?)
}

#[derive(Deserialize)]
struct Query {
    server_keys: BTreeMap<OwnedServerName, BTreeMap<String, Criteria>>,
}

#[derive(Deserialize)]
struct Criteria {
    minimum_valid_until_ts: Option<u64>,
}

/// Servers have one key each, so which keys are asked for makes no difference.
async fn keys_of_many(mut call: PublicCall) -> Outcome {
    let query: Query = call.json().await?;
    let least = |keys: BTreeMap<String, Criteria>| {
        keys.into_values()
            .filter_map(|key| key.minimum_valid_until_ts)
            .max()
    };
    let wanted: Vec<_> = query
        .server_keys
        .into_iter()
        .map(|(server, keys)| (server, least(keys)))
        .collect();
    answer::json(&call.homeserver().notarised_keys(&wanted).await?)
}
