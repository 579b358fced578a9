//! The Server-Server API over libp2p streams: one stream per request, in a binary framing ([`frame`]).

mod client;
mod frame;
#[cfg(all(test, not(target_family = "wasm")))]
#[path = "../../fuzz/src/framing.rs"]
#[allow(
    unreachable_pub,
    clippy::expect_used,
    reason = "the check is public in the crate that fuzzes, and fails by panicking"
)]
mod framing;
mod server;

pub(crate) use client::Client;
use libp2p::StreamProtocol;
pub(crate) use server::Server;

/// The protocol of a federation stream. A change of the framing is another protocol.
pub const PROTOCOL: StreamProtocol = StreamProtocol::new("/hearth/federation/1");
