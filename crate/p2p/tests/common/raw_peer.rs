//! A peer that writes whatever bytes it likes into federation streams.

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use hearth_p2p::{PROTOCOL, name, transport};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, Transport as _,
    identity::Keypair,
    multiaddr::Protocol,
    ping, relay,
    swarm::{self, NetworkBehaviour},
    tcp, websocket,
};

#[derive(NetworkBehaviour)]
pub struct Behaviour {
    relay: relay::client::Behaviour,
    /// Relays close connections that do not answer pings.
    ping: ping::Behaviour,
    streams: libp2p_stream::Behaviour,
}

/// A field of bytes in protobuf.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

/// Opens raw streams to one node.
pub struct RawPeer {
    pub name: String,
    control: libp2p_stream::Control,
    victim: PeerId,
}

impl RawPeer {
    /// Connects to the server `victim` through the relay at the address `relay`.
    pub async fn start(relay: &str, victim: &str) -> Self {
        let keypair = Keypair::generate_ed25519();
        let peer = keypair.public().to_peer_id();
        let (circuits, relay_client) = relay::client::new(peer);
        let sockets = websocket::Config::new(tcp::tokio::Transport::new(tcp::Config::default()));
        let transport = transport::authenticated(circuits.or_transport(sockets), &keypair).unwrap();
        let behaviour = Behaviour {
            relay: relay_client,
            ping: ping::Behaviour::default(),
            streams: libp2p_stream::Behaviour::new(),
        };
        let mut swarm = Swarm::new(transport, behaviour, peer, swarm::Config::with_tokio_executor());
        let victim = name::peer_id(victim).unwrap();
        let address: Multiaddr = relay.parse().unwrap();
        let address = address.with(Protocol::P2pCircuit).with(Protocol::P2p(victim));
        swarm.dial(address).unwrap();
        while swarm.next().await.is_some() && !swarm.is_connected(&victim) {}
        let control = swarm.behaviour().streams.new_control();
        tokio::spawn(async move {
            loop {
                swarm.next().await;
            }
        });
        let name = name::server_name(&peer).unwrap();
        Self {
            name,
            control,
            victim,
        }
    }

    /// A new federation stream.
    pub async fn stream(&mut self) -> Stream {
        self.control.open_stream(self.victim, PROTOCOL).await.unwrap()
    }

    /// A circuit to the server through the relay at the address `relay`, and nothing after it. It may have been refused.
    pub async fn circuit(&mut self, relay: &str) -> Stream {
        let relay: Multiaddr = relay.parse().unwrap();
        let Some(Protocol::P2p(relay)) = relay.iter().last() else {
            panic!("{relay} names no peer")
        };
        let hop = StreamProtocol::new("/libp2p/circuit/relay/0.2.0/hop");
        let mut stream = self.control.open_stream(relay, hop).await.unwrap();
        let peer = field(2, &field(1, &self.victim.to_bytes()));
        let connect = [&[0x08, 0x01][..], &peer].concat();
        stream
            .write_all(&[u8::try_from(connect.len()).unwrap()])
            .await
            .unwrap();
        stream.write_all(&connect).await.unwrap();
        stream.flush().await.unwrap();
        let _ = stream.read(&mut [0; 64]).await;
        stream
    }

    /// What comes back for `bytes`, after which nothing more is sent.
    pub async fn answer(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.stream().await;
        let _ = stream.write_all(bytes).await;
        let _ = stream.close().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    }
}
