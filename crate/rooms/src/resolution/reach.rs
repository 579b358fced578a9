//! What several sets of events rest on: by chain where events have a position, else event by event.

use std::collections::HashMap;

use super::{
    Budget, Event,
    known::{Index, Known, Lookup, Node},
};
use crate::chain_cover::{ChainId, Position};

/// Some of the sets, a bit for each.
pub(super) type Sets = u128;

/// The auth chains of several sets of events, the events themselves included.
pub(super) struct Reach {
    /// How many sets there are; at most 128.
    sets: usize,
    /// Where in `reached` a chain begins.
    chains: HashMap<ChainId, usize, foldhash::fast::RandomState>,
    /// How far each set reaches into a chain, chain by chain.
    reached: Vec<u32>,
    /// The sets that reach an event, as far as it was walked.
    walked: Vec<Sets>,
    open: Vec<(Index, Sets)>,
    /// Those whose event is not loaded.
    waiting: Vec<(Index, Sets)>,
}

impl Reach {
    /// Of `sets` sets without events.
    pub(super) fn new(sets: usize) -> Self {
        Self {
            sets,
            chains: HashMap::default(),
            reached: Vec::new(),
            walked: Vec::new(),
            open: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// Adds an event to `sets`.
    pub(super) fn add(&mut self, index: Index, sets: Sets) {
        if index >= self.walked.len() {
            self.walked.resize(index + 1, 0);
        }
        let Some(walked) = self.walked.get_mut(index) else {
            return;
        };
        let new = sets & !*walked;
        if new != 0 {
            *walked |= new;
            self.open.push((index, new));
        }
    }

    /// Follows what was added. Yes, once nothing is left to follow.
    pub(super) fn settle<E: Event>(&mut self, known: &mut Known<E>, budget: &mut Budget) -> bool {
        self.open.append(&mut self.waiting);
        while let Some((index, sets)) = self.open.pop() {
            if !budget.spend(1) {
                self.open.push((index, sets));
                return false;
            }
            match known.event(index) {
                Lookup::Found(node) => self.follow(&node, sets),
                Lookup::NotLoaded => self.waiting.push((index, sets)),
                Lookup::Absent => {}
            }
        }
        self.waiting.is_empty()
    }

    /// Whether nothing is left to follow.
    pub(super) fn is_settled(&self) -> bool {
        self.open.is_empty() && self.waiting.is_empty()
    }

    fn follow<E: Event>(&mut self, node: &Node<E>, sets: Sets) {
        match &node.position {
            Some(position) => self.merge(position, sets),
            None => node.auth.iter().for_each(|index| self.add(*index, sets)),
        }
    }

    fn merge(&mut self, position: &Position, sets: Sets) {
        for (chain, sequence) in position.cover.iter() {
            let begin = *self.chains.entry(*chain).or_insert_with(|| {
                let begin = self.reached.len();
                self.reached.resize(begin + self.sets, 0);
                begin
            });
            for set in bits(sets) {
                if let Some(reached) = self.reached.get_mut(begin + set) {
                    *reached = (*reached).max(*sequence);
                }
            }
        }
    }

    /// The sets that rest on an event or hold it.
    pub(super) fn of<E>(&self, index: Index, node: &Node<E>) -> Sets {
        let walked = self.walked.get(index).copied().unwrap_or_default();
        let Some(position) = &node.position else {
            return walked;
        };
        let begin = self.chains.get(&position.chain);
        let reached = begin.and_then(|begin| self.reached.get(*begin..begin + self.sets));
        let reached = reached.unwrap_or_default();
        let by_chain = reached
            .iter()
            .enumerate()
            .filter(|(_, reached)| **reached >= position.sequence);
        by_chain.fold(walked, |sets, (set, _)| sets | 1 << set)
    }
}

fn bits(sets: Sets) -> impl Iterator<Item = usize> {
    let mut left = sets;
    std::iter::from_fn(move || {
        let bit = left.trailing_zeros();
        left &= left.wrapping_sub(1);
        (bit < Sets::BITS).then_some(bit as usize)
    })
}
