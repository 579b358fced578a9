//! What is told of an event's children with the event itself, in `unsigned.m.relations`.
//!
//! Spec: Client-Server API, sections 'Aggregations of child events', 'Event replacements', 'Threading' and
//! 'Reference relations'. The content of an edited event stays what it was: clients lay the edit over it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use hearth_rooms::client_event::ClientEvent;
use hearth_storage::{BoxFuture, Direction, KeyRange, Table};
use ruma_common::{EventId, OwnedEventId, OwnedRoomId, RoomId, UserId};
use serde_json::{Value, json};

use super::{
    REFERENCE, REPLACE, Relation, THREAD,
    index::{ordered_key, sender_prefix, sent_id, summary_key},
    summary::{Summary, Thread},
};
use crate::{
    Error, Homeserver, JsonObject,
    policy::Refusals,
    relations::index::Child,
    rooms::{client_event::Viewer, event::StoredEvent},
    stored::from_slice,
};

/// How many of the newest edits of an event are looked at for one that counts.
const MAX_EDITS: usize = 5;
/// How many of the newest events of a thread are looked at for one that is shown to the viewer.
const MAX_LATEST: usize = 10;
/// The most references that are told with an event.
const MAX_REFERENCES: usize = 100;
/// How many of the newest events of a thread are looked at for those that are not counted.
const MAX_COUNTED: usize = 1000;

/// Children of an event that may be told with it, and what else is told.
#[derive(Default)]
struct Candidates {
    /// Edits, newest first.
    edits: Vec<OwnedEventId>,
    /// Events of the thread, newest first.
    latest: Vec<OwnedEventId>,
    /// References, oldest first.
    references: Vec<OwnedEventId>,
    /// How many events the thread has, and whether the viewer wrote any of it.
    thread: Option<(u64, bool)>,
}

/// Children that the viewer may see, by their ids.
type Visible = HashMap<OwnedEventId, Arc<StoredEvent>>;

