//! Where a client's request comes from, if whoever embeds the API knows it.

use std::net::{IpAddr, Ipv6Addr};

/// The address of a client: an extension of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// The bits of an IPv6 address that tell whose it is; the rest is its owner's choice. RFC 6177.
const IPV6_NETWORK: u128 = !0 << 64;

impl ClientAddress {
    /// What is limited as one: an IPv4 address, or the network of an IPv6 address, of which one host has any number.
    pub(crate) fn network(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & IPV6_NETWORK).into(),
            address @ IpAddr::V4(_) => address,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test may panic")]

    use super::*;

    #[test]
    fn a_host_is_of_one_network() {
        for (address, network) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:3::", "2001:db8:1:3::"),
            ("::1", "::"),
        ] {
            let found = ClientAddress(address.parse().unwrap()).network();
            assert_eq!(found.to_string(), network);
        }
    }
}
