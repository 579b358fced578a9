//! Finding users. Spec: Client-Server API, section 'User Directory'.

use hearth_homeserver::accounts::directory::FoundUser;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    answer::{self, Outcome},
    call::UserCall,
    router::{Route, user},
};

/// The most users in one answer.
const MAX_LIMIT: usize = 50;

pub(super) fn routes() -> Vec<Route> {
    vec![Route::post(
        "/_matrix/client/v3/user_directory/search",
        user!(search),
    )]
}

#[derive(Deserialize)]
struct Search {
    search_term: String,
    #[serde(default = "ten")]
    limit: usize,
}

fn ten() -> usize {
    10
}

async fn search(mut call: UserCall) -> Outcome {
    let search: Search = call.json().await?;
    let limit = search.limit.min(MAX_LIMIT);
    let user_id = &call.requester.user_id;
    let (users, limited) = call
        .homeserver()
        .search_users(user_id, &search.search_term, limit)
        .await?;
    answer::json(&json!({"results": users.into_iter().map(result).collect::<Vec<_>>(), "limited": limited}))
}

fn result(user: FoundUser) -> Value {
    let mut result = json!({"user_id": user.user_id});
    if let Some(name) = user.profile.get("displayname") {
        result["display_name"] = name.clone();
    }
    if let Some(url) = user.profile.get("avatar_url") {
        result["avatar_url"] = url.clone();
    }
    result
}
