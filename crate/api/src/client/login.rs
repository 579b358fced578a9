//! Logging in and out. Spec: Client-Server API, section 'Login'.

use hearth_homeserver::accounts::{Issued, LoggedIn, Login, NewDevice, one_purpose::LOGIN_LIFETIME};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::interactive::{self, Auth};
use crate::{
    answer::{self, Outcome},
    call::{PublicCall, UserCall},
    error::ApiError,
    router::{Route, public, user},
};

const PASSWORD: &str = "m.login.password";
const TOKEN: &str = "m.login.token";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/_matrix/client/v3/login", public!(flows)),
        Route::post("/_matrix/client/v3/login", public!(login)).limited(),
        Route::post("/_matrix/client/v1/login/get_token", user!(login_token)).limited(),
        Route::post("/_matrix/client/v3/refresh", public!(refresh)).limited(),
        Route::post("/_matrix/client/v3/logout", user!(logout)),
        Route::post("/_matrix/client/v3/logout/all", user!(logout_all)),
    ]
}

async fn flows(_: PublicCall) -> Outcome {
    answer::json(&json!({"flows": [{"type": PASSWORD}, {"type": TOKEN, "get_login_token": true}]}))
}

#[derive(Deserialize)]
struct Request {
    #[serde(rename = "type")]
    kind: String,
    identifier: Option<Identifier>,
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
    #[serde(default)]
    refresh_token: bool,
    device_id: Option<String>,
    initial_device_display_name: Option<String>,
}

#[derive(Deserialize)]
struct Identifier {
    #[serde(rename = "type")]
    kind: String,
    user: Option<String>,
}

async fn login(mut call: PublicCall) -> Outcome {
    let request: Request = call.json().await?;
    let device = NewDevice {
        device_id: request.device_id.clone(),
        display_name: request.initial_device_display_name.clone(),
        refreshable: request.refresh_token,
    };
    let login = match request.kind.as_str() {
        PASSWORD => call.homeserver().login(by_password(request, device)?).await?,
        TOKEN => {
            let missing = || ApiError::missing_param("Missing token");
            let token = request.token.ok_or_else(missing)?;
            call.homeserver().login_by_token(&token, device).await?
        }
        _ => return Err(unknown("No such login type")),
    };
    let mut body = logged_in(&login);
    body.insert(
        "home_server".into(),
        call.homeserver().server_name().as_str().into(),
    );
    answer::json(&body)
}

fn by_password(request: Request, device: NewDevice) -> Result<Login, ApiError> {
    let user = match request.identifier {
        Some(identifier) if identifier.kind != "m.id.user" => return Err(unknown("No such identifier type")),
        Some(identifier) => identifier.user,
        None => request.user,
    };
    Ok(Login {
        user: user.ok_or_else(|| ApiError::missing_param("Missing user"))?,
        password: request
            .password
            .ok_or_else(|| ApiError::missing_param("Missing password"))?,
        device,
    })
}

/// What a client is told that has been logged in.
pub(super) fn logged_in(login: &LoggedIn) -> Map<String, Value> {
    let mut body = tokens(&login.tokens);
    body.insert("user_id".into(), login.user_id.as_str().into());
    body.insert("device_id".into(), login.device_id.as_str().into());
    body
}

fn tokens(issued: &Issued) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("access_token".into(), issued.access_token.as_str().into());
    let refresh = issued.refresh_token.as_deref();
    body.extend(refresh.map(|token| ("refresh_token".to_owned(), token.into())));
    let expires = issued.expires_in_ms;
    body.extend(expires.map(|expires| ("expires_in_ms".to_owned(), expires.into())));
    body
}

#[derive(Deserialize)]
struct Refresh {
    refresh_token: String,
}

/// Spec: section 'Refreshing access tokens'.
async fn refresh(mut call: PublicCall) -> Outcome {
    let request: Refresh = call.json().await?;
    answer::json(&tokens(&call.homeserver().refresh(&request.refresh_token).await?))
}

#[derive(Deserialize)]
struct GetToken {
    auth: Option<Auth>,
}

/// A token that logs another client of the same user in.
async fn login_token(mut call: UserCall) -> Outcome {
    let request: GetToken = call.json_or_empty().await?;
    let user_id = &call.requester.user_id;
    interactive::confirm(&call.api, user_id, "get a login token", request.auth.as_ref()).await?;
    let token = call.homeserver().login_token(user_id).await?;
    answer::json(&json!({"login_token": token, "expires_in_ms": LOGIN_LIFETIME}))
}

async fn logout(call: UserCall) -> Outcome {
    call.homeserver().logout(&call.requester).await?;
    answer::empty()
}

async fn logout_all(call: UserCall) -> Outcome {
    call.homeserver().logout_all(&call.requester.user_id).await?;
    answer::empty()
}

fn unknown(message: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "M_UNKNOWN", message)
}
