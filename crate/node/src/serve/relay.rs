//! The circuit relay: lets two peers that can only dial out talk to each other. It sees encrypted bytes alone.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    time::{Duration, Instant},
};

use anyhow::Result;
use axum::extract::ws::WebSocket;
use futures::{StreamExt as _, channel::mpsc};
use hearth_p2p::transport::authenticated;
use libp2p::{
    Multiaddr, PeerId, Swarm, Transport as _,
    connection_limits::{self, ConnectionLimits},
    core::{muxing::StreamMuxerBox, transport::Boxed},
    identify,
    identity::Keypair,
    metrics::{BandwidthTransport, Registry},
    multiaddr::Protocol,
    ping, relay,
    swarm::{self, NetworkBehaviour, SwarmEvent},
};
use tokio::task::JoinHandle;

use super::{
    lifetimes::Lifetimes,
    metrics::Metrics,
    networks::Networks,
    ws_transport::{Incoming, Socket, WsTransport},
};

/// Sockets that wait for the swarm; more are closed at once.
const BACKLOG: usize = 64;
/// The family of protocols, as identify tells it.
const FAMILY: &str = "/hearth/1";
const AGENT: &str = concat!("hearth-node/", env!("CARGO_PKG_VERSION"));

const MAX_CONNECTIONS: u32 = 20_000;
const MAX_CONNECTIONS_PER_PEER: u32 = 16;
const MAX_RESERVATIONS: usize = 10_000;
const MAX_RESERVATIONS_PER_PEER: usize = 8;
/// It ends with its connection anyway. Whoever has it renews it after three quarters of the time that is left by their own
/// clock: this is long so that it may be wrong by days.
const RESERVATION_DURATION: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// No connection lasts longer, for no reservation may end before it: libp2p's relay panics at one that is renewed just
/// as it ends, and whoever has it chooses when to renew it.
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(6 * 24 * 60 * 60);
const MAX_CIRCUITS: usize = 50_000;
/// To and from it. Those to it are bounded by itself, at fewer: they leave it some of its own.
const MAX_CIRCUITS_PER_PEER: usize = 1024;
const MAX_CIRCUIT_DURATION: Duration = Duration::from_secs(24 * 60 * 60);
const MAX_CIRCUIT_BYTES: u64 = 1 << 40;

/// What the relay speaks.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    limits: connection_limits::Behaviour,
    relay: relay::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

/// A running relay, fed with sockets.
#[derive(Clone)]
pub(super) struct Relay {
    sockets: mpsc::Sender<Incoming>,
    networks: Networks,
    listen: Multiaddr,
}

impl Relay {
    /// Starts the relay whose identity is `key` and that is reached by `addresses`, and its task, which has no end.
    pub(super) fn start(
        key: &Keypair,
        addresses: Vec<Multiaddr>,
        metrics: Metrics,
        registry: &mut Registry,
    ) -> Result<(Self, JoinHandle<()>)> {
        let (sockets, incoming) = mpsc::channel(BACKLOG);
        let transport = transport(incoming, key, registry)?;
        let peer = key.public().to_peer_id();
        let config =
            swarm::Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(60));
        let mut swarm = Swarm::new(transport, Behaviour::new(key, peer), peer, config);
        let listen = addresses.first().cloned().unwrap_or_else(Multiaddr::empty);
        swarm.listen_on(listen.clone())?;
        for address in addresses {
            swarm.add_external_address(address);
        }
        let networks = Networks::default();
        let task = tokio::spawn(run(swarm, metrics, networks.clone()));
        let relay = Self {
            sockets,
            networks,
            listen,
        };
        Ok((relay, task))
    }

    /// Hands over a socket that `remote` opened. It is closed if too many wait already, or are open from its network.
    pub(super) fn accept(&self, socket: WebSocket, remote: SocketAddr) {
        let Some(place) = self.networks.place(remote) else {
            tracing::debug!(%remote, "too many sockets of one network");
            return;
        };
        let socket = Socket::new(socket, place);
        let incoming = Incoming {
            socket,
            local: self.listen.clone(),
            remote: multiaddr(remote),
        };
        if self.sockets.clone().try_send(incoming).is_err() {
            tracing::warn!("too many sockets wait for the relay");
        }
    }
}

impl Behaviour {
    fn new(key: &Keypair, peer: PeerId) -> Self {
        let identify = identify::Config::new(FAMILY.into(), key.public())
            .with_agent_version(AGENT.into())
            .with_cache_size(0);
        Self {
            limits: connection_limits::Behaviour::new(connection_limits()),
            relay: relay::Behaviour::new(peer, relay_limits()),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new()),
        }
    }
}

fn connection_limits() -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_pending_incoming(Some(1024))
        .with_max_established(Some(MAX_CONNECTIONS))
        .with_max_established_per_peer(Some(MAX_CONNECTIONS_PER_PEER))
}

