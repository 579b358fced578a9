//! Typing notices. Spec: Client-Server API, section 'Typing Notifications'.

use serde::Deserialize;

use crate::{
    answer::{self, Outcome},
    call::UserCall,
    router::{Route, user},
};

/// How long a notice lasts if the client does not say, in milliseconds.
const DEFAULT_TIMEOUT: u64 = 30_000;

pub(super) fn routes() -> Vec<Route> {
    vec![Route::put("/_matrix/client/v3/rooms/{roomId}/typing/{userId}", user!(typing)).limited()]
}

#[derive(Deserialize)]
struct Typing {
    typing: bool,
    timeout: Option<u64>,
}

async fn typing(mut call: UserCall) -> Outcome {
    let user_id = call.own_user_id()?;
    let request: Typing = call.json().await?;
    let timeout = request.typing.then(|| request.timeout.unwrap_or(DEFAULT_TIMEOUT));
    call.homeserver()
        .set_typing(&user_id, &call.room_id()?, timeout)
        .await?;
    answer::empty()
}
