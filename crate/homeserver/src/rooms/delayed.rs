//! Events that are sent later, unless their sender says otherwise by then (MSC4140). A client in a call sends its own
//! leaving so: it puts it off again and again, and what happens when the client is gone is that it leaves.
//!
//! An event is stored when it is asked for and sent once: what a stop interrupts is taken up at the next start, under the
//! same transaction id. Whoever has the id of an event may send it at once, put it off again or cancel it. A state event is
//! cancelled if somebody else has set that state in the meantime.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hearth_storage::{Entry, Store, Table, WriteBatch};
use ruma_common::{DeviceId, OwnedDeviceId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Homeserver, JsonObject,
    stored::{from_slice, scan_all, to_vec},
};

/// Rows `e\0` + id in `Table::Accounts`.
const PREFIX: &[u8] = b"e\0";
/// The longest delay, in milliseconds: a day.
pub const MAX_DELAY: u64 = 24 * 60 * 60 * 1000;
/// The most events of one user that wait.
const MAX_OF_USER: usize = 100;
/// The most events of all users that wait.
const MAX_OF_ALL: usize = 2_000;
/// The most events of one user that are remembered after they were sent or cancelled.
const MAX_FINALISED: usize = 50;
/// The most bytes of an event that waits: more is not sent in any case.
const MAX_SIZE: usize = 64 * 1024;
/// How long to wait after the store has failed.
const PAUSE: Duration = Duration::from_secs(10);
/// Bytes of randomness in an id, which is all that it takes to send the event.
const ID_BYTES: usize = 16;

/// An event that is sent later, or was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DelayedEvent {
    /// Its id as long as it is no event.
    pub delay_id: String,
    /// Who sends it.
    pub user_id: OwnedUserId,
    /// From which device.
    pub device_id: OwnedDeviceId,
    /// To which room.
    pub room_id: OwnedRoomId,
    /// Its type.
    pub kind: String,
    /// Its state key, if it is a state event.
    pub state_key: Option<String>,
    /// The client's transaction id, if it is none.
    pub txn_id: Option<String>,
    /// Its content.
    pub content: JsonObject,
    /// By how much it is delayed, in milliseconds.
    pub delay: u64,
    /// From when on, in milliseconds since the Unix epoch.
    pub running_since: u64,
    /// The log position at which it was asked for.
    position: u64,
    /// What became of it.
    pub finalised: Option<Finalised>,
}

/// What became of a delayed event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finalised {
    /// When, in milliseconds since the Unix epoch.
    pub at: u64,
    /// `send` or `cancel`.
    pub outcome: Outcome,
    /// `action`, `delay` or `error`.
    pub reason: Reason,
    /// The event that it has become.
    pub event_id: Option<OwnedEventId>,
    /// Why it has not.
    pub error: Option<String>,
}

/// Whether an event was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was, or was tried to be.
    Send,
    /// It was not.
    Cancel,
}

/// Why an event was sent or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// Somebody said so.
    Action,
    /// Its time had come.
    Delay,
    /// It could not be sent.
    Error,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// The type of the event.
    pub kind: &'a str,
    /// Its state key, if it is to be a state event.
    pub state_key: Option<&'a str>,
    /// The client's transaction id otherwise.
    pub txn_id: Option<&'a str>,
    /// Its content.
    pub content: JsonObject,
    /// By how much it is to be delayed, in milliseconds.
    pub delay: u64,
}

/// What may be done about an event that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is not sent.
    Cancel,
    /// Its delay begins anew.
    Restart,
    /// It is sent at once.
    Send,
}

/// The events that wait, by id.
#[derive(Default)]
pub(crate) struct Delayed(Mutex<HashMap<String, DelayedEvent>>);

