//! The conflicted state subgraph: all events on a path of `auth_events` between two conflicted events.
//! Spec: Room Version 12, "Definitions" (MSC4297).

use std::collections::HashMap;

use super::{
    Budget, Event,
    known::{Index, Known, Lookup, Marks, Node},
};
use crate::chain_cover::ChainId;

type FirstInChains = HashMap<ChainId, u32, foldhash::fast::RandomState>;

/// The search for the subgraph.
pub(super) struct Subgraph {
    conflicted: Vec<Index>,
    /// Where in each chain the first conflicted event is; none before all conflicted events are loaded.
    first: Option<FirstInChains>,
    seen: Marks,
    open: Vec<Index>,
    waiting: Vec<Index>,
    /// The events met that name an event as their authorisation: pairs of that event and them.
    users: Vec<(Index, Index)>,
    between: Marks,
}

impl Subgraph {
    pub(super) fn new(conflicted: &[Index]) -> Self {
        Self {
            conflicted: conflicted.to_vec(),
            first: None,
            seen: conflicted.iter().copied().collect(),
            open: conflicted.to_vec(),
            waiting: Vec::new(),
            users: Vec::new(),
            between: Marks::default(),
        }
    }

    /// The subgraph, once [`Subgraph::run`] has ended. Conflicted events are in it.
    pub(super) fn between(&self) -> &Marks {
        &self.between
    }

    /// Searches. Yes, once there is nothing left to search.
    pub(super) fn run<E: Event>(&mut self, known: &mut Known<E>, budget: &mut Budget) -> bool {
        if self.first.is_none() {
            self.first = Some(self.first_in_chains(known));
        }
        self.open.append(&mut self.waiting);
        while let Some(index) = self.open.pop() {
            if !budget.spend(1) {
                self.open.push(index);
                return false;
            }
            match known.event(index) {
                Lookup::Found(node) => self.follow(index, &node),
                Lookup::NotLoaded => self.waiting.push(index),
                Lookup::Absent => {}
            }
        }
        if !self.waiting.is_empty() {
            return false;
        }
        self.go_back();
        true
    }

    fn first_in_chains<E: Event>(&self, known: &Known<E>) -> FirstInChains {
        let mut first = FirstInChains::default();
        let nodes = self.conflicted.iter().filter_map(|index| known.found(*index));
        for position in nodes.filter_map(|node| node.position.as_ref()) {
            let sequence: &mut u32 = first.entry(position.chain).or_insert(position.sequence);
            *sequence = (*sequence).min(position.sequence);
        }
        first
    }

    fn follow<E: Event>(&mut self, index: Index, node: &Node<E>) {
        if !self.may_rest_on_conflicted(node) {
            return;
        }
        for below in &node.auth {
            self.users.push((*below, index));
            if self.seen.insert(*below) {
                self.open.push(*below);
            }
        }
    }

    /// Whether an event rests on a conflicted one or is one, as far as its position tells. Whatever rests on an
    /// event without a position has none either.
    fn may_rest_on_conflicted<E>(&self, node: &Node<E>) -> bool {
        let (Some(position), Some(first)) = (&node.position, &self.first) else {
            return true;
        };
        let mut cover = position.cover.iter();
        cover.any(|(chain, reached)| first.get(chain).is_some_and(|sequence| reached >= sequence))
    }

    /// From the conflicted events back to those that rest on them: they are reached from both ends.
    fn go_back(&mut self) {
        self.users.sort_unstable();
        let mut open = std::mem::take(&mut self.conflicted);
        open.retain(|index| self.between.insert(*index));
        while let Some(index) = open.pop() {
            let first = self.users.partition_point(|(below, _)| *below < index);
            let users = self.users.iter().skip(first);
            for (_, user) in users.take_while(|(below, _)| *below == index) {
                if self.between.insert(*user) {
                    open.push(*user);
                }
            }
        }
    }
}
