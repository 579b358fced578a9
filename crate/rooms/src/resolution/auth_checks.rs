//! Iterative auth checks. Spec: Room Version 2, "Definitions".

use std::collections::HashMap;

use ruma_events::StateEventType;
use ruma_state_res::{auth_types_for_event, check_state_dependent_auth_rules};

use super::{
    Budget, Event,
    known::{Index, Known, Lookup, Marks, Node},
};
use crate::StateKey;

/// How many steps one check counts for: it parses the contents of several events.
const STEPS: usize = 16;

/// Events that are applied to a state one after the other, as far as it allows them.
#[derive(Default)]
pub(super) struct AuthChecks {
    events: Vec<Index>,
    seen: Marks,
    /// What the events' authorisation is looked up by; `None` if an event is malformed.
    keys: Vec<Option<Vec<StateKey>>>,
    /// How many events' authorities were asked for, and how many were checked.
    asked: usize,
    checked: usize,
    begins_empty: bool,
    state: HashMap<StateKey, Index>,
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
            keys: Vec::new(),
            asked: 0,
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
    pub(super) fn into_state(self) -> HashMap<StateKey, Index> {
        self.state
    }

    /// The power levels of the outcome. Their entry was asked for with the authorities of the first event.
    pub(super) fn power_levels<E: Event>(&self, known: &mut Known<E>) -> Option<Index> {
        self.entry(known, &(StateEventType::RoomPowerLevels, String::new()))
    }

    /// Runs the checks. Yes, when all events are checked.
    pub(super) fn run<E: Event>(&mut self, known: &mut Known<E>, budget: &mut Budget) -> bool {
        self.ask(known, budget) && self.ask_for_entries(known) && self.check_all(known, budget)
    }

    /// Has everything loaded that the events name as their authorisation, and finds which entries matter.
    fn ask<E: Event>(&mut self, known: &mut Known<E>, budget: &mut Budget) -> bool {
        while let Some(node) = self
            .events
            .get(self.asked)
            .map(|index| known.found(*index).cloned())
        {
            if !budget.spend(4) {
                return false;
            }
            self.asked += 1;
            let keys = node.as_ref().and_then(|node| auth_keys(known, node));
            for authority in node.iter().flat_map(|node| node.auth.iter().chain(&node.create)) {
                known.is_settled(*authority);
            }
            self.keys.push(keys);
        }
        !known.is_waiting()
    }

    /// Has the entries loaded that the checks look up, and their events.
    fn ask_for_entries<E: Event>(&mut self, known: &mut Known<E>) -> bool {
        if self.begins_empty || self.checked > 0 {
            return true;
        }
        // Asked for here for the sake of the mainline.
        let levels = (StateEventType::RoomPowerLevels, String::new());
        for key in self.keys.iter().flatten().flatten().chain([&levels]) {
            if let Lookup::Found(entry) = known.entry(key) {
                known.is_settled(entry);
            }
        }
        !known.is_waiting()
    }

    fn check_all<E: Event>(&mut self, known: &mut Known<E>, budget: &mut Budget) -> bool {
        while let Some(index) = self.events.get(self.checked).copied() {
            if !budget.spend(STEPS) {
                return false;
            }
            let keys = self.keys.get_mut(self.checked).and_then(Option::take);
            self.checked += 1;
            let Some((node, keys)) = known.found(index).cloned().zip(keys) else {
                continue;
            };
            if let Some(key) = &node.key
                && self.allows(known, &node, &keys)
            {
                self.state.insert(key.clone(), index);
            }
        }
        true
    }

    fn allows<E: Event>(&self, known: &mut Known<E>, node: &Node<E>, keys: &[StateKey]) -> bool {
        let entries: Vec<Index> = keys.iter().filter_map(|key| self.entry(known, key)).collect();
        let usable = |index: &Index| known.found(*index).filter(|node| !node.event.rejected());
        // The entries of the state come before what the event names, and the create event by the room id is
        // used in any case.
        let entries = entries.iter().filter_map(usable);
        let create = node.create.iter().filter_map(|index| known.found(*index));
        let named = node.auth.iter().filter_map(usable);
        let authorities: Vec<&Node<E>> = entries.chain(create).chain(named).map(|node| &**node).collect();
        let rules = &known.version().rules().authorization;
        let lookup = |event_type: &StateEventType, state_key: &str| {
            let is_it = |key: &StateKey| key.0 == *event_type && key.1 == state_key;
            let found = authorities
                .iter()
                .find(|node| node.key.as_ref().is_some_and(is_it));
            found.map(|node| &node.event)
        };
        check_state_dependent_auth_rules(rules, &node.event, lookup).is_ok()
    }

    /// What the state has at `key` by now.
    fn entry<E: Event>(&self, known: &mut Known<E>, key: &StateKey) -> Option<Index> {
        if let Some(index) = self.state.get(key) {
            return Some(*index);
        }
        if self.begins_empty {
            return None;
        }
        match known.entry(key) {
            Lookup::Found(index) => Some(index),
            Lookup::NotLoaded | Lookup::Absent => None,
        }
    }
}

/// The types and state keys that authorise an event; `None` if it is malformed.
pub(super) fn auth_keys<E: Event>(known: &Known<E>, node: &Node<E>) -> Option<Vec<StateKey>> {
    let rules = &known.version().rules().authorization;
    let event = &node.event;
    let (event_type, sender) = (event.event_type(), event.sender());
    auth_types_for_event(event_type, sender, event.state_key(), event.content(), rules).ok()
}