/// Circuits are how browsers talk all day: they last, and only a peer that floods is slowed. An address
/// has a limit of sockets alone: many browsers share one.
fn relay_limits() -> relay::Config {
    let limits = relay::Config {
        max_reservations: MAX_RESERVATIONS,
        max_reservations_per_peer: MAX_RESERVATIONS_PER_PEER,
        reservation_duration: RESERVATION_DURATION,
        reservation_rate_limiters: Vec::new(),
        max_circuits: MAX_CIRCUITS,
        max_circuits_per_peer: MAX_CIRCUITS_PER_PEER,
        max_circuit_duration: MAX_CIRCUIT_DURATION,
        max_circuit_bytes: MAX_CIRCUIT_BYTES,
        circuit_src_rate_limiters: Vec::new(),
    };
    limits
        .reservation_rate_per_peer(NonZeroU32::MIN.saturating_add(59), Duration::from_secs(1))
        .circuit_src_per_peer(NonZeroU32::MIN.saturating_add(599), Duration::from_millis(100))
}

fn transport(
    incoming: mpsc::Receiver<Incoming>,
    key: &Keypair,
    registry: &mut Registry,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>> {
    let transport = authenticated(WsTransport::new(incoming), key)?;
    let counted = BandwidthTransport::new(transport, registry);
    Ok(counted
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed())
}

async fn run(mut swarm: Swarm<Behaviour>, metrics: Metrics, networks: Networks) {
    let mut lifetimes = Lifetimes::new(MAX_CONNECTION_AGE);
    while let Some(event) = swarm.next().await {
        tracing::debug!(?event, "relay");
        metrics.record(&event);
        let now = Instant::now();
        match event {
            SwarmEvent::ConnectionEstablished {
                connection_id,
                endpoint,
                ..
            } => {
                lifetimes.begin(connection_id, now);
                if let Some(remote) = socket_address(endpoint.get_remote_address()) {
                    networks.authenticated(remote);
                }
            }
            SwarmEvent::ConnectionClosed { connection_id, .. } => lifetimes.end(connection_id),
            // A peer that is gone without a word would keep its reservation, and circuits to it would lead nowhere.
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event {
                connection,
                result: Err(_),
                ..
            })) => drop(swarm.close_connection(connection)),
            _ => {}
        }
        // Looked at with every event: each connection is pinged again and again.
        if let Some(connection) = lifetimes.over(now) {
            swarm.close_connection(connection);
        }
    }
}

fn multiaddr(remote: SocketAddr) -> Multiaddr {
    Multiaddr::from(remote.ip()).with(Protocol::Tcp(remote.port()))
}

/// The address that [`multiaddr`] was given.
fn socket_address(remote: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = remote.iter();
    let ip: IpAddr = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::{future::poll_fn, task::Poll};

    use axum::{Router, extract::ws::WebSocketUpgrade, routing::any};
    use hearth_p2p::transport::sockets;
    use libp2p::core::{
        Endpoint,
        muxing::StreamMuxerExt as _,
        transport::{DialOpts, PortUse},
    };
    use tokio::{net::TcpListener, time::timeout};

    use super::*;

    /// A relay that takes whoever connects to be at `remote`, and its address.
    async fn relay_for(remote: SocketAddr) -> (Relay, Multiaddr) {
        let (key, mut registry) = (Keypair::generate_ed25519(), Registry::default());
        let metrics = Metrics::new(&mut registry);
        let (relay, _) = Relay::start(&key, Vec::new(), metrics, &mut registry).unwrap();
        let accepting = relay.clone();
        let upgrade = async move |upgrade: WebSocketUpgrade| {
            upgrade.on_upgrade(async move |socket| accepting.accept(socket, remote))
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = multiaddr(listener.local_addr().unwrap()).with(Protocol::Ws("/".into()));
        tokio::spawn(async { axum::serve(listener, Router::new().route("/", any(upgrade))).await });
        (relay, address)
    }

    #[tokio::test]
    async fn who_has_said_who_they_are_is_silent_no_more() {
        let remote = SocketAddr::from(([192, 0, 2, 1], 7));
        let (relay, address) = relay_for(remote).await;
        let mut transport = authenticated(sockets(), &Keypair::generate_ed25519()).unwrap();
        let options = DialOpts {
            role: Endpoint::Dialer,
            port_use: PortUse::New,
        };
        let (_, mut connection) = transport.dial(address, options).unwrap().await.unwrap();
        let connected = poll_fn(|context| {
            // Its part of the handshake ends when it is first used.
            assert!(connection.poll_unpin(context).is_pending());
            context.waker().wake_by_ref();
            match relay.networks.silent(remote.ip()) {
                0 => Poll::Ready(()),
                _ => Poll::Pending,
            }
        });
        timeout(Duration::from_secs(30), connected).await.unwrap();
    }

    #[test]
    fn a_socket_is_known_again_by_its_address() {
        for port in [1, 65_535] {
            for ip in [[192, 0, 2, 1].into(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()] {
                let remote = SocketAddr::new(ip, port);
                assert_eq!(socket_address(&multiaddr(remote)), Some(remote));
            }
        }
    }

    #[test]
    fn who_has_a_clock_that_is_two_days_wrong_keeps_its_reservation() {
        let granted = relay_limits().reservation_duration;
        let wrong = Duration::from_secs(2 * 24 * 60 * 60);
        assert!(granted > wrong, "it has not ended for whoever is ahead");
        let renewed = (granted + wrong) * 3 / 4;
        assert!(renewed < granted, "it is renewed in time by whoever is behind");
        assert!(MAX_CONNECTION_AGE < granted, "it ends with its connection");
    }
}
