//! The homeserver as its peers meet it over libp2p, or that there are none.

use std::sync::Arc;

use bytes::Bytes;
use hearth_api::{Api, Body, Source};
use hearth_homeserver::{Federation, FederationError, Homeserver};
use hearth_p2p::Handler;
use hearth_storage::BoxFuture;
use http::{Request, Response, StatusCode};
use ruma_common::ServerName;

/// The longest answer that a peer is given, in bytes: what a peer accepts.
const MAX_ANSWER: usize = 64 << 20;

/// Answers peers with the federation part of the API.
pub(super) struct Peers {
    api: Api,
    homeserver: Arc<Homeserver>,
}

impl Peers {
    pub(super) fn new(api: Api, homeserver: Arc<Homeserver>) -> Self {
        Self { api, homeserver }
    }
}

impl Handler for Peers {
    fn handle(&self, from: String, request: Request<Bytes>) -> BoxFuture<'_, Response<Bytes>> {
        Box::pin(async move {
            let answer = self.api.handle(request.map(Body::from), Source::Federation).await;
            let (parts, body) = answer.into_parts();
            match body.collect(MAX_ANSWER).await {
                Ok(body) => Response::from_parts(parts, body),
                Err(error) => {
                    tracing::error!(%error, %from, "an answer to a peer was cut off");
                    let mut failed = Response::new(Bytes::new());
                    *failed.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                    failed
                }
            }
        })
    }

    fn peer_online(&self, server: &str) {
        if let Ok(server) = <&ServerName>::try_from(server) {
            self.homeserver.peer_online(server);
        }
    }

    fn peers_of_interest(&self) -> BoxFuture<'_, Vec<String>> {
        Box::pin(async move {
            let servers = self.homeserver.known_servers().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "cannot tell whom we share rooms with");
                Default::default()
            });
            servers.into_iter().map(Into::into).collect()
        })
    }
}

/// Federation of a homeserver that nobody can reach.
pub(super) struct NoPeers;

impl Federation for NoPeers {
    fn send<'a>(
        &'a self,
        _destination: &'a str,
        _request: Request<Bytes>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, FederationError>> {
        Box::pin(async { Err(FederationError::Unreachable) })
    }
}
