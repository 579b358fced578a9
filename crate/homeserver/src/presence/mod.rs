//! Who is there. Spec: Client-Server API, section 'Presence'; Server-Server API, section 'Presence'.
//!
//! Presence is kept in memory: nothing is stored but the status messages of local users, when those are set. After a
//! restart nobody is there until they are heard of again. Changes are numbered by a serial that follows the
//! clock, so that it grows over restarts; `/sync` compares it with its token.
//!
//! A local user is what the most present of their devices is. A device is there while it syncs, and for
//! [`GRACE`] after that; a user who does nothing for [`IDLE`] is away even while devices sync.

mod federation;
mod person;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use event_listener::{Event, EventListener};
use hearth_storage::{Store, Table, WriteBatch};
use ruma_common::{DeviceId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

pub(crate) use self::federation::together;
use self::person::Person;
use crate::{
    Error, Homeserver, JsonObject,
    stored::{from_slice, scan_all, to_vec},
};

/// How long a device is there after its last sync has ended, in milliseconds.
const GRACE: u64 = 30_000;
/// After how long without doing anything a user is away, in milliseconds.
const IDLE: u64 = 5 * 60_000;
/// For how long after doing something a user is currently active, in milliseconds.
const ACTIVE: u64 = 60_000;
/// After how long without a word a user of another server is taken for gone, in milliseconds.
const FORGOTTEN: u64 = 30 * 60_000;
/// How often it is looked who has gone, while somebody is there.
const SWEEP: Duration = Duration::from_secs(10);
/// The most users of whom something is known, unless there are as many local ones.
const MAX_PEOPLE: usize = 20_000;
/// The most bytes of a status message.
const MAX_STATUS: usize = 1024;
/// Rows `P\0user` of `Table::Accounts`: the status message.
const STATUS: &[u8] = b"P\0";

/// Whether a user is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PresenceState {
    /// Not there.
    #[default]
    Offline,
    /// There, and doing something else.
    Unavailable,
    /// There.
    Online,
}

/// The presence of all users that are known.
pub(crate) struct Presence {
    enabled: bool,
    people: Mutex<People>,
    changed: Event,
}

struct People {
    /// The newest change.
    serial: u64,
    users: BTreeMap<OwnedUserId, Person>,
    /// Whether a task looks who has gone.
    sweeping: bool,
    /// Local users of whom other servers are to be told.
    untold: BTreeSet<OwnedUserId>,
    /// Whether a task tells them.
    telling: bool,
}

impl Presence {
    /// Nobody is there. `now` is the time in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(crate) async fn load(store: &dyn Store, enabled: bool, now: u64) -> Result<Self, Error> {
        let mut users = BTreeMap::new();
        let rows = match enabled {
            true => scan_all(store, Table::Accounts, STATUS).await?,
            false => Vec::new(),
        };
        for (key, row) in rows {
            let user_id = key
                .get(STATUS.len()..)
                .and_then(|user_id| str::from_utf8(user_id).ok());
            let user_id = user_id.and_then(|user_id| UserId::parse(user_id).ok());
            let user_id = user_id.ok_or_else(|| Error::Damaged("status message".into()))?;
            let mut person = Person::default();
            person.status_msg = Some(from_slice(&row)?);
            users.insert(user_id, person);
        }
        Ok(Self {
            enabled,
            people: Mutex::new(People {
                serial: now,
                users,
                sweeping: false,
                untold: BTreeSet::new(),
                telling: false,
            }),
            changed: Event::new(),
        })
    }

    /// Completes at the next change.
    pub(crate) fn listen(&self) -> EventListener {
        self.changed.listen()
    }

    /// The newest change.
    pub(crate) fn serial(&self) -> u64 {
        self.people().serial
    }

    /// Who has changed after `serial`.
    pub(crate) fn changed_since(&self, serial: u64) -> Vec<OwnedUserId> {
        let people = self.people();
        if people.serial <= serial {
            return Vec::new();
        }
        let changed = people.users.iter().filter(|(_, person)| person.serial > serial);
        changed.map(|(user_id, _)| user_id.clone()).collect()
    }

    /// Who is there.
    pub(crate) fn present(&self) -> Vec<OwnedUserId> {
        let people = self.people();
        let present = people
            .users
            .iter()
            .filter(|(_, person)| person.state != PresenceState::Offline);
        present.map(|(user_id, _)| user_id.clone()).collect()
    }

    /// What is known of a user, as the content of an `m.presence` event.
    pub(crate) fn content(&self, user_id: &UserId, now: u64) -> Option<JsonObject> {
        Some(self.people().users.get(user_id)?.content(now))
    }

    fn people(&self) -> MutexGuard<'_, People> {
        self.people.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known of a user. Returns whether others see a difference.
    fn change(&self, user_id: &UserId, now: u64, change: impl FnOnce(&mut Person)) -> bool {
        let changed = self.people().change(user_id, now, change);
        if changed {
            self.changed.notify(usize::MAX);
        }
        changed
    }
}

impl People {
    fn change(&mut self, user_id: &UserId, now: u64, change: impl FnOnce(&mut Person)) -> bool {
        let serial = now.max(self.serial + 1);
        let person = self.users.entry(user_id.to_owned()).or_default();
        let before = person.shown();
        change(person);
        let changed = person.shown() != before;
        if changed {
            person.serial = serial;
            self.serial = serial;
        }
        changed
    }

