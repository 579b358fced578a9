//! `/sync`. Spec: Client-Server API, section 'Syncing'.

use std::time::Duration;

use hearth_homeserver::{
    Homeserver,
    presence::PresenceState,
    sync::{Filter, StateForm, SyncRequest},
};
use ruma_common::UserId;

use crate::{
    answer::{self, Outcome},
    call::UserCall,
    error::ApiError,
    router::{Route, user},
};

pub(super) fn routes() -> Vec<Route> {
    vec![Route::get("/_matrix/client/v3/sync", user!(sync))]
}

async fn sync(call: UserCall) -> Outcome {
    let request = SyncRequest {
        since: call.query.get("since").map(str::parse).transpose()?,
        filter: filter(
            call.homeserver(),
            &call.requester.user_id,
            call.query.get("filter"),
        )
        .await?,
        full_state: call.query.boolean("full_state")?.unwrap_or_default(),
        timeout: Duration::from_millis(call.query.number("timeout")?.unwrap_or_default()),
        state_form: state_form(&call)?,
        presence: presence(&call)?,
    };
    let (homeserver, session) = (call.homeserver(), &call.requester);
    let news = homeserver.sync(&session.user_id, &session.device_id, request);
    answer::json(&homeserver.while_signed_in(session, news).await?)
}

/// The filter in the query: JSON, or the id of a stored one.
async fn filter(homeserver: &Homeserver, user_id: &UserId, filter: Option<&str>) -> Result<Filter, ApiError> {
    let Some(filter) = filter else {
        return Ok(Filter::default());
    };
    if filter.starts_with('{') {
        return Ok(Filter::parse(filter)?);
    }
    let stored = homeserver.stored_filter(user_id, filter).await?;
    Ok(Filter::read(stored)?)
}

/// How state is asked for. matrix-js-sdk asks by the name of MSC4222, and reads the answer under that name.
fn state_form(call: &UserCall) -> Result<StateForm, ApiError> {
    let asks = |name: &str| Ok::<_, ApiError>(call.query.boolean(name)?.unwrap_or_default());
    let (stable, unstable) = (
        asks("use_state_after")?,
        asks("org.matrix.msc4222.use_state_after")?,
    );
    Ok(match (stable, unstable) {
        (true, _) => StateForm::After,
        (false, true) => StateForm::AfterUnstable,
        (false, false) => StateForm::Before,
    })
}

/// What a sync says of whether the user is there: that they are, if it does not say.
pub(super) fn presence(call: &UserCall) -> Result<PresenceState, ApiError> {
    match call.query.get("set_presence") {
        None | Some("online") => Ok(PresenceState::Online),
        Some("unavailable") => Ok(PresenceState::Unavailable),
        Some("offline") => Ok(PresenceState::Offline),
        Some(_) => Err(ApiError::invalid_param(
            "set_presence is none of online, offline and unavailable",
        )),
    }
}
