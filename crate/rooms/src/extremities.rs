//! Forward extremities: the events that nothing follows yet, which the next event will name as its past.

use std::collections::BTreeSet;

use ruma_common::OwnedEventId;

use crate::Pdu;

/// The forward extremities once `pdu` was accepted into the room's timeline.
///
/// `is_followed` tells that an accepted event already names `pdu` as its past (it arrived late), so that it is
/// no extremity itself. Rejected and soft-failed events must not be given: they extend nothing.
#[must_use]
pub fn advance(current: &BTreeSet<OwnedEventId>, pdu: &Pdu, is_followed: bool) -> BTreeSet<OwnedEventId> {
    let mut next: BTreeSet<_> = current
        .iter()
        .filter(|id| !pdu.prev_events().contains(id))
        .cloned()
        .collect();
    if !is_followed {
        next.insert(pdu.event_id().to_owned());
    }
    next
}
