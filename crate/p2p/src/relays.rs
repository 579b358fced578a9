//! When to ask which relay for a reservation. Pure: events come in with the time, actions go out.
//!
//! Renewing a reservation that is held is libp2p's; this brings back one that was lost. Each relay has its own
//! back-off, so that one that is down does not slow another.

use std::time::Duration;

use libp2p::PeerId;

use crate::{
    RelayAddress,
    backoff::{Backoff, Jitter},
};

/// No more relays are kept; what links and pages add could be any number.
pub(crate) const MAX_RELAYS: usize = 16;
/// Addresses of one relay that are tried in turn.
const MAX_ADDRESSES: usize = 4;
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
/// Connecting and reserving that takes longer, in milliseconds, is given up.
const RESERVE_TIMEOUT: u64 = 20_000;
/// A relay that was not heard of for so long, in milliseconds, is not trusted to be there after a wake-up.
const STALE: u64 = 30_000;

/// The relays that we want reservations at.
pub(crate) struct Relays {
    relays: Vec<Relay>,
    jitter: Jitter,
}

/// One of them.
pub(crate) struct Relay {
    addresses: Vec<RelayAddress>,
    /// Which of `addresses` is used.
    current: usize,
    phase: Phase,
    /// Since the last reservation.
    failures: u32,
    connected: bool,
    pub(crate) rtt: Option<Duration>,
    /// When it was last known to be there, in milliseconds.
    heard: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing is under way until this time.
    Waiting(u64),
    /// Connecting or reserving since this time.
    Reserving(u64),
    Reserved,
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Connect if need be, and ask for a reservation.
    Reserve(RelayAddress),
    /// Close all connections: the relay does not answer.
    Disconnect(PeerId),
}

impl Relays {
    pub(crate) fn new(jitter: Jitter) -> Self {
        Self {
            relays: Vec::new(),
            jitter,
        }
    }

    /// Adds a relay, or an address of a known one. What is above the bounds is left out.
    pub(crate) fn add(&mut self, address: RelayAddress, now: u64) {
        if let Some(relay) = self.get_mut(&address.peer()) {
            if relay.addresses.len() < MAX_ADDRESSES && !relay.addresses.contains(&address) {
                relay.addresses.push(address);
            }
        } else if self.relays.len() < MAX_RELAYS {
            self.relays.push(Relay::new(address, now));
        } else {
            tracing::warn!(%address, "left out a relay: there are enough");
        }
    }

    /// What is due at `now`.
    pub(crate) fn due(&mut self, now: u64) -> Vec<Action> {
        let Self { relays, jitter } = self;
        relays
            .iter_mut()
            .filter_map(|relay| relay.due(now, jitter))
            .collect()
    }

    /// When [`due`](Self::due) next has something to say, in milliseconds.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.relays.iter().filter_map(Relay::deadline).min()
    }

    /// The relay has granted or renewed our reservation. Whether it is a new one.
    pub(crate) fn reserved(&mut self, peer: &PeerId, now: u64) -> bool {
        let Some(relay) = self.get_mut(peer) else {
            return false;
        };
        relay.failures = 0;
        relay.heard = now;
        std::mem::replace(&mut relay.phase, Phase::Reserved) != Phase::Reserved
    }

    /// The reservation has ended or was never granted.
    pub(crate) fn lost(&mut self, peer: &PeerId, now: u64) {
        let Self { relays, jitter } = self;
        if let Some(relay) = relays.iter_mut().find(|relay| relay.peer() == Some(*peer)) {
            relay.fail(now, jitter);
        }
    }

    /// The relay has answered a ping after `rtt`.
    pub(crate) fn heard(&mut self, peer: &PeerId, rtt: Duration, now: u64) {
        if let Some(relay) = self.get_mut(peer) {
            relay.rtt = Some(rtt);
            relay.heard = now;
        }
    }

    /// Forgets back-offs, and disconnects relays that were silent for long: the device may have slept.
    pub(crate) fn wake(&mut self, now: u64) -> Vec<Action> {
        self.relays
            .iter_mut()
            .filter_map(|relay| relay.wake(now))
            .collect()
    }

    pub(crate) fn get_mut(&mut self, peer: &PeerId) -> Option<&mut Relay> {
        self.relays.iter_mut().find(|relay| relay.peer() == Some(*peer))
    }

    pub(crate) fn contains(&self, peer: &PeerId) -> bool {
        self.relays.iter().any(|relay| relay.peer() == Some(*peer))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Relay> {
        self.relays.iter()
    }

    /// The relays that a connection is open to.
    pub(crate) fn connected(&self) -> impl Iterator<Item = &RelayAddress> {
        self.relays
            .iter()
            .filter(|relay| relay.connected)
            .filter_map(Relay::address)
    }
}

