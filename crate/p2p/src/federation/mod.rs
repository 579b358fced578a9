//! The Server-Server API over libp2p streams: one stream per request, in a binary framing ([`frame`]).

mod client;
mod deadline;
mod frame;
mod server;

pub(crate) use client::Client;
use libp2p::StreamProtocol;
pub(crate) use server::Server;

/// The protocol of a federation stream. A change of the framing is another protocol.
pub const PROTOCOL: StreamProtocol = StreamProtocol::new("/hearth/federation/1");
