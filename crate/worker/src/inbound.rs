//! Requests of other servers, and what the network tells the homeserver.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures::TryStreamExt as _;
use hearth_api::{Api, Body, Source};
use hearth_homeserver::Homeserver;
use hearth_p2p::{Answer, Handler, Network};
use hearth_storage::BoxFuture;
use http::{Request, Response};
use ruma_common::ServerName;

use crate::addresses::Addresses;

/// Answers other servers.
pub(crate) struct Inbound {
    pub(crate) api: Api,
    pub(crate) homeserver: Arc<Homeserver>,
    pub(crate) network: Network,
    pub(crate) addresses: Addresses,
}

impl Handler for Inbound {
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
        Box::pin(nearest_servers(&self.homeserver))
    }

    fn route_learned(&self, server: &str, relays: &[String]) {
        let (addresses, server, relays) = (self.addresses.clone(), server.to_owned(), relays.to_vec());
        self.network.add_route(&server, relays.clone());
        let homeserver = self.homeserver.clone();
        wasm_bindgen_futures::spawn_local(async move {
            let known = nearest_servers(&homeserver).await;
            if let Err(error) = addresses.keep_learned(&server, &relays, &known).await {
                tracing::warn!(%error, server, "a route could not be kept");
            }
        });
    }
}

/// Those we share rooms with, those of small rooms first.
async fn nearest_servers(homeserver: &Homeserver) -> Vec<String> {
    let servers = homeserver.nearest_servers().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot tell whom we share rooms with");
        Default::default()
    });
    servers.into_iter().map(Into::into).collect()
}
