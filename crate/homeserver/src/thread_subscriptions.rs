//! Which threads a user follows (MSC4306), and how their devices hear of it (MSC4308).
//!
//! A subscription is the user's own and is told to nobody else. One that a client makes by itself (because the
//! user was mentioned, or wrote there) does not come back once the user has ended it, unless something newer
//! in the thread is the cause.

use std::collections::BTreeMap;

use hearth_storage::{Table, WriteBatch};
use ruma_common::{EventId, OwnedEventId, OwnedRoomId, RoomId, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Homeserver, LogEntry,
    stored::{from_slice, scan_all, to_vec},
};

/// Rows `T\0user\0room\0thread` of `Table::Accounts`.
const ROW: &str = "T";
/// The most threads of one user.
const MAX_THREADS: usize = 20_000;

/// A subscription, or its end, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Subscription {
    /// Whether a client made it by itself; `None` if it has ended.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    automatic: Option<bool>,
    /// The log position of its last change.
    #[serde(rename = "p")]
    position: u64,
}

/// A subscription as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Subscribed {
    /// Whether a client made it by itself.
    pub automatic: bool,
    /// The greater, the later it changed.
    pub bump_stamp: u64,
}

/// The end of a subscription as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Unsubscribed {
    /// The greater, the later it changed.
    pub bump_stamp: u64,
}

/// Changes of subscriptions by room and thread, the newest of those asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SubscriptionChanges {
    /// Threads that are followed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub subscribed: BTreeMap<OwnedRoomId, BTreeMap<OwnedEventId, Subscribed>>,
    /// Threads that are not followed any more.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unsubscribed: BTreeMap<OwnedRoomId, BTreeMap<OwnedEventId, Unsubscribed>>,
    /// Where to go on for the older ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_batch: Option<String>,
}

impl SubscriptionChanges {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.subscribed.is_empty() && self.unsubscribed.is_empty()
    }

    fn add(&mut self, room_id: OwnedRoomId, thread: OwnedEventId, change: Subscription) {
        let bump_stamp = change.position;
        match change.automatic {
            Some(automatic) => {
                let subscribed = Subscribed {
                    automatic,
                    bump_stamp,
                };
                self.subscribed
                    .entry(room_id)
                    .or_default()
                    .insert(thread, subscribed);
            }
            None => {
                let ended = Unsubscribed { bump_stamp };
                self.unsubscribed
                    .entry(room_id)
                    .or_default()
                    .insert(thread, ended);
            }
        }
    }
}

impl Homeserver {
    /// Whether the user's subscription to a thread was made by a client by itself.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the user does not follow the thread, or cannot see it.
    pub async fn thread_subscription(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        thread: &EventId,
    ) -> Result<bool, Error> {
        self.event_for(user_id, room_id, thread).await?;
        let known = self.stored_subscription(user_id, room_id, thread).await?;
        known
            .and_then(|known| known.automatic)
            .ok_or_else(|| Error::NotFound("you do not follow this thread".into()))
    }

    /// Follows a thread; `cause` is the event in it that makes a client do so by itself.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the user cannot see the thread, [`Error::NotInThread`] if `cause` is not in it,
    /// [`Error::ConflictingUnsubscription`] if the user has ended the subscription after `cause`.
    pub async fn subscribe_thread(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        thread: &EventId,
        cause: Option<&EventId>,
    ) -> Result<(), Error> {
        self.event_for(user_id, room_id, thread).await?;
        let _lock = self.accounts.lock(user_id).await;
        let known = self.stored_subscription(user_id, room_id, thread).await?;
        if let Some(cause) = cause {
            let order = self.order_in_thread(user_id, room_id, thread, cause).await?;
            match known {
                // What the user chose stays so, and what is automatic stays automatic.
                Some(Subscription {
                    automatic: Some(_), ..
                }) => return Ok(()),
                Some(ended) if order <= i64::try_from(ended.position).unwrap_or(i64::MAX) => {
                    return Err(Error::ConflictingUnsubscription);
                }
                _ => (),
            }
        }
        let automatic = Some(cause.is_some());
        if known.is_some_and(|known| known.automatic == automatic) {
            return Ok(());
        }
        if known.is_none() && self.subscriptions(user_id).await?.len() >= MAX_THREADS {
            return Err(Error::TooLarge(format!(
                "at most {MAX_THREADS} threads can be followed"
            )));
        }
        self.put_subscription(user_id, room_id, thread, automatic).await
    }