impl Relay {
    fn new(address: RelayAddress, now: u64) -> Self {
        Self {
            addresses: vec![address],
            current: 0,
            phase: Phase::Waiting(now),
            failures: 0,
            connected: false,
            rtt: None,
            heard: now,
        }
    }

    fn peer(&self) -> Option<PeerId> {
        self.addresses.first().map(RelayAddress::peer)
    }

    /// The address that is used or will be tried next.
    pub(crate) fn address(&self) -> Option<&RelayAddress> {
        self.addresses.get(self.current)
    }

    /// A connection is open.
    pub(crate) fn connected(&mut self, now: u64) {
        self.connected = true;
        self.heard = now;
    }

    /// No connection is open any more.
    pub(crate) fn disconnected(&mut self) {
        self.connected = false;
        self.rtt = None;
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected
    }

    pub(crate) fn is_reserved(&self) -> bool {
        self.phase == Phase::Reserved
    }

    fn due(&mut self, now: u64, jitter: &mut Jitter) -> Option<Action> {
        if self.deadline()? > now {
            return None;
        }
        if matches!(self.phase, Phase::Reserving(_)) {
            let peer = self.peer()?;
            self.fail(now, jitter);
            return Some(Action::Disconnect(peer));
        }
        self.phase = Phase::Reserving(now);
        self.address().cloned().map(Action::Reserve)
    }

    fn deadline(&self) -> Option<u64> {
        match self.phase {
            Phase::Waiting(until) => Some(until),
            Phase::Reserving(since) => Some(since.saturating_add(RESERVE_TIMEOUT)),
            Phase::Reserved => None,
        }
    }

    fn fail(&mut self, now: u64, jitter: &mut Jitter) {
        if matches!(self.phase, Phase::Waiting(_)) {
            // It was given up, and its listener ends for that.
            return;
        }
        self.failures = self.failures.saturating_add(1);
        self.current = (self.current + 1) % self.addresses.len().max(1);
        self.phase = Phase::Waiting(now.saturating_add(BACKOFF.delay(self.failures, jitter)));
    }

