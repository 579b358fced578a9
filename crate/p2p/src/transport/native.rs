//! TCP, and WebSocket over it, with host names resolved by the system's DNS servers.

use futures::{AsyncRead, AsyncWrite};
use libp2p::{Transport, dns, tcp, websocket};

/// Dials `/…/tcp/…` and `/…/tcp/…/ws|wss|tls/ws`. Must be made within a tokio runtime.
pub fn transport() -> impl Transport<
    Output = impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    Error = impl Send + Sync + 'static,
    ListenerUpgrade = impl Send,
    Dial = impl Send,
> + Send
+ Unpin
+ 'static {
    websocket::Config::new(resolved()).or_transport(resolved())
}

/// TCP with names resolved. Without a readable configuration of the system, public DNS servers are asked.
fn resolved() -> dns::tokio::Transport<tcp::tokio::Transport> {
    let tcp = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    dns::tokio::Transport::system(tcp()).unwrap_or_else(|error| {
        tracing::warn!(%error, "the system's DNS configuration cannot be read");
        dns::tokio::Transport::custom(
            tcp(),
            dns::ResolverConfig::default(),
            dns::ResolverOpts::default(),
        )
    })
}
