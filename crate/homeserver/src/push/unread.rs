//! How much of a room a user has not read: notifications and highlights, for each thread.
//!
//! Counts are not stored. They follow from the timeline, the receipts and the push rules; what was found is kept
//! in memory, so that a sync looks at each event once. A user has read up to their latest receipt and up to
//! what they said last, and everything from before they joined; of what is redacted there is nothing to read. Spec: Client-Server API, section 'Receiving
//! notifications'.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hearth_rooms::client_event::{ClientEvent, RoomIdField};
use ruma_common::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId, push::Ruleset};
use serde::Serialize;

use super::{RoomContext, attention};
use crate::{
    Error, Homeserver, JsonObject,
    policy::Refusals,
    receipts::RoomReceipts,
    rooms::{
        event::StoredEvent,
        room::Snapshot,
        timeline::TimelineEvent,
        view::{CREATE, POWER_LEVELS, member},
    },
};

/// How many of the newest events of a room are looked at. Counts do not go beyond it.
const MAX_EVENTS: usize = 300;
/// The most pairs of user and room that are kept in memory.
const MAX_CACHED: usize = 2_000;
/// To how many bytes of events push rules are applied before others have their turn: a rule may cost some thousand
/// steps for each.
const BYTES_AT_ONCE: usize = 16 * 1024;
/// How receipts name what is in no thread.
const MAIN: &str = "main";

/// Unread counts of a room or a thread, as `/sync` has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UnreadCounts {
    /// Unread events that notify.
    pub notification_count: u64,
    /// Those of them that are highlights.
    pub highlight_count: u64,
}

/// Unread counts of a room by thread; `main` is what is in no thread.
pub type ThreadCounts = BTreeMap<String, UnreadCounts>;

/// What was found about the rooms of users.
#[derive(Default)]
pub(crate) struct UnreadCache {
    rooms: Mutex<HashMap<(OwnedUserId, OwnedRoomId), Arc<Found>>>,
}

/// What was found in a room's timeline up to some place.
#[derive(Clone)]
struct Found {
    /// The last place looked at.
    upto: i64,
    /// The rules that were applied.
    rules: Arc<Ruleset>,
    /// Whom the user did not want to hear from.
    refusals: Refusals,
    /// Events that notify, oldest first.
    notifying: Vec<Notifying>,
    /// What the user said last in each thread.
    own: BTreeMap<String, i64>,
}

#[derive(Clone)]
struct Notifying {
    event_id: OwnedEventId,
    order: i64,
    thread: String,
    highlight: bool,
}

impl UnreadCache {
    fn rooms(&self) -> MutexGuard<'_, HashMap<(OwnedUserId, OwnedRoomId), Arc<Found>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, key: (OwnedUserId, OwnedRoomId), found: Arc<Found>) {
        let mut rooms = self.rooms();
        if rooms.len() >= MAX_CACHED && !rooms.contains_key(&key) {
            rooms.clear();
        }
        rooms.insert(key, found);
    }
}

impl Homeserver {
    /// What the user has not read of the room as it is in `snapshot`, up to the place `upto` of its timeline.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(crate) async fn unread_counts(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        snapshot: &Snapshot,
        upto: i64,
    ) -> Result<ThreadCounts, Error> {
        let receipts = self.room_receipts(room_id).await?;
        let rules = self.push_rules(user_id).await?;
        let refusals = self.refusals(user_id).await?;
        let key = (user_id.to_owned(), room_id.to_owned());
        let known = self.unread.rooms().get(&key).cloned();
        let known = known.filter(|found| found.holds_for(&rules, &refusals) && found.upto <= upto);
        let mut found = match known {
            Some(found) if found.upto == upto => return Ok(found.count(user_id, &receipts)),
            Some(found) => Found::clone(&found),
            None => Found {
                upto: 0,
                rules,
                refusals,
                notifying: Vec::new(),
                own: BTreeMap::new(),
            },
        };
        let read = receipt_order(user_id, &receipts, None).unwrap_or_default();
        let own = self.user_membership(user_id, room_id);
        let joined = own.and_then(|own| own.joined_at).unwrap_or_default();
        let joined = joined.cast_signed();
        // They may have left since it was found.
        found.notifying.retain(|event| event.order > joined);
        let floor = found.upto.max(read).max(joined);
        let new = self.newest_events(room_id, floor, upto).await?;
        let context = self.push_context(user_id, snapshot).await?;
        let threads = self.threads_of(&new).await?;
        let mut bytes = 0;
        for (event, thread) in new.iter().zip(&threads) {
            found.extend(user_id, event, thread, &context.conditions());
            self.give_way_after(&mut bytes, &event.1).await;
        }
        found.upto = upto;
        found.forget_read(user_id, &receipts);
        let counts = found.count(user_id, &receipts);
        self.unread.put(key, Arc::new(found));
        Ok(counts)
    }

    /// Whether a receipt of the user says that they have read `event`.
    pub(super) async fn has_read(&self, user_id: &UserId, event: &StoredEvent) -> Result<bool, Error> {
        let root = self.thread_of(event).await?;
        let thread = root.as_deref().map_or(MAIN, |root| root.as_str());
        let receipts = self.room_receipts(event.room_id()).await?;
        let whole = receipt_order(user_id, &receipts, None);
        let upto = whole.max(receipt_order(user_id, &receipts, Some(thread)));
        Ok(event.decision.order.is_some_and(|order| upto >= Some(order)))
    }

    /// Lets others have their turn once push rules were applied to some KiB of events, which `bytes` counts.
    pub(super) async fn give_way_after(&self, bytes: &mut usize, event: &StoredEvent) {
        *bytes += event.pdu.json().len();
        if *bytes > BYTES_AT_ONCE {
            *bytes = 0;
            self.give_way().await;
        }
    }

    /// The thread of each event.
    async fn threads_of(&self, events: &[TimelineEvent]) -> Result<Vec<String>, Error> {
        let mut threads = Vec::with_capacity(events.len());
        for (_, event) in events {
            let root = self.thread_of(event).await?;
            threads.push(root.map_or_else(|| MAIN.to_owned(), |root| root.to_string()));
        }
        Ok(threads)
    }

    /// The live events after `floor` up to `upto`, oldest first; the newest only, if they are many.
    async fn newest_events(
        &self,
        room_id: &RoomId,
        floor: i64,
        upto: i64,
    ) -> Result<Vec<TimelineEvent>, Error> {
        if floor >= upto {
            return Ok(Vec::new());
        }
        // Each event has a place of its own, so there are no more events than places.
        let places = usize::try_from(upto.saturating_sub(floor)).unwrap_or(MAX_EVENTS);
        let mut events = self
            .timeline_before(room_id, upto.saturating_add(1), places.min(MAX_EVENTS))
            .await?;
        events.retain(|(order, event)| *order > floor && event.is_shown());
        events.reverse();
        Ok(events)
    }
}

