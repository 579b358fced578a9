//! Proving to others who a user is. Spec: Client-Server API, section 'OpenID'.

use hearth_homeserver::accounts::one_purpose::OPENID_LIFETIME;
use serde_json::json;

use crate::{
    answer::{self, Outcome},
    call::UserCall,
    router::{Route, user},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post(
            "/_matrix/client/v3/user/{userId}/openid/request_token",
            user!(request),
        )
        .limited(),
    ]
}

async fn request(mut call: UserCall) -> Outcome {
    let user_id = call.own_user_id()?;
    call.object_or_empty().await?;
    let token = call.homeserver().openid_token(&user_id).await?;
    answer::json(&json!({
        "access_token": token,
        "token_type": "Bearer",
        "matrix_server_name": call.homeserver().server_name(),
        "expires_in": OPENID_LIFETIME / 1000,
    }))
}
