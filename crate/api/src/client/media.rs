//! Files. Spec: Client-Server API, section 'Content Repository'.

use std::time::Duration;

use futures::StreamExt as _;
use hearth_homeserver::media::{Description, MediaId, MediaUri, Method, Size, Upload};
use http::header::CONTENT_TYPE;
use ruma_common::OwnedServerName;
use serde_json::json;

use crate::{
    answer::{self, Outcome},
    call::{Call, PublicCall, UserCall},
    error::ApiError,
    file,
    router::{Route, public, user},
};

/// How long a file is waited for that is still to be uploaded, in milliseconds, if the client does not say.
const WAIT: u64 = 20_000;
/// The longest that it is waited for, in milliseconds.
const MAX_WAIT: u64 = 20_000;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/_matrix/media/v3/upload", user!(upload)).limited(),
        Route::post("/_matrix/media/v1/create", user!(create)).limited(),
        Route::put(
            "/_matrix/media/v3/upload/{serverName}/{mediaId}",
            user!(upload_reserved),
        )
        .limited(),
        Route::get("/_matrix/client/v1/media/config", user!(config)),
        Route::get(
            "/_matrix/client/v1/media/download/{serverName}/{mediaId}",
            user!(download),
        ),
        Route::get(
            "/_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}",
            user!(download),
        ),
        Route::get(
            "/_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}",
            user!(thumbnail),
        ),
        Route::get("/_matrix/media/v3/config", user!(config)),
        Route::get(
            "/_matrix/media/v3/download/{serverName}/{mediaId}",
            public!(legacy_download),
        )
        .limited(),
        Route::get(
            "/_matrix/media/v3/download/{serverName}/{mediaId}/{fileName}",
            public!(legacy_download),
        )
        .limited(),
        Route::get(
            "/_matrix/media/v3/thumbnail/{serverName}/{mediaId}",
            public!(legacy_thumbnail),
        )
        .limited(),
    ]
}

async fn config(call: UserCall) -> Outcome {
    answer::json(&json!({ "m.upload.size": call.homeserver().config.max_upload_bytes }))
}

async fn upload(call: UserCall) -> Outcome {
    let upload = call
        .homeserver()
        .upload(&call.requester.user_id, description(&call)?)?;
    let uri = receive(call, upload).await?;
    answer::json(&json!({ "content_uri": uri.to_string() }))
}

async fn create(call: UserCall) -> Outcome {
    let (uri, expires) = call.homeserver().reserve_media(&call.requester.user_id).await?;
    answer::json(&json!({ "content_uri": uri.to_string(), "unused_expires_at": expires }))
}

async fn upload_reserved(call: UserCall) -> Outcome {
    let MediaUri { server, id } = uri(&call)?;
    let upload = call
        .homeserver()
        .upload_reserved(&call.requester.user_id, &server, id, description(&call)?)
        .await?;
    receive(call, upload).await?;
    answer::empty()
}

/// Takes in the body.
async fn receive(mut call: UserCall, mut upload: Upload) -> Result<MediaUri, ApiError> {
    while let Some(chunk) = call.body.next().await {
        upload.write(&chunk?).await?;
    }
    Ok(upload.finish().await?)
}

fn description(call: &UserCall) -> Result<Description, ApiError> {
    let content_type = call.headers.get(CONTENT_TYPE);
    let content_type = content_type
        .map(|value| {
            value
                .to_str()
                .map_err(|_| ApiError::invalid_param("The content type is malformed"))
        })
        .transpose()?;
    Ok(Description::new(content_type, call.query.get("filename"))?)
}

fn uri<R>(call: &Call<R>) -> Result<MediaUri, ApiError> {
    let server: OwnedServerName = call.id("serverName")?;
    let id = MediaId::parse(call.param("mediaId"));
    let id = id.ok_or_else(|| ApiError::not_found("There is no such file"))?;
    Ok(MediaUri { server, id })
}

fn wait<R>(call: &Call<R>) -> Result<Duration, ApiError> {
    let milliseconds = call.query.number("timeout_ms")?.unwrap_or(WAIT);
    Ok(Duration::from_millis(milliseconds.min(MAX_WAIT)))
}

async fn download(call: UserCall) -> Outcome {
    send_file(call, true).await
}

/// Without a token nothing is fetched from other servers: the specification freezes these routes (1.11).
async fn legacy_download(call: PublicCall) -> Outcome {
    send_file(call, false).await
}

async fn send_file<R>(call: Call<R>, remote: bool) -> Outcome {
    let media = call
        .homeserver()
        .media(&uri(&call)?, wait(&call)?, remote)
        .await?;
    let name = Some(call.param("fileName")).filter(|name| !name.is_empty());
    file::answer(call.homeserver(), &media, name, &call.headers).await
}

async fn thumbnail(call: UserCall) -> Outcome {
    send_thumbnail(call, true).await
}

/// Like [`legacy_download`].
async fn legacy_thumbnail(call: PublicCall) -> Outcome {
    send_thumbnail(call, false).await
}

async fn send_thumbnail<R>(call: Call<R>, remote: bool) -> Outcome {
    let (uri, size, wait) = (uri(&call)?, size(&call)?, wait(&call)?);
    let media = call.homeserver().thumbnail(&uri, size, wait, remote).await?;
    file::answer(call.homeserver(), &media, None, &call.headers).await
}

/// The size that the query asks for.
pub(crate) fn size<R>(call: &Call<R>) -> Result<Size, ApiError> {
    let method = call.query.parsed("method", |text| match text {
        "crop" => Some(Method::Crop),
        "scale" => Some(Method::Scale),
        _ => None,
    })?;
    Ok(Size {
        width: pixels(call, "width")?,
        height: pixels(call, "height")?,
        method: method.unwrap_or(Method::Scale),
    })
}

fn pixels<R>(call: &Call<R>, name: &str) -> Result<u32, ApiError> {
    call.query.required(name)?;
    let number = call.query.number(name)?.unwrap_or_default();
    match u32::try_from(number) {
        Ok(number @ 1..) => Ok(number),
        _ => Err(ApiError::invalid_param(format!("{name} is no number of pixels"))),
    }
}
