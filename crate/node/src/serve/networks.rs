//! How many sockets each network has open: one alone cannot take all reservations.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

/// Sockets from one public address, or one /64 of IPv6. Many browsers share one, behind a router or a carrier's network.
const MAX_SOCKETS: usize = 1000;

/// The sockets of each network.
#[derive(Clone, Default)]
pub(super) struct Networks(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A socket's place among those of its network, until it is dropped.
pub(super) struct Place {
    networks: Networks,
    network: IpAddr,
}

impl Networks {
    /// A place for a socket from `address`; none if its network has too many. Private and loopback addresses are not limited:
    /// they are a machine's own, a home's or a proxy's, for whoever is behind it.
    pub(super) fn place(&self, address: IpAddr) -> Option<Place> {
        let network = network(address);
        let mut sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = sockets.entry(network).or_default();
        if *open >= MAX_SOCKETS && !is_private(network) {
            return None;
        }
        *open += 1;
        Some(Place {
            networks: self.clone(),
            network,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut sockets = self.networks.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = sockets.get_mut(&self.network) else {
            return;
        };
        *open -= 1;
        if *open == 0 {
            sockets.remove(&self.network);
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn is_private(network: IpAddr) -> bool {
    match network {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        // The network of the loopback address is that of the unspecified one.
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn taken(networks: &Networks, address: &str) -> Vec<Place> {
        let address = address.parse().unwrap();
        std::iter::from_fn(|| networks.place(address))
            .take(MAX_SOCKETS + 1)
            .collect()
    }

    #[test]
    fn a_network_has_so_many_sockets_and_leaves_others_theirs() {
        let networks = Networks::default();
        for (address, neighbour) in [
            ("192.0.2.1", "::ffff:192.0.2.1"),
            ("2001:db8::1", "2001:db8::ffff:1"),
        ] {
            let mut places = taken(&networks, address);
            assert_eq!(places.len(), MAX_SOCKETS);
            assert!(networks.place(neighbour.parse().unwrap()).is_none());
            places.pop();
            places.extend(networks.place(neighbour.parse().unwrap()));
            assert_eq!(places.len(), MAX_SOCKETS);
            for other in ["192.0.2.2", "2001:db8:0:1::1"] {
                assert!(networks.place(other.parse().unwrap()).is_some());
            }
        }
        assert!(networks.0.lock().unwrap().is_empty());
    }

    #[test]
    fn who_is_near_is_not_limited() {
        let networks = Networks::default();
        for address in [
            "127.0.0.1",
            "::1",
            "172.17.0.1",
            "192.168.1.2",
            "fd00::1",
            "fe80::1",
        ] {
            assert_eq!(taken(&networks, address).len(), MAX_SOCKETS + 1, "{address}");
        }
    }
}
