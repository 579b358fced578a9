//! User-Interactive Authentication. Spec: Client-Server API, section of that name.
//!
//! Every flow has one stage, so the server remembers nothing between the two requests of a client: the second
//! one brings the whole proof.

use ruma_common::UserId;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{Api, error::ApiError};

const DUMMY: &str = "m.login.dummy";
const PASSWORD: &str = "m.login.password";
/// Bytes of randomness in a session id.
const SESSION_BYTES: usize = 12;

/// The `auth` field of a request.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Auth {
    #[serde(rename = "type")]
    kind: Option<String>,
    session: Option<String>,
    password: Option<String>,
}

/// Asks for `m.login.dummy`, which anybody can do.
///
/// # Errors
/// 401 with the flow, unless `auth` has gone through it.
pub(super) fn dummy(api: &Api, auth: Option<&Auth>) -> Result<(), ApiError> {
    match auth.and_then(|auth| auth.kind.as_deref()) {
        Some(DUMMY) => Ok(()),
        kind => Err(challenge(api, auth, DUMMY, kind.map(|_| "No such stage"))),
    }
}

/// Asks the user for their password, or for `m.login.dummy` if they have none.
///
/// # Errors
/// 401 with the flow, unless `auth` has gone through it.
pub(super) async fn confirm(api: &Api, user_id: &UserId, auth: Option<&Auth>) -> Result<(), ApiError> {
    if !api.homeserver().has_password(user_id).await? {
        return dummy(api, auth);
    }
    let Some(kind) = auth.and_then(|auth| auth.kind.as_deref()) else {
        return Err(challenge(api, auth, PASSWORD, None));
    };
    let password = auth.and_then(|auth| auth.password.as_deref()).unwrap_or_default();
    if kind == PASSWORD && api.homeserver().check_password(user_id, password).await? {
        return Ok(());
    }
    Err(challenge(api, auth, PASSWORD, Some("Invalid password")))
}

fn challenge(api: &Api, auth: Option<&Auth>, stage: &str, failure: Option<&str>) -> ApiError {
    let session = auth.and_then(|auth| auth.session.clone());
    let mut body = Map::new();
    body.insert(
        "session".into(),
        session
            .unwrap_or_else(|| api.homeserver().random_id(SESSION_BYTES))
            .into(),
    );
    body.insert("flows".into(), json!([{"stages": [stage]}]));
    body.insert("params".into(), json!({}));
    if let Some(failure) = failure {
        body.insert("completed".into(), json!([]));
        body.insert("errcode".into(), "M_FORBIDDEN".into());
        body.insert("error".into(), Value::from(failure));
    }
    ApiError::interactive(body)
}
