//! `hearth-node serve`: the app's files and the relay, on one port.
//!
//! A WebSocket upgrade at `/` becomes a libp2p connection to the relay. Everything else is HTTP:
//! `/config.json` tells the app where the relay is, `/metrics` and `/healthz` tell operators how it is.

mod app_config;
mod app_files;
mod lifetimes;
mod metrics;
mod networks;
mod other_client;
mod relay;
mod relay_key;
mod ws_transport;

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Result, bail};
use axum::{
    Router,
    extract::{
        ConnectInfo, Request, State,
        ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{any, get},
};
use libp2p::metrics::Registry;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use self::{
    app_config::AppConfig, app_files::AppFiles, metrics::Metrics, other_client::OtherClient, relay::Relay,
    ws_transport::MAX_MESSAGE,
};
use crate::{arguments::Serve, listener::Listener};

/// What the handlers share.
#[derive(Clone)]
struct Shared {
    config: Arc<AppConfig>,
    files: AppFiles,
    client: OtherClient,
    relay: Relay,
    registry: Arc<Registry>,
}

/// Serves until the process is told to end.
pub(crate) async fn run(options: Serve) -> Result<()> {
    let mut folders = options.app.iter().chain(&options.client);
    if let Some(missing) = folders.find(|folder| !folder.is_dir()) {
        bail!("there is no folder {}", missing.display());
    }
    let mut listener = Listener::bind(options.listen)?;
    if let (Some(certificates), Some(key)) = (&options.tls_cert, &options.tls_key) {
        listener = listener.with_tls(certificates, key)?;
    }
    let key = relay_key::load_or_create(options.data.as_deref())?;
    let config = AppConfig::new(&options, &listener, key.public().to_peer_id());
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let (relay, relay_task) = Relay::start(&key, config.own_addresses(), metrics, &mut registry)?;
    let shared = Shared {
        config: Arc::new(config),
        files: AppFiles::new(options.app),
        client: OtherClient::new(options.client),
        relay,
        registry: Arc::new(registry),
    };
    let announcement = format!("Serving Hearth at {}", listener.url());
    with_relay(listener.serve(router(shared), &announcement), relay_task).await
}

/// What `serving` comes to, or an error as soon as the relay's task ends: whoever keeps the process up starts it again.
async fn with_relay(serving: impl Future<Output = Result<()>>, relay: JoinHandle<()>) -> Result<()> {
    tokio::select! {
        served = serving => served,
        ended = relay => bail!("the relay has broken down: {ended:?}"),
    }
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/config.json", get(config))
        .route("/_matrix/{*path}", any(no_homeserver))
        .route("/healthz", get(async || "ok\n"))
        .route("/metrics", get(metrics))
        .fallback(files)
        .with_state(shared)
        .layer(app_files::compression())
        .layer(axum::middleware::map_response(app_files::secure))
}

/// The app's page, or for a WebSocket the relay.
async fn root(
    State(shared): State<Shared>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    request: Request,
) -> Response {
    let Ok(upgrade) = upgrade else {
        return shared.files.serve(request).await;
    };
    upgrade
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * MAX_MESSAGE)
        .on_upgrade(async move |socket| shared.relay.accept(socket, remote))
}

async fn files(State(shared): State<Shared>, request: Request) -> Response {
    match shared.client.has(request.uri().path()) {
        true => shared.client.serve(request).await,
        false => shared.files.serve(request).await,
    }
}

/// What a page hears that its service worker does not answer, as after a reload that passes workers by: to try again, and not
/// that its account has nothing.
async fn no_homeserver() -> Response {
    let error = "The homeserver of this address is in the browser. Reload the page, or open the app first.";
    let body = json!({ "errcode": "M_UNKNOWN", "error": error });
    (StatusCode::SERVICE_UNAVAILABLE, json_answer(&body)).into_response()
}

async fn config(State(shared): State<Shared>, request: Request) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let authority = request
        .uri()
        .authority()
        .map(|authority| authority.as_str())
        .or(host);
    json_answer(&shared.config.json(authority))
}

fn json_answer(body: &Value) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, body.to_string()).into_response()
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    (
        [(header::CONTENT_TYPE, content_type)],
        metrics::text(&shared.registry),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

    use std::future::{pending, ready};

    use super::with_relay;

    #[tokio::test]
    async fn a_relay_that_breaks_down_takes_the_process_with_it() {
        let broken = tokio::spawn(async { panic!("a bug") });
        assert!(with_relay(pending(), broken).await.is_err());
        let works = tokio::spawn(pending());
        assert!(with_relay(ready(Ok(())), works).await.is_ok());
    }
}