impl Delayed {
    pub(crate) async fn load(store: &dyn Store) -> Result<Self, Error> {
        let rows = scan_all(store, Table::Accounts, PREFIX).await?;
        let mut waiting = HashMap::new();
        for event in readable(&rows) {
            if event.finalised.is_none() {
                waiting.insert(event.delay_id.clone(), event);
            }
        }
        Ok(Self(Mutex::new(waiting)))
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<String, DelayedEvent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the event out, if it waits: whoever has it decides what becomes of it.
    fn claim(&self, delay_id: &str) -> Option<DelayedEvent> {
        self.waiting().remove(delay_id)
    }

    /// How long the event has to wait at `now`, in milliseconds; `None` if it does not wait any more.
    fn left(&self, delay_id: &str, now: u64) -> Option<u64> {
        let waiting = self.waiting();
        let event = waiting.get(delay_id)?;
        Some(
            event
                .running_since
                .saturating_add(event.delay)
                .saturating_sub(now),
        )
    }
}

/// The events in `rows`. Earlier versions have stored some that are nested too deeply to be read.
fn readable(rows: &[Entry]) -> impl Iterator<Item = DelayedEvent> {
    let read = |row: &Vec<u8>| {
        from_slice(row)
            .inspect_err(|error| tracing::error!(%error, "a delayed event is damaged"))
            .ok()
    };
    rows.iter().filter_map(move |(_, row)| read(row))
}

impl Homeserver {
    /// Sends an event later. Returns the id by which that can be changed. The same transaction id gives the same id as
    /// long as the event waits.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the user is not in the room, [`Error::DelayTooLong`], [`Error::TooManyDelayed`],
    /// [`Error::TooLarge`].
    pub async fn send_later(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        room_id: &RoomId,
        wish: Wish<'_>,
    ) -> Result<String, Error> {
        if wish.delay > MAX_DELAY {
            return Err(Error::DelayTooLong { max: MAX_DELAY });
        }
        self.check_guest(user_id, room_id).await?;
        if !self.is_joined(room_id, user_id).await? {
            return Err(Error::Forbidden("you are not in this room".into()));
        }
        let _lock = self.accounts.lock(user_id).await;
        if let Some(known) = self.delayed_before(user_id, device_id, room_id, &wish)? {
            return Ok(known);
        }
        let event = DelayedEvent {
            delay_id: self.random_id(ID_BYTES),
            user_id: user_id.to_owned(),
            device_id: device_id.to_owned(),
            room_id: room_id.to_owned(),
            kind: wish.kind.to_owned(),
            state_key: wish.state_key.map(str::to_owned),
            txn_id: wish.txn_id.map(str::to_owned),
            content: wish.content,
            delay: wish.delay,
            running_since: self.now(),
            position: self.log.current(),
            finalised: None,
        };
        self.store_delayed(&event).await?;
        let delay_id = event.delay_id.clone();
        self.delayed.waiting().insert(delay_id.clone(), event);
        self.send_when_due(delay_id.clone());
        Ok(delay_id)
    }

    /// The event that waits under the same transaction id.
    fn delayed_before(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        room_id: &RoomId,
        wish: &Wish<'_>,
    ) -> Result<Option<String>, Error> {
        let waiting = self.delayed.waiting();
        let same = |event: &&DelayedEvent| {
            event.device_id == device_id
                && event.room_id == room_id
                && event.kind == wish.kind
                && event.txn_id.is_some()
                && event.txn_id.as_deref() == wish.txn_id
        };
        let own = || waiting.values().filter(|event| event.user_id == user_id);
        if let Some(known) = own().find(same) {
            return Ok(Some(known.delay_id.clone()));
        }
        if own().count() >= MAX_OF_USER || waiting.len() >= MAX_OF_ALL {
            return Err(Error::TooManyDelayed);
        }
        Ok(None)
    }

    /// Does something about an event that waits. What is already so stays so.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such event, [`Error::Finalised`] if something else became of it; what sending it
    /// fails with.
    pub async fn update_delayed(&self, delay_id: &str, action: Action) -> Result<(), Error> {
        if action == Action::Restart {
            let restarted = self.restart_delayed(delay_id);
            return match restarted {
                Some(event) => self.store_delayed(&event).await,
                None => self.already(delay_id, None).await,
            };
        }
        let outcome = if action == Action::Send {
            Outcome::Send
        } else {
            Outcome::Cancel
        };
        let Some(event) = self.delayed.claim(delay_id) else {
            return self.already(delay_id, Some(outcome)).await;
        };
        let done = self.conclude(event, outcome, Reason::Action).await;
        if done.is_err() {
            // Who waited for it may have seen that it was gone.
            self.send_when_due(delay_id.to_owned());
        }
        done
    }

