//! Stored filters. Spec: Client-Server API, section 'Filtering'.

use serde_json::json;

use crate::{
    answer::{self, Outcome},
    call::UserCall,
    router::{Route, user},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/_matrix/client/v3/user/{userId}/filter", user!(store)),
        Route::get("/_matrix/client/v3/user/{userId}/filter/{filterId}", user!(get)),
    ]
}

async fn store(mut call: UserCall) -> Outcome {
    let user_id = call.own_user_id()?;
    let filter = call.object().await?;
    let id = call.homeserver().store_filter(&user_id, &filter).await?;
    answer::json(&json!({"filter_id": id}))
}

async fn get(call: UserCall) -> Outcome {
    let user_id = call.own_user_id()?;
    answer::json(
        &call
            .homeserver()
            .stored_filter(&user_id, call.param("filterId"))
            .await?,
    )
}
