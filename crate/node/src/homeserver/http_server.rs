//! Plain HTTP around the API, with bodies streamed both ways.

use std::net::SocketAddr;

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, State},
    routing::any,
};
use futures::StreamExt as _;
use hearth_api::{Api, BodyError, ClientAddress, Source};
use http::{Request, Response};

/// Every path goes to the API; it knows what is not there.
pub(super) fn router(api: Api) -> Router {
    Router::new().fallback(any(answer)).with_state(api)
}

async fn answer(State(api): State<Api>, mut request: Request<Body>) -> Response<Body> {
    if let Some(ConnectInfo(address)) = request.extensions().get::<ConnectInfo<SocketAddr>>().copied() {
        request.extensions_mut().insert(ClientAddress(address.ip()));
    }
    let answer = api.handle(request.map(streamed), Source::Client).await;
    answer.map(Body::from_stream)
}

fn streamed(body: Body) -> hearth_api::Body {
    let chunks = body.into_data_stream();
    hearth_api::Body::stream(chunks.map(|chunk| chunk.map_err(|error| BodyError::Aborted(error.to_string()))))
}
