//! Auth chains: the events that others rest on.

use std::collections::HashSet;

use hearth_rooms::auth_check::needed_events;
use ruma_common::OwnedEventId;

use crate::{Error, Homeserver};

/// The most events of a chain that are followed.
const MAX_CHAIN: usize = 100_000;
/// How many events are read before others get their turn.
const SLICE: usize = 100;

impl Homeserver {
    /// Every event that one of `event_ids` rests on, without those themselves unless one rests on another.
    pub(crate) async fn auth_chain(&self, event_ids: &[OwnedEventId]) -> Result<Vec<OwnedEventId>, Error> {
        let mut seen = HashSet::new();
        let mut chain = Vec::new();
        let mut open = event_ids.to_vec();
        while !open.is_empty() && chain.len() < MAX_CHAIN {
            let mut next = Vec::new();
            for slice in open.chunks(SLICE) {
                let events = self.stored_events(slice).await?;
                let references = events.iter().flat_map(|event| needed_events(&event.pdu));
                next.extend(references.filter(|event_id| seen.insert(event_id.clone())));
                self.give_way().await;
            }
            chain.extend(next.iter().cloned());
            open = next;
        }
        Ok(chain)
    }
}
