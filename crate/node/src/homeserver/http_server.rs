//! Plain HTTP around the API, with bodies streamed both ways.

use axum::{Router, body::Body, extract::State, routing::any};
use futures::StreamExt as _;
use hearth_api::{Api, BodyError, Source};
use http::{Request, Response};

/// Every path goes to the API; it knows what is not there.
pub(super) fn router(api: Api) -> Router {
    Router::new().fallback(any(answer)).with_state(api)
}

async fn answer(State(api): State<Api>, request: Request<Body>) -> Response<Body> {
    let answer = api.handle(request.map(streamed), Source::Client).await;
    answer.map(Body::from_stream)
}

fn streamed(body: Body) -> hearth_api::Body {
    let chunks = body.into_data_stream();
    hearth_api::Body::stream(chunks.map(|chunk| chunk.map_err(|error| BodyError::Aborted(error.to_string()))))
}
