//! The events found in several rooms, the newest first.
//!
//! A place in a timeline says nothing of when an event was sent in comparison with one of another room: history that is
//! fetched has places before all that there is. So rooms are merged by what their events say of the time, read as they
//! are needed; within a room events stay in the order of its timeline.

use std::collections::VecDeque;

use ruma_common::OwnedRoomId;

use super::matching::Hit;
use crate::{Error, Homeserver};

/// How many events of a room are read at once.
const AHEAD: usize = 8;

/// The events found, by rooms.
pub(super) struct Merging<'a> {
    homeserver: &'a Homeserver,
    rooms: &'a [OwnedRoomId],
    queues: Vec<Queue>,
}

/// Those of one room, the newest first.
#[derive(Default)]
struct Queue {
    /// The next ones, with their times.
    next: VecDeque<(u64, Hit)>,
    rest: VecDeque<Hit>,
}

impl<'a> Merging<'a> {
    /// Merges `hits` in `rooms`.
    pub(super) fn new(homeserver: &'a Homeserver, rooms: &'a [OwnedRoomId], mut hits: Vec<Hit>) -> Self {
        hits.sort_by_key(|hit| (hit.room, std::cmp::Reverse(hit.order)));
        let mut queues = Vec::new();
        for hits in hits.chunk_by(|one, other| one.room == other.room) {
            queues.push(Queue {
                next: VecDeque::new(),
                rest: hits.iter().cloned().collect(),
            });
        }
        Self {
            homeserver,
            rooms,
            queues,
        }
    }

    /// The next `count` events; fewer at the end.
    pub(super) async fn take(&mut self, count: usize) -> Result<Vec<Hit>, Error> {
        let mut taken = Vec::new();
        while taken.len() < count {
            self.read_ahead().await?;
            let time = |queue: &Queue| queue.next.front().map(|(time, _)| *time);
            let newest = self.queues.iter_mut().max_by_key(|queue| time(queue));
            let Some((_, hit)) = newest.and_then(|queue| queue.next.pop_front()) else {
                break;
            };
            taken.push(hit);
        }
        Ok(taken)
    }

    /// Reads the times of the next events of those rooms of which none is known. Of one room alone they do not matter.
    async fn read_ahead(&mut self) -> Result<(), Error> {
        let is_alone = self.queues.len() == 1;
        let mut unread = Vec::new();
        for (number, queue) in self.queues.iter_mut().enumerate() {
            if queue.next.is_empty() {
                let count = queue.rest.len().min(AHEAD);
                unread.extend(queue.rest.drain(..count).map(|hit| (number, hit)));
            }
        }
        let places = unread.iter().filter_map(|(_, hit)| hit.place(self.rooms));
        let places: Vec<_> = places.filter(|_| !is_alone).collect();
        let events = match places.is_empty() {
            true => Vec::new(),
            false => self.homeserver.events_at(&places).await?,
        };
        for (number, hit) in unread {
            let event = hit.among(self.rooms, &events);
            let time = event.map_or(0, |event| event.origin_server_ts());
            if let Some(queue) = self.queues.get_mut(number) {
                queue.next.push_back((time, hit));
            }
        }
        Ok(())
    }
}
