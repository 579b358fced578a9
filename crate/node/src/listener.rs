//! The listening socket: bound before anything is printed, with or without TLS, stopped by signals.

use std::{
    io::{self, Write as _},
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use axum::Router;
use axum_server::{
    Handle,
    accept::Accept,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use futures::future::BoxFuture;
use hyper_util::rt::TokioTimer;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{net::TcpStream, signal, time::timeout};

/// How long a client may take to send the head of a request, or over HTTP/2 to answer a ping.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long requests that are under way may take to end after a signal.
const GRACE: Duration = Duration::from_secs(2);

/// A bound socket.
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
}

impl Listener {
    /// Binds `address` for plain HTTP.
    pub(crate) fn bind(address: SocketAddr) -> Result<Self> {
        let socket = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok(Self {
            socket,
            address,
            tls: None,
        })
    }

    /// Speaks TLS with the PEM files `certificates` and `key`.
    pub(crate) fn with_tls(mut self, certificates: &Path, key: &Path) -> Result<Self> {
        let chain = CertificateDer::pem_file_iter(certificates)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .with_context(|| format!("cannot read certificates from {}", certificates.display()))?;
        let key = PrivateKeyDer::from_pem_file(key)
            .with_context(|| format!("cannot read a private key from {}", key.display()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .context("the certificate and the key do not fit")?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        self.tls = Some(Arc::new(config));
        Ok(self)
    }

    /// The address it is bound to, with the real port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it speaks TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// The URL of its root, without a slash at the end. A wildcard address is written as the loopback one.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.is_secure() { "https" } else { "http" };
        format!("{scheme}://{}", loopback_if_unspecified(self.address))
    }

    /// Prints the line `announcement`, and serves `router` until the process is told to end.
    pub(crate) async fn serve(self, router: Router, announcement: &str) -> Result<()> {
        // Whoever reads the line may end the process at once.
        let end = told_to_end().context("cannot wait for signals")?;
        writeln!(io::stdout(), "{announcement}")?;
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let handle = Handle::new();
        let stopping = handle.clone();
        tokio::spawn(async move {
            end.await;
            tracing::info!("stopping");
            stopping.graceful_shutdown(Some(GRACE));
        });
        let mut server = axum_server::from_tcp(self.socket)?.handle(handle);
        let mut http1 = server.http_builder().http1();
        http1.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        let mut http2 = server.http_builder().http2();
        http2.timer(TokioTimer::new()).keep_alive_interval(HEAD_TIMEOUT);
        http2.keep_alive_timeout(HEAD_TIMEOUT);
        match self.tls {
            None => server.acceptor(Prompt).serve(service).await?,
            Some(config) => {
                let config = RustlsConfig::from_config(config);
                let acceptor = RustlsAcceptor::new(config).acceptor(Prompt);
                server.acceptor(acceptor).serve(service).await?;
            }
        }
        Ok(())
    }
}

/// Takes connections on which something comes. hyper waits without end for the first bytes, which tell it the version.
#[derive(Clone, Copy)]
struct Prompt;

impl<S: Send + 'static> Accept<TcpStream, S> for Prompt {
    type Stream = TcpStream;
    type Service = S;
    type Future = BoxFuture<'static, io::Result<(TcpStream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        Box::pin(async move {
            stream.set_nodelay(true)?;
            timeout(HEAD_TIMEOUT, stream.peek(&mut [0])).await??;
            Ok((stream, service))
        })
    }
}

/// `address`, or if it stands for all of this machine's addresses, the loopback one of its family.
pub(crate) fn loopback_if_unspecified(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), v4.port())
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), v6.port())
        }
        address => address,
    }
}

/// What ends when the process is told to end. From its making on, and not only once it is waited for, no signal ends the
/// process by itself.
#[cfg(unix)]
fn told_to_end() -> io::Result<impl Future<Output = ()>> {
    let mut interrupted = signal::unix::signal(signal::unix::SignalKind::interrupt())?;
    let mut terminated = signal::unix::signal(signal::unix::SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
    })
}

#[cfg(windows)]
fn told_to_end() -> io::Result<impl Future<Output = ()>> {
    let mut interrupted = signal::windows::ctrl_c()?;
    Ok(async move {
        interrupted.recv().await;
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// What comes on a connection on which `sent` is sent, until it is closed.
    async fn answered(sent: &[u8]) -> String {
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = listener.address();
        let served = tokio::spawn(listener.serve(Router::new(), "Serving a test"));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        timeout(4 * HEAD_TIMEOUT, read).await.unwrap().unwrap();
        served.abort();
        answer
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nothing_comes_is_closed() {
        assert_eq!(answered(b"").await, "");
        assert_eq!(answered(b"GET / HTTP/1.1\r\n").await, "");
        let answer = answered(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
}
