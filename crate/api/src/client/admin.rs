//! What the administrator of a homeserver may do. Spec: Client-Server API, section 'Server Administration'.

use hearth_homeserver::{accounts::Restriction, ordered::object};
use serde::Deserialize;
use serde_json::json;

use crate::{
    answer::{self, Outcome},
    call::UserCall,
    router::{Route, user},
};

const SUSPEND: &str = "/_matrix/client/v1/admin/suspend/{userId}";
const LOCK: &str = "/_matrix/client/v1/admin/lock/{userId}";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/_matrix/client/v3/admin/whois/{userId}", user!(whois)),
        Route::get(SUSPEND, user!(is_suspended)),
        Route::put(SUSPEND, user!(suspend)).limited(),
        Route::get(LOCK, user!(is_locked)),
        Route::put(LOCK, user!(lock)).limited(),
    ]
}

/// For the administrator, and for everybody about themselves.
async fn whois(call: UserCall) -> Outcome {
    let user_id = call.user_id()?;
    let devices = call.homeserver().whois(&call.requester.user_id, &user_id).await?;
    let sessions = devices.iter().map(|device| {
        let connection =
            json!({"ip": device.last_seen_ip, "last_seen": device.last_seen_ts, "user_agent": null});
        let mut connection = connection;
        if let Some(connection) = connection.as_object_mut() {
            connection.retain(|_, value| !value.is_null());
        }
        let sessions = json!({"sessions": [{"connections": [connection]}]});
        (device.device_id.to_string(), sessions)
    });
    answer::json(&json!({"user_id": user_id, "devices": object(sessions)}))
}

async fn is_suspended(call: UserCall) -> Outcome {
    let suspended = is_restricted(call, Restriction::Suspended).await?;
    answer::json(&json!({"suspended": suspended}))
}

async fn is_locked(call: UserCall) -> Outcome {
    let locked = is_restricted(call, Restriction::Locked).await?;
    answer::json(&json!({"locked": locked}))
}

async fn is_restricted(call: UserCall, restriction: Restriction) -> Result<bool, crate::error::ApiError> {
    let (admin, user_id) = (&call.requester.user_id, call.user_id()?);
    Ok(call
        .homeserver()
        .is_restricted(admin, &user_id, restriction)
        .await?)
}

#[derive(Deserialize)]
struct Suspend {
    suspended: bool,
}

async fn suspend(mut call: UserCall) -> Outcome {
    let user_id = call.user_id()?;
    let Suspend { suspended } = call.json().await?;
    let admin = &call.requester.user_id;
    let homeserver = call.homeserver();
    homeserver
        .restrict(admin, &user_id, Restriction::Suspended, suspended)
        .await?;
    answer::json(&json!({"suspended": suspended}))
}

#[derive(Deserialize)]
struct Lock {
    locked: bool,
}

async fn lock(mut call: UserCall) -> Outcome {
    let user_id = call.user_id()?;
    let Lock { locked } = call.json().await?;
    let admin = &call.requester.user_id;
    let homeserver = call.homeserver();
    homeserver
        .restrict(admin, &user_id, Restriction::Locked, locked)
        .await?;
    answer::json(&json!({"locked": locked}))
}
