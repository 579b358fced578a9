//! The part of a room's timeline that an answer of `/sync` holds: without a gap from its first event to its last. Where
//! something was missed, `limited` tells the client to page back for it.

use hearth_rooms::ordered;
use std::{collections::BTreeSet, sync::Arc};

use ruma_common::{EventId, OwnedEventId, RoomId, UserId};

use super::{
    Context, PageToken,
    filter::EventFormat,
    response::{self, RoomEvent},
};
use crate::{
    Error, Homeserver,
    rooms::{
        event::StoredEvent,
        view::{CANONICAL_ALIAS, NAME},
    },
    stored::from_slice,
};

/// Up to how many new events are read by their ids, which needs no scan of the timeline.
const FEW: usize = 200;
/// How many events are read at once where many may not pass the filter.
const PAGE: usize = 100;
/// How many pages are read in search of events that pass the filter.
const MAX_PAGES: usize = 10;

/// The places of a room's timeline that are told of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// The last place that is not told of any more.
    pub(super) after: i64,
    /// The last place that is told of.
    pub(super) upto: i64,
    /// From where on the user has been joined without a break.
    pub(super) joined_at: Option<i64>,
}

impl Span {
    /// Whether whoever may see what is said while they are in the room may see `event`. A message may come late from a branch of
    /// the room, where nobody knew of them yet: then it was not said in the state that the room has.
    fn is_plain(self, event: &StoredEvent) -> bool {
        let is_of_branch = event.decision.state_now.is_some() && event.state_key().is_none();
        self.joined_at.is_some() && event.decision.order >= self.joined_at && !is_of_branch
    }

    /// Whether the places just before `event` are a gap: what is told begins with it at the earliest.
    fn begins_anew_at(self, event: &StoredEvent) -> bool {
        let told = |order| order > self.after && order <= self.upto;
        event.decision.after_gap && event.decision.order.is_some_and(told)
    }
}

/// What is told of a timeline.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// The events, oldest first.
    pub(super) events: Vec<Arc<StoredEvent>>,
    /// Whether there are older events in the span.
    pub(super) limited: bool,
    /// Whether events of the span were left out, by the limit or by the filter.
    pub(super) is_partial: bool,
}

impl Window {
    /// The ids of the events.
    pub(super) fn ids(&self) -> BTreeSet<&EventId> {
        ordered::set(self.events.iter().map(|event| &*event.event_id))
    }

    /// Whether the membership of anybody changes in it.
    pub(super) fn has_members(&self) -> bool {
        self.events
            .iter()
            .any(|event| event.kind() == "m.room.member" && event.state_key().is_some())
    }

    /// Whether what names the room changes in it.
    pub(super) fn has_names(&self) -> bool {
        let names =
            |event: &&Arc<StoredEvent>| [NAME, CANONICAL_ALIAS].map(|key| key.0).contains(&event.kind());
        self.events.iter().any(|event| names(&event))
    }

    /// Where the events before these are found, if there are none in the window after `upto`.
    fn prev_batch(&self, upto: i64) -> PageToken {
        let first = self.events.first().and_then(|event| event.decision.order);
        PageToken(first.unwrap_or_else(|| upto.saturating_add(1)))
    }
}

