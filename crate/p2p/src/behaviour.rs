//! The protocols that the swarm speaks.

use std::time::Duration;

use libp2p::{
    connection_limits::{self, ConnectionLimits},
    identify,
    identity::Keypair,
    ping, relay,
    swarm::NetworkBehaviour,
};

use crate::{
    places::{MAX_ESTABLISHED, MAX_PENDING},
    streams,
};

/// What identify tells others that we are.
const AGENT: &str = concat!("hearth/", env!("CARGO_PKG_VERSION"));
/// The family of protocols, as identify tells it.
const FAMILY: &str = "/hearth/1";
/// How often a connection is checked; also what keeps middleboxes from forgetting it.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// How long an answer to a ping may take.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Federation streams, and what is needed to find and keep the connections that carry them.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    pub(crate) relay: relay::client::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(crate) streams: streams::Behaviour,
}

impl Behaviour {
    pub(crate) fn new(keypair: &Keypair, relay: relay::client::Behaviour) -> Self {
        let identify = identify::Config::new(FAMILY.to_owned(), keypair.public())
            .with_agent_version(AGENT.to_owned())
            .with_push_listen_addr_updates(true)
            .with_cache_size(0);
        let ping = ping::Config::new()
            .with_interval(PING_INTERVAL)
            .with_timeout(PING_TIMEOUT);
        Self {
            limits: connection_limits::Behaviour::new(limits()),
            relay,
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping),
            streams: streams::Behaviour::default(),
        }
    }
}

/// What others may make us hold.
fn limits() -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_pending_incoming(Some(MAX_PENDING))
        .with_max_established_incoming(Some(MAX_ESTABLISHED))
        .with_max_established_per_peer(Some(8))
}