    /// The events of a user that wait or waited, those that were asked for first before others.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn delayed_events(&self, user_id: &UserId) -> Result<Vec<DelayedEvent>, Error> {
        let rows = scan_all(&*self.seams.store, Table::Accounts, PREFIX).await?;
        let mut events: Vec<_> = readable(&rows).filter(|event| event.user_id == user_id).collect();
        events.sort_by_key(|event| (event.position, event.running_since));
        Ok(events)
    }

    /// One of [`Homeserver::delayed_events`].
    ///
    /// # Errors
    /// [`Error::NotFound`] if the user has no such event.
    pub async fn delayed_event(&self, user_id: &UserId, delay_id: &str) -> Result<DelayedEvent, Error> {
        let event = self.stored_delayed(delay_id).await?;
        let event = event.filter(|event| event.user_id == user_id);
        event.ok_or_else(|| Error::NotFound("no such delayed event".into()))
    }

    /// Forgets the events of a user, with `batch`.
    pub(crate) async fn forget_delayed(&self, batch: &mut WriteBatch, user_id: &UserId) -> Result<(), Error> {
        self.delayed.waiting().retain(|_, event| event.user_id != user_id);
        for event in self.delayed_events(user_id).await? {
            batch.delete(Table::Accounts, key(&event.delay_id));
        }
        Ok(())
    }

    /// Waits for all events that wait. Called at the start.
    pub(crate) fn send_all_when_due(&self) {
        let waiting: Vec<_> = self.delayed.waiting().keys().cloned().collect();
        for delay_id in waiting {
            self.send_when_due(delay_id);
        }
    }

    /// Sends an event as soon as its time has come, unless it does not wait any more by then.
    fn send_when_due(&self, delay_id: String) {
        self.spawn(|homeserver| async move {
            while let Some(left) = homeserver.delayed.left(&delay_id, homeserver.now()) {
                if left > 0 {
                    homeserver.seams.clock.sleep(Duration::from_millis(left)).await;
                    continue;
                }
                let Some(event) = homeserver.delayed.claim(&delay_id) else {
                    return;
                };
                if let Err(error) = homeserver.conclude(event, Outcome::Send, Reason::Delay).await {
                    tracing::info!(%error, "a delayed event was not sent");
                    homeserver.seams.clock.sleep(PAUSE).await;
                }
            }
        });
    }

    /// Lets the delay of an event that waits begin anew.
    fn restart_delayed(&self, delay_id: &str) -> Option<DelayedEvent> {
        let mut waiting = self.delayed.waiting();
        let event = waiting.get_mut(delay_id)?;
        event.running_since = self.now();
        Some(event.clone())
    }

    /// Sends or cancels an event that does not wait any more. If the store fails, or the homeserver closes, it waits again.
    async fn conclude(&self, event: DelayedEvent, outcome: Outcome, reason: Reason) -> Result<(), Error> {
        let done = match outcome {
            Outcome::Cancel => self.finalise(event.clone(), outcome, reason, None).await,
            Outcome::Send => self.send_delayed(event.clone(), reason).await,
        };
        if let Err(Error::Store(_) | Error::Damaged(_)) = done {
            self.delayed.waiting().insert(event.delay_id.clone(), event);
        }
        done
    }

