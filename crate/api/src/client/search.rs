//! Full-text search. Spec: Client-Server API, section 'Server Side Search'.

use hearth_homeserver::search::SearchRequest;
use serde::Deserialize;
use serde_json::json;

use crate::{
    answer::{self, Outcome},
    call::UserCall,
    router::{Route, user},
};

pub(super) fn routes() -> Vec<Route> {
    vec![Route::post("/_matrix/client/v3/search", user!(search))]
}

#[derive(Deserialize)]
struct Body {
    search_categories: Categories,
}

#[derive(Deserialize)]
struct Categories {
    room_events: Option<SearchRequest>,
}

async fn search(mut call: UserCall) -> Outcome {
    let body: Body = call.json().await?;
    let Some(request) = body.search_categories.room_events else {
        return answer::json(&json!({"search_categories": {}}));
    };
    let batch = call.query.get("next_batch");
    let results = call.homeserver().search(call.viewer(), &request, batch).await?;
    answer::json(&json!({"search_categories": {"room_events": results}}))
}
