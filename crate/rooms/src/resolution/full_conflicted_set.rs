//! The full conflicted set: the conflicted events, the auth difference and, where the room version has it, the
//! conflicted state subgraph. Spec: Room Versions 2 and 12, "Definitions".
//!
//! The auth difference is what some states rest on and others do not. All of them rest on what the unconflicted
//! state rests on, of which only entries are looked at that explain why an event is no difference: first what
//! stands now where the event once stood, then, for what is still unexplained, what came after the event.
//! The auth chain of a state includes its events.

use super::{
    Budget, Conflict, Event,
    known::{Index, Key, Known, Lookup, Marks},
    reach::{Reach, Sets},
    subgraph::Subgraph,
};

/// The search for the full conflicted set.
pub(super) struct FullConflictedSet {
    conflicted: Vec<Index>,
    /// All states, a set of events for each.
    states: Sets,
    /// The set of what the unconflicted state rests on.
    unconflicted: Sets,
    reach: Reach,
    seen: Marks,
    open: Vec<Index>,
    waiting: Vec<Index>,
    /// Events that are in the auth difference unless the unconflicted state rests on them.
    candidates: Vec<Index>,
    later: Later,
    subgraph: Subgraph,
}

/// Whether it was asked for entries that are later than some event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Later {
    NotAsked,
    Asked,
    Added,
}

impl FullConflictedSet {
    /// `keys` are the numbers of the conflicted keys, in their order.
    pub(super) fn new<E: Event>(known: &mut Known<E>, conflict: &Conflict, keys: &[Key]) -> Self {
        let mut reach = Reach::new(conflict.states() + 1);
        let mut seen = Marks::default();
        let mut conflicted = Vec::new();
        for (disagreement, key) in conflict.disagreements().iter().zip(keys) {
            known.set_entry(*key, None);
            for (state, id) in disagreement.event_ids.iter().enumerate() {
                let Some(id) = id else { continue };
                let index = known.index(id);
                reach.add(index, 1 << state);
                if seen.insert(index) {
                    conflicted.push(index);
                }
            }
        }
        Self {
            states: (1 << conflict.states()) - 1,
            unconflicted: 1 << conflict.states(),
            reach,
            seen,
            open: conflicted.clone(),
            waiting: Vec::new(),
            candidates: Vec::new(),
            later: Later::NotAsked,
            subgraph: Subgraph::new(&conflicted),
            conflicted,
        }
    }

    /// The full conflicted set, without events that cannot be had.
    pub(super) fn run<E: Event>(&mut self, known: &mut Known<E>, budget: &mut Budget) -> Option<Marks> {
        let with_subgraph = known
            .version()
            .rules()
            .state_res
            .v2_rules()
            .is_some_and(|rules| rules.consider_conflicted_state_subgraph);
        self.reach.settle(known, budget).then_some(())?;
        self.search(known, budget).then_some(())?;
        self.add_later(known, budget).then_some(())?;
        if with_subgraph {
            self.subgraph.run(known, budget).then_some(())?;
        }
        let difference = self
            .candidates
            .iter()
            .filter(|index| !self.is_common(known, **index));
        let all = self.conflicted.iter().chain(difference).copied();
        let all = all.chain(self.subgraph.between().iter());
        Some(all.filter(|index| known.found(*index).is_some()).collect())
    }

    /// Goes down from the conflicted events to where all states are the same.
    fn search<E: Event>(&mut self, known: &mut Known<E>, budget: &mut Budget) -> bool {
        self.open.append(&mut self.waiting);
        while let Some(index) = self.open.pop() {
            if !budget.spend(1) {
                self.open.push(index);
                return false;
            }
            if !self.examine(known, index, budget) {
                self.waiting.push(index);
            }
        }
        self.waiting.is_empty()
    }

    /// Looks at one event, and at what it rests on if not all states rest on it. No, if something is missing.
    fn examine<E: Event>(&mut self, known: &mut Known<E>, index: Index, budget: &mut Budget) -> bool {
        let node = match known.event(index) {
            Lookup::Found(node) => node,
            Lookup::NotLoaded => return false,
            Lookup::Absent => return true,
        };
        if self.is_common(known, index) {
            return true;
        }
        if let Some(key) = node.key {
            match known.entry(key) {
                Lookup::Found(entry) => self.reach.add(entry, self.unconflicted),
                Lookup::NotLoaded => return false,
                Lookup::Absent => {}
            }
        }
        if !self.reach.is_settled() && !self.reach.settle(known, budget) {
            return false;
        }
        if !self.is_common(known, index) {
            self.candidates.push(index);
            let new = node.auth.iter().filter(|index| self.seen.insert(**index));
            self.open.extend(new);
        }
        true
    }

    fn is_common<E: Event>(&self, known: &Known<E>, index: Index) -> bool {
        let sets = known.found(index).map(|node| self.reach.of(index, node));
        sets.is_none_or(|sets| sets & self.unconflicted != 0 || sets & self.states == self.states)
    }

    /// Looks whether entries that came later rest on the candidates that nothing else explains.
    fn add_later<E: Event>(&mut self, known: &mut Known<E>, budget: &mut Budget) -> bool {
        if self.later == Later::NotAsked {
            let conflicted: Marks = self.conflicted.iter().copied().collect();
            let is_open = |index: &Index| !conflicted.contains(*index) && !self.is_common(known, *index);
            let unexplained: Vec<Index> = self.candidates.iter().copied().filter(is_open).collect();
            known.ask_later(unexplained);
            self.later = Later::Asked;
        }
        if known.is_waiting() {
            return false;
        }
        if self.later == Later::Asked {
            let later = known.later().iter();
            later.for_each(|index| self.reach.add(*index, self.unconflicted));
            self.later = Later::Added;
        }
        self.reach.settle(known, budget)
    }
}
