//! Keys of devices and users. Spec: Client-Server API, sections 'Key management' and 'Cross-signing'.

use hearth_homeserver::{
    encryption::{
        cross_signing::CrossSigningKeys, device_keys::KeysUpload, key_claim::KeysClaim, key_query::KeysQuery,
        signatures::SignedKeys,
    },
    sync::SyncToken,
};
use serde::Deserialize;
use serde_json::json;

use super::interactive::{self, Auth};
use crate::{
    answer::{self, Outcome},
    call::UserCall,
    error::ApiError,
    router::{Route, user},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/_matrix/client/v3/keys/upload", user!(upload)).limited(),
        Route::post("/_matrix/client/v3/keys/query", user!(query)).limited(),
        Route::post("/_matrix/client/v3/keys/claim", user!(claim)).limited(),
        Route::get("/_matrix/client/v3/keys/changes", user!(changes)),
        Route::post(
            "/_matrix/client/v3/keys/device_signing/upload",
            user!(upload_cross_signing),
        )
        .limited(),
        // matrix-js-sdk posts to the path from before it was in the specification.
        Route::post(
            "/_matrix/client/unstable/keys/device_signing/upload",
            user!(upload_cross_signing),
        )
        .limited(),
        Route::post(
            "/_matrix/client/v3/keys/signatures/upload",
            user!(upload_signatures),
        )
        .limited(),
    ]
}

async fn upload(mut call: UserCall) -> Outcome {
    let upload: KeysUpload = call.json().await?;
    let counts = call.homeserver().upload_keys(&call.requester, upload).await?;
    answer::json(&json!({"one_time_key_counts": counts}))
}

async fn query(mut call: UserCall) -> Outcome {
    let query: KeysQuery = call.json().await?;
    answer::json(
        &call
            .homeserver()
            .query_keys(&call.requester.user_id, query)
            .await?,
    )
}

async fn claim(mut call: UserCall) -> Outcome {
    let claim: KeysClaim = call.json().await?;
    answer::json(&call.homeserver().claim_keys(claim).await?)
}

async fn changes(call: UserCall) -> Outcome {
    let token = |name: &str| Ok::<_, ApiError>(call.query.required(name)?.parse::<SyncToken>()?.position);
    let (from, to) = (token("from")?, token("to")?);
    let changes = call.homeserver().key_changes(&call.requester.user_id, from, to);
    answer::json(&changes.await?)
}

#[derive(Deserialize)]
struct CrossSigningUpload {
    auth: Option<Auth>,
    #[serde(flatten)]
    keys: CrossSigningKeys,
}

async fn upload_cross_signing(mut call: UserCall) -> Outcome {
    let upload: CrossSigningUpload = call.json().await?;
    let user_id = &call.requester.user_id;
    let keys = upload.keys.clone();
    if !call.homeserver().set_cross_signing(user_id, keys, false).await? {
        let operation = "upload cross-signing keys";
        interactive::confirm(&call.api, user_id, operation, upload.auth.as_ref()).await?;
        call.homeserver()
            .set_cross_signing(user_id, upload.keys, true)
            .await?;
    }
    answer::empty()
}

async fn upload_signatures(mut call: UserCall) -> Outcome {
    let signed: SignedKeys = call.json().await?;
    let failures = call
        .homeserver()
        .add_signatures(&call.requester.user_id, signed)
        .await?;
    answer::json(&json!({"failures": failures}))
}
