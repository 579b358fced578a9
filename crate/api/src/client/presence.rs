//! Who is there. Spec: Client-Server API, section 'Presence'.

use hearth_homeserver::presence::PresenceState;
use serde::Deserialize;

use crate::{
    answer::{self, Outcome},
    call::UserCall,
    router::{Route, user},
};

const STATUS: &str = "/_matrix/client/v3/presence/{userId}/status";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(STATUS, user!(get)),
        Route::put(STATUS, user!(put)).limited(),
    ]
}

async fn get(call: UserCall) -> Outcome {
    let user_id = call.user_id()?;
    answer::json(
        &call
            .homeserver()
            .presence_of(&call.requester.user_id, &user_id)
            .await?,
    )
}

#[derive(Deserialize)]
struct NewPresence {
    presence: PresenceState,
    status_msg: Option<String>,
}

async fn put(mut call: UserCall) -> Outcome {
    let user_id = call.own_user_id()?;
    let new: NewPresence = call.json().await?;
    call.homeserver()
        .set_presence(&user_id, &call.requester.device_id, new.presence, new.status_msg)
        .await?;
    answer::empty()
}
