//! Files for other servers. Spec: Server-Server API, section 'Content Repository'.

use std::time::Duration;

use hearth_homeserver::media::MediaId;

use crate::{
    answer::Outcome,
    call::ServerCall,
    client::media::size,
    error::ApiError,
    file,
    router::{Route, server},
};

/// The longest that a file is waited for that is still to be uploaded, in milliseconds.
const MAX_WAIT: u64 = 20_000;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/_matrix/federation/v1/media/download/{mediaId}",
            server!(download),
        ),
        Route::get(
            "/_matrix/federation/v1/media/thumbnail/{mediaId}",
            server!(thumbnail),
        ),
    ]
}

fn parameters(call: &ServerCall) -> Result<(MediaId, Duration), ApiError> {
    let id = MediaId::parse(call.param("mediaId"));
    let id = id.ok_or_else(|| ApiError::not_found("There is no such file"))?;
    let wait = call.query.number("timeout_ms")?.unwrap_or(MAX_WAIT).min(MAX_WAIT);
    Ok((id, Duration::from_millis(wait)))
}

async fn download(call: ServerCall) -> Outcome {
    let (id, wait) = parameters(&call)?;
    let media = call.homeserver().media_for_server(&id, wait).await?;
    file::answer_to_server(call.homeserver(), &media, &call.headers).await
}

async fn thumbnail(call: ServerCall) -> Outcome {
    let (id, wait) = parameters(&call)?;
    let size = size(&call)?;
    let media = call.homeserver().thumbnail_for_server(&id, size, wait).await?;
    file::answer_to_server(call.homeserver(), &media, &call.headers).await
}