impl Homeserver {
    /// The newest events of `span` that the filter lets through. `recent` are all of the span's events, if it
    /// is known which they are.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(super) async fn window(
        &self,
        context: &Context<'_>,
        room_id: &RoomId,
        span: Span,
        recent: Option<&[OwnedEventId]>,
    ) -> Result<Window, Error> {
        if !context.request.filter.room.timeline.allows_room(room_id) {
            return Ok(Window {
                is_partial: true,
                ..Window::default()
            });
        }
        match recent {
            Some(recent) if recent.len() <= FEW => self.window_of(context, span, recent).await,
            _ => self.window_by_pages(context, room_id, span).await,
        }
    }

    async fn window_of(
        &self,
        context: &Context<'_>,
        span: Span,
        recent: &[OwnedEventId],
    ) -> Result<Window, Error> {
        let mut events = self.stored_events(recent).await?;
        let all = events.len();
        let gap = events.iter().rposition(|event| span.begins_anew_at(event));
        events.drain(..gap.unwrap_or_default());
        let mut events = self.told(context, span, events).await?;
        let limit = context.request.filter.room.timeline.timeline_limit();
        let surplus = events.len().saturating_sub(limit);
        events.drain(..surplus);
        Ok(Window {
            is_partial: gap.is_some() || events.len() < all,
            limited: gap.is_some() || surplus > 0,
            events,
        })
    }

    async fn window_by_pages(
        &self,
        context: &Context<'_>,
        room_id: &RoomId,
        span: Span,
    ) -> Result<Window, Error> {
        let limit = context.request.filter.room.timeline.timeline_limit();
        let (mut events, mut before) = (Vec::new(), span.upto.saturating_add(1));
        let mut window = Window {
            limited: true,
            is_partial: true,
            events: Vec::new(),
        };
        for read in 0..MAX_PAGES {
            let missing = (limit + 1).saturating_sub(events.len());
            // Only the first page may be what is missing: later ones follow pages of which little passed.
            let wanted = if read == 0 { missing.clamp(1, PAGE) } else { PAGE };
            let mut page = self.timeline_before(room_id, before, wanted).await?;
            let is_short = page.len() < wanted;
            page.retain(|(order, _)| *order > span.after);
            let gap = page.iter().position(|(_, event)| span.begins_anew_at(event));
            page.truncate(gap.map_or(wanted, |gap| gap + 1));
            let oldest = page
                .last()
                .map(|(order, event)| (*order, event.kind() == "m.room.create"));
            page.reverse();
            let page = page.into_iter().map(|(_, event)| event).collect();
            let mut told = self.told(context, span, page).await?;
            told.append(&mut events);
            events = told;
            let at_create = oldest.is_some_and(|(_, is_create)| is_create);
            let ended = oldest.is_none() || is_short || at_create || gap.is_some();
            if events.len() > limit || ended {
                // Before what is held of a room there is more, unless it begins with its creation.
                let complete = (span.after > 0 && gap.is_none()) || at_create;
                window.limited = events.len() > limit || !complete;
                break;
            }
            before = oldest.map_or(before, |(order, _)| order);
        }
        events.drain(..events.len().saturating_sub(limit));
        Ok(Window { events, ..window })
    }

    /// Those of `events` that are in the span, shown to the user, and let through by the filter.
    async fn told(
        &self,
        context: &Context<'_>,
        span: Span,
        mut events: Vec<Arc<StoredEvent>>,
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let filter = &context.request.filter.room.timeline;
        events.retain(|event| {
            let in_span = event
                .decision
                .order
                .is_some_and(|order| order > span.after && order <= span.upto);
            in_span
                && event.is_shown()
                && !context.refusals.hides(event)
                && filter.allows(event.kind(), event.sender().as_str(), event.content())
        });
        let user_id = context.viewer.user_id;
        let events = self.visible_or_present(user_id, span, events).await?;
        self.related(user_id, events, filter).await
    }

    /// Those of `events` that the user may see and, for who is joined, those of the present state. A client that is told of
    /// an older event, and not of the one that replaced it, takes the older for the state.
    async fn visible_or_present(
        &self,
        user_id: &UserId,
        span: Span,
        mut events: Vec<Arc<StoredEvent>>,
    ) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let Some(room_id) = events.first().map(|event| event.room_id().to_owned()) else {
            return Ok(events);
        };
        if events.iter().all(|event| span.is_plain(event)) && self.is_shared(&room_id).await? {
            return Ok(events);
        }
        let mut told = self.visible_events(user_id, events.clone()).await?;
        if told.len() == events.len() || span.joined_at.is_none() {
            return Ok(told);
        }
        if let Some(room) = self.room(&room_id).await? {
            let keys = events
                .iter()
                .filter_map(|event| Some((event.kind(), event.state_key()?)));
            let keys: Vec<_> = keys.collect();
            told.extend(self.view(&room.snapshot(), &keys).await?.iter().cloned());
        }
        let told: BTreeSet<_> = ordered::set(told.iter().map(|event| event.event_id.clone()));
        events.retain(|event| told.contains(&event.event_id));
        Ok(events)
    }

    /// `window` as the client gets it.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(super) async fn timeline(
        &self,
        context: &Context<'_>,
        window: &Window,
        span: Span,
    ) -> Result<response::Timeline, Error> {
        Ok(response::Timeline {
            events: self.rendered_timeline(context, &window.events).await?,
            limited: window.limited,
            prev_batch: Some(window.prev_batch(span.upto).to_string()),
        })
    }

    /// Events of a timeline as the client wants them: with what relates to them.
    async fn rendered_timeline(
        &self,
        context: &Context<'_>,
        events: &[Arc<StoredEvent>],
    ) -> Result<Vec<RoomEvent>, Error> {
        let filter = &context.request.filter;
        if filter.event_format == EventFormat::Federation {
            return self.rendered(context, events).await;
        }
        let events = self.bundled_events(events, context.viewer).await?;
        Ok(RoomEvent::cut_all(events, filter))
    }

    /// Room events as the client wants them.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(super) async fn rendered(
        &self,
        context: &Context<'_>,
        events: &[Arc<StoredEvent>],
    ) -> Result<Vec<RoomEvent>, Error> {
        let filter = &context.request.filter;
        if filter.event_format == EventFormat::Federation {
            let parsed = |event: &Arc<StoredEvent>| {
                let erased = self.erased_for(event, context.viewer);
                from_slice(erased.as_ref().unwrap_or(&event.pdu).json().as_bytes())
            };
            let events = events.iter().map(parsed);
            return events
                .map(|event| Ok(RoomEvent::Object(filter.cut(event?))))
                .collect();
        }
        let events = self.client_events(events, context.viewer).await?;
        Ok(RoomEvent::cut_all(events, filter))
    }
}