    /// Follows a thread no more.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the user cannot see the thread.
    pub async fn unsubscribe_thread(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        thread: &EventId,
    ) -> Result<(), Error> {
        self.event_for(user_id, room_id, thread).await?;
        let _lock = self.accounts.lock(user_id).await;
        let known = self.stored_subscription(user_id, room_id, thread).await?;
        match known.and_then(|known| known.automatic) {
            Some(_) => self.put_subscription(user_id, room_id, thread, None).await,
            None => Ok(()),
        }
    }

    /// The newest `limit` changes of the user's subscriptions after the log position `after` up to `upto`. From the
    /// beginning, subscriptions that have ended are left out.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn subscription_changes(
        &self,
        user_id: &UserId,
        after: u64,
        upto: u64,
        limit: usize,
    ) -> Result<SubscriptionChanges, Error> {
        let mut all = self.subscriptions(user_id).await?;
        all.retain(|(_, _, change)| change.position > after && change.position <= upto);
        all.retain(|(_, _, change)| after > 0 || change.automatic.is_some());
        all.sort_by_key(|(_, _, change)| std::cmp::Reverse(change.position));
        let mut changes = SubscriptionChanges::default();
        if all.len() > limit {
            all.truncate(limit);
            let last = all.last().map_or(0, |(_, _, change)| change.position);
            changes.prev_batch = Some(last.saturating_sub(1).to_string());
        }
        for (room_id, thread, change) in all {
            changes.add(room_id, thread, change);
        }
        Ok(changes)
    }

    /// The place of `cause` in the timeline, if it is in the thread.
    async fn order_in_thread(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        thread: &EventId,
        cause: &EventId,
    ) -> Result<i64, Error> {
        let event = match self.event_for(user_id, room_id, cause).await {
            Err(Error::NotFound(_)) => return Err(Error::NotInThread),
            event => event?,
        };
        match self.thread_of(&event).await?.as_deref() == Some(thread) {
            true => Ok(event.decision.order.unwrap_or_default()),
            false => Err(Error::NotInThread),
        }
    }

    async fn stored_subscription(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        thread: &EventId,
    ) -> Result<Option<Subscription>, Error> {
        let key = row(user_id, room_id.as_str(), thread.as_str());
        let row = self.seams.store.get(Table::Accounts, &key).await?;
        row.map(|row| from_slice(&row)).transpose()
    }

    async fn put_subscription(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        thread: &EventId,
        automatic: Option<bool>,
    ) -> Result<(), Error> {
        let reservation = self.log.reserve(1);
        let subscription = Subscription {
            automatic,
            position: reservation.first(),
        };
        let mut batch = WriteBatch::new();
        let key = row(user_id, room_id.as_str(), thread.as_str());
        batch.put(Table::Accounts, key, to_vec(&subscription)?);
        let entry = LogEntry::ThreadSubscription {
            user_id: user_id.to_owned(),
        };
        reservation.commit(batch, vec![entry], || ()).await?;
        Ok(())
    }

    async fn subscriptions(
        &self,
        user_id: &UserId,
    ) -> Result<Vec<(OwnedRoomId, OwnedEventId, Subscription)>, Error> {
        let prefix = [ROW, user_id.as_str(), ""].join("\0").into_bytes();
        let rows = scan_all(&*self.seams.store, Table::Accounts, &prefix).await?;
        let parse = |(key, row): &(Vec<u8>, Vec<u8>)| {
            let damaged = || Error::Damaged("thread subscription".into());
            let rest = key
                .get(prefix.len()..)
                .and_then(|rest| str::from_utf8(rest).ok())
                .ok_or_else(damaged)?;
            let (room_id, thread) = rest.split_once('\0').ok_or_else(damaged)?;
            let room_id = RoomId::parse(room_id).map_err(|_| damaged())?;
            let thread = EventId::parse(thread).map_err(|_| damaged())?;
            Ok((room_id, thread, from_slice(row)?))
        };
        rows.iter().map(parse).collect()
    }
}

/// What begins the keys of all that a user follows in `Table::Accounts`.
pub(crate) fn subscriptions_prefix(user_id: &UserId) -> Vec<u8> {
    [ROW, user_id.as_str(), ""].join("\0").into_bytes()
}

fn row(user_id: &UserId, room_id: &str, thread: &str) -> Vec<u8> {
    [ROW, user_id.as_str(), room_id, thread].join("\0").into_bytes()
}
