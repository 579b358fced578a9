//! Through which relays a peer may be reached: ours, and those that links and the peer itself name.

use std::collections::{HashMap, VecDeque};

use libp2p::{Multiaddr, PeerId};

use crate::{RelayAddress, relays::Relays};

/// Relays remembered per peer; the newest are kept.
const MAX_PER_PEER: usize = 4;
/// Peers whose relays are remembered; the newest are kept, of strangers only where there is room.
const MAX_PEERS: usize = 4096;

/// The relays that peers have been said to be reachable through.
#[derive(Default)]
pub(crate) struct Routes {
    routes: HashMap<PeerId, VecDeque<RelayAddress>>,
    /// The peers of `routes`, oldest first.
    order: VecDeque<PeerId>,
}

impl Routes {
    /// Remembers that `peer` may be reached through `relay`. Whether that is news. What strangers have said makes place
    /// before what those who are known have.
    pub(crate) fn add(
        &mut self,
        peer: PeerId,
        relay: RelayAddress,
        is_known: impl Fn(&PeerId) -> bool,
    ) -> bool {
        if relay.peer() == peer || self.routes.get(&peer).is_some_and(|known| known.contains(&relay)) {
            return false;
        }
        self.make_room(&peer, is_known);
        let known = self.routes.entry(peer).or_default();
        known.push_front(relay);
        known.truncate(MAX_PER_PEER);
        true
    }

    /// The relays that `peer` is said to be reachable through.
    pub(crate) fn of(&self, peer: &PeerId) -> impl Iterator<Item = &RelayAddress> {
        self.routes.get(peer).into_iter().flatten()
    }

    /// The peers that are said to be reachable through `relay`.
    pub(crate) fn through(&self, relay: &PeerId) -> impl Iterator<Item = &PeerId> {
        let leads = |known: &VecDeque<RelayAddress>| known.iter().any(|address| address.peer() == *relay);
        let routes = self.routes.iter();
        routes
            .filter(move |(_, known)| leads(known))
            .map(|(peer, _)| peer)
    }

    /// Every address worth dialling to reach `peer`: through those of `ours` that are connected, and through
    /// its other relays. A relay of ours that is not connected is dialled in its own time.
    pub(crate) fn candidates(&self, peer: PeerId, ours: &Relays) -> Vec<Multiaddr> {
        let others = self.of(&peer).filter(|relay| !ours.contains(&relay.peer()));
        ours.connected()
            .chain(others)
            .map(|relay| relay.circuit_to(peer))
            .collect()
    }

    fn make_room(&mut self, peer: &PeerId, is_known: impl Fn(&PeerId) -> bool) {
        if self.routes.contains_key(peer) {
            return;
        }
        if self.order.len() >= MAX_PEERS {
            let stranger = self.order.iter().position(|peer| !is_known(peer));
            let gone = self.order.remove(stranger.unwrap_or_default());
            gone.map(|gone| self.routes.remove(&gone));
        }
        self.order.push_back(*peer);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use libp2p::{PeerId, identity::Keypair};

    use super::{MAX_PEERS, MAX_PER_PEER, Relays, Routes};
    use crate::{RelayAddress, backoff::Jitter};

    fn peer(seed: u8) -> PeerId {
        Keypair::ed25519_from_bytes([seed; 32])
            .unwrap()
            .public()
            .to_peer_id()
    }

    fn nobody(_: &PeerId) -> bool {
        false
    }

    fn relay(seed: u8, port: u16) -> RelayAddress {
        RelayAddress::parse(&format!("/ip4/127.0.0.1/tcp/{port}/ws/p2p/{}", peer(seed))).unwrap()
    }

    #[test]
    fn tries_our_relays_and_the_others_once_each() {
        let mut routes = Routes::default();
        let (first, second, reported, theirs) = (relay(1, 1), relay(2, 2), relay(1, 9), relay(3, 3));
        assert!(routes.add(peer(7), reported, nobody));
        assert!(routes.add(peer(7), theirs.clone(), nobody));
        assert!(!routes.add(peer(7), theirs.clone(), nobody), "no news");
        let mut ours = Relays::new(Jitter::new(1));
        ours.add(first.clone(), 0);
        ours.add(second.clone(), 0);
        assert_eq!(routes.candidates(peer(7), &ours), [theirs.circuit_to(peer(7))]);
        ours.get_mut(&peer(1)).unwrap().connected(0);
        let expected = [first.circuit_to(peer(7)), theirs.circuit_to(peer(7))];
        assert_eq!(routes.candidates(peer(7), &ours), expected);
    }

    #[test]
    fn forgets_the_oldest() {
        let mut routes = Routes::default();
        for port in 1..100 {
            routes.add(peer(7), relay(1, port), nobody);
        }
        let known: Vec<_> = routes.of(&peer(7)).cloned().collect();
        assert_eq!(known.len(), MAX_PER_PEER);
        assert_eq!(known[0], relay(1, 99));
        for _ in 0..=MAX_PEERS {
            routes.add(PeerId::random(), relay(2, 1), |known| *known == peer(7));
        }
        assert_eq!(routes.routes.len(), MAX_PEERS);
        assert_eq!(routes.of(&peer(7)).count(), MAX_PER_PEER, "a stranger's go first");
        for _ in 0..=MAX_PEERS {
            routes.add(PeerId::random(), relay(2, 1), |_| true);
        }
        assert_eq!(routes.routes.len(), MAX_PEERS);
        assert_eq!(routes.of(&peer(7)).count(), 0);
    }
}