    fn wake(&mut self, now: u64) -> Option<Action> {
        self.failures = 0;
        match self.phase {
            Phase::Waiting(_) => self.phase = Phase::Waiting(now),
            Phase::Reserved if now.saturating_sub(self.heard) > STALE => {
                return self.peer().map(Action::Disconnect);
            }
            Phase::Reserving(_) | Phase::Reserved => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use libp2p::identity::Keypair;

    use super::{Action, Duration, Jitter, MAX_RELAYS, Relays, STALE};
    use crate::RelayAddress;

    fn relay(seed: u8, port: u16) -> RelayAddress {
        let peer = Keypair::ed25519_from_bytes([seed; 32])
            .unwrap()
            .public()
            .to_peer_id();
        RelayAddress::parse(&format!("/ip4/127.0.0.1/tcp/{port}/ws/p2p/{peer}")).unwrap()
    }

    fn relays(addresses: &[RelayAddress]) -> Relays {
        let mut relays = Relays::new(Jitter::new(1));
        addresses
            .iter()
            .for_each(|address| relays.add(address.clone(), 0));
        relays
    }

    #[test]
    fn reserves_at_every_relay_at_once() {
        let (a, b) = (relay(1, 1), relay(2, 2));
        let mut relays = relays(&[a.clone(), b.clone(), a.clone()]);
        assert_eq!(
            relays.due(0),
            [Action::Reserve(a.clone()), Action::Reserve(b.clone())]
        );
        assert_eq!(relays.due(1), []);
        assert!(relays.reserved(&a.peer(), 1));
        assert!(!relays.reserved(&a.peer(), 2), "a renewal is not new");
        assert!(relays.reserved(&b.peer(), 1));
        assert_eq!(relays.deadline(), None);
    }

    #[test]
    fn backs_off_from_half_a_second_to_thirty_seconds() {
        let a = relay(1, 1);
        let mut relays = relays(std::slice::from_ref(&a));
        let (mut now, mut waits) = (0, Vec::new());
        for _ in 0..9 {
            assert_eq!(relays.due(now), [Action::Reserve(a.clone())]);
            relays.lost(&a.peer(), now);
            let next = relays.deadline().unwrap();
            assert_eq!(relays.due(next - 1), []);
            waits.push(next - now);
            now = next;
        }
        assert!((375..=625).contains(&waits[0]), "{waits:?}");
        assert!((22_500..=37_500).contains(&waits[8]), "{waits:?}");
        relays.reserved(&a.peer(), now);
        relays.lost(&a.peer(), now);
        assert!(
            relays.deadline().unwrap() - now <= 625,
            "a reservation clears the back-off"
        );
    }

    #[test]
    fn one_that_is_down_does_not_slow_another() {
        let (a, b) = (relay(1, 1), relay(2, 2));
        let mut relays = relays(&[a.clone(), b.clone()]);
        relays.due(0);
        relays.get_mut(&a.peer()).unwrap().failures = 20;
        relays.lost(&a.peer(), 0);
        relays.reserved(&b.peer(), 0);
        relays.lost(&b.peer(), 0);
        assert_eq!(relays.due(625), [Action::Reserve(b)]);
    }

    #[test]
    fn gives_up_on_a_relay_that_does_not_answer_and_tries_its_next_address() {
        let (a, other) = (relay(1, 1), relay(1, 2));
        let mut relays = relays(&[a.clone(), other.clone()]);
        assert_eq!(relays.due(0), [Action::Reserve(a.clone())]);
        assert_eq!(relays.due(20_000), [Action::Disconnect(a.peer())]);
        relays.lost(&a.peer(), 20_100);
        assert_eq!(relays.due(21_000), [Action::Reserve(other)]);
    }

    #[test]
    fn wakes_at_once_and_distrusts_a_silent_relay() {
        let (a, b) = (relay(1, 1), relay(2, 2));
        let mut relays = relays(&[a.clone(), b.clone()]);
        relays.due(0);
        relays.get_mut(&a.peer()).unwrap().failures = 20;
        relays.lost(&a.peer(), 0);
        relays.reserved(&b.peer(), 0);
        assert_eq!(relays.wake(1), []);
        assert_eq!(relays.due(1), [Action::Reserve(a)]);
        relays.heard(&b.peer(), Duration::from_millis(3), 10);
        assert_eq!(relays.wake(10 + STALE), []);
        assert_eq!(relays.wake(11 + STALE), [Action::Disconnect(b.peer())]);
    }

    #[test]
    fn is_bounded() {
        let many: Vec<_> = (0..=255).map(|seed| relay(seed, 1)).collect();
        assert_eq!(relays(&many).due(0).len(), MAX_RELAYS);
        let addresses: Vec<_> = (1..100).map(|port| relay(1, port)).collect();
        assert_eq!(
            relays(&addresses).iter().next().unwrap().addresses.len(),
            super::MAX_ADDRESSES
        );
    }
}
