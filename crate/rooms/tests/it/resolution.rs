//! State resolution of random forks: exactly what ruma makes of the whole state, whatever the order in which
//! states are named and needs are met, with the index over auth chains and without.

use std::collections::{HashMap, HashSet};

use hearth_rooms::{
    Pdu, RoomVersion, StateKey, StateMap,
    chain_cover::Position,
    resolution::{Change, Conflict, Progress, Resolution},
};
use proptest::prelude::*;
use ruma_common::OwnedEventId;
use serde_json::json;

use crate::forks::{World, any_steps, oracle, user};

/// How many random rooms each property is tried on; `HEARTH_RESOLUTION_CASES` sets another number.
fn cases() -> ProptestConfig {
    let wanted = std::env::var("HEARTH_RESOLUTION_CASES").ok();
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(wanted.and_then(|number| number.parse().ok()).unwrap_or(48))
    }
}

/// A way to meet needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    /// With positions in the chain cover.
    pub(crate) indexed: bool,
    /// Later entries are told from the state before the event in question; else all are said to be later.
    pub(crate) by_state_before: bool,
    /// Needs are met from the end.
    pub(crate) backwards: bool,
    /// Steps at a time.
    pub(crate) steps: usize,
}

pub(crate) const DIRECT: Way = Way {
    indexed: true,
    by_state_before: true,
    backwards: false,
    steps: usize::MAX,
};

/// What a resolution asked for.
#[derive(Debug, Default)]
pub(crate) struct Cost {
    pub(crate) events: HashSet<OwnedEventId>,
    pub(crate) entries: HashSet<StateKey>,
    pub(crate) later: usize,
    pub(crate) rounds: usize,
}

/// The store that needs are met from.
struct Supply<'a> {
    world: &'a World,
    states: &'a [StateMap],
    way: Way,
    cost: Cost,
}

impl Supply<'_> {
    fn event(&mut self, id: &OwnedEventId) -> Option<(Pdu, Option<Position>)> {
        assert!(self.cost.events.insert(id.clone()), "asked for twice");
        let position = self.world.positions.get(id).filter(|_| self.way.indexed);
        Some((self.world.events.get(id)?.clone(), position.cloned()))
    }

    fn is_later(&self, key: &StateKey, id: &OwnedEventId, than: &[OwnedEventId]) -> bool {
        let shared = self.states.iter().all(|state| state.get(key) == Some(id));
        let before = |than: &OwnedEventId| &self.world.before[than];
        shared && (!self.way.by_state_before || than.iter().any(|than| before(than).get(key) != Some(id)))
    }

    fn later(&mut self, than: &[OwnedEventId]) -> Vec<OwnedEventId> {
        let found = self.states[0]
            .iter()
            .filter(|(key, id)| self.is_later(key, id, than));
        let found: Vec<_> = found.map(|(_, id)| id.clone()).collect();
        self.cost.later += found.len();
        found
    }
}

fn in_order<T>(items: impl IntoIterator<Item = T>, backwards: bool) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().collect();
    if backwards {
        items.reverse();
    }
    items
}

/// Resolves `states`, and tells what it took.
pub(crate) fn resolved(world: &World, states: &[StateMap], way: Way) -> (StateMap, Cost) {
    let mut supply = Supply {
        world,
        states,
        way,
        cost: Cost::default(),
    };
    let mut resolution = Resolution::new(world.version, Conflict::of_maps(states)).unwrap();
    loop {
        match resolution.step(way.steps).unwrap() {
            Progress::Working => assert!(way.steps < usize::MAX),
            Progress::Done(changes) => return (changed(&states[0], &changes), supply.cost),
            Progress::Need(need) => {
                supply.cost.rounds += 1;
                for key in in_order(&need.entries, way.backwards) {
                    assert!(supply.cost.entries.insert(key.clone()), "asked for twice");
                    let id = states[0].get(key);
                    assert!(
                        states.iter().all(|state| state.get(key) == id),
                        "not common to all"
                    );
                    resolution.supply_entry(key, id.cloned());
                }
                if !need.later.is_empty() {
                    resolution.supply_later(&supply.later(&need.later));
                }
                for id in in_order(&need.events, way.backwards) {
                    resolution.supply_event(id, supply.event(id));
                }
            }
        }
    }
}

fn changed(first: &StateMap, changes: &[Change]) -> StateMap {
    let mut state = first.clone();
    for change in changes {
        let before = match &change.event_id {
            Some(id) => state
                .insert(change.key.clone(), id.clone())
                .filter(|before| before == id),
            None => {
                assert!(state.remove(&change.key).is_some(), "nothing is removed");
                None
            }
        };
        assert_eq!(before, None, "a change that changes nothing");
    }
    state
}

