//! The threads of a room. Spec: Client-Server API, section 'Querying threads in a room'.

use std::{ops::Bound, sync::Arc};

use hearth_rooms::client_event::ClientEvent;
use hearth_storage::{Direction, KeyRange, Table};
use ruma_common::{EventId, OwnedEventId, RoomId};
use serde::Serialize;

use super::index::{order_of, thread_key};
use crate::{
    Error, Homeserver,
    rooms::{client_event::Viewer, event::StoredEvent},
    sync::PageToken,
};

/// The number of threads in a page if the request does not say.
const DEFAULT_LIMIT: usize = 20;
/// The greatest number of threads in a page, whatever the request says.
const MAX_LIMIT: usize = 100;
/// How many times threads are read for one page where they do not pass.
const MAX_READS: usize = 10;
/// The fewest threads to read at once.
const PAGE: usize = 20;

/// Which threads are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Include {
    /// All.
    #[default]
    All,
    /// Those that the user has begun or written in.
    Participated,
}

/// Which page of a room's threads is asked for.
#[derive(Clone, Debug, Default)]
pub struct ThreadsRequest {
    /// Which threads.
    pub include: Include,
    /// Where the page begins: by default with the thread whose latest event is the newest.
    pub from: Option<PageToken>,
    /// The greatest number of threads.
    pub limit: Option<usize>,
}

/// A page of a room's threads, as the spec has it.
#[derive(Clone, Debug, Serialize)]
pub struct Threads {
    /// The roots, those of the threads with the newest events first.
    pub chunk: Vec<ClientEvent>,
    /// Where to go on; `None` at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_batch: Option<String>,
}

/// The root of a thread, and the place of its latest event.
type Placed = (i64, OwnedEventId);

impl Homeserver {
    /// A page of the room's threads, as far as `viewer` may see their roots.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if they may see nothing of the room.
    pub async fn threads(
        &self,
        viewer: Viewer<'_>,
        room_id: &RoomId,
        request: ThreadsRequest,
    ) -> Result<Threads, Error> {
        self.check_reader(viewer.user_id, room_id).await?;
        let limit = request.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
        let mut before = request.from.map_or(i64::MAX, |from| from.0);
        let (mut roots, mut ended) = (Vec::new(), false);
        'page: for _ in 0..MAX_READS {
            let page = self.threads_before(room_id, before, PAGE).await?;
            ended = page.len() < PAGE;
            let shown = self.shown_roots(viewer, room_id, &request, &page).await?;
            for (order, root_id) in page {
                let root = shown.iter().find(|root| root.event_id == root_id);
                if root.is_some() && roots.len() == limit {
                    ended = false;
                    break 'page;
                }
                roots.extend(root.cloned());
                before = order;
            }
            if ended {
                break;
            }
        }
        Ok(Threads {
            chunk: self.bundled_events(&roots, viewer).await?,
            next_batch: (!ended).then(|| PageToken(before).to_string()),
        })
    }

    async fn threads_before(
        &self,
        room_id: &RoomId,
        before: i64,
        limit: usize,
    ) -> Result<Vec<Placed>, Error> {
        let key = |order| thread_key(room_id.as_str(), order);
        let range = KeyRange {
            start: Bound::Included(key(i64::MIN)),
            end: Bound::Excluded(key(before)),
        };
        let scan = self
            .seams
            .store
            .scan(Table::Relations, range, Direction::Backward, limit);
        let placed = |(key, root): &(Vec<u8>, Vec<u8>)| {
            let root = str::from_utf8(root)
                .ok()
                .and_then(|root| EventId::parse(root).ok());
            let placed = order_of(key).zip(root);
            placed.ok_or_else(|| Error::Damaged("thread".into()))
        };
        scan.await?.iter().map(placed).collect()
    }

    async fn shown_roots(
        &self,
        viewer: Viewer<'_>,
        room_id: &RoomId,
        request: &ThreadsRequest,
        page: &[Placed],
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let ids: Vec<_> = page.iter().map(|(_, root)| root.clone()).collect();
        let mut roots = self.stored_events(&ids).await?;
        roots.retain(|root| root.room_id() == room_id);
        let roots = self.visible_events(viewer.user_id, roots).await?;
        if request.include == Include::All {
            return Ok(roots);
        }
        let mut own = Vec::new();
        for root in roots {
            if self.took_part(viewer.user_id, &root).await? {
                own.push(root);
            }
        }
        Ok(own)
    }
}
