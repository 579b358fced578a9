//! Making accounts. Spec: Client-Server API, section 'Account registration'.

use hearth_homeserver::accounts::{NewDevice, Registration};
use serde::Deserialize;
use serde_json::json;

use super::{
    interactive::{self, Auth},
    login::logged_in,
};
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
        Route::get(
            "/_matrix/client/v1/register/m.login.registration_token/validity",
            public!(token_validity),
        ),
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
    #[serde(default)]
    refresh_token: bool,
    /// Of the guest whose account it is to become. Spec: section 'Guest Access'.
    guest_access_token: Option<String>,
}

async fn register(mut call: PublicCall) -> Outcome {
    if is_guest(&call)? {
        return register_guest(call).await;
    }
    let request: Request = call.json_or_empty().await?;
    let homeserver = call.homeserver();
    if !homeserver.config.open_registration {
        return Err(ApiError::forbidden("Registration is closed"));
    }
    let guest = request.guest_access_token.as_deref();
    let guest = guest.map(|token| homeserver.session(token)).transpose()?;
    if let Some(username) = request.username.as_ref().filter(|_| guest.is_none()) {
        homeserver.available_user_id(username).await?;
    }
    interactive::dummy(&call.api, "register", request.auth.as_ref())?;
    let device = NewDevice {
        device_id: request.device_id,
        display_name: request.initial_device_display_name,
        refreshable: request.refresh_token,
    };
    let device = (!request.inhibit_login).then_some(device);
    let wish = Registration {
        username: request.username,
        password: request.password,
        device,
    };
    let (user_id, login) = match guest {
        Some(guest) => homeserver.upgrade_guest(&guest.user_id, wish).await?,
        None => homeserver.register(wish).await?,
    };
    let mut body = login.as_ref().map(logged_in).unwrap_or_default();
    body.insert("user_id".into(), user_id.as_str().into());
    body.insert("home_server".into(), homeserver.server_name().as_str().into());
    answer::json(&body)
}

/// Whether an account for a guest is asked for.
fn is_guest(call: &PublicCall) -> Result<bool, ApiError> {
    match call.query.get("kind") {
        None | Some("user") => Ok(false),
        Some("guest") => Ok(true),
        Some(_) => Err(ApiError::invalid_param("kind is neither user nor guest")),
    }
}

/// Guests give no proof, and choose nothing but the name of their device. Spec: section 'Guest Access'.
async fn register_guest(mut call: PublicCall) -> Outcome {
    let request: Request = call.json_or_empty().await?;
    if !call.homeserver().config.guests {
        return Err(ApiError::forbidden("There are no guest accounts here"));
    }
    let device = NewDevice {
        display_name: request.initial_device_display_name,
        ..NewDevice::default()
    };
    let mut body = logged_in(&call.homeserver().register_guest(device).await?);
    body.insert(
        "home_server".into(),
        call.homeserver().server_name().as_str().into(),
    );
    answer::json(&body)
}

/// Nobody registers with a token here: no flow asks for one.
async fn token_validity(call: PublicCall) -> Outcome {
    call.query.required("token")?;
    Err(ApiError::forbidden("Registration takes no tokens here"))
}

async fn available(call: PublicCall) -> Outcome {
    call.homeserver()
        .available_user_id(call.query.required("username")?)
        .await?;
    answer::json(&json!({"available": true}))
}