fn version_of(number: u8) -> RoomVersion {
    let versions = [
        RoomVersion::V6,
        RoomVersion::V10,
        RoomVersion::V11,
        RoomVersion::V12,
    ];
    versions[usize::from(number) % versions.len()]
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn forks_of_version_11_resolve_as_ruma_says(steps in any_steps(40)) {
        let world = World::grown(RoomVersion::V11, &steps);
        let states = world.states();
        prop_assert_eq!(resolved(&world, &states, DIRECT).0, oracle(&world, &states));
    }

    #[test]
    fn forks_of_version_12_resolve_as_ruma_says(steps in any_steps(40)) {
        let world = World::grown(RoomVersion::V12, &steps);
        let states = world.states();
        prop_assert_eq!(resolved(&world, &states, DIRECT).0, oracle(&world, &states));
    }

    #[test]
    fn forks_of_any_version_but_the_first_resolve_as_ruma_says(
        version in any::<u8>(),
        steps in any_steps(30),
    ) {
        let version = version_of(version).max(RoomVersion::V2);
        let world = World::grown(version, &steps);
        let states = world.states();
        prop_assert_eq!(resolved(&world, &states, DIRECT).0, oracle(&world, &states));
    }

    #[test]
    fn it_does_not_matter_how_needs_are_met(
        version in any::<u8>(),
        steps in any_steps(30),
        flags in any::<(bool, bool, bool)>(),
        slice in prop_oneof![Just(1_usize), Just(7), Just(usize::MAX)],
    ) {
        let world = World::grown(version_of(version), &steps);
        let states = world.states();
        let (indexed, by_state_before, backwards) = flags;
        let way = Way { indexed, by_state_before, backwards, steps: slice };
        prop_assert_eq!(resolved(&world, &states, way).0, resolved(&world, &states, DIRECT).0);
    }

    #[test]
    fn the_order_of_states_does_not_matter(
        version in any::<u8>(),
        steps in any_steps(30),
        turn in any::<usize>(),
    ) {
        let world = World::grown(version_of(version), &steps);
        let mut states = world.states();
        let forward = resolved(&world, &states, DIRECT).0;
        let turn = turn % states.len();
        states.rotate_left(turn);
        prop_assert_eq!(&resolved(&world, &states, DIRECT).0, &forward);
        states.reverse();
        prop_assert_eq!(&resolved(&world, &states, DIRECT).0, &forward);
    }

    #[test]
    fn naming_a_state_twice_changes_nothing(version in any::<u8>(), steps in any_steps(30)) {
        let world = World::grown(version_of(version), &steps);
        let mut states = world.states();
        let once = resolved(&world, &states, DIRECT).0;
        states.push(states[0].clone());
        prop_assert_eq!(resolved(&world, &states, DIRECT).0, once);
    }

    /// Branches on each of which somebody does something of their own can be merged in any grouping. (Branches
    /// that take something from each other cannot: that is how the algorithms are.)
    #[test]
    fn the_grouping_of_independent_branches_does_not_matter(
        version in any::<u8>(),
        actors in proptest::sample::subsequence(vec![0_usize, 1, 2, 3], 2..=4),
        count in 1_usize..4,
    ) {
        let mut world = World::new(version_of(version));
        let common = world.states().remove(0);
        let mut branches = Vec::new();
        for actor in actors {
            let (user, mut state) = (user(actor), common.clone());
            for number in 0..count {
                let content = json!({"membership": "join", "n": number});
                world.add(&user, "m.room.member", &user, content, &mut state);
                world.time += 1;
            }
            branches.push(state);
        }
        let whole = resolved(&world, &branches, DIRECT).0;
        let merge = |merged: StateMap, next: &StateMap| resolved(&world, &[merged, next.clone()], DIRECT).0;
        let forward = branches.iter().fold(branches[0].clone(), merge);
        prop_assert_eq!(&forward, &whole);
        let last = branches.last().unwrap().clone();
        prop_assert_eq!(&branches.iter().rev().fold(last, merge), &whole);
    }

    #[test]
    fn positions_tell_what_walking_tells(version in any::<u8>(), steps in any_steps(30)) {
        let world = World::grown(version_of(version), &steps);
        prop_assert_eq!(world.positions.len(), world.events.len());
        for (id, position) in &world.positions {
            let alone: StateMap = [(("m".into(), String::new()), id.clone())].into();
            let chain = crate::forks::full_chain(&world, &alone);
            for (other, below) in &world.positions {
                prop_assert_eq!(position.reaches(below), chain.contains(other));
            }
            prop_assert_eq!(Position::decode(&position.encode()), Some(position.clone()));
        }
        let places: HashMap<_, _> = world.positions.values().map(|p| ((p.chain, p.sequence), ())).collect();
        prop_assert_eq!(places.len(), world.positions.len());
    }
}

#[test]
fn agreement_needs_nothing() {
    let world = World::new(RoomVersion::V12);
    let state = world.states().remove(0);
    let (resolved, cost) = resolved(&world, &[state.clone(), state.clone()], DIRECT);
    assert_eq!((resolved, cost.rounds), (state, 0));
}

#[test]
fn events_that_cannot_be_had_do_not_stop_a_resolution() {
    let mut world = World::new(RoomVersion::V12);
    let state = world.states().remove(0);
    let (mut one, mut other) = (state.clone(), state);
    let lost = world.add(&user(0), "m.room.topic", "", json!({"topic": "a"}), &mut one);
    let kept = world.add(&user(0), "m.room.topic", "", json!({"topic": "b"}), &mut other);
    world.events.remove(&lost);
    let (resolved, _) = resolved(&world, &[one, other], DIRECT);
    assert_eq!(resolved.get(&("m.room.topic".into(), String::new())), Some(&kept));
}
