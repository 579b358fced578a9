//! Which inbound connections have a place: strangers leave some to those that rooms are shared with. Pure.

use std::collections::{HashMap, HashSet};

use libp2p::{PeerId, swarm::ConnectionId};

/// Connections that are being made at once.
pub(crate) const MAX_PENDING: u32 = 64;
/// Of these, strangers'.
const STRANGERS_PENDING: usize = 48;
/// Of these, one stranger's.
const STRANGER_PENDING: usize = 4;
/// Connections that others have made.
pub(crate) const MAX_ESTABLISHED: u32 = 512;
/// Of these, strangers'.
const STRANGERS_ESTABLISHED: usize = 256;

/// Who is no stranger, and the places that strangers have taken.
#[derive(Default)]
pub(crate) struct Places {
    /// Those who are no strangers.
    known: HashSet<PeerId>,
    /// Connections that are being made, and by whom if the relay is right.
    pending: HashMap<ConnectionId, Option<PeerId>>,
    established: HashMap<ConnectionId, PeerId>,
}

impl Places {
    /// Replaces those who are no strangers.
    pub(crate) fn set_known(&mut self, known: HashSet<PeerId>) {
        self.established.retain(|_, peer| !known.contains(peer));
        self.known = known;
    }

    /// `peer` is no stranger any more.
    pub(crate) fn meet(&mut self, peer: PeerId) {
        self.established.retain(|_, stranger| *stranger != peer);
        self.known.insert(peer);
    }

    /// Whether `peer` is no stranger.
    pub(crate) fn is_known(&self, peer: &PeerId) -> bool {
        self.known.contains(peer)
    }

    /// Whether there is a place for a connection that is being made, as the relay says by `source`.
    pub(crate) fn begin(&mut self, connection: ConnectionId, source: Option<PeerId>) -> bool {
        if source.is_some_and(|source| self.is_known(&source)) {
            return true;
        }
        let of_source = self.pending.values().filter(|other| **other == source).count();
        let is_free = self.pending.len() < STRANGERS_PENDING && of_source < STRANGER_PENDING;
        if is_free {
            self.pending.insert(connection, source);
        }
        is_free
    }

    /// Whether there is a place for a connection that `peer` has made.
    pub(crate) fn establish(&mut self, connection: ConnectionId, peer: PeerId) -> bool {
        self.pending.remove(&connection);
        if self.is_known(&peer) {
            return true;
        }
        let is_free = self.established.len() < STRANGERS_ESTABLISHED;
        if is_free {
            self.established.insert(connection, peer);
        }
        is_free
    }

    /// A connection has ended, or could not be made.
    pub(crate) fn end(&mut self, connection: ConnectionId) {
        self.pending.remove(&connection);
        self.established.remove(&connection);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

    use super::{ConnectionId, PeerId, Places, STRANGER_PENDING, STRANGERS_ESTABLISHED, STRANGERS_PENDING};

    /// How many of `peers` get a place for a connection that is numbered from `first`.
    fn taken(
        first: usize,
        peers: impl IntoIterator<Item = PeerId>,
        mut take: impl FnMut(ConnectionId, PeerId) -> bool,
    ) -> usize {
        let numbered = (first..).map(ConnectionId::new_unchecked).zip(peers);
        numbered.filter(|(id, peer)| take(*id, *peer)).count()
    }

    fn strangers() -> impl Iterator<Item = PeerId> {
        std::iter::repeat_with(PeerId::random).take(1000)
    }

    #[test]
    fn a_stranger_has_a_few_places_to_connect_and_all_leave_some_to_friends() {
        let (mut places, friend) = (Places::default(), PeerId::random());
        places.set_known([friend].into());
        let mut begin = |id, peer| places.begin(id, Some(peer));
        let one = std::iter::repeat_n(PeerId::random(), 100);
        assert_eq!(taken(0, one, &mut begin), STRANGER_PENDING);
        let others = STRANGERS_PENDING - STRANGER_PENDING;
        assert_eq!(taken(100, strangers(), &mut begin), others);
        assert_eq!(taken(2000, [friend], &mut begin), 1);
        places.end(ConnectionId::new_unchecked(0));
        assert_eq!(
            taken(3000, strangers(), |id, peer| places.begin(id, Some(peer))),
            1
        );
    }

    #[test]
    fn strangers_have_half_of_the_connections_until_they_are_known() {
        let mut places = Places::default();
        let all: Vec<_> = strangers().collect();
        let mut establish = |id, peer| places.establish(id, peer);
        assert_eq!(taken(0, all.clone(), &mut establish), STRANGERS_ESTABLISHED);
        places.set_known([all[0]].into());
        places.meet(all[1]);
        let again = [all[0], all[1], all[2], all[3], all[4]];
        assert_eq!(taken(2000, again, |id, peer| places.establish(id, peer)), 4);
    }
}
