//! How long each connection to the relay has lasted: it is ended before a reservation on it can end by itself.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use libp2p::swarm::ConnectionId;

/// When connections were made. Their ids grow with time.
pub(super) struct Lifetimes {
    most: Duration,
    since: BTreeMap<ConnectionId, Instant>,
}

impl Lifetimes {
    /// No connection is to last longer than `most`.
    pub(super) fn new(most: Duration) -> Self {
        Self {
            most,
            since: BTreeMap::new(),
        }
    }

    pub(super) fn begin(&mut self, connection: ConnectionId, now: Instant) {
        self.since.insert(connection, now);
    }

    pub(super) fn end(&mut self, connection: ConnectionId) {
        self.since.remove(&connection);
    }

    /// A connection that has lasted too long at `now`. Each is told of once.
    pub(super) fn over(&mut self, now: Instant) -> Option<ConnectionId> {
        let oldest = self.since.first_entry()?;
        let is_over = now.duration_since(*oldest.get()) >= self.most;
        is_over.then(|| oldest.remove_entry().0)
    }
}

#[cfg(test)]
mod tests {
    use super::{ConnectionId, Duration, Instant, Lifetimes};

    #[test]
    fn the_oldest_end_first_unless_they_have_ended() {
        let (start, day) = (Instant::now(), Duration::from_secs(86_400));
        let [first, second, third] = [1, 2, 3].map(ConnectionId::new_unchecked);
        let mut lifetimes = Lifetimes::new(6 * day);
        lifetimes.begin(first, start);
        lifetimes.begin(second, start + day);
        lifetimes.begin(third, start + day);
        lifetimes.end(second);
        assert_eq!(lifetimes.over(start + 5 * day), None);
        assert_eq!(lifetimes.over(start + 6 * day), Some(first));
        assert_eq!(lifetimes.over(start + 6 * day), None);
        assert_eq!(lifetimes.over(start + 7 * day), Some(third));
        assert_eq!(lifetimes.over(start + 9 * day), None);
    }
}
