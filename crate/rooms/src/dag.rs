//! Putting a batch of events into an order in which they can be checked.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use ruma_common::{EventId, OwnedEventId};

use crate::{Pdu, auth_check::needed_events};

/// `events` ordered so that each comes after those of the batch that it refers to in `auth_events` and
/// `prev_events`; otherwise by depth, time and id. Doubles are dropped.
///
/// Events that lie on a cycle of references, which hashes make impossible but a damaged store may not, are
/// dropped too.
pub fn topological_order(events: impl IntoIterator<Item = Pdu>) -> Vec<Pdu> {
    let events: HashMap<OwnedEventId, Pdu> = events
        .into_iter()
        .map(|event| (event.event_id().to_owned(), event))
        .collect();
    let mut waiting: HashMap<&EventId, usize> = HashMap::with_capacity(events.len());
    let mut followers: HashMap<&EventId, Vec<&Pdu>> = HashMap::new();
    for event in events.values() {
        let mut within = 0;
        for reference in references(event).filter(|id| events.contains_key(*id)) {
            followers.entry(reference).or_default().push(event);
            within += 1;
        }
        waiting.insert(event.event_id(), within);
    }
    let mut ready: BinaryHeap<_> = events
        .values()
        .filter(|event| waiting.get(event.event_id()) == Some(&0))
        .map(rank)
        .collect();
    let mut ordered = Vec::with_capacity(events.len());
    while let Some(Reverse((_, _, id))) = ready.pop() {
        for follower in followers.remove(id).unwrap_or_default() {
            let Some(count) = waiting.get_mut(follower.event_id()) else {
                continue;
            };
            *count -= 1;
            if *count == 0 {
                ready.push(rank(follower));
            }
        }
        ordered.extend(events.get(id).cloned());
    }
    ordered
}

/// Those of `events` that lead to `ids`: these themselves, what came before them, and so on, as far as `events`
/// reach. What another server gives beyond what it was asked for is so left out.
pub fn ancestors(ids: &[OwnedEventId], events: Vec<Pdu>) -> Vec<Pdu> {
    reached(ids, events, |event| event.prev_events().to_vec())
}

/// Those of `events` that `pdu` rests on, as far as `events` reach.
pub fn auth_chain(pdu: &Pdu, events: Vec<Pdu>) -> Vec<Pdu> {
    reached(&needed_events(pdu), events, needed_events)
}

/// Those of `events` that come one after another from `ids`, where `next` says what comes from each.
fn reached(ids: &[OwnedEventId], events: Vec<Pdu>, next: impl Fn(&Pdu) -> Vec<OwnedEventId>) -> Vec<Pdu> {
    let mut events: HashMap<OwnedEventId, Pdu> = events
        .into_iter()
        .map(|event| (event.event_id().to_owned(), event))
        .collect();
    let mut open = ids.to_vec();
    let mut found = Vec::new();
    while let Some(event) = open.pop().map(|id| events.remove(&id)) {
        let Some(event) = event else { continue };
        open.extend(next(&event));
        found.push(event);
    }
    found
}

fn references(event: &Pdu) -> impl Iterator<Item = &EventId> {
    event
        .auth_events()
        .iter()
        .chain(event.prev_events())
        .map(|id| &**id)
}

fn rank(event: &Pdu) -> Reverse<(u64, u64, &EventId)> {
    Reverse((event.depth(), event.origin_server_ts(), event.event_id()))
}
