//! Which thread an event is in. Spec: Client-Server API, section 'Threaded read receipts'.

use ruma_common::OwnedEventId;

use super::{Relation, THREAD};
use crate::{Error, Homeserver, rooms::event::StoredEvent};

/// How far relations are followed to a thread.
const MAX_HOPS: usize = 3;

impl Homeserver {
    /// The root of the thread that `event` is in: itself, or through what it relates to, such as the message that it
    /// edits or reacts to. `None` in no thread, where roots of threads are too.
    pub(crate) async fn thread_of(&self, event: &StoredEvent) -> Result<Option<OwnedEventId>, Error> {
        let mut relation = Relation::of(event);
        for _ in 0..MAX_HOPS {
            let Some(Relation { parent, rel_type, .. }) = relation else {
                return Ok(None);
            };
            if rel_type == THREAD {
                return Ok(Some(parent));
            }
            let parent = self.stored_event(&parent).await?;
            let parent = parent.filter(|parent| parent.room_id() == event.room_id());
            relation = parent.and_then(|parent| Relation::of(&parent));
        }
        Ok(None)
    }
}
