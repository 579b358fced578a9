//! The homeserver as its peers meet it over libp2p, or that there are none.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures::TryStreamExt as _;
use hearth_api::{Api, Body, Source};
use hearth_homeserver::{Federation, FederationError, Homeserver};
use hearth_p2p::{Answer, Handler};
use hearth_storage::BoxFuture;
use http::{Request, Response};
use ruma_common::ServerName;

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
    fn handle(&self, _from: String, request: Request<Bytes>) -> BoxFuture<'_, Response<Answer>> {
        Box::pin(async move {
            let answer = self.api.handle(request.map(Body::from), Source::Federation);
            answer
                .await
                .map(|body| Answer::stream(body.map_err(io::Error::other)))
        })
    }

    fn peer_online(&self, server: &str) {
        if let Ok(server) = <&ServerName>::try_from(server) {
            self.homeserver.peer_online(server);
        }
    }

    fn peers_of_interest(&self) -> BoxFuture<'_, Vec<String>> {
        Box::pin(async move {
            let servers = self.homeserver.nearest_servers().await.unwrap_or_else(|error| {
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
