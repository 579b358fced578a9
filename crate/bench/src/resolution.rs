//! What it costs to resolve a fork, next to `ruma_state_res::resolve` in the same run.
//!
//! * On our side is timed: the comparison of the two state trees and the whole [`Resolution`], all that it asks for
//!   looked up in memory, events with their places in the chain cover. It ends with the changes that make one of the states the resolved one.
//! * On ruma's side is timed: the one call of `resolve`. It is given both whole states, their full auth chains and
//!   the conflicted subgraph; making those is not timed, nor is copying them, and its events are in memory too.
//!
//! Both must come to the same state, or nothing is measured.

use std::sync::Arc;

use hearth_rooms::{
    Pdu, RoomVersion, StateMap,
    resolution::{Conflict, Need, Progress, Resolution},
    state_tree::{NodeHash, divergences, get, later},
};
use ruma_common::{EventId, OwnedEventId};
use ruma_state_res::utils::event_id_set::EventIdSet;

use crate::{Failure, Figures, Scale, Times, fork::Fork};

/// Resolves forks of rooms of several sizes with several numbers of conflicted events.
///
/// # Errors
/// [`Failure`] if the two sides disagree.
pub fn measure(stopwatch: fn() -> f64, scale: Scale) -> Result<Figures, Failure> {
    let (sizes, conflicts, rounds): (&[usize], &[usize], _) = match scale {
        Scale::Full => (&[1_000, 100_000], &[10, 100, 1_000, 10_000], 5),
        Scale::Smoke => (&[20], &[10], 1),
    };
    let mut figures = Figures::default();
    for version in [RoomVersion::V11, RoomVersion::V12] {
        for size in sizes {
            // More conflicted events than that need a larger room.
            for conflicted in conflicts.iter().filter(|conflicted| *conflicted / 2 + 4 <= *size) {
                let fork = Fork::new(version, *size, *conflicted)?;
                let name = format!("resolve_v{version}_{conflicted}_of_{size}");
                // Browsers' clocks are coarse: short resolutions are timed together.
                let at_once = (1_000 / *conflicted).clamp(1, 100);
                figures.add(compare(&fork, &name, [rounds, at_once], stopwatch)?);
            }
        }
    }
    Ok(figures)
}

fn compare(
    fork: &Fork,
    name: &str,
    [rounds, at_once]: [usize; 2],
    stopwatch: fn() -> f64,
) -> Result<Figures, Failure> {
    let (mut ours, mut theirs) = (Times::default(), Times::default());
    let given = Given::of(fork);
    for _ in 0..rounds {
        // What the allocator put off when ruma's memory was freed is not to be paid for by our next round.
        let mut resolution = resolve(fork)?;
        let start = stopwatch();
        for _ in 0..at_once {
            resolution = resolve(fork)?;
        }
        ours.push((stopwatch() - start) / at_once as f64);
        let chains = given.chains.clone();
        let subgraph = given.subgraph.clone();
        let start = stopwatch();
        let expected = given.resolve(fork, chains, subgraph)?;
        theirs.push(stopwatch() - start);
        if resolution.onto(&fork.states[0]) != expected {
            return Err(format!("{name}: the resolutions differ").into());
        }
    }
    let mut figures = Figures::default();
    figures.note_ms(name, &ours);
    figures.note(format!("{name}_ruma_ms_p50"), theirs.median());
    figures.note(
        format!("{name}_ruma_to_ours_ratio"),
        theirs.median() / ours.median(),
    );
    Ok(figures)
}

/// What makes the first state the resolved one.
struct Resolved(Arc<[hearth_rooms::resolution::Change]>);

impl Resolved {
    fn onto(self, state: &StateMap) -> StateMap {
        let mut state = state.clone();
        for change in self.0.iter() {
            match change.event_id.clone() {
                Some(event_id) => state.insert(change.key.clone(), event_id),
                None => state.remove(&change.key),
            };
        }
        state
    }
}

fn resolve(fork: &Fork) -> Result<Resolved, Failure> {
    let conflict = Conflict::of_trees(fork.roots.len(), divergences(&fork.nodes, &fork.roots)?);
    let mut resolution = Resolution::new(fork.version, conflict)?;
    loop {
        match resolution.step(usize::MAX)? {
            Progress::Working => {}
            Progress::Done(changes) => return Ok(Resolved(changes)),
            Progress::Need(need) => supply(&mut resolution, fork, &need)?,
        }
    }
}

fn supply(resolution: &mut Resolution<Pdu>, fork: &Fork, need: &Need) -> Result<(), Failure> {
    for id in &need.events {
        resolution.supply_event(
            id,
            fork.event(id)
                .map(|event| (event.clone(), fork.position(id).cloned())),
        );
    }
    for key in &need.entries {
        let found = get(&fork.nodes, &fork.roots[0], key.0.to_string().as_str(), &key.1)?;
        resolution.supply_entry(key, found);
    }
    if !need.later.is_empty() {
        resolution.supply_later(&later_than(fork, &need.later)?);
    }
    Ok(())
}

/// As the homeserver finds them: by the state before each event, which of those of the fork is that before it.
fn later_than(fork: &Fork, events: &[OwnedEventId]) -> Result<Vec<OwnedEventId>, Failure> {
    let before = match events.iter().any(|id| fork.base.contains(id)) {
        true => NodeHash::EMPTY,
        false => fork.base_root,
    };
    Ok(later(&fork.nodes, &before, &fork.roots)?)
}

/// What ruma is given.
struct Given {
    chains: Vec<EventIdSet<OwnedEventId>>,
    subgraph: EventIdSet<OwnedEventId>,
}

impl Given {
    fn of(fork: &Fork) -> Self {
        let chains = fork.states.iter().map(|state| fork.auth_chain(state)).collect();
        let [first, second] = &fork.states;
        let differs = |key: &&hearth_rooms::StateKey| first.get(*key) != second.get(*key);
        let keys = first.keys().filter(differs);
        let conflicted: Vec<_> = keys
            .flat_map(|key| [first.get(key), second.get(key)])
            .flatten()
            .cloned()
            .collect();
        Self {
            chains,
            subgraph: fork.subgraph(&conflicted),
        }
    }

    fn resolve(
        &self,
        fork: &Fork,
        chains: Vec<EventIdSet<OwnedEventId>>,
        subgraph: EventIdSet<OwnedEventId>,
    ) -> Result<StateMap, Failure> {
        let rules = fork.version.rules();
        let v2 = rules.state_res.v2_rules().ok_or("version 2 of resolution")?;
        let fetch = |id: &EventId| fork.event(id).cloned();
        Ok(ruma_state_res::resolve(
            &rules.authorization,
            v2,
            &fork.states,
            chains,
            fetch,
            |_| Some(subgraph.clone()),
        )?)
    }
}
