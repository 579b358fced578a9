//! The address of a relay, checked: what comes from links and peers may be anything.

use std::{borrow::Cow, fmt, net::IpAddr, str::FromStr};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

/// No longer address is looked at.
const MAX_LENGTH: usize = 512;

/// The multiaddr of a relay: a host, a TCP port, perhaps WebSocket and TLS, and a peer id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RelayAddress {
    /// Without the peer id.
    transport: Multiaddr,
    peer: PeerId,
}

/// Why an address is no relay's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRelay {
    /// It is longer than any real one.
    #[error("the address is too long")]
    TooLong,
    /// It is no multiaddr, or one of another form.
    #[error("not of the form /host/tcp/port[/ws|/wss|/tls/ws]/p2p/id")]
    Form,
}

impl RelayAddress {
    /// Reads `/ip4|ip6|dns|dns4|dns6/<host>/tcp/<port>[/ws|/wss|/tls/ws]/p2p/<id>`.
    ///
    /// # Errors
    /// [`InvalidRelay`] if it has any other form.
    pub fn parse(text: &str) -> Result<Self, InvalidRelay> {
        if text.len() > MAX_LENGTH {
            return Err(InvalidRelay::TooLong);
        }
        // Not by `Multiaddr`'s own parser: every form of multiaddr that there is would be part of the module.
        let parts: Vec<&str> = text.split('/').collect();
        let ["", kind, host, "tcp", port, transport @ .., "p2p", peer] = parts.as_slice() else {
            return Err(InvalidRelay::Form);
        };
        let name = || Cow::Borrowed(*host);
        let host = match *kind {
            "ip4" => Protocol::Ip4(read(host)?),
            "ip6" => Protocol::Ip6(read(host)?),
            "dns" => Protocol::Dns(name()),
            "dns4" => Protocol::Dns4(name()),
            "dns6" => Protocol::Dns6(name()),
            _ => return Err(InvalidRelay::Form),
        };
        let root = Cow::Borrowed("/");
        let transport = match transport {
            [] => vec![],
            ["ws"] => vec![Protocol::Ws(root)],
            ["wss"] => vec![Protocol::Wss(root)],
            ["tls", "ws"] => vec![Protocol::Tls, Protocol::Ws(root)],
            _ => return Err(InvalidRelay::Form),
        };
        let parts = [host, Protocol::Tcp(read(port)?)].into_iter().chain(transport);
        let address: Multiaddr = parts.chain([Protocol::P2p(read(peer)?)]).collect();
        address.try_into()
    }

    /// The relay's peer id.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// The whole address, with the peer id.
    pub fn multiaddr(&self) -> Multiaddr {
        self.transport.clone().with(Protocol::P2p(self.peer))
    }

    /// The address to listen on for a reservation.
    pub(crate) fn circuit(&self) -> Multiaddr {
        self.multiaddr().with(Protocol::P2pCircuit)
    }

    /// The address of `peer` through this relay.
    pub(crate) fn circuit_to(&self, peer: PeerId) -> Multiaddr {
        self.circuit().with(Protocol::P2p(peer))
    }

    /// The relay of a circuit's address, as in a peer's listen addresses.
    pub(crate) fn of_circuit(address: &Multiaddr) -> Option<Self> {
        let before = address.iter().take_while(|part| *part != Protocol::P2pCircuit);
        let relay: Multiaddr = before.collect();
        if relay.len() == address.len() {
            return None;
        }
        relay.try_into().ok()
    }

    /// Whether the host is a name or an address of the public internet.
    pub(crate) fn is_public(&self) -> bool {
        match self.transport.iter().next() {
            Some(Protocol::Ip4(ip)) => is_public(IpAddr::V4(ip)),
            Some(Protocol::Ip6(ip)) => is_public(ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)),
            Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name)) => {
                name.contains('.') && !name.ends_with(".local") && !name.ends_with(".localhost")
            }
            _ => false,
        }
    }
}

impl TryFrom<Multiaddr> for RelayAddress {
    type Error = InvalidRelay;

    fn try_from(mut address: Multiaddr) -> Result<Self, InvalidRelay> {
        let Some(Protocol::P2p(peer)) = address.pop() else {
            return Err(InvalidRelay::Form);
        };
        let parts: Vec<_> = address.iter().collect();
        let (host, rest) = parts.split_first().ok_or(InvalidRelay::Form)?;
        let (Protocol::Ip4(_) | Protocol::Ip6(_)) = host else {
            let (Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name)) = host else {
                return Err(InvalidRelay::Form);
            };
            return if is_host_name(name) && is_transport(rest) {
                Ok(Self {
                    transport: address,
                    peer,
                })
            } else {
                Err(InvalidRelay::Form)
            };
        };
        if is_transport(rest) {
            Ok(Self {
                transport: address,
                peer,
            })
        } else {
            Err(InvalidRelay::Form)
        }
    }
}

