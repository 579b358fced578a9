//! Which rooms something was said in last: their bump stamps, by which lists are ordered.
//!
//! A bump stamp is the log position of the newest event of a type that makes people look. What is known is kept
//! in memory, and brought up to date from the log.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures::future::try_join_all;
use ruma_common::{OwnedRoomId, RoomId};

use crate::{Error, Homeserver, LogEntry, rooms::memberships::UserMembership};

/// Event types that make people look (MSC4186).
const BUMPS: [&str; 8] = [
    "m.room.create",
    "m.room.message",
    "m.room.encrypted",
    "m.sticker",
    "m.call.invite",
    "m.poll.start",
    "org.matrix.msc3381.poll.start",
    "m.beacon_info",
];
/// How many of the newest events of a room are looked at first.
const FIRST_PAGE: usize = 30;
/// How many are looked at together where those are not enough.
const PAGE: usize = 100;
/// How many pages are looked at.
const MAX_PAGES: usize = 20;
/// How many log entries are followed; beyond that everything is forgotten.
const MAX_BEHIND: u64 = 4_000;
/// The most rooms that are kept.
const MAX_ROOMS: usize = 20_000;
/// How many rooms are looked at side by side.
const AT_ONCE: usize = 64;

/// The bump stamps that are known.
#[derive(Default)]
pub(super) struct Recency {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The log position up to which it is up to date.
    upto: u64,
    /// 0 for a room in which nothing was found.
    stamps: HashMap<OwnedRoomId, u64>,
}

impl Recency {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn raise(&mut self, room_id: &RoomId, stamp: u64) {
        if self.stamps.len() >= MAX_ROOMS {
            self.stamps.clear();
        }
        let known = self.stamps.entry(room_id.to_owned()).or_default();
        *known = stamp.max(*known);
    }
}

impl Homeserver {
    /// The bump stamps of the user's rooms as of the log position `to` or later.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(super) async fn bump_stamps(
        &self,
        rooms: &[(&OwnedRoomId, &UserMembership)],
        to: u64,
    ) -> Result<HashMap<OwnedRoomId, u64>, Error> {
        self.follow_log(to).await?;
        let mut stamps = HashMap::new();
        let mut unknown = Vec::new();
        {
            let known = self.sliding.recency.known();
            for (room_id, membership) in rooms {
                match known.stamps.get(*room_id) {
                    _ if membership.membership != "join" => {
                        stamps.insert((*room_id).clone(), membership.position);
                    }
                    Some(found) => {
                        stamps.insert((*room_id).clone(), stamp(membership, *found));
                    }
                    None => unknown.push((*room_id, *membership)),
                }
            }
        }
        for some in unknown.chunks(AT_ONCE) {
            let looked = some.iter().map(|(room_id, _)| self.newest_bump(room_id, to));
            for ((room_id, membership), found) in some.iter().zip(try_join_all(looked).await?) {
                self.sliding.recency.known().raise(room_id, found);
                stamps.insert((*room_id).clone(), stamp(membership, found));
            }
        }
        Ok(stamps)
    }

    /// The place of the newest event that makes people look; 0 if there is none among those that are looked at.
    async fn newest_bump(&self, room_id: &RoomId, to: u64) -> Result<u64, Error> {
        let mut before = i64::try_from(to).unwrap_or(i64::MAX).saturating_add(1);
        for read in 0..MAX_PAGES {
            let wanted = if read == 0 { FIRST_PAGE } else { PAGE };
            let page = self.timeline_before(room_id, before, wanted).await?;
            let bump = page
                .iter()
                .find(|(_, event)| event.is_shown() && is_bump(event.kind()));
            if let Some((order, _)) = bump {
                return Ok(u64::try_from(*order).unwrap_or_default());
            }
            // What came as history has places below 0, and is no stamp.
            match page.last() {
                Some((oldest, _)) if page.len() == wanted && *oldest > 0 => before = *oldest,
                _ => break,
            }
        }
        Ok(0)
    }

    /// Brings what is known up to date.
    async fn follow_log(&self, to: u64) -> Result<(), Error> {
        let from = {
            let mut known = self.sliding.recency.known();
            if to.saturating_sub(known.upto) > MAX_BEHIND {
                known.stamps.clear();
                known.upto = to;
            }
            known.upto
        };
        let limit = usize::try_from(MAX_BEHIND).unwrap_or(usize::MAX);
        let entries = self.log.since(from, to, limit).await?;
        let events = entries.into_iter().filter_map(|(_, entry)| match entry {
            LogEntry::Event { event_id, .. } => Some(event_id),
            _ => None,
        });
        let events = self.stored_events(&events.collect::<Vec<_>>()).await?;
        let mut known = self.sliding.recency.known();
        for event in events
            .iter()
            .filter(|event| event.is_shown() && is_bump(event.kind()))
        {
            let order = event.decision.order.and_then(|order| u64::try_from(order).ok());
            // A room of which nothing is known is looked at when somebody asks.
            if let Some(order) = order.filter(|_| known.stamps.contains_key(event.room_id())) {
                known.raise(event.room_id(), order);
            }
        }
        known.upto = known.upto.max(to);
        Ok(())
    }
}

/// The bump stamp of a joined room: where nothing was `found`, when the user came in.
fn stamp(membership: &UserMembership, found: u64) -> u64 {
    match found {
        0 => membership.joined_at.unwrap_or(membership.position),
        _ => found,
    }
}

fn is_bump(kind: &str) -> bool {
    BUMPS.contains(&kind)
}

#[cfg(test)]
mod tests {
    use ruma_common::event_id;

    use super::*;

    #[test]
    fn where_nothing_was_said_a_new_name_moves_no_room() {
        let mut membership = UserMembership {
            membership: "join".into(),
            event_id: event_id!("$renamed").to_owned(),
            position: 9,
            joined_at: Some(5),
            left: None,
            through: None,
            has_own_event: false,
        };
        assert_eq!([stamp(&membership, 0), stamp(&membership, 3)], [5, 3]);
        membership.joined_at = None;
        assert_eq!(stamp(&membership, 0), 9);
    }
}
