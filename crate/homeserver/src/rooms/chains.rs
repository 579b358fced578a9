//! The index over auth chains: which place in its room's chain cover each state event has.
//!
//! What places mean is `hearth_rooms::chain_cover`'s to know. Every state event gets its place when it is
//! stored, however it came, and keeps it. The place is part of the event's decision; of a chain with more than
//! one event the row `c\0` + name in `Table::Events` says how long it is.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use hearth_rooms::{
    chain_cover::{Authority, ChainId, Position, place},
    ordered,
};
use hearth_storage::Table;
use ruma_common::{EventId, OwnedEventId};

use crate::{
    Error,
    rooms::{change::Change, event::StoredEvent},
};

/// After how many events others run.
const SLICE: usize = 1_000;

impl StoredEvent {
    /// The place in the chain cover, if there is one.
    pub(crate) fn position(&self) -> Option<Position> {
        Position::decode(&BASE64.decode(self.decision.position.as_ref()?).ok()?)
    }
}

/// Places as they are known while a change is committed.
#[derive(Default)]
struct Places {
    /// The events that may authorise those of the change.
    events: HashMap<OwnedEventId, Arc<StoredEvent>>,
    positions: HashMap<OwnedEventId, Position>,
    /// How long chains are. Those that are not here have one event.
    lengths: BTreeMap<ChainId, u32>,
    /// The chains that have grown.
    grown: BTreeSet<ChainId>,
}

impl Change<'_> {
    /// Gives the state events of this change their places.
    pub(super) async fn place_events(&mut self) -> Result<(), Error> {
        let own: Vec<OwnedEventId> = self.unplaced();
        if own.is_empty() {
            return Ok(());
        }
        let mut places = Places::default();
        let perhaps_stored: Vec<_> = own.iter().filter(|id| !self.is_unstored(id)).cloned().collect();
        for earlier in self.homeserver.stored_events(&perhaps_stored).await? {
            places.learn(earlier);
        }
        let (events, authorities) = self.events_and_authorities(&own);
        for authority in self.homeserver.stored_events(&authorities).await? {
            places.learn(authority);
        }
        for event in &events {
            places.events.insert(event.event_id.clone(), event.clone());
        }
        self.read_lengths(&mut places, &events).await?;
        for (number, event) in in_order(events).iter().enumerate() {
            if number % SLICE == SLICE - 1 {
                self.homeserver.seams.clock.sleep(Duration::ZERO).await;
            }
            if let Some(position) = places.place(event) {
                self.set_position(&event.event_id, BASE64.encode(position.encode()));
            }
        }
        for chain in &places.grown {
            let length = places.lengths.get(chain).copied().unwrap_or(1);
            self.batch
                .put(Table::Events, chain_key(*chain), length.to_be_bytes());
        }
        Ok(())
    }

    fn events_and_authorities(&self, own: &[OwnedEventId]) -> (Vec<Arc<StoredEvent>>, Vec<OwnedEventId>) {
        let events: Vec<_> = own.iter().filter_map(|id| self.own_event(id).cloned()).collect();
        let own: BTreeSet<&OwnedEventId> = ordered::set(own.iter());
        let named = events.iter().flat_map(|event| event.pdu.auth_events());
        let others: BTreeSet<_> = ordered::set(named.filter(|id| !own.contains(id)).cloned());
        (events, others.into_iter().collect())
    }

    /// Reads how long the chains are that the events may continue.
    async fn read_lengths(&self, places: &mut Places, events: &[Arc<StoredEvent>]) -> Result<(), Error> {
        let named = events.iter().flat_map(|event| event.pdu.auth_events());
        let chains: BTreeSet<ChainId> =
            ordered::set(named.filter_map(|id| Some(places.positions.get(id)?.chain)));
        let keys: Vec<_> = chains.iter().map(|chain| chain_key(*chain)).collect();
        let rows = self.homeserver.seams.store.get_many(Table::Events, &keys).await?;
        for (chain, row) in chains.into_iter().zip(rows) {
            let Some(row) = row else { continue };
            let length =
                <[u8; 4]>::try_from(&*row).map_err(|_| Error::Damaged("length of a chain".into()))?;
            places.lengths.insert(chain, u32::from_be_bytes(length));
        }
        Ok(())
    }
}

impl Places {
    /// Takes over what is known of a stored event.
    fn learn(&mut self, event: Arc<StoredEvent>) {
        if let Some(position) = event.position() {
            self.positions.insert(event.event_id.clone(), position);
        }
        self.events.insert(event.event_id.clone(), event);
    }

    /// The place of an event, whose authorities were placed before it if they can be.
    fn place(&mut self, event: &StoredEvent) -> Option<Position> {
        if let Some(earlier) = self.positions.get(&event.event_id) {
            return Some(earlier.clone());
        }
        let authorities = event.pdu.auth_events().iter();
        let authorities: Vec<_> = authorities.map(|id| self.authority(id)).collect::<Option<_>>()?;
        let position = place(&event.pdu, &authorities)?;
        if position.sequence > 1 {
            self.lengths.insert(position.chain, position.sequence);
            self.grown.insert(position.chain);
        }
        self.positions.insert(event.event_id.clone(), position.clone());
        Some(position)
    }

    fn authority(&self, event_id: &EventId) -> Option<Authority<'_>> {
        let position = self.positions.get(event_id)?;
        let length = self.lengths.get(&position.chain).copied().unwrap_or(1);
        Some(Authority {
            pdu: &self.events.get(event_id)?.pdu,
            position,
            continued: length > position.sequence,
        })
    }
}

/// `events` so that each comes after those that it names as its authorisation. Those on a cycle come in some
/// order: they get no place.
fn in_order(events: Vec<Arc<StoredEvent>>) -> Vec<Arc<StoredEvent>> {
    let by_id: HashMap<OwnedEventId, Arc<StoredEvent>> = events
        .iter()
        .map(|event| (event.event_id.clone(), event.clone()))
        .collect();
    let mut met = BTreeSet::new();
    let mut ordered = Vec::with_capacity(events.len());
    for event in events {
        let mut open = vec![(event, false)];
        while let Some((event, done)) = open.pop() {
            if done {
                ordered.push(event);
            } else if met.insert(event.event_id.clone()) {
                let authorities = event
                    .pdu
                    .auth_events()
                    .iter()
                    .filter_map(|id| by_id.get(id).cloned());
                let authorities: Vec<_> = authorities.map(|event| (event, false)).collect();
                open.push((event, true));
                open.extend(authorities);
            }
        }
    }
    ordered
}

fn chain_key(chain: ChainId) -> Vec<u8> {
    [b"c\0", chain.as_bytes().as_slice()].concat()
}
