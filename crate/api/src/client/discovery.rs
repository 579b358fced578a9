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

/// What is served of proposals, by the names that clients look for.
const UNSTABLE: &[&str] = &[
    "org.matrix.simplified_msc3575",
    "org.matrix.msc3391",
    "org.matrix.msc4155",
    "org.matrix.msc4222",
    "org.matrix.msc4306",
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/_matrix/client/versions", public!(versions)),
        Route::get("/.well-known/matrix/client", public!(well_known)),
    ]
}

async fn versions(_: PublicCall) -> Outcome {
    let unstable: serde_json::Map<_, _> = UNSTABLE
        .iter()
        .map(|feature| ((*feature).to_owned(), true.into()))
        .collect();
    answer::json(&json!({"versions": VERSIONS, "unstable_features": unstable}))
}

async fn well_known(call: PublicCall) -> Outcome {
    let base_url = call
        .config()
        .base_url
        .as_ref()
        .ok_or_else(|| ApiError::not_found("Not configured"))?;
    answer::json(&json!({"m.homeserver": {"base_url": base_url}}))
}
