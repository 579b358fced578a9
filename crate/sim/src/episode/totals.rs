//! What episodes came to, in numbers.

use std::{collections::BTreeSet, fmt, time::Duration};

use hearth_homeserver::rooms::event::StoredEvent;

use super::knowledge::Knowledge;

/// Sums over episodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Episodes.
    pub episodes: usize,
    /// Those in which servers in the room held different states before all healed.
    pub diverged: usize,
    /// Quiet points.
    pub quiet_points: usize,
    /// What users did that a server agreed to.
    pub done: usize,
    /// What users did that a server refused, or never answered.
    pub refused: usize,
    /// Events in the rooms.
    pub events: usize,
    /// Events that more than one other follows.
    pub forks: usize,
    /// Entries of the state on which branches that were joined again disagreed.
    pub conflicts: usize,
    /// Events that a server soft-failed.
    pub soft_failed: usize,
    /// Events that were rejected.
    pub rejected: usize,
    /// Quiet points at which soft failure left servers with different heads until somebody spoke.
    pub joined_by_speaking: usize,
    /// Users who had to ask again for a join whose answer was lost.
    pub joined_again: usize,
    /// Rooms that replaced another one.
    pub upgrades: usize,
    /// Answers to `/sync`.
    pub syncs: usize,
    /// Requests between servers.
    pub requests: usize,
    /// Virtual time.
    pub elapsed: Duration,
}

impl Totals {
    /// Adds those of another episode.
    pub fn add(&mut self, other: &Self) {
        self.episodes += other.episodes;
        self.diverged += other.diverged;
        self.quiet_points += other.quiet_points;
        self.done += other.done;
        self.refused += other.refused;
        self.events += other.events;
        self.forks += other.forks;
        self.conflicts += other.conflicts;
        self.soft_failed += other.soft_failed;
        self.rejected += other.rejected;
        self.joined_by_speaking += other.joined_by_speaking;
        self.joined_again += other.joined_again;
        self.upgrades += other.upgrades;
        self.syncs += other.syncs;
        self.requests += other.requests;
        self.elapsed += other.elapsed;
    }

    /// Notes what can be read from the graphs of an episode's rooms as they are now.
    pub(super) fn see_graphs(&mut self, rooms: &[Knowledge]) {
        (self.conflicts, self.events, self.forks) = (0, 0, 0);
        (self.soft_failed, self.rejected) = (0, 0);
        rooms.iter().for_each(|knowledge| self.see_graph(knowledge));
    }

    fn see_graph(&mut self, knowledge: &Knowledge) {
        let mut followed = BTreeSet::new();
        let mut forks = BTreeSet::new();
        for event in knowledge.events.values() {
            let again = event
                .pdu
                .prev_events()
                .iter()
                .filter(|id| !followed.insert((*id).clone()));
            forks.extend(again.cloned());
            self.conflicts += conflicts(knowledge, event.pdu.prev_events());
        }
        self.events += knowledge.events.len();
        self.forks += forks.len();
        self.soft_failed += decided(knowledge, |event| event.decision.soft_failed);
        self.rejected += decided(knowledge, |event| event.decision.rejected);
    }
}

/// About how many events any server has decided so.
fn decided(knowledge: &Knowledge, so: impl Fn(&StoredEvent) -> bool) -> usize {
    let held = knowledge
        .holdings
        .iter()
        .flat_map(|holding| holding.events.values());
    let ids: BTreeSet<_> = held
        .filter(|event| so(event))
        .map(|event| &event.event_id)
        .collect();
    ids.len()
}

/// On how many entries the states after `prev` disagree.
fn conflicts(knowledge: &Knowledge, prev: &[ruma_common::OwnedEventId]) -> usize {
    if prev.len() < 2 {
        return 0;
    }
    let states: Vec<_> = prev
        .iter()
        .filter_map(|id| knowledge.state_after(knowledge.events.get(id)?))
        .collect();
    let keys: BTreeSet<_> = states.iter().flat_map(|state| state.keys()).collect();
    let values = |key| states.iter().map(|state| state.get(key)).collect::<BTreeSet<_>>();
    keys.into_iter().filter(|key| values(key).len() > 1).count()
}

impl fmt::Display for Totals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.elapsed.as_secs_f64() / 3600.0;
        writeln!(formatter, "episodes            {:>9}", self.episodes)?;
        writeln!(formatter, "  that diverged     {:>9}", self.diverged)?;
        writeln!(formatter, "quiet points        {:>9}", self.quiet_points)?;
        writeln!(formatter, "  joined by speaking{:>9}", self.joined_by_speaking)?;
        writeln!(formatter, "  joined again      {:>9}", self.joined_again)?;
        writeln!(formatter, "operations done     {:>9}", self.done)?;
        writeln!(formatter, "operations refused  {:>9}", self.refused)?;
        writeln!(formatter, "events              {:>9}", self.events)?;
        writeln!(formatter, "  forks             {:>9}", self.forks)?;
        writeln!(formatter, "  conflicts resolved{:>9}", self.conflicts)?;
        writeln!(formatter, "  soft-failed       {:>9}", self.soft_failed)?;
        writeln!(formatter, "  rejected          {:>9}", self.rejected)?;
        writeln!(formatter, "rooms replaced      {:>9}", self.upgrades)?;
        writeln!(formatter, "answers to /sync    {:>9}", self.syncs)?;
        writeln!(formatter, "requests            {:>9}", self.requests)?;
        write!(formatter, "virtual hours       {hours:>9.1}")
    }
}
