//! How bytes get to relays and, through them, to peers.
//!
//! The platforms differ in one thing only, the transport beneath: `web_socket` in a browser's worker,
//! `native` elsewhere. Noise, yamux and circuits are the same.

#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg(target_family = "wasm")]
mod web_socket;
#[cfg(any(test, target_family = "wasm"))]
mod web_socket_url;

use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use libp2p::{
    PeerId, Transport,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
    identity::Keypair,
    noise, relay, yamux,
};
#[cfg(not(target_family = "wasm"))]
use native as platform;
/// The sockets of this platform, neither authenticated nor multiplexed.
pub use platform::transport as sockets;
#[cfg(target_family = "wasm")]
use web_socket as platform;
#[cfg(target_family = "wasm")]
pub use web_socket::close_sockets;

use crate::StartError;

/// How long connecting may take in all: the socket, the handshake, and for a circuit the relay's part too.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes authenticated, multiplexed connections of those that `transport` makes: noise, then yamux, within 10 s.
///
/// A relay that serves its own sockets uses this as well, so that both ends agree.
///
/// # Errors
/// [`StartError::Identity`] if the key cannot sign the handshake.
pub fn authenticated<T>(
    transport: T,
    keypair: &Keypair,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, StartError>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::ListenerUpgrade: Send,
    T::Dial: Send,
{
    let noise = noise::Config::new(keypair).map_err(|error| StartError::Identity(error.to_string()))?;
    Ok(transport
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux::Config::default())
        .timeout(CONNECT_TIMEOUT)
        .boxed())
}

/// The transport of a homeserver: to relays, and to peers through them.
pub(crate) fn build(
    keypair: &Keypair,
    circuits: relay::client::Transport,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, StartError> {
    authenticated(circuits.or_transport(sockets()), keypair)
}
