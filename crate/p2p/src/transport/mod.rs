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
/// Streams of one connection at once; one too many ends it. Every circuit of a server is a stream of its connection
/// to the relay, and these are more than both ends let there be. (yamux keeps 256 KiB of the 1 GiB that windows may
/// take for each: a quarter of it, so that those of busy streams can still grow.)
const MAX_STREAMS: usize = 2048;

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
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(MAX_STREAMS);
    Ok(transport
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux)
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

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use std::{future::poll_fn, task::Poll};

    use futures::{AsyncWriteExt as _, FutureExt as _, StreamExt as _, executor::block_on};
    use libp2p::core::{
        Endpoint,
        muxing::StreamMuxerExt as _,
        transport::{DialOpts, ListenerId, MemoryTransport, PortUse, TransportEvent},
    };

    use super::{Keypair, StreamMuxerBox, Transport as _, authenticated};

    /// Both ends of a connection.
    async fn connection() -> (StreamMuxerBox, StreamMuxerBox) {
        let transport = || authenticated(MemoryTransport::default(), &Keypair::generate_ed25519()).unwrap();
        let (mut relay, mut server) = (transport(), transport());
        relay
            .listen_on(ListenerId::next(), "/memory/0".parse().unwrap())
            .unwrap();
        let Some(TransportEvent::NewAddress { listen_addr, .. }) = relay.next().await else {
            panic!("it does not listen")
        };
        let options = DialOpts {
            role: Endpoint::Dialer,
            port_use: PortUse::New,
        };
        let mut dial = server.dial(listen_addr, options).unwrap();
        let mut accept = Box::pin(async {
            let incoming = relay.next().await.and_then(TransportEvent::into_incoming);
            incoming.unwrap().0.await
        });
        let mut dialled = None;
        let accepted = poll_fn(|context| {
            if dialled.is_none()
                && let Poll::Ready(connection) = dial.poll_unpin(context)
            {
                dialled = Some(connection.unwrap().1);
            }
            // Its part of the handshake ends when it is first used.
            if let Some(connection) = &mut dialled {
                assert!(connection.poll_unpin(context).is_pending());
            }
            accept.poll_unpin(context)
        });
        (accepted.await.unwrap().1, dialled.unwrap())
    }

    /// The circuits that a relay lets a server open, and those that the server accepts or is about to.
    const CIRCUITS: usize = 1024 + 512 + 64;

    #[test]
    fn a_connection_carries_all_circuits_that_a_server_may_have() {
        block_on(async {
            let (mut relay, mut server) = connection().await;
            let (mut opened, mut accepted) = (Vec::new(), Vec::new());
            poll_fn(|context| {
                while opened.len() < CIRCUITS
                    && let Poll::Ready(stream) = relay.poll_outbound_unpin(context)
                {
                    let mut stream = stream.unwrap();
                    assert!(stream.write_all(b"?").now_or_never().is_some());
                    opened.push(stream);
                }
                while let Poll::Ready(stream) = server.poll_inbound_unpin(context) {
                    let mut stream = stream.unwrap();
                    assert!(stream.write_all(b"!").now_or_never().is_some());
                    accepted.push(stream);
                }
                assert!(relay.poll_unpin(context).is_pending(), "it is open");
                match accepted.len() {
                    CIRCUITS => Poll::Ready(()),
                    _ => Poll::Pending,
                }
            })
            .await;
        });
    }
}
