//! Which peers to dial when, and which are not worth a dial now. Pure: events come in with the time.
//!
//! A peer *of interest* is one we share rooms with: it is dialled until it is found, ever more slowly. Any
//! other is dialled when a request asks for it. A peer that was not found is refused for a while, so that a
//! peer that is away costs nothing.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use libp2p::PeerId;

use crate::backoff::{Backoff, Jitter};

/// Peers of interest that are looked after; more are dialled only when a request asks for them.
pub(crate) const MAX_INTEREST: usize = 256;
/// Dials under way at once: a relay connection handles ten circuits at a time and drops the rest.
const MAX_DIALS: usize = 8;
/// Dials of these that are left to what requests wait for.
const REQUEST_DIALS: usize = 2;
/// Unconnected peers that are remembered.
const MAX_REMEMBERED: usize = 1024;
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(300));
/// The first wait after a connection was lost: most often the peer restarts, or a relay does.
const RECONNECT: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(1));
/// A peer is refused for no longer, in milliseconds, after a dial has failed.
const MAX_REFUSAL: u64 = 30_000;

/// What is known of other servers' reachability.
pub(crate) struct Peers {
    peers: HashMap<PeerId, Peer>,
    jitter: Jitter,
}

/// One of them.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    interest: bool,
    connections: usize,
    dialling: bool,
    failures: u32,
    /// A peer of interest is dialled at this time, in milliseconds.
    dial_at: u64,
    /// It is dialled for a request no sooner than at this time, in milliseconds.
    not_before: u64,
    /// Requests fail at once until this time, in milliseconds.
    refused_until: u64,
    pub(crate) rtt: Option<Duration>,
}

impl Peers {
    pub(crate) fn new(jitter: Jitter) -> Self {
        Self {
            peers: HashMap::new(),
            jitter,
        }
    }

    /// Replaces the peers of interest. New ones are due at once.
    pub(crate) fn set_interest(&mut self, wanted: &HashSet<PeerId>, now: u64) {
        self.peers
            .iter_mut()
            .for_each(|(id, peer)| peer.interest &= wanted.contains(id));
        for id in wanted.iter().take(MAX_INTEREST) {
            let peer = self.peers.entry(*id).or_default();
            if !peer.interest && peer.failures == 0 {
                peer.dial_at = now;
            }
            peer.interest = true;
        }
        self.forget();
    }

    /// Peers of interest to dial now; they count as being dialled.
    pub(crate) fn due(&mut self, now: u64) -> Vec<PeerId> {
        let free = self.free_dials().saturating_sub(REQUEST_DIALS);
        let due = self
            .peers
            .iter_mut()
            .filter(|(_, peer)| peer.is_due(now))
            .take(free);
        due.map(|(id, peer)| {
            peer.dialling = true;
            *id
        })
        .collect()
    }

    /// When [`due`](Self::due) next has something to say, in milliseconds. None while too many dials run.
    pub(crate) fn deadline(&self) -> Option<u64> {
        if self.free_dials() <= REQUEST_DIALS {
            return None;
        }
        self.peers
            .values()
            .filter(|peer| peer.wants_dial())
            .map(|peer| peer.dial_at)
            .min()
    }

    /// Whether a request to this peer is to fail without a dial.
    pub(crate) fn is_refused(&self, id: &PeerId, now: u64) -> bool {
        self.peers.get(id).is_some_and(|peer| peer.refused_until > now)
    }

    pub(crate) fn is_connected(&self, id: &PeerId) -> bool {
        self.peers.get(id).is_some_and(|peer| peer.connections > 0)
    }

    /// A request wants this peer dialled now. Whether to do so: not if it is connected or being dialled, or
    /// if too many dials run.
    pub(crate) fn start_dial(&mut self, id: PeerId, now: u64) -> bool {
        let free = self.free_dials() > 0;
        let peer = self.peers.entry(id).or_default();
        let start = free && !peer.dialling && peer.connections == 0 && peer.not_before <= now;
        peer.dialling |= start;
        start
    }

