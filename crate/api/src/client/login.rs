//! Logging in and out. Spec: Client-Server API, section 'Login'.

use hearth_homeserver::accounts::{Login, NewDevice};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::{
    answer::{self, Outcome},
    call::{PublicCall, UserCall},
    error::ApiError,
    router::{Route, public, user},
};

const PASSWORD: &str = "m.login.password";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/_matrix/client/v3/login", public!(flows)),
        Route::post("/_matrix/client/v3/login", public!(login)).limited(),
        Route::post("/_matrix/client/v3/logout", user!(logout)),
        Route::post("/_matrix/client/v3/logout/all", user!(logout_all)),
    ]
}

async fn flows(_: PublicCall) -> Outcome {
    answer::json(&json!({"flows": [{"type": PASSWORD}]}))
}

#[derive(Deserialize)]
struct Request {
    #[serde(rename = "type")]
    kind: String,
    identifier: Option<Identifier>,
    user: Option<String>,
    password: Option<String>,
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
    if request.kind != PASSWORD {
        return Err(unknown("No such login type"));
    }
    let user = match request.identifier {
        Some(identifier) if identifier.kind != "m.id.user" => return Err(unknown("No such identifier type")),
        Some(identifier) => identifier.user,
        None => request.user,
    };
    let device = NewDevice {
        device_id: request.device_id,
        display_name: request.initial_device_display_name,
    };
    let login = Login {
        user: user.ok_or_else(|| ApiError::missing_param("Missing user"))?,
        password: request
            .password
            .ok_or_else(|| ApiError::missing_param("Missing password"))?,
        device,
    };
    let login = call.homeserver().login(login).await?;
    answer::json(&json!({
        "user_id": login.user_id,
        "access_token": login.access_token,
        "device_id": login.device_id,
        "home_server": call.homeserver().server_name(),
    }))
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
