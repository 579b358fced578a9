//! Profiles. Spec: Client-Server API, section 'Profiles'.

use serde_json::json;

use crate::{
    answer::{self, Outcome},
    call::{PublicCall, UserCall},
    error::ApiError,
    router::{Route, public, user},
};

const WHOLE: &str = "/_matrix/client/v3/profile/{userId}";
/// As it was called before it was part of the specification (MSC4133).
const UNSTABLE: &str = "/_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}";
const UNSTABLE_FIELD: &str = "/_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}/{keyName}";
const FIELD: &str = "/_matrix/client/v3/profile/{userId}/{keyName}";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(WHOLE, public!(all)),
        Route::patch(WHOLE, user!(merge)).limited(),
        Route::put(WHOLE, user!(replace)).limited(),
        Route::get(UNSTABLE, public!(all)),
        Route::patch(UNSTABLE, user!(merge)).limited(),
        Route::put(UNSTABLE, user!(replace)).limited(),
        Route::get(UNSTABLE_FIELD, public!(get)),
        Route::put(UNSTABLE_FIELD, user!(put)).limited(),
        Route::delete(UNSTABLE_FIELD, user!(delete)).limited(),
        Route::get(FIELD, public!(get)),
        Route::put(FIELD, user!(put)).limited(),
        Route::delete(FIELD, user!(delete)).limited(),
    ]
}

async fn all(call: PublicCall) -> Outcome {
    answer::json(&call.homeserver().profile(&call.user_id()?).await?)
}

async fn get(call: PublicCall) -> Outcome {
    let field = call.param("keyName");
    let profile = call.homeserver().profile(&call.user_id()?).await?;
    match profile.get(field) {
        Some(value) => answer::json(&json!({ field: value })),
        // A user without a name has an empty profile field, which older clients expect.
        None if matches!(field, "displayname" | "avatar_url") => answer::empty(),
        None => Err(ApiError::not_found("The profile has no such field")),
    }
}

async fn put(mut call: UserCall) -> Outcome {
    let user_id = call.own_user_id()?;
    let mut body = call.object().await?;
    let field = call.param("keyName");
    let Some(value) = body.remove(field) else {
        return Err(ApiError::missing_param(format!("Missing {field}")));
    };
    // An empty name is no name, and an empty address of a picture no picture.
    let is_of_spec = matches!(field, "displayname" | "avatar_url");
    let is_none = is_of_spec && (value.is_null() || value.as_str() == Some(""));
    if value.is_null() && !is_none {
        return Err(ApiError::invalid_param("A field is removed with DELETE"));
    }
    call.homeserver()
        .set_profile_field(&user_id, field, (!is_none).then_some(value))
        .await?;
    answer::empty()
}

async fn delete(call: UserCall) -> Outcome {
    let user_id = call.own_user_id()?;
    call.homeserver()
        .set_profile_field(&user_id, call.param("keyName"), None)
        .await?;
    answer::empty()
}

/// Sets several fields at once, and removes those that are `null`: not in the specification, but matrix-js-sdk asks.
async fn merge(mut call: UserCall) -> Outcome {
    let user_id = call.own_user_id()?;
    let fields = call.object().await?;
    call.homeserver().change_profile(&user_id, fields, false).await?;
    answer::empty()
}

/// As [`merge`], and removes all other fields.
async fn replace(mut call: UserCall) -> Outcome {
    let user_id = call.own_user_id()?;
    let fields = call.object().await?;
    call.homeserver().change_profile(&user_id, fields, true).await?;
    answer::empty()
}
