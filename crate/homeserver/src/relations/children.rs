//! Pages of an event's children. Spec: Client-Server API, section 'Querying relationships'.

use hearth_rooms::client_event::ClientEvent;
use hearth_storage::{Direction, KeyRange, Table};
use ruma_common::{EventId, RoomId};
use serde::Serialize;

use super::{
    descendants::MAX_DEPTH,
    index::{Child, order_of, ordered_key},
};
use crate::{
    Error, Homeserver, messages::PageDirection, rooms::client_event::Viewer, stored::from_slice,
    sync::PageToken,
};

/// The number of events in a page if the request does not say.
const DEFAULT_LIMIT: usize = 5;
/// The greatest number of events in a page, whatever the request says.
const MAX_LIMIT: usize = 500;
/// How many times children are read for one page where they do not pass.
const MAX_READS: usize = 10;
/// The fewest children to read at once.
const PAGE: usize = 50;

/// Which children of an event are asked for.
#[derive(Clone, Debug, Default)]
pub struct RelationsRequest {
    /// The only type of relation.
    pub rel_type: Option<String>,
    /// The only event type.
    pub kind: Option<String>,
    /// Where the page begins: by default at the end that lies opposite to the direction.
    pub from: Option<PageToken>,
    /// Where it ends at the latest.
    pub to: Option<PageToken>,
    /// Its direction.
    pub direction: PageDirection,
    /// The greatest number of events.
    pub limit: Option<usize>,
    /// Whether children of children are asked for too.
    pub recurse: bool,
}

/// A page of an event's children, as the spec has it.
#[derive(Clone, Debug, Serialize)]
pub struct Relations {
    /// The events, in the order of the direction.
    pub chunk: Vec<ClientEvent>,
    /// Where to go on; `None` at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_batch: Option<String>,
    /// Where the page began, if it was not at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_batch: Option<String>,
    /// How far relations were followed, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recursion_depth: Option<u64>,
}

/// A child and its place in the timeline.
pub(super) type Placed = (i64, Child);

/// The places that are left of a page: from the first up to but without the second.
pub(super) type Span = (i64, i64);

impl Homeserver {
    /// A page of the children of `event_id`, as far as `viewer` may see them.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such event or the user may not see it.
    pub async fn relations(
        &self,
        viewer: Viewer<'_>,
        room_id: &RoomId,
        event_id: &EventId,
        request: RelationsRequest,
    ) -> Result<Relations, Error> {
        self.event_for(viewer.user_id, room_id, event_id).await?;
        let limit = request.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
        let rel_type = request.rel_type.as_deref().unwrap_or_default();
        let mut span = request.span();
        let found = match request.recurse {
            true => Some(self.descendants(room_id, event_id, &request, span).await?),
            false => None,
        };
        let (mut events, mut ended) = (Vec::new(), false);
        for _ in 0..MAX_READS {
            let wanted = (limit - events.len()).max(PAGE);
            let (page, read) = match &found {
                Some(found) => {
                    let page = found.page(request.direction, span, wanted);
                    let places: Vec<_> = page.iter().map(|order| (room_id, *order)).collect();
                    let read = self.events_at(&places).await?;
                    (page, read)
                }
                None => {
                    let children = self
                        .children(room_id, event_id, rel_type, request.direction, span, wanted)
                        .await?;
                    let allowed = children.iter().filter(|(_, child)| request.allows(child));
                    let ids: Vec<_> = allowed.map(|(_, child)| child.event_id.clone()).collect();
                    let page = children.into_iter().map(|(order, _)| order).collect();
                    (page, self.stored_events(&ids).await?)
                }
            };
            let is_short = page.len() < wanted;
            let missing = limit - events.len();
            let of_room = read.into_iter().filter(|event| event.room_id() == room_id);
            let shown = self.visible_events(viewer.user_id, of_room.collect()).await?;
            let taken: Vec<_> = shown.into_iter().take(missing + 1).collect();
            if taken.len() > missing {
                events.extend(taken.into_iter().take(missing));
                if let Some(order) = events.last().and_then(|event| event.decision.order) {
                    request.advance(&mut span, order);
                }
                break;
            }
            events.extend(taken);
            if let Some(order) = page.last() {
                request.advance(&mut span, *order);
            }
            ended = is_short && found.as_ref().is_none_or(|found| !found.is_cut);
            if is_short || events.len() == limit {
                break;
            }
        }
        Ok(Relations {
            chunk: self.bundled_events(&events, viewer).await?,
            next_batch: (!ended).then(|| request.next(span).to_string()),
            prev_batch: request.from.map(|from| from.to_string()),
            recursion_depth: request.recurse.then_some(MAX_DEPTH),
        })
    }

    /// The next children in the order of `direction`; of all types of relation if `rel_type` is empty.
    pub(super) async fn children(
        &self,
        room_id: &RoomId,
        parent: &EventId,
        rel_type: &str,
        direction: PageDirection,
        (first, end): Span,
        limit: usize,
    ) -> Result<Vec<Placed>, Error> {
        let key = |order| ordered_key(room_id, parent, rel_type, order);
        let range = KeyRange::between(key(first), key(end));
        let direction = match direction {
            PageDirection::Backward => Direction::Backward,
            PageDirection::Forward => Direction::Forward,
        };
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self
            .seams
            .store
            .scan(Table::Relations, range, direction, limit)
            .await?;
        let placed = |(key, row): &(Vec<u8>, Vec<u8>)| {
            let order = order_of(key).ok_or_else(|| Error::Damaged("relation".into()))?;
            Ok((order, from_slice(row)?))
        };
        rows.iter().map(placed).collect()
    }
}

impl RelationsRequest {
    fn span(&self) -> Span {
        let place = |token: Option<PageToken>| token.map(|PageToken(order)| order);
        let (from, to) = (place(self.from), place(self.to));
        let (first, end) = match self.direction {
            PageDirection::Backward => (to, from),
            PageDirection::Forward => (from, to),
        };
        (first.unwrap_or(i64::MIN), end.unwrap_or(i64::MAX))
    }

    /// Takes what comes up to and with `order` off `span`.
    fn advance(&self, span: &mut Span, order: i64) {
        match self.direction {
            PageDirection::Backward => span.1 = order,
            PageDirection::Forward => span.0 = order.saturating_add(1),
        }
    }

    fn next(&self, span: Span) -> PageToken {
        match self.direction {
            PageDirection::Backward => PageToken(span.1),
            PageDirection::Forward => PageToken(span.0),
        }
    }

    pub(super) fn allows(&self, child: &Child) -> bool {
        let is =
            |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        is(&self.rel_type, &child.rel_type) && is(&self.kind, &child.kind)
    }
}
