//! Auth chains: the events that others rest on.

use std::{collections::BTreeSet, sync::Arc};

use hearth_rooms::auth_check::needed_events;
use ruma_common::OwnedEventId;

use crate::{Error, Homeserver, rooms::event::StoredEvent};

/// The most events of a chain that are followed.
const MAX_CHAIN: usize = 100_000;

impl Homeserver {
    /// Every event that one of `events` rests on, without `events` themselves unless one rests on another.
    pub(crate) async fn auth_chain(
        &self,
        events: &[Arc<StoredEvent>],
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let mut seen = BTreeSet::new();
        let mut chain = Vec::new();
        let mut open = new_references(events, &mut seen);
        while !open.is_empty() && chain.len() < MAX_CHAIN {
            let loaded = self.stored_events(&open).await?;
            open = new_references(&loaded, &mut seen);
            chain.extend(loaded);
        }
        Ok(chain)
    }
}

fn new_references(events: &[Arc<StoredEvent>], seen: &mut BTreeSet<OwnedEventId>) -> Vec<OwnedEventId> {
    let references = events.iter().flat_map(|event| needed_events(&event.pdu));
    references
        .filter(|event_id| seen.insert(event_id.clone()))
        .collect()
}
