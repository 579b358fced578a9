//! State resolution of room version 1. Spec: Room Version 1, "State resolution".
//!
//! What the specification leaves open (which entries count as conflicting where a state has none, what to take
//! if no event is allowed) is as Synapse, the only server of its day, does it.

use ruma_common::EventId;
use ruma_events::StateEventType;
use sha1::{Digest, Sha1};

use super::{
    Budget, Conflict, Event,
    auth_checks::{auth_keys, is_allowed_by},
    known::{Found, Index, Key, Known, Lookup},
};
use crate::StateKey;

/// How many steps one check counts for.
const STEPS: usize = 16;

/// The resolution of what is conflicted.
pub(super) struct Version1 {
    /// In the order in which they are resolved.
    conflicts: Vec<Fight>,
    loaded: bool,
    resolved: usize,
    /// The entries of the passes that are complete.
    state: Found,
    /// The entries of the pass under way.
    pass: Vec<(Key, Index)>,
    /// Entries that some states lack and the others agree on.
    agreed: Vec<(Key, Index)>,
}

/// Several events for one entry.
struct Fight {
    pass: Pass,
    key: Key,
    events: Vec<Index>,
}

/// Conflicts of one pass are resolved independently of each other, by the outcome of the earlier passes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Pass {
    PowerLevels,
    JoinRules,
    Members,
    Others,
}

impl Pass {
    fn of((event_type, state_key): &StateKey) -> Self {
        match event_type {
            StateEventType::RoomPowerLevels if state_key.is_empty() => Self::PowerLevels,
            StateEventType::RoomJoinRules => Self::JoinRules,
            StateEventType::RoomMember => Self::Members,
            _ => Self::Others,
        }
    }
}

impl Version1 {
    /// `keys` are the numbers of the conflicted keys, in their order.
    pub(super) fn new<E: Event>(known: &mut Known<E>, conflict: &Conflict, keys: &[Key]) -> Self {
        let (mut conflicts, mut agreed) = (Vec::new(), Vec::new());
        for (disagreement, key) in conflict.disagreements().iter().zip(keys) {
            let ids = disagreement.event_ids.iter().flatten();
            let mut events: Vec<Index> = ids.map(|id| known.index(id)).collect();
            events.sort_unstable();
            events.dedup();
            if let [only] = &*events {
                known.set_entry(*key, Some(*only));
                agreed.push((*key, *only));
            } else {
                known.set_entry(*key, None);
                let (pass, key) = (Pass::of(&disagreement.key), *key);
                conflicts.push(Fight { pass, key, events });
            }
        }
        conflicts.sort_by_key(|fight| fight.pass);
        Self {
            conflicts,
            loaded: false,
            resolved: 0,
            state: Found::default(),
            pass: Vec::new(),
            agreed,
        }
    }

    /// The entries at which not all states are the same.
    pub(super) fn run<E: Event>(&mut self, known: &mut Known<E>, budget: &mut Budget) -> Option<Found> {
        self.load(known)?;
        while let Some(Fight { pass, key, events }) = self.conflicts.get(self.resolved) {
            budget.spend(1).then_some(())?;
            let (pass, key, events) = (*pass, *key, ordered(known, events));
            self.begin(pass);
            let chosen = if pass == Pass::Others {
                self.highest_allowed(known, &events, budget)
            } else {
                self.last_allowed(known, &events, budget)
            };
            self.pass.extend(chosen.map(|index| (key, index)));
            self.resolved += 1;
        }
        self.state.extend(self.pass.drain(..));
        self.state.extend(self.agreed.drain(..));
        Some(std::mem::take(&mut self.state))
    }

    /// Has the conflicting events loaded, then the entries that authorise them.
    fn load<E: Event>(&mut self, known: &mut Known<E>) -> Option<()> {
        if self.loaded {
            return Some(());
        }
        for index in self.conflicts.iter().flat_map(|fight| &fight.events) {
            known.is_settled(*index);
        }
        (!known.is_waiting()).then_some(())?;
        for index in self.conflicts.iter().flat_map(|fight| &fight.events) {
            let Some(node) = known.found(*index).cloned() else {
                continue;
            };
            for key in auth_keys(known, &node).into_iter().flatten() {
                if let Lookup::Found(entry) = known.entry(key) {
                    known.is_settled(entry);
                }
            }
        }
        (!known.is_waiting()).then_some(())?;
        self.loaded = true;
        Some(())
    }

    /// Completes the earlier passes.
    fn begin(&mut self, pass: Pass) {
        let earlier = self
            .resolved
            .checked_sub(1)
            .and_then(|last| self.conflicts.get(last));
        if earlier.is_some_and(|earlier| earlier.pass != pass) {
            self.state.extend(self.pass.drain(..));
        }
    }

    /// The first event, replaced by each next one as long as the state with it allows that.
    fn last_allowed<E: Event>(
        &self,
        known: &mut Known<E>,
        events: &[Index],
        budget: &mut Budget,
    ) -> Option<Index> {
        let (first, rest) = events.split_first()?;
        let mut last = *first;
        for index in rest {
            budget.spend(STEPS);
            if !self.allows(known, *index, Some(last)) {
                break;
            }
            last = *index;
        }
        Some(last)
    }

    /// The event of the highest depth that is allowed; if none is, that of the lowest.
    fn highest_allowed<E: Event>(
        &self,
        known: &mut Known<E>,
        events: &[Index],
        budget: &mut Budget,
    ) -> Option<Index> {
        let mut descending = events.iter().rev().copied();
        let allowed = descending.find(|index| {
            budget.spend(STEPS);
            self.allows(known, *index, None)
        });
        allowed.or_else(|| events.first().copied())
    }

    /// Whether the state as resolved so far, with one more event, allows an event.
    fn allows<E: Event>(&self, known: &mut Known<E>, index: Index, with: Option<Index>) -> bool {
        let Some(node) = known.found(index).cloned() else {
            return false;
        };
        let keys = auth_keys(known, &node).unwrap_or_default();
        let entries = keys.iter().filter_map(|key| self.entry(known, *key));
        let authorities: Vec<Index> = with.into_iter().chain(entries).collect();
        is_allowed_by(known, &node, &authorities)
    }

    fn entry<E: Event>(&self, known: &Known<E>, key: Key) -> Option<Index> {
        self.state.get(key).or_else(|| known.known_entry(key))
    }
}

/// The events of one conflict, by ascending depth, then descending SHA-1 of the event id.
fn ordered<E: Event>(known: &Known<E>, events: &[Index]) -> Vec<Index> {
    let events = events.iter().copied();
    let mut events: Vec<Index> = events.filter(|index| known.found(*index).is_some()).collect();
    events.sort_by_cached_key(|index| {
        let node = known.found(*index)?;
        let hash = sha1(node.event.event_id());
        Some((node.event.depth(), std::cmp::Reverse(hash)))
    });
    events
}

fn sha1(event_id: &EventId) -> [u8; 20] {
    Sha1::digest(event_id.as_bytes()).into()
}
