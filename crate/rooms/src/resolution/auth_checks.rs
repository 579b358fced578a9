//! Iterative auth checks. Spec: Room Version 2, "Definitions".
//!
//! Of most events only the type, the sender and whose state they are count for whether they are allowed: what
//! they say does not. Of those that are alike in this, and are checked against the same events, one is checked.

use std::{collections::HashMap, sync::Arc};

use ruma_events::{StateEventType, TimelineEventType};
use ruma_state_res::{auth_types_for_event, check_state_dependent_auth_rules};

use super::{
    Budget, Event,
    known::{Found, Index, Key, Known, Lookup, Marks, Node},
    numbers::Numbers,
};
use crate::{RoomVersion, StateKey};

/// How many steps one check counts for: it parses the contents of several events.
const STEPS: usize = 16;

/// Events that are applied to a state one after the other, as far as it allows them.
#[derive(Default)]
pub(super) struct AuthChecks {
    events: Vec<Index>,
    seen: Marks,
    /// What the events' authorisation is looked up by; `None` if an event is malformed.
    authorities: Vec<Option<Authorities>>,
    /// How many events were checked.
    checked: usize,
    begins_empty: bool,
    state: Found,
    kinds: Kinds,
}

/// By what the events are looked up that authorise an event.
#[derive(Clone)]
struct Authorities {
    keys: Arc<[Key]>,
    /// The number of the kind of events that are judged alike, if the event is of one.
    kind: Option<usize>,
}

/// Kinds of events that are judged alike.
#[derive(Default)]
struct Kinds {
    numbers: Numbers,
    /// The keys of what authorises each kind; `None` if that cannot be told.
    keys: Vec<Option<Arc<[Key]>>>,
    /// What was decided, by the kind and the events that it was judged by.
    verdicts: HashMap<(usize, [Option<Index>; 4]), bool, foldhash::fast::RandomState>,
}

impl AuthChecks {
    /// The checks of the power events, which begin with the unconflicted state or, as some room versions have
    /// it, with none.
    pub(super) fn of_power_events<E: Event>(known: &Known<E>, events: Vec<Index>) -> Self {
        let rules = known.version().rules().state_res.v2_rules();
        let begins_empty = rules.is_some_and(|rules| rules.begin_iterative_auth_checks_with_empty_state_map);
        Self {
            seen: events.iter().copied().collect(),
            events,
            begins_empty,
            ..Self::default()
        }
    }

    /// Further checks, which begin with the outcome of these.
    pub(super) fn then(self, events: Vec<Index>) -> Self {
        Self {
            seen: Marks::default(),
            authorities: Vec::with_capacity(events.len()),
            checked: 0,
            events,
            ..self
        }
    }

    /// Whether an event is one of those to be checked.
    pub(super) fn has_seen(&self, index: Index) -> bool {
        self.seen.contains(index)
    }

    /// The entries that the checks made.
    pub(super) fn into_state(self) -> Found {
        self.state
    }

    /// The power levels of the outcome. Their entry was asked for with the authorities of the first event.
    pub(super) fn power_levels<E: Event>(&self, known: &mut Known<E>) -> Option<Index> {
        let levels = known.key(&power_levels_key());
        if !self.begins_empty && self.state.get(levels).is_none() {
            // Notes that it is needed, should nobody have needed it so far.
            known.entry(levels);
        }
        self.entry(known, levels)
    }

    /// Runs the checks. Yes, when all events are checked.
    pub(super) fn run<E: Event>(&mut self, known: &mut Known<E>, budget: &mut Budget) -> bool {
        self.ask(known, budget) && self.ask_for_entries(known) && self.check_all(known, budget)
    }

    /// Has everything loaded that the events name as their authorisation, and finds which entries matter.
    fn ask<E: Event>(&mut self, known: &mut Known<E>, budget: &mut Budget) -> bool {
        while let Some(index) = self.events.get(self.authorities.len()) {
            if !budget.spend(4) {
                return false;
            }
            let node = known.found(*index).cloned();
            if let Some(node) = &node {
                ask_for_named(known, node);
            }
            let authorities = node.and_then(|node| self.kinds.authorities(known, &node));
            self.authorities.push(authorities);
        }
        !known.is_waiting()
    }

    /// Has the entries loaded that the checks look up, and their events.
    fn ask_for_entries<E: Event>(&mut self, known: &mut Known<E>) -> bool {
        if self.begins_empty || self.checked > 0 {
            return true;
        }
        // Asked for here for the sake of the mainline.
        let levels = known.key(&power_levels_key());
        let keys = self.authorities.iter().flatten();
        let keys = keys.flat_map(|authorities| authorities.keys.iter());
        for key in keys.chain([&levels]) {
            if let Lookup::Found(entry) = known.entry(*key) {
                known.is_settled(entry);
            }
        }
        !known.is_waiting()
    }

    fn check_all<E: Event>(&mut self, known: &Known<E>, budget: &mut Budget) -> bool {
        while let Some(index) = self.events.get(self.checked).copied() {
            if !budget.spend(STEPS) {
                return false;
            }
            let authorities = self.authorities.get_mut(self.checked).and_then(Option::take);
            self.checked += 1;
            let Some((node, authorities)) = known.found(index).zip(authorities) else {
                continue;
            };
            if let Some(key) = node.key
                && self.allows(known, node, &authorities)
            {
                self.state.insert(key, index);
            }
        }
        true
    }

