//! Answers: JSON with a status.

use std::sync::Arc;

use futures::TryStreamExt as _;
use hearth_homeserver::{Homeserver, federation::bulk::BulkAnswer};
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use serde::Serialize;

use crate::{Body, BodyError, error::ApiError};

/// An HTTP answer.
pub(crate) type Answer = Response<Body>;

/// What an endpoint returns.
pub(crate) type Outcome = Result<Answer, ApiError>;

/// 200 with `value` as JSON.
pub(crate) fn json(value: &impl Serialize) -> Outcome {
    Ok(json_with(StatusCode::OK, value))
}

/// 200 with the JSON of `answer`, whose events are read as they are sent.
pub(crate) fn bulk(homeserver: &Arc<Homeserver>, answer: BulkAnswer) -> Outcome {
    let pieces = Arc::clone(homeserver).written(answer);
    let body = Body::stream(pieces.map_err(|error| BodyError::Aborted(error.to_string())));
    Ok(with_body(StatusCode::OK, body))
}

/// 200 with `{}`.
pub(crate) fn empty() -> Outcome {
    Ok(with_body(StatusCode::OK, Body::from("{}")))
}

/// `value` as JSON with `status`.
pub(crate) fn json_with(status: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(bytes) => with_body(status, bytes.into()),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON");
            with_body(
                StatusCode::INTERNAL_SERVER_ERROR,
                Body::from(r#"{"errcode":"M_UNKNOWN","error":""}"#),
            )
        }
    }
}

fn with_body(status: StatusCode, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
