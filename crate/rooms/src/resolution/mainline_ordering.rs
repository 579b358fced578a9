//! Mainline ordering. Spec: Room Version 2, "Definitions".
//!
//! The mainline of the power levels is kept as stretches: as far as they have positions in the chain cover, a
//! whole stretch of one chain is one step, so that the length of the mainline does not matter.

use std::{cmp::Reverse, collections::HashMap};

use super::{
    Budget, Event,
    known::{Index, Known, Lookup, Node},
};
use crate::chain_cover::{ChainId, Position};

/// Where on the mainline an event has its power levels: the stretch, counted from the newest, and the place in
/// it. Of two the older is less; an event without any is less than all others.
type Place = Option<(Reverse<usize>, u32)>;

/// The ordering of events by a mainline.
pub(super) struct MainlineOrdering {
    events: Vec<Index>,
    /// How many events have been given their place.
    placed: Vec<(Place, Index)>,
    next: usize,
    /// The power levels to follow the mainline to.
    tip: Option<Index>,
    mainline: Mainline,
    /// What became of the ways that were gone already, by event.
    beside: Vec<Option<Outcome>>,
    /// The way that is being gone.
    way: Vec<Index>,
}

#[derive(Default)]
struct Mainline {
    length: usize,
    chains: HashMap<ChainId, (usize, u32), foldhash::fast::RandomState>,
    single: HashMap<Index, usize>,
}

/// What became of the way from an event to the mainline.
#[derive(Clone, Copy)]
enum Outcome {
    Place(Place),
    /// It leads to an event that cannot be had: the event takes no part.
    Lost,
    /// Something on the way has to be loaded.
    NotLoaded,
}

/// The next event on the way to older power levels.
enum Older {
    Is(Index),
    None,
    Lost,
    NotLoaded,
}

impl MainlineOrdering {
    /// The ordering of `events` by the mainline of `power_levels`.
    pub(super) fn new(events: Vec<Index>, power_levels: Option<Index>) -> Self {
        Self {
            placed: Vec::with_capacity(events.len()),
            tip: power_levels.filter(|_| !events.is_empty()),
            events,
            next: 0,
            mainline: Mainline::default(),
            beside: Vec::new(),
            way: Vec::new(),
        }
    }

    /// The events in their order.
    pub(super) fn run<E: Event>(&mut self, known: &mut Known<E>, budget: &mut Budget) -> Option<Vec<Index>> {
        self.lay_mainline(known, budget)?;
        self.place_all(known, budget)?;
        let mut placed = std::mem::take(&mut self.placed);
        let rank = |index: &Index| {
            let event = &known.found(*index)?.event;
            Some((event.origin_server_ts(), event.event_id()))
        };
        placed
            .sort_unstable_by(|(place, a), (other, b)| place.cmp(other).then_with(|| rank(a).cmp(&rank(b))));
        Some(placed.into_iter().map(|(_, index)| index).collect())
    }

    fn lay_mainline<E: Event>(&mut self, known: &mut Known<E>, budget: &mut Budget) -> Option<()> {
        while let Some(index) = self.tip {
            budget.spend(1).then_some(())?;
            let older = match known.event(index) {
                Lookup::Found(node) if self.mainline.add(index, &node) => older(known, &node),
                Lookup::Found(_) | Lookup::Absent => Older::None,
                Lookup::NotLoaded => Older::NotLoaded,
            };
            match older {
                Older::Is(older) => {
                    self.mainline.length += 1;
                    self.tip = Some(older);
                }
                Older::None | Older::Lost => self.tip = None,
                Older::NotLoaded => return None,
            }
        }
        Some(())
    }

    fn place_all<E: Event>(&mut self, known: &mut Known<E>, budget: &mut Budget) -> Option<()> {
        let mut waiting = Vec::new();
        while let Some(index) = self.events.get(self.next).copied() {
            if !budget.spend(2) {
                break;
            }
            self.next += 1;
            match self.place(known, index, budget) {
                Outcome::Place(place) => self.placed.push((place, index)),
                Outcome::Lost => {}
                Outcome::NotLoaded => waiting.push(index),
            }
        }
        self.events.extend(waiting);
        (self.next == self.events.len()).then_some(())
    }

    /// The place of an event: that of the first power levels on its way that are on the mainline.
    fn place<E: Event>(&mut self, known: &mut Known<E>, index: Index, budget: &mut Budget) -> Outcome {
        self.way.clear();
        let mut current = index;
        let outcome = loop {
            budget.spend(1);
            if let Some(outcome) = self.beside.get(current).copied().flatten() {
                break outcome;
            }
            let node = match known.event(current) {
                Lookup::Found(node) => node,
                Lookup::Absent => break Outcome::Lost,
                Lookup::NotLoaded => break Outcome::NotLoaded,
            };
            if let Some(place) = self.mainline.place(current, &node) {
                break Outcome::Place(Some(place));
            }
            // Whoever comes by here again while the way is gone is in a circle, and meets no mainline.
            self.note(current, Some(Outcome::Place(None)));
            self.way.push(current);
            current = match older(known, &node) {
                Older::Is(older) => older,
                Older::None => break Outcome::Place(None),
                Older::Lost => break Outcome::Lost,
                Older::NotLoaded => break Outcome::NotLoaded,
            };
        };
        let noted = (!matches!(outcome, Outcome::NotLoaded)).then_some(outcome);
        for step in 0..self.way.len() {
            if let Some(index) = self.way.get(step) {
                self.note(*index, noted);
            }
        }
        outcome
    }

    fn note(&mut self, index: Index, outcome: Option<Outcome>) {
        if index >= self.beside.len() {
            self.beside.resize(index + 1, None);
        }
        if let Some(place) = self.beside.get_mut(index) {
            *place = outcome;
        }
    }
}

impl Mainline {
    /// Puts power levels at the old end; no, if they are there already.
    fn add<E: Event>(&mut self, index: Index, node: &Node<E>) -> bool {
        let stretch = self.length;
        match stretch_of(node) {
            Some(position) => {
                let place = (stretch, position.sequence);
                self.chains.insert(position.chain, place).is_none()
            }
            None => self.single.insert(index, stretch).is_none(),
        }
    }

    /// Where the way that begins with this event meets the mainline, if it does within the same chain.
    fn place<E: Event>(&self, index: Index, node: &Node<E>) -> Option<(Reverse<usize>, u32)> {
        match stretch_of(node) {
            Some(position) => {
                let (stretch, newest) = self.chains.get(&position.chain)?;
                Some((Reverse(*stretch), position.sequence.min(*newest)))
            }
            None => self.single.get(&index).map(|stretch| (Reverse(*stretch), 0)),
        }
    }
}

/// The position of power levels, whose chain is a stretch of a mainline.
fn stretch_of<E: Event>(node: &Node<E>) -> Option<&Position> {
    node.position.as_ref().filter(|_| node.is_power_levels())
}

/// The power levels that an event names, or those before a whole stretch.
fn older<E: Event>(known: &mut Known<E>, node: &Node<E>) -> Older {
    if let Some(position) = stretch_of(node) {
        let base = position.base.as_ref().map(|id| known.index(id));
        return base.map_or(Older::None, Older::Is);
    }
    let mut missing = false;
    for index in &node.auth {
        match known.event(*index) {
            Lookup::Found(node) if node.is_power_levels() && !missing => return Older::Is(*index),
            Lookup::Found(_) => {}
            Lookup::NotLoaded => missing = true,
            Lookup::Absent if missing => {}
            Lookup::Absent => return Older::Lost,
        }
    }
    if missing { Older::NotLoaded } else { Older::None }
}