    /// A dial has failed while no relay of ours was there, which says nothing about the peer.
    pub(crate) fn dial_void(&mut self, id: &PeerId, now: u64) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.dialling = false;
            peer.dial_at = now.saturating_add(RECONNECT.delay(1, &mut self.jitter));
            peer.not_before = peer.dial_at;
        }
    }

    /// A dial has failed. Whether the peer is therefore unreachable.
    pub(crate) fn dial_failed(&mut self, id: &PeerId, now: u64) -> bool {
        let Some(peer) = self.peers.get_mut(id) else {
            return false;
        };
        peer.dialling = false;
        if peer.connections > 0 {
            return false;
        }
        peer.failures = peer.failures.saturating_add(1);
        let delay = BACKOFF.delay(peer.failures, &mut self.jitter);
        peer.dial_at = now.saturating_add(delay);
        peer.refused_until = now.saturating_add(delay.min(MAX_REFUSAL));
        self.forget();
        true
    }

    /// A connection was made. Whether it is the first.
    pub(crate) fn connected(&mut self, id: PeerId) -> bool {
        let peer = self.peers.entry(id).or_default();
        peer.connections += 1;
        peer.dialling = false;
        peer.failures = 0;
        peer.refused_until = 0;
        peer.connections == 1
    }

    /// A connection has ended.
    pub(crate) fn disconnected(&mut self, id: &PeerId, now: u64) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        peer.connections = peer.connections.saturating_sub(1);
        if peer.connections == 0 {
            peer.rtt = None;
            peer.dial_at = now.saturating_add(RECONNECT.delay(1, &mut self.jitter));
        }
        self.forget();
    }

    /// Everyone who is away is tried again now: the network has changed.
    pub(crate) fn wake(&mut self, now: u64) {
        self.peers.values_mut().for_each(|peer| peer.forgive(now));
    }

    /// This one is tried again now: a way to it has become known.
    pub(crate) fn forgive(&mut self, id: &PeerId, now: u64) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.forgive(now);
        }
    }

    /// A way to this one has opened: if it has failed once, and only once, it is tried again now.
    pub(crate) fn hasten(&mut self, id: &PeerId, now: u64) {
        if let Some(peer) = self.peers.get_mut(id)
            && peer.failures == 1
        {
            peer.refused_until = 0;
            peer.dial_at = now;
        }
    }

    pub(crate) fn get_mut(&mut self, id: &PeerId) -> Option<&mut Peer> {
        self.peers.get_mut(id)
    }

    /// Those who are connected or of interest.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (&PeerId, &Peer)> {
        self.peers
            .iter()
            .filter(|(_, peer)| peer.connections > 0 || peer.interest)
    }

    fn free_dials(&self) -> usize {
        MAX_DIALS.saturating_sub(self.peers.values().filter(|peer| peer.dialling).count())
    }

    /// Drops peers that nothing depends on once there are many.
    fn forget(&mut self) {
        if self.peers.len() > MAX_REMEMBERED {
            self.peers
                .retain(|_, peer| peer.interest || peer.dialling || peer.connections > 0);
        }
    }
}

impl Peer {
    fn wants_dial(&self) -> bool {
        self.interest && self.connections == 0 && !self.dialling
    }

    fn is_due(&self, now: u64) -> bool {
        self.wants_dial() && self.dial_at <= now
    }

