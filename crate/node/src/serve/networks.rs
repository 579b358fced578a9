//! How many sockets each network has open: one alone cannot take all reservations.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Sockets from one public address, or one /64 of IPv6. Many browsers share one, behind a router or a carrier's network.
const MAX_SOCKETS: usize = 1000;

/// Of these, so many whose peers have not said yet who they are: sockets that stay silent for as long as they may leave
/// the relay's places for others to connect.
const MAX_SILENT: usize = 128;

/// The sockets of each network.
#[derive(Clone, Default)]
pub(super) struct Networks(Arc<Mutex<HashMap<IpAddr, Sockets>>>);

#[derive(Default)]
struct Sockets {
    open: usize,
    /// Those whose peers have not said yet who they are.
    silent: HashSet<SocketAddr>,
}

/// A socket's place among those of its network, until it is dropped.
pub(super) struct Place {
    networks: Networks,
    remote: SocketAddr,
}

impl Networks {
    /// A place for a socket from `remote`; none if its network has too many. Private and loopback addresses are not limited:
    /// they are a machine's own, a home's or a proxy's, for whoever is behind it.
    pub(super) fn place(&self, remote: SocketAddr) -> Option<Place> {
        let network = network(remote.ip());
        let mut networks = self.lock();
        let sockets = networks.entry(network).or_default();
        let is_full = sockets.open >= MAX_SOCKETS || sockets.silent.len() >= MAX_SILENT;
        if is_full && !is_private(network) {
            return None;
        }
        sockets.open += 1;
        sockets.silent.insert(remote);
        Some(Place {
            networks: self.clone(),
            remote,
        })
    }

    /// Whose socket comes from `remote` has said who they are.
    pub(super) fn authenticated(&self, remote: SocketAddr) {
        if let Some(sockets) = self.lock().get_mut(&network(remote.ip())) {
            sockets.silent.remove(&remote);
        }
    }

    /// How many sockets of the network of `address` there are whose peers have not said yet who they are.
    #[cfg(test)]
    pub(super) fn silent(&self, address: IpAddr) -> usize {
        self.lock()
            .get(&network(address))
            .map_or(0, |sockets| sockets.silent.len())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Sockets>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let network = network(self.remote.ip());
        let mut networks = self.networks.lock();
        let Some(sockets) = networks.get_mut(&network) else {
            return;
        };
        sockets.open -= 1;
        sockets.silent.remove(&self.remote);
        if sockets.open == 0 {
            networks.remove(&network);
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

    /// Sockets of `address`, as many as there are places for. Whether their peers have said who they are.
    fn taken(networks: &Networks, address: &str, are_authenticated: bool) -> Vec<Place> {
        let address: IpAddr = address.parse().unwrap();
        let take = |port| {
            let remote = SocketAddr::new(address, port);
            let place = networks.place(remote)?;
            if are_authenticated {
                networks.authenticated(remote);
            }
            Some(place)
        };
        (1..).map_while(take).take(MAX_SOCKETS + 1).collect()
    }

    fn place(networks: &Networks, address: &str) -> Option<Place> {
        networks.place(SocketAddr::new(address.parse().unwrap(), 60_000))
    }

    #[test]
    fn a_network_has_so_many_sockets_and_leaves_others_theirs() {
        let networks = Networks::default();
        for (address, neighbour) in [
            ("192.0.2.1", "::ffff:192.0.2.1"),
            ("2001:db8::1", "2001:db8::ffff:1"),
        ] {
            for (are_authenticated, most) in [(true, MAX_SOCKETS), (false, MAX_SILENT)] {
                let mut places = taken(&networks, address, are_authenticated);
                assert_eq!(places.len(), most);
                assert!(place(&networks, neighbour).is_none());
                places.pop();
                places.extend(place(&networks, neighbour));
                assert_eq!(places.len(), most);
                for other in ["192.0.2.2", "2001:db8:0:1::1"] {
                    assert!(place(&networks, other).is_some());
                }
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
            let places = taken(&networks, address, false);
            assert_eq!(places.len(), MAX_SOCKETS + 1, "{address}");
        }
    }
}
