//! The user's devices. Spec: Client-Server API, section 'Device Management'.

use hearth_homeserver::accounts::Device;
use ruma_common::OwnedDeviceId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::interactive::{self, Auth};
use crate::{
    answer::{self, Outcome},
    call::UserCall,
    error::ApiError,
    router::{Route, user},
};

/// The most devices that one request deletes.
const MAX_DEVICES: usize = 1_000;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/_matrix/client/v3/devices", user!(list)),
        Route::get("/_matrix/client/v3/devices/{deviceId}", user!(get)),
        Route::put("/_matrix/client/v3/devices/{deviceId}", user!(rename)),
        Route::delete("/_matrix/client/v3/devices/{deviceId}", user!(delete)).limited(),
        Route::post("/_matrix/client/v3/delete_devices", user!(delete_many)).limited(),
    ]
}

async fn list(call: UserCall) -> Outcome {
    let devices = call.homeserver().devices(&call.requester.user_id).await?;
    answer::json(&json!({"devices": devices.iter().map(device_json).collect::<Vec<_>>()}))
}

async fn get(call: UserCall) -> Outcome {
    let device = call
        .homeserver()
        .device(&call.requester.user_id, &device_id(&call))
        .await?;
    answer::json(&device_json(&device))
}

#[derive(Deserialize)]
struct Rename {
    display_name: Option<String>,
}

async fn rename(mut call: UserCall) -> Outcome {
    let request: Rename = call.json().await?;
    let user_id = &call.requester.user_id;
    call.homeserver()
        .rename_device(user_id, &device_id(&call), request.display_name)
        .await?;
    answer::empty()
}

#[derive(Deserialize)]
struct Delete {
    auth: Option<Auth>,
}

async fn delete(mut call: UserCall) -> Outcome {
    let request: Delete = call.json_or_empty().await?;
    let operation = format!("delete device {}", device_id(&call));
    interactive::confirm(
        &call.api,
        &call.requester.user_id,
        &operation,
        request.auth.as_ref(),
    )
    .await?;
    call.homeserver()
        .delete_devices(&call.requester.user_id, &[device_id(&call)])
        .await?;
    answer::empty()
}

#[derive(Deserialize)]
struct DeleteMany {
    auth: Option<Auth>,
    devices: Vec<OwnedDeviceId>,
}

async fn delete_many(mut call: UserCall) -> Outcome {
    let request: DeleteMany = call.json().await?;
    if request.devices.len() > MAX_DEVICES {
        return Err(ApiError::invalid_param("Too many devices at once"));
    }
    let operation = format!("delete devices {:?}", request.devices);
    interactive::confirm(
        &call.api,
        &call.requester.user_id,
        &operation,
        request.auth.as_ref(),
    )
    .await?;
    call.homeserver()
        .delete_devices(&call.requester.user_id, &request.devices)
        .await?;
    answer::empty()
}

fn device_id(call: &UserCall) -> OwnedDeviceId {
    call.param("deviceId").into()
}

fn device_json(device: &Device) -> Value {
    let mut json = json!({"device_id": device.device_id, "last_seen_ts": device.last_seen_ts});
    if let Some(name) = &device.display_name {
        json["display_name"] = json!(name);
    }
    if let Some(ip) = &device.last_seen_ip {
        json["last_seen_ip"] = json!(ip);
    }
    json
}