    /// Whether there is room for `user_id`, of another server; who is gone is forgotten if there are too many. Local
    /// users always find room: there are no more of them than accounts.
    fn has_room_for(&mut self, user_id: &UserId, is_local: impl Fn(&UserId) -> bool) -> bool {
        if self.users.len() >= MAX_PEOPLE && !self.users.contains_key(user_id) {
            self.users.retain(|user_id, person| {
                person.state != PresenceState::Offline || (person.status_msg.is_some() && is_local(user_id))
            });
        }
        self.users.len() < MAX_PEOPLE || self.users.contains_key(user_id)
    }
}

impl Homeserver {
    /// Notes that a device syncs, and will wait for up to `timeout`. `Offline` means that this says nothing.
    pub fn note_sync(&self, user_id: &UserId, device_id: &DeviceId, state: PresenceState, timeout: Duration) {
        if state == PresenceState::Offline || !self.presence.enabled {
            return;
        }
        let now = self.now();
        let until = now + GRACE + u64::try_from(timeout.as_millis()).unwrap_or(0).min(GRACE);
        self.change_own(user_id, |person| person.sync(device_id, state, until, now));
    }

    /// Notes that a local user does something.
    pub(crate) fn note_active(&self, user_id: &UserId) {
        if self.presence.enabled {
            let now = self.now();
            self.change_own(user_id, |person| person.act(now));
        }
    }

    /// Sets the presence of a local user, as one of their devices says, and their status message.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if presence is switched off, [`Error::InvalidParam`] if the message is too long.
    pub async fn set_presence(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        state: PresenceState,
        status_msg: Option<String>,
    ) -> Result<(), Error> {
        if !self.presence.enabled {
            return Err(Error::Forbidden("presence is switched off here".into()));
        }
        if status_msg.as_ref().is_some_and(|text| text.len() > MAX_STATUS) {
            return Err(Error::InvalidParam(format!(
                "a status message has at most {MAX_STATUS} bytes"
            )));
        }
        let status_msg = status_msg.filter(|text| !text.is_empty());
        self.store_status(user_id, status_msg.as_ref()).await?;
        let now = self.now();
        self.change_own(user_id, |person| {
            person.status_msg = status_msg;
            person.sync(device_id, state, now + GRACE, now);
            if state == PresenceState::Online {
                person.act(now);
            }
        });
        Ok(())
    }

    /// The presence of a user, as `viewer` may see it: `presence`, and as far as known `last_active_ago`,
    /// `status_msg` and `currently_active`.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the two share no room, or presence is switched off.
    pub async fn presence_of(&self, viewer: &UserId, user_id: &UserId) -> Result<JsonObject, Error> {
        if !self.presence.enabled {
            return Err(Error::Forbidden("presence is switched off here".into()));
        }
        if viewer != user_id && !self.shares_room(viewer, user_id).await? {
            return Err(Error::Forbidden(
                "you are not allowed to see this user's presence".into(),
            ));
        }
        let now = self.now();
        let known = self.presence.content(user_id, now);
        Ok(known.unwrap_or_else(|| Person::default().content(now)))
    }

    /// Forgets the status message of a local user.
    pub(crate) async fn forget_status(&self, user_id: &UserId) -> Result<(), Error> {
        self.store_status(user_id, None).await?;
        self.change_own(user_id, |person| person.status_msg = None);
        Ok(())
    }

    async fn store_status(&self, user_id: &UserId, status_msg: Option<&String>) -> Result<(), Error> {
        let known = {
            let people = self.presence.people();
            people
                .users
                .get(user_id)
                .and_then(|person| person.status_msg.clone())
        };
        if known.as_ref() == status_msg {
            return Ok(());
        }
        let key = [STATUS, user_id.as_bytes()].concat();
        let mut batch = WriteBatch::new();
        match status_msg {
            Some(text) => batch.put(Table::Accounts, key, to_vec(text)?),
            None => batch.delete(Table::Accounts, key),
        };
        Ok(self.seams.store.commit(batch).await?)
    }

    /// Changes what is known of a local user, and tells other servers what they can see of it.
    fn change_own(&self, user_id: &UserId, change: impl FnOnce(&mut Person)) {
        let now = self.now();
        let changed = self.presence.change(user_id, now, |person| {
            change(person);
            person.refresh(now);
        });
        if changed {
            self.tell_servers([user_id.to_owned()]);
        }
        self.start_sweeping();
    }

    fn start_sweeping(&self) {
        if std::mem::replace(&mut self.presence.people().sweeping, true) {
            return;
        }
        self.spawn(|homeserver| async move {
            let clock = homeserver.seams.clock.clone();
            loop {
                clock.sleep(SWEEP).await;
                if !homeserver.sweep_presence(clock.now()) {
                    break;
                }
            }
        });
    }

    /// Notes who has gone, or is away. Returns whether a local user is still there.
    fn sweep_presence(&self, now: u64) -> bool {
        let mut gone = BTreeSet::new();
        let mut changed = false;
        let left = {
            let mut people = self.presence.people();
            let all: Vec<_> = people.users.keys().cloned().collect();
            for user_id in all {
                let is_local = self.is_local(&user_id);
                let moved = people.change(&user_id, now, |person| match is_local {
                    true => person.refresh(now),
                    false => person.expire(now),
                });
                changed |= moved;
                let is_due = people
                    .users
                    .get(&user_id)
                    .is_some_and(|person| person.is_due(now));
                if is_local && (moved || is_due) {
                    gone.insert(user_id);
                }
            }
            let left = people.users.values().any(Person::has_devices);
            people.sweeping = left;
            left
        };
        if changed {
            self.presence.changed.notify(usize::MAX);
        }
        self.tell_servers(gone);
        left
    }
}
