//! `/config.json`: what the app must know before it can reach anybody.

use std::net::{IpAddr, SocketAddr};

use axum::http::uri::Authority;
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use serde_json::{Value, json};

use super::other_client;
use crate::{
    arguments::Serve,
    listener::{Listener, loopback_if_unspecified},
};

/// What the answer is computed from.
pub(super) struct AppConfig {
    listen: SocketAddr,
    secure: bool,
    peer: PeerId,
    public: Vec<Multiaddr>,
    others: Vec<String>,
    client: Option<&'static str>,
}

impl AppConfig {
    pub(super) fn new(options: &Serve, listener: &Listener, peer: PeerId) -> Self {
        Self {
            listen: loopback_if_unspecified(listener.address()),
            secure: listener.is_secure(),
            peer,
            public: options.public_address.iter().cloned().map(without_peer).collect(),
            others: options.relays.clone(),
            client: options.client.is_some().then_some(other_client::PATH),
        }
    }

    /// The addresses that the relay gives to those who reserve a place: the public ones, else where it listens.
    pub(super) fn own_addresses(&self) -> Vec<Multiaddr> {
        if self.public.is_empty() {
            vec![self.at(self.listen.ip().into())]
        } else {
            self.public.clone()
        }
    }

    /// The answer for a browser that reached us by `authority` (host and port).
    pub(super) fn json(&self, authority: Option<&str>) -> Value {
        let own = if self.public.is_empty() {
            vec![
                authority
                    .and_then(|host| self.reached_by(host))
                    .unwrap_or_else(|| self.at(self.listen.ip().into())),
            ]
        } else {
            self.public.clone()
        };
        let own = own
            .into_iter()
            .map(|address| address.with(Protocol::P2p(self.peer)).to_string());
        let relays: Vec<String> = own.chain(self.others.iter().cloned()).collect();
        let mut config = json!({ "relays": relays, "version": env!("CARGO_PKG_VERSION") });
        if let Some(client) = self.client {
            config["client"] = client.into();
        }
        config
    }

    /// The relay's address by the host that a browser used, so that it can be reached the same way.
    fn reached_by(&self, authority: &str) -> Option<Multiaddr> {
        let authority: Authority = authority.parse().ok()?;
        let port = authority.port_u16().unwrap_or(if self.secure { 443 } else { 80 });
        let host = authority.host();
        let ip = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>();
        let host = match ip {
            Ok(ip) => ip.into(),
            // Which of its addresses `localhost` stands for differs between machines: say where we listen.
            Err(_) if host == "localhost" && self.listen.ip().is_loopback() => self.listen.ip().into(),
            Err(_) => Protocol::Dns4(host.to_owned().into()),
        };
        Some(self.with_port(host, port))
    }

    fn at(&self, host: Protocol<'_>) -> Multiaddr {
        self.with_port(host, self.listen.port())
    }

    fn with_port(&self, host: Protocol<'_>, port: u16) -> Multiaddr {
        let tcp = Multiaddr::empty().with(host.acquire()).with(Protocol::Tcp(port));
        let tcp = if self.secure { tcp.with(Protocol::Tls) } else { tcp };
        tcp.with(Protocol::Ws("/".into()))
    }
}

fn without_peer(mut address: Multiaddr) -> Multiaddr {
    if let Some(Protocol::P2p(_)) = address.iter().last() {
        address.pop();
    }
    address
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use hearth_p2p::RelayAddress;

    use super::*;

    fn config(listen: &str, secure: bool) -> AppConfig {
        let listen = listen.parse().unwrap();
        AppConfig {
            listen,
            secure,
            peer: PeerId::random(),
            public: Vec::new(),
            others: Vec::new(),
            client: None,
        }
    }

    fn address(config: &AppConfig, authority: Option<&str>) -> String {
        let relays = config.json(authority);
        let relay = relays.pointer("/relays/0").unwrap().as_str().unwrap();
        RelayAddress::parse(relay).unwrap();
        relay
            .strip_suffix(&format!("/p2p/{}", config.peer))
            .unwrap()
            .to_owned()
    }

    #[test]
    fn tells_the_address_by_which_the_app_was_loaded() {
        let plain = config("127.0.0.1:8008", false);
        assert_eq!(
            address(&plain, Some("127.0.0.1:8008")),
            "/ip4/127.0.0.1/tcp/8008/ws"
        );
        assert_eq!(
            address(&plain, Some("localhost:8008")),
            "/ip4/127.0.0.1/tcp/8008/ws"
        );
        assert_eq!(
            address(&plain, Some("hearth.example:9000")),
            "/dns4/hearth.example/tcp/9000/ws"
        );
        assert_eq!(address(&plain, Some("[::1]:8008")), "/ip6/::1/tcp/8008/ws");
        assert_eq!(address(&plain, Some("not a host")), "/ip4/127.0.0.1/tcp/8008/ws");
        assert_eq!(address(&plain, None), "/ip4/127.0.0.1/tcp/8008/ws");
        let secure = config("10.0.0.1:443", true);
        assert_eq!(
            address(&secure, Some("hearth.example")),
            "/dns4/hearth.example/tcp/443/tls/ws"
        );
    }

    #[test]
    fn tells_the_public_address_if_there_is_one() {
        let mut config = config("127.0.0.1:8008", false);
        config.public = vec!["/dns4/hearth.example/tcp/443/tls/ws".parse().unwrap()];
        config.others = vec!["/dns4/other.example/tcp/443/tls/ws/p2p/x".into()];
        assert_eq!(
            address(&config, Some("localhost:8008")),
            "/dns4/hearth.example/tcp/443/tls/ws"
        );
        assert_eq!(
            config.json(None)["relays"][1],
            "/dns4/other.example/tcp/443/tls/ws/p2p/x"
        );
    }
}