impl Homeserver {
    /// `events` as `viewer` gets them ([`Homeserver::client_events`]), each with what is told of its children and
    /// with the viewer's membership at the time. An event without children costs no read of its own.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn bundled_events(
        &self,
        events: &[Arc<StoredEvent>],
        viewer: Viewer<'_>,
    ) -> Result<Vec<ClientEvent>, Error> {
        let mut shown = self.client_events(events, viewer).await?;
        let bundles = self.bundles(events, viewer, true).await?;
        let memberships = self.memberships_at(events, viewer.user_id).await?;
        for ((event, bundle), membership) in shown.iter_mut().zip(bundles).zip(memberships) {
            add_bundle(event, bundle);
            event.unsigned.get_or_insert_default().membership = membership;
        }
        Ok(shown)
    }

    /// What is told of the children of each of `events`. Threads are left out unless `with_threads`: those of an
    /// event that is told with its own thread.
    fn bundles<'a>(
        &'a self,
        events: &'a [Arc<StoredEvent>],
        viewer: Viewer<'a>,
        with_threads: bool,
    ) -> BoxFuture<'a, Result<Vec<Option<JsonObject>>, Error>> {
        Box::pin(async move {
            let keys = events.iter();
            let keys: Vec<_> = keys
                .map(|event| summary_key(event.room_id(), &event.event_id))
                .collect();
            let mut summaries = self.summaries(&keys).await?;
            if !with_threads {
                summaries.iter_mut().for_each(|summary| summary.thread = None);
            }
            if summaries.iter().all(Summary::is_empty) {
                return Ok(vec![None; events.len()]);
            }
            let refusals = self.refusals(viewer.user_id).await?;
            let mut candidates = Vec::with_capacity(events.len());
            for (event, summary) in events.iter().zip(&summaries) {
                candidates.push(self.candidates(event, summary, viewer.user_id, &refusals).await?);
            }
            let visible = self.visible_children(viewer.user_id, &candidates).await?;
            let mut bundles = Vec::with_capacity(events.len());
            for (event, candidates) in events.iter().zip(&candidates) {
                bundles.push(self.bundle(event, candidates, &visible, viewer).await?);
            }
            Ok(bundles)
        })
    }

    async fn candidates(
        &self,
        event: &StoredEvent,
        summary: &Summary,
        user_id: &UserId,
        refusals: &Refusals,
    ) -> Result<Candidates, Error> {
        let mut found = Candidates::default();
        let upto = self.last_place(user_id, event.room_id());
        if summary.edited && event.decision.redacted_by.is_none() && event.state_key().is_none() {
            found.edits = self.newest_edits(event).await?;
        }
        if summary.referenced {
            let references = self
                .newest_children(event, REFERENCE, MAX_REFERENCES, upto)
                .await?;
            let shown = references
                .into_iter()
                .rev()
                .filter(|child| !refusals.ignores(&child.sender));
            found.references = shown.map(|child| child.event_id).collect();
        }
        if let Some(thread) = &summary.thread {
            let (latest, count) = match self.was_there_since(user_id, event) {
                true => self.whole_thread(event, thread, refusals).await?,
                false => self.seen_thread(event, thread, user_id).await?,
            };
            found.latest = latest;
            found.thread = Some((count, self.took_part(user_id, event).await?));
        }
        Ok(found)
    }

    /// The newest events of the sender and type of `event` that replace it, by what they say of their time.
    async fn newest_edits(&self, event: &StoredEvent) -> Result<Vec<OwnedEventId>, Error> {
        let prefix = sender_prefix(
            event.room_id(),
            &event.event_id,
            REPLACE,
            event.sender(),
            Some(event.kind()),
        );
        let rows = self.seams.store.scan(
            Table::Relations,
            KeyRange::prefix(prefix.clone()),
            Direction::Backward,
            MAX_EDITS,
        );
        let rows = rows.await?;
        Ok(rows.iter().filter_map(|(key, _)| sent_id(key, &prefix)).collect())
    }

    /// The newest children of a relation before a place in the timeline, newest first.
    async fn newest_children(
        &self,
        parent: &StoredEvent,
        rel_type: &str,
        limit: usize,
        upto: i64,
    ) -> Result<Vec<Child>, Error> {
        let key = |order| ordered_key(parent.room_id(), &parent.event_id, rel_type, order);
        let range = KeyRange::between(key(i64::MIN), key(upto));
        let rows = self
            .seams
            .store
            .scan(Table::Relations, range, Direction::Backward, limit)
            .await?;
        rows.iter().map(|(_, row)| from_slice(row)).collect()
    }

    /// The place before which events of a room may be shown to a user.
    pub(super) fn last_place(&self, user_id: &UserId, room_id: &RoomId) -> i64 {
        match self.user_membership(user_id, room_id) {
            Some(entry) if matches!(&*entry.membership, "leave" | "ban") => i64::try_from(entry.position)
                .unwrap_or(i64::MAX)
                .saturating_add(1),
            _ => i64::MAX,
        }
    }

    /// Whether the user has been in the room ever since `event`, and so may see all that came after it.
    fn was_there_since(&self, user_id: &UserId, event: &StoredEvent) -> bool {
        let own = self.user_membership(user_id, event.room_id());
        let joined = own
            .filter(|own| own.membership == "join")
            .and_then(|own| own.joined_at);
        let since = joined.zip(event.decision.order);
        since.is_some_and(|(joined, order)| joined.cast_signed() <= order)
    }

    /// The newest events of a thread all of which its reader may see, newest first, and how many it has: but for those
    /// of ignored users.
    async fn whole_thread(
        &self,
        root: &StoredEvent,
        thread: &Thread,
        refusals: &Refusals,
    ) -> Result<(Vec<OwnedEventId>, u64), Error> {
        let latest = self.newest_children(root, THREAD, MAX_LATEST, i64::MAX).await?;
        let shown = latest
            .into_iter()
            .filter(|child| !refusals.ignores(&child.sender));
        let shown = shown.map(|child| child.event_id).collect();
        Ok((shown, self.shown_count(root, thread, refusals).await?))
    }

    /// The events of a thread that a user may see and does not ignore, newest first, and how many those are. Of a long
    /// thread only the newest are looked at: if all of them may be seen, so is the rest.
    async fn seen_thread(
        &self,
        root: &StoredEvent,
        thread: &Thread,
        user_id: &UserId,
    ) -> Result<(Vec<OwnedEventId>, u64), Error> {
        let upto = self.last_place(user_id, root.room_id());
        let newest = self.newest_children(root, THREAD, MAX_COUNTED, upto).await?;
        let ids: Vec<_> = newest.into_iter().map(|child| child.event_id).collect();
        let events = self.stored_events(&ids).await?;
        let seen = self.visible_events(user_id, events).await?;
        let is_all = seen.len() == ids.len() && upto == i64::MAX;
        let count = if is_all { thread.count } else { seen.len() as u64 };
        let latest = seen.iter().take(MAX_LATEST);
        Ok((latest.map(|event| event.event_id.clone()).collect(), count))
    }

    /// How many events a thread has that users sent who are not ignored.
    async fn shown_count(
        &self,
        root: &StoredEvent,
        thread: &Thread,
        refusals: &Refusals,
    ) -> Result<u64, Error> {
        if refusals.is_empty() {
            return Ok(thread.count);
        }
        let newest = self.newest_children(root, THREAD, MAX_COUNTED, i64::MAX).await?;
        let hidden = newest.iter().filter(|child| refusals.ignores(&child.sender));
        Ok(thread.count.saturating_sub(hidden.count() as u64))
    }

    /// Whether the user began the thread, or has written in it.
    pub(super) async fn took_part(&self, user_id: &UserId, root: &StoredEvent) -> Result<bool, Error> {
        let prefix = sender_prefix(root.room_id(), &root.event_id, THREAD, user_id, None);
        Ok(root.sender() == user_id || self.rows_with(prefix, 1).await? > 0)
    }

    /// How many rows begin with `prefix`; it counts up to `limit`.
    async fn rows_with(&self, prefix: Vec<u8>, limit: usize) -> Result<usize, Error> {
        let range = KeyRange::prefix(prefix);
        let rows = self
            .seams
            .store
            .scan(Table::Relations, range, Direction::Forward, limit);
        Ok(rows.await?.len())
    }

    /// Those of all candidates that the user may see, read at once.
    async fn visible_children(&self, user_id: &UserId, candidates: &[Candidates]) -> Result<Visible, Error> {
        let ids = candidates
            .iter()
            .flat_map(|found| [&found.edits, &found.latest, &found.references]);
        let ids: Vec<_> = ids.flatten().cloned().collect();
        let mut by_room = BTreeMap::<OwnedRoomId, Vec<_>>::new();
        for event in self.stored_events(&ids).await? {
            by_room.entry(event.room_id().to_owned()).or_default().push(event);
        }
        let mut visible = Visible::new();
        for events in by_room.into_values() {
            let events = self.visible_events(user_id, events).await?;
            visible.extend(events.into_iter().map(|event| (event.event_id.clone(), event)));
        }
        Ok(visible)
    }

    async fn bundle(
        &self,
        parent: &StoredEvent,
        candidates: &Candidates,
        visible: &Visible,
        viewer: Viewer<'_>,
    ) -> Result<Option<JsonObject>, Error> {
        let mut bundle = JsonObject::new();
        let mut edits = candidates.edits.iter().filter_map(|id| visible.get(id));
        if let Some(edit) = edits.find(|edit| replaces(edit, parent)) {
            let shown = self.client_events(std::slice::from_ref(edit), viewer).await?;
            let edits = shown.into_iter().map(ClientEvent::into_object);
            bundle.extend(edits.map(|edit| (REPLACE.to_owned(), Value::Object(edit))));
        }
        let references = candidates
            .references
            .iter()
            .filter(|id| visible.contains_key(*id));
        let chunk: Vec<_> = references.map(|event_id| json!({"event_id": event_id})).collect();
        if !chunk.is_empty() {
            bundle.insert(REFERENCE.to_owned(), json!({"chunk": chunk}));
        }
        let latest = candidates.latest.iter().find_map(|id| visible.get(id));
        if let Some(((count, participated), latest)) = candidates.thread.zip(latest) {
            let thread = json!({
                "latest_event": self.with_own_bundle(latest, viewer).await?,
                "count": count,
                "current_user_participated": participated,
            });
            bundle.insert(THREAD.to_owned(), thread);
        }
        Ok(Some(bundle).filter(|bundle| !bundle.is_empty()))
    }

    /// The latest event of a thread, with its edit and its references.
    async fn with_own_bundle(&self, event: &Arc<StoredEvent>, viewer: Viewer<'_>) -> Result<Value, Error> {
        let events = std::slice::from_ref(event);
        let Some(mut shown) = self.client_events(events, viewer).await?.pop() else {
            return Ok(Value::Null);
        };
        add_bundle(
            &mut shown,
            self.bundles(events, viewer, false).await?.pop().flatten(),
        );
        Ok(Value::Object(shown.into_object()))
    }
}

fn add_bundle(event: &mut ClientEvent, bundle: Option<JsonObject>) {
    if bundle.is_some() {
        event.unsigned.get_or_insert_default().relations = bundle;
    }
}

/// Whether `edit` is a valid edit of `original`. Spec: section 'Validity of replacement events'.
fn replaces(edit: &StoredEvent, original: &StoredEvent) -> bool {
    let is_edit_of = |event: &StoredEvent, parent: &EventId| {
        let relation = Relation::of(event);
        relation.is_some_and(|relation| relation.rel_type == REPLACE && relation.parent == parent)
    };
    let is_edit = Relation::of(original).is_some_and(|relation| relation.rel_type == REPLACE);
    let has_content = edit.kind() == "m.room.encrypted"
        || edit.content().get("m.new_content").is_some_and(Value::is_object);
    edit.room_id() == original.room_id()
        && edit.sender() == original.sender()
        && edit.kind() == original.kind()
        && edit.state_key().is_none()
        && original.state_key().is_none()
        && !is_edit
        && has_content
        && is_edit_of(edit, &original.event_id)
}
