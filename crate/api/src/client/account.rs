//! The user's own account. Spec: Client-Server API, sections 'Account management' and 'Current account information'.

use serde::Deserialize;
use serde_json::json;

use super::interactive::{self, Auth};
use crate::{
    answer::{self, Outcome},
    call::UserCall,
    router::{Route, user},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/_matrix/client/v3/account/whoami", user!(whoami)),
        Route::get("/_matrix/client/v3/account/3pid", user!(third_party_ids)),
        Route::post("/_matrix/client/v3/account/password", user!(password)).limited(),
        Route::post("/_matrix/client/v3/account/deactivate", user!(deactivate)).limited(),
    ]
}

async fn whoami(call: UserCall) -> Outcome {
    let session = &call.requester;
    let is_guest = call.homeserver().standing(&session.user_id).guest;
    answer::json(&json!({"user_id": session.user_id, "device_id": session.device_id, "is_guest": is_guest}))
}

/// Accounts have no e-mail addresses or telephone numbers.
async fn third_party_ids(_: UserCall) -> Outcome {
    answer::json(&json!({"threepids": []}))
}

#[derive(Deserialize)]
struct NewPassword {
    auth: Option<Auth>,
    new_password: String,
    #[serde(default = "yes")]
    logout_devices: bool,
}

fn yes() -> bool {
    true
}

async fn password(mut call: UserCall) -> Outcome {
    let request: NewPassword = call.json().await?;
    interactive::confirm(
        &call.api,
        &call.requester.user_id,
        "change the password",
        request.auth.as_ref(),
    )
    .await?;
    let session = &call.requester;
    call.homeserver()
        .set_password(session, &request.new_password, request.logout_devices)
        .await?;
    answer::empty()
}

#[derive(Deserialize)]
struct Deactivate {
    auth: Option<Auth>,
    #[serde(default)]
    erase: bool,
}

async fn deactivate(mut call: UserCall) -> Outcome {
    let request: Deactivate = call.json_or_empty().await?;
    interactive::confirm(
        &call.api,
        &call.requester.user_id,
        "deactivate",
        request.auth.as_ref(),
    )
    .await?;
    call.homeserver()
        .deactivate(&call.requester.user_id, request.erase)
        .await?;
    answer::json(&json!({"id_server_unbind_result": "no-support"}))
}
