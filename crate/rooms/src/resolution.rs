//! State resolution: one state out of several that disagree. Spec: Room Versions 1, 2 and 12, "State resolution".
//!
//! A [`Resolution`] is given where the states disagree, and asks for the events and the entries of the common
//! state that it has to look at ([`Progress::Need`]). It never sees the whole state: its cost is that of the
//! conflict and of what differs between the auth chains. It neither loads nor waits, and works in slices of as
//! many steps as its caller allows it.
//!
//! Whether an event is allowed by a given state is ruma's to say; everything around that is done here.

mod auth_checks;
mod conflict;
mod full_conflicted_set;
mod known;
mod mainline_ordering;
mod maps;
mod numbers;
mod overlay;
mod power_ordering;
mod reach;
mod subgraph;
mod version_1;

use std::sync::Arc;

use ruma_common::{EventId, OwnedEventId};

use crate::{RoomVersion, StateKey, chain_cover::Position};

use auth_checks::AuthChecks;
use full_conflicted_set::FullConflictedSet;
use known::{Key, Known, Marks};
use mainline_ordering::MainlineOrdering;
use overlay::Overlay;
use power_ordering::PowerOrdering;
use version_1::Version1;

pub use conflict::{Conflict, Disagreement};
pub use known::Need;
pub use maps::resolve_maps;

/// The most events that one resolution looks at: a bound on the work that a hostile room can cause.
pub const MAX_EVENTS: usize = 200_000;
/// The most states that are resolved at once.
pub const MAX_STATES: usize = 127;

/// An event that can take part in a resolution. Cheap to clone.
pub trait Event: ruma_state_res::Event<Id = OwnedEventId> + Clone {
    /// The depth that it claims. Only room version 1 goes by it.
    fn depth(&self) -> u64;
}

impl Event for crate::Pdu {
    fn depth(&self) -> u64 {
        Self::depth(self)
    }
}

/// How far a resolution got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All of this has to be supplied before the next step.
    Need(Need),
    /// The steps are used up: call again.
    Working,
    /// What has to be changed in the first of the states to make the resolved one.
    Done(Arc<[Change]>),
}

/// An entry of the resolved state that the first state does not have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The type and state key.
    pub key: StateKey,
    /// The event; `None` where the resolved state has none.
    pub event_id: Option<OwnedEventId>,
}

/// Why states cannot be resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolutionError {
    /// More than [`MAX_EVENTS`] events or [`MAX_STATES`] states would have to be looked at.
    #[error("the conflict involves too much")]
    TooLarge,
}

/// The resolution of one conflict.
///
/// ```text
/// loop {
///     match resolution.step(steps)? {
///         Need(need) => load what is needed, then call supply_event, supply_entry, supply_later,
///         Working => let others run,
///         Done(changes) => …
///     }
/// }
/// ```
///
/// The outcome depends neither on the order of the states nor on the order in which needs are met.
pub struct Resolution<E> {
    known: Known<E>,
    conflict: Conflict,
    /// The numbers of the conflicted keys, in their order.
    keys: Vec<Key>,
    full: Marks,
    stage: Stage,
}

/// Where a resolution stands. Each stage ends with what the next begins with.
enum Stage {
    FullConflictedSet(FullConflictedSet),
    PowerOrdering(PowerOrdering),
    PowerChecks(AuthChecks),
    MainlineOrdering(MainlineOrdering, AuthChecks),
    OtherChecks(AuthChecks),
    Version1(Version1),
    Overlay(Overlay),
    Done(Arc<[Change]>),
}

/// What is left of the steps that the caller allows.
pub(crate) struct Budget(usize);

impl Budget {
    /// Takes `steps`; no, if there are none left.
    fn spend(&mut self, steps: usize) -> bool {
        let left = self.0 > 0;
        self.0 = self.0.saturating_sub(steps);
        left
    }
}

