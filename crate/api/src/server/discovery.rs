//! Version and keys. Spec: Server-Server API, sections 'Server discovery' and 'Retrieving server keys'.

use serde_json::json;

use crate::{
    answer::{self, Outcome},
    call::PublicCall,
    router::{Route, public},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/_matrix/federation/v1/version", public!(version)),
        Route::get("/_matrix/key/v2/server", public!(keys)),
    ]
}

async fn version(_: PublicCall) -> Outcome {
    answer::json(&json!({"server": {"name": "Hearth", "version": env!("CARGO_PKG_VERSION")}}))
}

async fn keys(call: PublicCall) -> Outcome {
    answer::json(&call.homeserver().server_keys()?)
}
