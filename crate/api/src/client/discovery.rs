//! What a client asks first. Spec: Client-Server API, sections 'API Versions' and 'Well-known URI'.

use hearth_homeserver::ordered::object;
use serde_json::json;

use crate::{
    answer::{self, Outcome},
    call::PublicCall,
    error::ApiError,
    router::{Route, public},
};

/// The versions of the specification whose endpoints are served, but for those of e-mail, telephones, single sign-on and
/// bridges, which are missing. Clients look at versions for what came with them: files with authentication (1.11),
/// summaries of rooms (1.15), fields of profiles (1.16).
const VERSIONS: [&str; 17] = [
    "r0.6.1", "v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11",
    "v1.12", "v1.13", "v1.14", "v1.15", "v1.16",
];

/// What is served of proposals, by the names that clients look for.
const UNSTABLE: &[&str] = &[
    "org.matrix.e2e_cross_signing",
    "org.matrix.simplified_msc3575",
    "org.matrix.msc3391",
    "org.matrix.msc4140",
    "org.matrix.msc4155",
    "org.matrix.msc4222",
    "uk.half-shot.msc2666.query_mutual_rooms",
    "uk.tcpip.msc4133",
    "uk.tcpip.msc4133.stable",
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/_matrix/client/versions", public!(versions)),
        Route::get("/.well-known/matrix/client", public!(well_known)),
        Route::get("/.well-known/matrix/support", public!(support)),
    ]
}

async fn versions(_: PublicCall) -> Outcome {
    let unstable = object(
        UNSTABLE
            .iter()
            .map(|feature| ((*feature).to_owned(), true.into())),
    );
    answer::json(&json!({"versions": VERSIONS, "unstable_features": unstable}))
}

async fn well_known(call: PublicCall) -> Outcome {
    let base_url = call
        .config()
        .base_url
        .as_ref()
        .and_then(|base_url| base_url(&call.headers))
        .ok_or_else(|| ApiError::not_found("Not configured"))?;
    answer::json(&json!({"m.homeserver": {"base_url": base_url}}))
}

/// Whom to ask about this server: its administrator, who is a user of it.
async fn support(call: PublicCall) -> Outcome {
    let admin = call.homeserver().admin().await?;
    let admin = admin.ok_or_else(|| ApiError::not_found("Nobody administers this server yet"))?;
    answer::json(&json!({"contacts": [{"matrix_id": admin, "role": "m.role.admin"}]}))
}