impl Found {
    /// Whether what was found holds for these rules and these refusals.
    fn holds_for(&self, rules: &Arc<Ruleset>, refusals: &Refusals) -> bool {
        Arc::ptr_eq(&self.rules, rules) && self.refusals.is_same(refusals)
    }

    fn extend(
        &mut self,
        user_id: &UserId,
        (order, event): &TimelineEvent,
        thread: &str,
        context: &RoomContext<'_>,
    ) {
        if let Some(redacted) = event.pdu.redacts() {
            self.notifying.retain(|notifying| notifying.event_id != redacted);
        }
        if event.sender() == user_id {
            // A new profile, say, is told to all rooms: that does not mean that they were looked at.
            if event.state_key().is_none() && event.pdu.redacts().is_none() {
                self.own.insert(thread.to_owned(), *order);
            }
            return;
        }
        if self.refusals.hides(event) || event.decision.redacted_by.is_some() {
            return;
        }
        let attention = attention(&self.rules, user_id, &json(event), context);
        if attention.notify {
            self.notifying.push(Notifying {
                event_id: event.event_id.clone(),
                order: *order,
                thread: thread.to_owned(),
                highlight: attention.highlight,
            });
        }
    }

    fn forget_read(&mut self, user_id: &UserId, receipts: &RoomReceipts) {
        let mut notifying = std::mem::take(&mut self.notifying);
        notifying.retain(|event| !self.is_read(event, user_id, receipts));
        let surplus = notifying.len().saturating_sub(MAX_EVENTS);
        notifying.drain(..surplus);
        self.notifying = notifying;
    }

    fn count(&self, user_id: &UserId, receipts: &RoomReceipts) -> ThreadCounts {
        let mut counts = ThreadCounts::new();
        for event in self
            .notifying
            .iter()
            .filter(|event| !self.is_read(event, user_id, receipts))
        {
            let count = counts.entry(event.thread.clone()).or_default();
            count.notification_count += 1;
            count.highlight_count += u64::from(event.highlight);
        }
        counts
    }

    fn is_read(&self, event: &Notifying, user_id: &UserId, receipts: &RoomReceipts) -> bool {
        let reaches = |order: Option<i64>| order.is_some_and(|order| order >= event.order);
        reaches(self.own.get(&event.thread).copied())
            || reaches(receipt_order(user_id, receipts, None))
            || reaches(receipt_order(user_id, receipts, Some(&event.thread)))
    }
}

/// How far the user's receipts of a thread (`None`: of the whole room) reach in the timeline.
fn receipt_order(user_id: &UserId, receipts: &RoomReceipts, thread: Option<&str>) -> Option<i64> {
    use crate::receipts::{ReceiptKey, ReceiptKind};
    let order = |kind| {
        let key = ReceiptKey {
            user_id: user_id.to_owned(),
            kind,
            thread: thread.map(str::to_owned),
        };
        receipts.get(&key).and_then(|receipt| receipt.order)
    };
    order(ReceiptKind::Read).max(order(ReceiptKind::ReadPrivate))
}

/// What conditions may ask of a room, owned.
pub(super) struct Context<'a> {
    room_id: &'a RoomId,
    joined_members: u64,
    display_name: Option<String>,
    power_levels: Option<JsonObject>,
    creators: Vec<String>,
}

impl Homeserver {
    pub(super) async fn push_context<'a>(
        &self,
        user_id: &UserId,
        snapshot: &'a Snapshot,
    ) -> Result<Context<'a>, Error> {
        let keys = [CREATE, POWER_LEVELS, member(user_id)];
        let state = self.view(snapshot, &keys).await?;
        let power_levels = state.get(POWER_LEVELS.0, POWER_LEVELS.1);
        Ok(Context {
            room_id: &snapshot.room_id,
            joined_members: snapshot.members().joined,
            display_name: state.text(member(user_id), "displayname").map(str::to_owned),
            power_levels: power_levels.map(|event| event.content().clone()),
            creators: state.ranking_creators().into_iter().map(str::to_owned).collect(),
        })
    }
}

impl Context<'_> {
    pub(super) fn conditions(&self) -> RoomContext<'_> {
        RoomContext {
            room_id: self.room_id,
            joined_members: self.joined_members,
            display_name: self.display_name.as_deref(),
            power_levels: self.power_levels.as_ref(),
            creators: &self.creators,
        }
    }
}

/// An event as push rules see it.
pub(super) fn json(event: &StoredEvent) -> JsonObject {
    ClientEvent::new(event.pdu.clone(), RoomIdField::Included).into_object()
}