    fn forgive(&mut self, now: u64) {
        self.failures = 0;
        self.refused_until = 0;
        self.not_before = 0;
        self.dial_at = now;
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connections > 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::HashSet;

    use libp2p::PeerId;

    use super::{Jitter, MAX_DIALS, MAX_INTEREST, MAX_REFUSAL, MAX_REMEMBERED, Peers, REQUEST_DIALS};

    fn peers(wanted: impl IntoIterator<Item = PeerId>) -> Peers {
        let mut peers = Peers::new(Jitter::new(1));
        peers.set_interest(&wanted.into_iter().collect::<HashSet<_>>(), 0);
        peers
    }

    #[test]
    fn a_peer_of_interest_is_dialled_ever_more_slowly() {
        let id = PeerId::random();
        let mut peers = peers([id]);
        let (mut now, mut waits) = (0, Vec::new());
        for _ in 0..10 {
            assert_eq!(peers.due(now), [id]);
            assert_eq!(peers.due(now), [], "one dial at a time");
            assert!(peers.dial_failed(&id, now));
            let next = peers.deadline().unwrap();
            waits.push(next - now);
            now = next;
        }
        assert!((3_750..=6_250).contains(&waits[0]), "{waits:?}");
        assert!((225_000..=375_000).contains(&waits[9]), "{waits:?}");
    }

    #[test]
    fn a_peer_that_is_away_is_refused_for_a_while_until_it_connects() {
        let id = PeerId::random();
        let mut peers = peers([]);
        assert!(peers.start_dial(id, 0));
        assert!(!peers.start_dial(id, 0), "it is being dialled");
        assert!(peers.dial_failed(&id, 0));
        assert!(peers.is_refused(&id, 3_000));
        assert!(!peers.is_refused(&id, MAX_REFUSAL));
        assert!(peers.connected(id));
        assert!(!peers.is_refused(&id, 1));
        assert!(!peers.connected(id), "not the first connection");
    }

    #[test]
    fn a_lost_peer_of_interest_is_dialled_soon() {
        let id = PeerId::random();
        let mut peers = peers([id]);
        peers.due(0);
        peers.connected(id);
        assert_eq!(peers.deadline(), None);
        peers.disconnected(&id, 10_000);
        assert!((10_750..=11_250).contains(&peers.deadline().unwrap()));
    }

    #[test]
    fn a_dial_without_a_relay_is_tried_again_soon_but_not_at_once() {
        let id = PeerId::random();
        let mut peers = peers([]);
        assert!(peers.start_dial(id, 0));
        peers.dial_void(&id, 0);
        assert!(!peers.is_refused(&id, 0));
        assert!(!peers.start_dial(id, 700));
        assert!(peers.start_dial(id, 1_250));
    }

    #[test]
    fn waking_forgives_everyone() {
        let id = PeerId::random();
        let mut peers = peers([id]);
        for _ in 0..10 {
            peers.dial_failed(&id, 0);
        }
        peers.wake(1);
        assert!(!peers.is_refused(&id, 1));
        assert_eq!(peers.due(1), [id]);
    }

    #[test]
    fn a_way_that_opens_hastens_the_second_attempt_and_no_other() {
        let id = PeerId::random();
        let mut peers = peers([id]);
        assert_eq!(peers.due(0), [id]);
        peers.dial_failed(&id, 0);
        assert!(peers.is_refused(&id, 1));
        peers.hasten(&id, 1);
        assert!(!peers.is_refused(&id, 1));
        assert_eq!(peers.due(1), [id]);
        peers.dial_failed(&id, 1);
        peers.hasten(&id, 2);
        assert!(peers.is_refused(&id, 2));
        assert_eq!(peers.due(2), []);
    }

    #[test]
    fn is_bounded() {
        let many = || (0..2000).map(|_| PeerId::random());
        let mut peers = peers(many());
        assert_eq!(peers.shown().count(), MAX_INTEREST);
        assert_eq!(peers.due(0).len(), MAX_DIALS - REQUEST_DIALS);
        assert_eq!(peers.due(0).len(), 0);
        assert_eq!(peers.deadline(), None, "those that run come first");
        for _ in 0..REQUEST_DIALS {
            assert!(peers.start_dial(PeerId::random(), 0), "a request has room");
        }
        assert!(!peers.start_dial(PeerId::random(), 0));
        for id in many() {
            peers.start_dial(id, 0);
            peers.dial_failed(&id, 0);
        }
        assert!(peers.peers.len() <= MAX_REMEMBERED + 1);
    }
}
