//! Making accounts. Spec: Client-Server API, section 'Account registration'.

use hearth_homeserver::accounts::{NewDevice, Registration};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::interactive::{self, Auth};
use crate::{
    answer::{self, Outcome},
    call::PublicCall,
    error::ApiError,
    router::{Route, public},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/_matrix/client/v3/register", public!(register)).limited(),
        Route::get("/_matrix/client/v3/register/available", public!(available)),
    ]
}

#[derive(Deserialize)]
struct Request {
    auth: Option<Auth>,
    username: Option<String>,
    password: Option<String>,
    device_id: Option<String>,
    initial_device_display_name: Option<String>,
    #[serde(default)]
    inhibit_login: bool,
}

async fn register(mut call: PublicCall) -> Outcome {
    check_kind(&call)?;
    let request: Request = call.json_or_empty().await?;
    let homeserver = call.homeserver();
    if !homeserver.config.open_registration {
        return Err(ApiError::forbidden("Registration is closed"));
    }
    if let Some(username) = &request.username {
        homeserver.available_user_id(username).await?;
    }
    interactive::dummy(&call.api, "register", request.auth.as_ref())?;
    let device = NewDevice {
        device_id: request.device_id,
        display_name: request.initial_device_display_name,
    };
    let device = (!request.inhibit_login).then_some(device);
    let wish = Registration {
        username: request.username,
        password: request.password,
        device,
    };
    let (user_id, login) = homeserver.register(wish).await?;
    let mut body = json!({"user_id": user_id, "home_server": homeserver.server_name()});
    if let (Some(login), Some(body)) = (login, body.as_object_mut()) {
        body.insert("access_token".into(), login.access_token.into());
        body.insert("device_id".into(), login.device_id.as_str().into());
    }
    answer::json(&body)
}

fn check_kind(call: &PublicCall) -> Result<(), ApiError> {
    match call.query.get("kind") {
        None | Some("user") => Ok(()),
        Some("guest") => {
            let message = "There are no guest accounts here";
            Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "M_GUEST_ACCESS_FORBIDDEN",
                message,
            ))
        }
        Some(_) => Err(ApiError::invalid_param("kind is neither user nor guest")),
    }
}

async fn available(call: PublicCall) -> Outcome {
    call.homeserver()
        .available_user_id(call.query.required("username")?)
        .await?;
    answer::json(&json!({"available": true}))
}
