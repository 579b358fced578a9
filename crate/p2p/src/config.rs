//! What a network is started with.

use std::time::Duration;

/// The settings of a [`Network`](crate::Network). `Config::default()` suits a browser; add relays to it.
#[derive(Clone, Debug)]
pub struct Config {
    /// Relays to keep a reservation at, as multiaddrs with their `/p2p/<id>`. Invalid ones are left out and
    /// logged; more can come later. With none, no server can be reached.
    pub relays: Vec<String>,
    /// How long a request to another server may take in all, connecting included.
    pub request_timeout: Duration,
    /// How long a peer that is not connected is dialled before a request to it fails.
    pub dial_timeout: Duration,
    /// How long a peer may take to send one piece of a request or of an answer.
    pub read_timeout: Duration,
    /// The greatest body that is accepted in an answer, in bytes. Of answers that are being read, so much of two may be in
    /// memory at once, and the first 256 KiB of each; one server may fill no more of it than it leaves free.
    pub max_body: usize,
    /// The greatest body that is accepted in a request, in bytes.
    pub max_request: usize,
    /// The bytes of requests of others that may be read or answered at once, with those of pieces of answers that are
    /// being written, over all peers. Strangers, with whom no room is shared, may fill half of it, one peer a quarter, one
    /// stranger a sixteenth; a single piece may be larger. Of each answer one more piece may be in memory, and what the
    /// handler makes it from.
    pub max_buffered: usize,
    /// Requests to one server that may be under way at once; more wait.
    pub max_outbound_per_peer: usize,
    /// Requests of one server that are served at once; more are answered with 429. Of a stranger's it is a
    /// quarter: what one asks for at once by [`max_outbound_per_peer`](Self::max_outbound_per_peer).
    pub max_inbound_per_peer: usize,
    /// Requests of all servers that are served at once; more are answered with 503. Half of them at most are strangers'.
    pub max_inbound: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            relays: Vec::new(),
            request_timeout: Duration::from_secs(60),
            dial_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            max_body: 64 << 20,
            max_request: 8 << 20,
            max_buffered: 64 << 20,
            max_outbound_per_peer: 8,
            max_inbound_per_peer: 32,
            max_inbound: 128,
        }
    }
}
