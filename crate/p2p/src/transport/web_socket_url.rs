//! The URL that a relay's multiaddr stands for.

use std::fmt::Write as _;

use libp2p::{Multiaddr, multiaddr::Protocol};

/// The URL of `/<host>/tcp/<port>/ws|wss|tls/ws[/p2p/<id>]`, with the path `/`; none for any other form.
pub(super) fn web_socket_url(address: &Multiaddr) -> Option<String> {
    let parts: Vec<_> = address
        .iter()
        .filter(|part| !matches!(part, Protocol::P2p(_)))
        .collect();
    let (host, port, scheme) = match parts.as_slice() {
        [host, Protocol::Tcp(port), Protocol::Ws(path)] if path == "/" => (host, port, "ws"),
        [host, Protocol::Tcp(port), Protocol::Wss(path)] if path == "/" => (host, port, "wss"),
        [host, Protocol::Tcp(port), Protocol::Tls, Protocol::Ws(path)] if path == "/" => (host, port, "wss"),
        _ => return None,
    };
    let mut url = format!("{scheme}://");
    match host {
        Protocol::Ip4(ip) => write!(url, "{ip}").ok()?,
        Protocol::Ip6(ip) => write!(url, "[{ip}]").ok()?,
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => url.push_str(name),
        _ => return None,
    }
    write!(url, ":{port}/").ok()?;
    Some(url)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::web_socket_url;

    const ID: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    #[test]
    fn is_the_url_of_the_address() {
        let cases = [
            ("/ip4/127.0.0.1/tcp/8008/ws", "ws://127.0.0.1:8008/"),
            ("/ip6/::1/tcp/80/ws", "ws://[::1]:80/"),
            (
                "/dns/relay.example.org/tcp/443/wss",
                "wss://relay.example.org:443/",
            ),
            (
                "/dns4/relay.example.org/tcp/443/tls/ws",
                "wss://relay.example.org:443/",
            ),
        ];
        for (address, url) in cases {
            assert_eq!(web_socket_url(&address.parse().unwrap()).unwrap(), url);
            assert_eq!(
                web_socket_url(&format!("{address}/p2p/{ID}").parse().unwrap()).unwrap(),
                url
            );
        }
    }

    #[test]
    fn is_none_for_what_a_browser_cannot_dial() {
        for address in [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/127.0.0.1/udp/1/quic-v1",
            "/tcp/1/ws",
        ] {
            assert_eq!(web_socket_url(&address.parse().unwrap()), None, "{address}");
        }
        let circuit = format!("/ip4/127.0.0.1/tcp/1/ws/p2p/{ID}/p2p-circuit/p2p/{ID}");
        assert_eq!(web_socket_url(&circuit.parse().unwrap()), None);
    }
}
