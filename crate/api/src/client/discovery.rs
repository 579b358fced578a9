//! What a client asks first. Spec: Client-Server API, sections 'API Versions' and 'Well-known URI'.

use serde_json::json;

use crate::{
    answer::{self, Outcome},
    call::PublicCall,
    error::ApiError,
    router::{Route, public},
};

/// The versions of the specification whose chat endpoints are served. Later ones promise media with
/// authentication and more, which is not served yet.
const VERSIONS: [&str; 6] = ["r0.6.1", "v1.1", "v1.2", "v1.3", "v1.4", "v1.5"];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/_matrix/client/versions", public!(versions)),
        Route::get("/.well-known/matrix/client", public!(well_known)),
    ]
}

async fn versions(_: PublicCall) -> Outcome {
    answer::json(&json!({"versions": VERSIONS, "unstable_features": {}}))
}

async fn well_known(call: PublicCall) -> Outcome {
    let base_url = call
        .config()
        .base_url
        .as_ref()
        .ok_or_else(|| ApiError::not_found("Not configured"))?;
    answer::json(&json!({"m.homeserver": {"base_url": base_url}}))
}