impl fmt::Display for RelayAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.multiaddr())
    }
}

fn read<T: FromStr>(text: &str) -> Result<T, InvalidRelay> {
    text.parse().map_err(|_| InvalidRelay::Form)
}

/// What may follow the host.
fn is_transport(parts: &[Protocol<'_>]) -> bool {
    let root = |path: &str| path == "/";
    match parts {
        [Protocol::Tcp(1..)] => true,
        [Protocol::Tcp(1..), Protocol::Ws(path) | Protocol::Wss(path)] => root(path),
        [Protocol::Tcp(1..), Protocol::Tls, Protocol::Ws(path)] => root(path),
        _ => false,
    }
}

/// Letters, digits, dots and hyphens: a name that cannot smuggle anything into a URL.
fn is_host_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
    !name.is_empty() && name.len() <= 253 && name.bytes().all(allowed)
}

/// Whether `ip` is on the public internet.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && (64..128).contains(&ip.octets()[1]);
            let special = ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_multicast();
            !(special || shared || ip.octets()[0] == 0 || ip.is_broadcast())
        }
        IpAddr::V6(ip) => {
            let special = ip.is_loopback() || ip.is_unspecified() || ip.is_multicast();
            !(special || ip.is_unique_local() || ip.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::RelayAddress;

    const ID: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    #[test]
    fn reads_every_form_of_a_relay() {
        for host in [
            "/ip4/127.0.0.1",
            "/ip6/::1",
            "/dns/relay.example.org",
            "/dns4/a.b",
            "/dns6/a.b",
        ] {
            for transport in ["/tcp/80", "/tcp/80/ws", "/tcp/443/wss", "/tcp/443/tls/ws"] {
                let text = format!("{host}{transport}/p2p/{ID}");
                assert_eq!(RelayAddress::parse(&text).unwrap().to_string(), text);
            }
        }
    }

    #[test]
    fn refuses_everything_else() {
        let refused = [
            String::new(),
            "nonsense".into(),
            format!("/ip4/127.0.0.256/tcp/80/ws/p2p/{ID}"),
            format!("/ip4/127.0.0.1/tcp/65536/ws/p2p/{ID}"),
            format!("/ip4/127.0.0.1/tcp/80/ws/p2p/{ID}0"),
            format!("ip4/127.0.0.1/tcp/80/ws/p2p/{ID}"),
            format!("/ip4/127.0.0.1/tcp/80/ws/p2p/{ID}/"),
            "/ip4/127.0.0.1/tcp/80/ws".into(),
            format!("/p2p/{ID}"),
            format!("/ip4/127.0.0.1/tcp/0/ws/p2p/{ID}"),
            format!("/ip4/127.0.0.1/udp/80/quic-v1/p2p/{ID}"),
            format!("/ip4/127.0.0.1/tcp/80/ws/p2p/{ID}/p2p-circuit"),
            format!("/ip4/127.0.0.1/tcp/80/ws/p2p/{ID}/p2p-circuit/p2p/{ID}"),
            format!("/dns/a@b/tcp/80/ws/p2p/{ID}"),
            format!("/memory/1/p2p/{ID}"),
            format!("/dns/{}/tcp/80/ws/p2p/{ID}", "a".repeat(600)),
        ];
        for text in refused {
            assert!(RelayAddress::parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn finds_the_relay_of_a_circuit() {
        let relay = RelayAddress::parse(&format!("/ip4/127.0.0.1/tcp/80/ws/p2p/{ID}")).unwrap();
        assert_eq!(
            RelayAddress::of_circuit(&relay.circuit_to(relay.peer())),
            Some(relay.clone())
        );
        assert_eq!(RelayAddress::of_circuit(&relay.multiaddr()), None);
    }

    #[test]
    fn knows_which_hosts_are_public() {
        let public = |host: &str| {
            RelayAddress::parse(&format!("{host}/tcp/80/ws/p2p/{ID}"))
                .unwrap()
                .is_public()
        };
        for host in ["/ip4/8.8.8.8", "/dns/relay.example.org", "/ip6/2001:4860::1"] {
            assert!(public(host), "{host}");
        }
        for host in [
            "/ip4/127.0.0.1",
            "/ip4/192.168.1.1",
            "/ip6/::1",
            "/ip6/::ffff:10.0.0.1",
            "/dns/localhost",
        ] {
            assert!(!public(host), "{host}");
        }
    }
}