    fn allows<E: Event>(&mut self, known: &Known<E>, node: &Node<E>, authorities: &Authorities) -> bool {
        let Some(kind) = authorities.kind else {
            return self.is_allowed(known, node, &authorities.keys);
        };
        let judges = self.judges(known, node, &authorities.keys);
        if let Some(verdict) = self.kinds.verdicts.get(&(kind, judges)) {
            return *verdict;
        }
        let verdict = self.is_allowed(known, node, &authorities.keys);
        self.kinds.verdicts.insert((kind, judges), verdict);
        verdict
    }

    /// The events that an event of a kind is judged by: what there is for each of up to three `keys`, and the
    /// create event.
    fn judges<E: Event>(&self, known: &Known<E>, node: &Node<E>, keys: &[Key]) -> [Option<Index>; 4] {
        let judge = |key: &Key| {
            let entry = self.entry(known, *key).filter(|index| is_usable(known, *index));
            let named = |index: &&Index| {
                let is_it = |node: &Arc<Node<E>>| node.key == Some(*key) && !node.event.rejected();
                known.found(**index).is_some_and(is_it)
            };
            entry.or_else(|| node.auth.iter().find(named).copied())
        };
        let mut judges = [None; 4];
        let found = keys.iter().map(judge).chain([node.create]);
        judges
            .iter_mut()
            .zip(found)
            .for_each(|(judge, found)| *judge = found);
        judges
    }

    fn is_allowed<E: Event>(&self, known: &Known<E>, node: &Node<E>, keys: &[Key]) -> bool {
        let entries = keys.iter().filter_map(|key| self.entry(known, *key));
        let entries = entries.filter(|index| is_usable(known, *index));
        let named = node.auth.iter().copied();
        let named = named.filter(|index| is_usable(known, *index));
        // The entries of the state come before what the event names, and the create event by the room id is
        // used in any case.
        let authorities: Vec<Index> = entries.chain(node.create).chain(named).collect();
        is_allowed_by(known, node, &authorities)
    }

    /// What the state has at `key` by now.
    fn entry<E: Event>(&self, known: &Known<E>, key: Key) -> Option<Index> {
        let own = self.state.get(key);
        own.or_else(|| known.known_entry(key).filter(|_| !self.begins_empty))
    }
}

impl Kinds {
    /// By what the events are looked up that authorise an event; `None` if it is malformed.
    fn authorities<E: Event>(&mut self, known: &mut Known<E>, node: &Node<E>) -> Option<Authorities> {
        if !is_judged_by_kind(known.version(), node.event.event_type()) {
            let keys = auth_keys(known, node)?.into();
            return Some(Authorities { keys, kind: None });
        }
        let sender = node.event.sender().as_str();
        let of_another = node
            .event
            .state_key()
            .is_some_and(|key| key.starts_with('@') && key != sender);
        let whose = if of_another { "another's" } else { "" };
        let (kind, is_new) = self
            .numbers
            .of(sender, &format_args!("{whose} {}", node.event.event_type()));
        if is_new {
            self.keys.push(auth_keys(known, node).map(Into::into));
        }
        let keys = self.keys.get(kind)?.clone()?;
        // With more keys than that an event is no ordinary one.
        let kind = (keys.len() <= 3).then_some(kind);
        Some(Authorities { keys, kind })
    }
}

/// Whether of the events of a type nothing counts but their sender, and whether their state key is another user's
/// id. Spec: "Authorization rules" of each room version, which name the types that are not so.
fn is_judged_by_kind(version: RoomVersion, event_type: &TimelineEventType) -> bool {
    match event_type {
        TimelineEventType::RoomCreate
        | TimelineEventType::RoomMember
        | TimelineEventType::RoomPowerLevels
        | TimelineEventType::RoomRedaction
        | TimelineEventType::RoomThirdPartyInvite => false,
        other => {
            let aliases = version.rules().authorization.special_case_room_aliases;
            !aliases || *other != "m.room.aliases".into()
        }
    }
}

/// Has everything loaded that an event names as its authorisation.
fn ask_for_named<E: Event>(known: &mut Known<E>, node: &Node<E>) {
    for authority in node.auth.iter().chain(&node.create) {
        known.is_settled(*authority);
    }
}

fn is_usable<E: Event>(known: &Known<E>, index: Index) -> bool {
    known.found(index).is_some_and(|node| !node.event.rejected())
}

/// Whether an event is allowed by `authorities`, of which the first of its type and state key counts.
pub(super) fn is_allowed_by<E: Event>(known: &Known<E>, node: &Node<E>, authorities: &[Index]) -> bool {
    let lookup = |event_type: &StateEventType, state_key: &str| {
        let is_it = |key: &StateKey| key.0 == *event_type && key.1 == state_key;
        let mut nodes = authorities.iter().filter_map(|index| known.found(*index));
        let found = nodes.find(|node| node.key.and_then(|key| known.state_key(key)).is_some_and(is_it));
        found.map(|node| &node.event)
    };
    let rules = &known.version().rules().authorization;
    check_state_dependent_auth_rules(rules, &node.event, lookup).is_ok()
}

/// The numbers of the types and state keys that authorise an event; `None` if it is malformed.
pub(super) fn auth_keys<E: Event>(known: &mut Known<E>, node: &Node<E>) -> Option<Vec<Key>> {
    let rules = &known.version().rules().authorization;
    let event = &node.event;
    let (event_type, sender) = (event.event_type(), event.sender());
    let keys = auth_types_for_event(event_type, sender, event.state_key(), event.content(), rules).ok()?;
    Some(keys.iter().map(|key| known.key(key)).collect())
}

fn power_levels_key() -> StateKey {
    (StateEventType::RoomPowerLevels, String::new())
}
