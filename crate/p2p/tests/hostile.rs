//! Peers that break the protocol: their streams are reset, the connection and everyone else go on.

#![cfg(not(target_family = "wasm"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Node, Relay};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use hearth_p2p::{PROTOCOL, name, transport};
use libp2p::{
    Multiaddr, PeerId, Stream, Swarm, Transport as _,
    identity::Keypair,
    multiaddr::Protocol,
    relay,
    swarm::{self, NetworkBehaviour},
    tcp, websocket,
};

#[derive(NetworkBehaviour)]
struct Behaviour {
    relay: relay::client::Behaviour,
    streams: libp2p_stream::Behaviour,
}

/// Opens raw streams to one node.
struct Hostile {
    control: libp2p_stream::Control,
    victim: PeerId,
}

impl Hostile {
    fn start(relay: &Relay, victim: &Node) -> Self {
        let keypair = Keypair::generate_ed25519();
        let peer = keypair.public().to_peer_id();
        let (circuits, relay_client) = relay::client::new(peer);
        let sockets = websocket::Config::new(tcp::tokio::Transport::new(tcp::Config::default()));
        let transport = transport::authenticated(circuits.or_transport(sockets), &keypair).unwrap();
        let behaviour = Behaviour {
            relay: relay_client,
            streams: libp2p_stream::Behaviour::new(),
        };
        let mut swarm = Swarm::new(transport, behaviour, peer, swarm::Config::with_tokio_executor());
        let victim = name::peer_id(&victim.name).unwrap();
        let address: Multiaddr = relay.address().parse().unwrap();
        let address = address.with(Protocol::P2pCircuit).with(Protocol::P2p(victim));
        swarm.add_peer_address(victim, address.clone());
        swarm.dial(address).unwrap();
        let control = swarm.behaviour().streams.new_control();
        tokio::spawn(async move {
            loop {
                swarm.next().await;
            }
        });
        Self { control, victim }
    }

    async fn stream(&mut self) -> Stream {
        self.control.open_stream(self.victim, PROTOCOL).await.unwrap()
    }

    /// What comes back for `bytes`, after which nothing more is sent.
    async fn answer(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.stream().await;
        let _ = stream.write_all(bytes).await;
        let _ = stream.close().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    }
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap().to_be_bytes()
}

fn framed(head: &[u8], rest: &[u8]) -> Vec<u8> {
    [&length(head.len()), head, rest].concat()
}

/// `["GET", "/a", []]` in CBOR.
const HEAD: &[u8] = b"\x83\x63GET\x62/a\x80";

#[tokio::test(flavor = "multi_thread")]
async fn malformed_frames_are_refused_and_the_connection_survives() {
    let relay = Relay::start().await;
    let victim = Node::start(1, &[&relay], &[]);
    victim.reserved(1).await;
    let mut hostile = Hostile::start(&relay, &victim);
    let malformed: [Vec<u8>; 10] = [
        Vec::new(),
        vec![0; 3],
        vec![0xff; 100_000],
        framed(b"garbage", &[]),
        framed(&[0x9f; 65_536], &[]),
        length((64 << 10) + 1).to_vec(),
        framed(&HEAD[..5], &[]),
        framed(b"\x83\x01\x62/a\x80", &length(0)),
        framed(HEAD, &[&length(100)[..], &[1; 50]].concat()),
        framed(HEAD, &length((64 << 10) + 1)),
    ];
    for bytes in malformed {
        let answer = hostile.answer(&bytes).await;
        assert!(
            answer.is_empty(),
            "{:?} … got {answer:?}",
            &bytes[..bytes.len().min(20)]
        );
    }
    let answer = hostile.answer(&framed(HEAD, &length(0))).await;
    assert!(
        answer.windows(6).any(|bytes| bytes == b"GET /a"),
        "the same connection still serves: {answer:?}"
    );
    let peers = victim.network.status().peers;
    assert_eq!(peers.iter().filter(|peer| peer.connected).count(), 1, "{peers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_never_end_are_bounded_and_do_not_stop_others() {
    let relay = Relay::start().await;
    let victim = Node::start(1, &[&relay], &[]);
    let other = Node::start(2, &[&relay], &[]);
    victim.reserved(1).await;
    let mut hostile = Hostile::start(&relay, &victim);
    let mut held = Vec::new();
    // As many as are served of one peer at once (Config::max_inbound_per_peer).
    for _ in 0..32 {
        let mut stream = hostile.stream().await;
        stream.write_all(&framed(HEAD, &[])).await.unwrap();
        held.push(stream);
    }
    let refused = hostile.answer(&framed(HEAD, &length(0))).await;
    assert!(
        refused.windows(16).any(|bytes| bytes == b"M_LIMIT_EXCEEDED"),
        "{refused:?}"
    );
    let request = http::Request::get("/b").body(bytes::Bytes::new()).unwrap();
    let response = hearth_homeserver::Federation::send(&other.network, &victim.name, request)
        .await
        .unwrap();
    assert_eq!(response.status(), 201);
}