impl<E: Event> Resolution<E> {
    /// Begins to resolve `conflict` in a room of `version`.
    ///
    /// # Errors
    /// [`ResolutionError::TooLarge`] if there are too many states or entries.
    pub fn new(version: RoomVersion, conflict: Conflict) -> Result<Self, ResolutionError> {
        let named = conflict.disagreements().iter();
        let named: usize = named.map(|entry| entry.event_ids.iter().flatten().count()).sum();
        if conflict.states() > MAX_STATES || named > 2 * MAX_EVENTS {
            return Err(ResolutionError::TooLarge);
        }
        let mut known = Known::new(version);
        let keys = conflict.disagreements().iter();
        let keys: Vec<Key> = keys.map(|disagreement| known.key(&disagreement.key)).collect();
        let stage = if version.rules().state_res.v2_rules().is_some() {
            Stage::FullConflictedSet(FullConflictedSet::new(&mut known, &conflict, &keys))
        } else {
            Stage::Version1(Version1::new(&mut known, &conflict, &keys))
        };
        Ok(Self {
            known,
            conflict,
            keys,
            full: Marks::default(),
            stage,
        })
    }

    /// Goes on for about `steps` steps (of the order of a microsecond each), or until something is needed.
    ///
    /// # Errors
    /// [`ResolutionError::TooLarge`] if too many events are involved.
    pub fn step(&mut self, steps: usize) -> Result<Progress, ResolutionError> {
        let mut budget = Budget(steps.max(1));
        loop {
            if self.known.len() > MAX_EVENTS {
                return Err(ResolutionError::TooLarge);
            }
            if let Some(need) = self.known.need() {
                return Ok(Progress::Need(need));
            }
            if let Stage::Done(changes) = &self.stage {
                return Ok(Progress::Done(changes.clone()));
            }
            match self.advance(&mut budget) {
                Some(stage) => self.stage = stage,
                None if self.known.is_waiting() => {}
                None => return Ok(Progress::Working),
            }
        }
    }

    /// Supplies an event that was needed, with its place in the chain cover if it has one; `None` if it cannot
    /// be had, however long one waits.
    pub fn supply_event(&mut self, event_id: &EventId, event: Option<(E, Option<Position>)>) {
        self.known.supply_event(event_id, event);
    }

    /// Supplies an entry that was needed: what all the states have at `key`.
    pub fn supply_entry(&mut self, key: &StateKey, event_id: Option<OwnedEventId>) {
        self.known.supply_entry(key, event_id);
    }

    /// Supplies, if [`Need::later`] was asked for, the events of all entries that all the states share and that
    /// may rest on one of those events: all but those known to be older. Too many do no harm but cost.
    pub fn supply_later(&mut self, event_ids: &[OwnedEventId]) {
        self.known.supply_later(event_ids);
    }

    /// Runs the present stage; the next one if it ends.
    fn advance(&mut self, budget: &mut Budget) -> Option<Stage> {
        let known = &mut self.known;
        match &mut self.stage {
            Stage::FullConflictedSet(set) => {
                self.full = set.run(known, budget)?;
                Some(Stage::PowerOrdering(PowerOrdering::new(known, &self.full)))
            }
            Stage::PowerOrdering(ordering) => {
                let ordered = ordering.run(known, &self.full, budget)?;
                Some(Stage::PowerChecks(AuthChecks::of_power_events(known, ordered)))
            }
            Stage::PowerChecks(checks) => {
                checks.run(known, budget).then_some(())?;
                let checks = std::mem::take(checks);
                let others = self
                    .full
                    .iter()
                    .filter(|index| !checks.has_seen(*index))
                    .collect();
                let levels = checks.power_levels(known);
                Some(Stage::MainlineOrdering(
                    MainlineOrdering::new(others, levels),
                    checks,
                ))
            }
            Stage::MainlineOrdering(ordering, checks) => {
                let ordered = ordering.run(known, budget)?;
                Some(Stage::OtherChecks(std::mem::take(checks).then(ordered)))
            }
            Stage::OtherChecks(checks) => {
                checks.run(known, budget).then_some(())?;
                Some(Stage::Overlay(Overlay::new(std::mem::take(checks).into_state())))
            }
            Stage::Version1(resolution) => {
                let state = resolution.run(known, budget)?;
                Some(Stage::Overlay(Overlay::new(state)))
            }
            Stage::Overlay(overlay) => {
                let changes = overlay.run(known, &self.conflict, &self.keys)?;
                Some(Stage::Done(changes.into()))
            }
            Stage::Done(_) => None,
        }
    }
}
