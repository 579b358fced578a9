//! What the network is doing, for people to see.

use serde::Serialize;

/// A snapshot of the network.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Status {
    /// Our libp2p peer id.
    pub peer_id: String,
    /// The relays that we keep, or try to keep, a reservation at.
    pub relays: Vec<RelayStatus>,
    /// The servers that we are connected to or want to be.
    pub peers: Vec<PeerStatus>,
}

/// One relay.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RelayStatus {
    /// Its multiaddr, with its peer id.
    pub address: String,
    /// Whether a connection to it is open.
    pub connected: bool,
    /// Whether it holds a reservation for us, so that others reach us through it.
    pub reserved: bool,
    /// The round-trip time to it in milliseconds, once measured.
    pub rtt_ms: Option<f64>,
}

/// One other server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PeerStatus {
    /// Its name.
    pub server_name: String,
    /// Whether a connection to it is open.
    pub connected: bool,
    /// Whether every connection to it goes through a relay.
    pub relayed: bool,
    /// The round-trip time to it in milliseconds, once measured.
    pub rtt_ms: Option<f64>,
}