    async fn send_delayed(&self, event: DelayedEvent, reason: Reason) -> Result<(), Error> {
        if self.is_overtaken(&event).await? {
            return self.finalise(event, Outcome::Cancel, Reason::Error, None).await;
        }
        let (content, standing) = (event.content.clone(), self.standing(&event.user_id));
        let sent = match &event.state_key {
            _ if standing.locked => Err(Error::UserLocked),
            _ if standing.suspended => Err(Error::UserSuspended),
            Some(state_key) => {
                self.send_state(&event.user_id, &event.room_id, &event.kind, state_key, content)
                    .await
            }
            None => {
                // The same, should it be sent again after a stop.
                let txn_id = event.txn_id.as_deref().unwrap_or(&event.delay_id);
                let (user_id, device_id) = (&event.user_id, &event.device_id);
                self.send_message(user_id, device_id, &event.room_id, &event.kind, txn_id, content)
                    .await
            }
        };
        match sent {
            Ok(event_id) => {
                self.finalise(event, Outcome::Send, reason, Some(Ok(event_id)))
                    .await
            }
            // While the homeserver closes, too.
            Err(error @ (Error::Store(_) | Error::Damaged(_))) => Err(error),
            Err(error) => {
                let why = error.to_string();
                self.finalise(event, Outcome::Cancel, Reason::Error, Some(Err(why)))
                    .await?;
                Err(error)
            }
        }
    }

    /// Whether somebody else has set the state since the event was asked for.
    async fn is_overtaken(&self, event: &DelayedEvent) -> Result<bool, Error> {
        let Some(state_key) = &event.state_key else {
            return Ok(false);
        };
        let Some(room) = self.room(&event.room_id).await? else {
            return Ok(false);
        };
        let state = self.view(&room.snapshot(), &[(&event.kind, state_key)]).await?;
        let since = i64::try_from(event.position).unwrap_or(i64::MAX);
        let newer = state.get(&event.kind, state_key).filter(|set| {
            set.sender() != event.user_id && set.decision.order.is_some_and(|order| order > since)
        });
        Ok(newer.is_some())
    }

    /// Notes what became of an event, and forgets those of its user that are done with longest.
    async fn finalise(
        &self,
        mut event: DelayedEvent,
        outcome: Outcome,
        reason: Reason,
        sent: Option<Result<OwnedEventId, String>>,
    ) -> Result<(), Error> {
        event.finalised = Some(Finalised {
            at: self.now(),
            outcome,
            reason,
            event_id: sent.as_ref().and_then(|sent| sent.as_ref().ok().cloned()),
            error: sent.and_then(Result::err),
        });
        let mut batch = WriteBatch::new();
        batch.put(Table::Accounts, key(&event.delay_id), to_vec(&event)?);
        let mut done = self.delayed_events(&event.user_id).await?;
        done.retain(|other| other.finalised.is_some() && other.delay_id != event.delay_id);
        done.sort_by_key(|other| other.finalised.as_ref().map(|finalised| finalised.at));
        let surplus = (done.len() + 1).saturating_sub(MAX_FINALISED);
        for old in done.iter().take(surplus) {
            batch.delete(Table::Accounts, key(&old.delay_id));
        }
        Ok(self.seams.store.commit(batch).await?)
    }

    /// Whether an event that does not wait has become what is asked for.
    async fn already(&self, delay_id: &str, wanted: Option<Outcome>) -> Result<(), Error> {
        let known = self.stored_delayed(delay_id).await?;
        let known = known.ok_or_else(|| Error::NotFound("no such delayed event".into()))?;
        let outcome = known.finalised.map(|finalised| finalised.outcome);
        match outcome.is_some() && outcome == wanted {
            true => Ok(()),
            false => Err(Error::Finalised),
        }
    }

    async fn stored_delayed(&self, delay_id: &str) -> Result<Option<DelayedEvent>, Error> {
        let row = self.seams.store.get(Table::Accounts, &key(delay_id)).await?;
        row.map(|row| from_slice(&row)).transpose()
    }

    async fn store_delayed(&self, event: &DelayedEvent) -> Result<(), Error> {
        let row = to_vec(event)?;
        if row.len() > MAX_SIZE {
            return Err(Error::TooLarge(format!("an event has at most {MAX_SIZE} bytes")));
        }
        let mut batch = WriteBatch::new();
        batch.put(Table::Accounts, key(&event.delay_id), row);
        Ok(self.seams.store.commit(batch).await?)
    }
}

fn key(delay_id: &str) -> Vec<u8> {
    [PREFIX, delay_id.as_bytes()].concat()
}
