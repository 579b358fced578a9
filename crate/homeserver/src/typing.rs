//! Who is typing where. Spec: Client-Server API, section 'Typing Notifications'.
//!
//! Kept in memory only: a restart ends all typing. Changes are numbered by a serial that follows the clock, so
//! that it grows over restarts; `/sync` compares it with its token.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use event_listener::{Event, EventListener};
use ruma_common::{OwnedRoomId, OwnedUserId, RoomId, ServerName, UserId};
use serde::Deserialize;
use serde_json::json;

use crate::{Error, Homeserver, JsonObject, rooms::view::member, sync::SyncToken};

/// The longest that one notice holds, in milliseconds, whatever the client asks for.
const MAX_TIMEOUT: u64 = 120_000;
/// How long a notice of another server holds, in milliseconds: they carry no time, and are sent again.
const REMOTE_TIMEOUT: u64 = 30_000;
/// How often ended notices are looked for while there are any.
const SWEEP: Duration = Duration::from_secs(1);

/// Who is typing in every room.
pub(crate) struct Typing {
    /// Serials up to this one are of an earlier run.
    started: u64,
    rooms: Mutex<Rooms>,
    changed: Event,
}

struct Rooms {
    /// The newest change.
    serial: u64,
    /// Rooms in which somebody types or typed since the start.
    rooms: HashMap<OwnedRoomId, RoomTyping>,
    /// Whether a task looks for ended notices.
    sweeping: bool,
}

#[derive(Default)]
struct RoomTyping {
    /// When it last changed.
    serial: u64,
    /// Until when each notice holds, in milliseconds since the Unix epoch.
    until: BTreeMap<OwnedUserId, u64>,
}

/// The content of an `m.typing` EDU.
#[derive(Deserialize)]
struct TypingEdu {
    room_id: OwnedRoomId,
    user_id: OwnedUserId,
    typing: bool,
}

impl Typing {
    /// Nobody types. `now` is the time in milliseconds since the Unix epoch.
    pub(crate) fn new(now: u64) -> Self {
        let rooms = Rooms {
            serial: now,
            rooms: HashMap::new(),
            sweeping: false,
        };
        Self {
            started: now,
            rooms: Mutex::new(rooms),
            changed: Event::new(),
        }
    }

    /// Completes at the next change.
    pub(crate) fn listen(&self) -> EventListener {
        self.changed.listen()
    }

    /// The newest change.
    pub(crate) fn serial(&self) -> u64 {
        self.rooms().serial
    }

    /// Whether the typing in a room may be another one than was told with `token`. What was told in an earlier run
    /// has ended with it.
    pub(crate) fn has_changed(&self, room_id: &RoomId, token: &SyncToken) -> bool {
        let rooms = self.rooms();
        let serial = rooms.rooms.get(room_id).map(|room| room.serial);
        serial > Some(token.typing) || (token.anyone_typing && token.typing < self.started)
    }

    /// Whether somebody types in one of `rooms`.
    pub(crate) fn is_anyone_typing(&self, rooms: &[OwnedRoomId]) -> bool {
        let state = self.rooms();
        rooms.iter().any(|room_id| {
            state
                .rooms
                .get(room_id)
                .is_some_and(|room| !room.until.is_empty())
        })
    }

    /// Who types in a room.
    pub(crate) fn room(&self, room_id: &RoomId) -> Vec<OwnedUserId> {
        let rooms = self.rooms();
        let until = rooms.rooms.get(room_id).map(|room| &room.until);
        until.into_iter().flat_map(BTreeMap::keys).cloned().collect()
    }

    fn set(&self, room_id: &RoomId, user_id: &UserId, until: Option<u64>, now: u64) {
        if self.rooms().set(room_id, user_id, until, now) {
            self.changed.notify(usize::MAX);
        }
    }

    /// Ends what is over. Returns whether anything is left.
    fn sweep(&self, now: u64) -> bool {
        let (changed, left) = self.rooms().sweep(now);
        if changed {
            self.changed.notify(usize::MAX);
        }
        left
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rooms {
    /// Returns whether others see a difference.
    fn set(&mut self, room_id: &RoomId, user_id: &UserId, until: Option<u64>, now: u64) -> bool {
        let known = self
            .rooms
            .get(room_id)
            .is_some_and(|room| room.until.contains_key(user_id));
        if !known && until.is_none() {
            return false;
        }
        let changed = known != until.is_some();
        let serial = if changed { self.next_serial(now) } else { 0 };
        let room = self.rooms.entry(room_id.to_owned()).or_default();
        room.serial = room.serial.max(serial);
        match until {
            Some(until) => room.until.insert(user_id.to_owned(), until),
            None => room.until.remove(user_id),
        };
        changed
    }

    /// Returns whether anything ended, and whether anything is left.
    fn sweep(&mut self, now: u64) -> (bool, bool) {
        let over = |room: &RoomTyping| room.until.values().any(|until| *until <= now);
        let changed = self.rooms.values().any(over);
        if changed {
            let serial = self.next_serial(now);
            for room in self.rooms.values_mut().filter(|room| over(room)) {
                room.until.retain(|_, until| *until > now);
                room.serial = serial;
            }
        }
        self.sweeping = self.rooms.values().any(|room| !room.until.is_empty());
        (changed, self.sweeping)
    }

    fn next_serial(&mut self, now: u64) -> u64 {
        self.serial = now.max(self.serial + 1);
        self.serial
    }
}

impl Homeserver {
    /// Notes that `user_id` types in the room for the next `timeout` milliseconds, or (`None`) no more, and tells
    /// the other servers.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the user is not in the room.
    pub async fn set_typing(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        timeout: Option<u64>,
    ) -> Result<(), Error> {
        let joined = self
            .user_membership(user_id, room_id)
            .is_some_and(|member| member.membership == "join");
        if !joined {
            return Err(Error::Forbidden("you are not in the room".into()));
        }
        if timeout.is_some() {
            self.note_active(user_id);
        }
        let until = timeout.map(|timeout| self.now() + timeout.min(MAX_TIMEOUT));
        self.note_typing(room_id, user_id, until);
        let content = json!({"room_id": room_id, "user_id": user_id, "typing": until.is_some()});
        let key = format!("{room_id}\0{user_id}");
        self.send_edu(
            room_id,
            "m.typing",
            &key,
            content.as_object().cloned().unwrap_or_default(),
        )
        .await
    }

    /// Takes in an `m.typing` EDU. One that is malformed, or about a user who is not of `origin` or not in the
    /// room, is ignored.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn receive_typing(&self, origin: &ServerName, content: &JsonObject) -> Result<(), Error> {
        let Ok(edu) = TypingEdu::deserialize(serde_json::Value::Object(content.clone())) else {
            return Ok(());
        };
        let is_theirs = edu.user_id.server_name() == origin;
        if !is_theirs || !self.lets_speak(origin, &edu.room_id).await? {
            return Ok(());
        }
        if !self.is_joined(&edu.room_id, &edu.user_id).await? {
            return Ok(());
        }
        let until = edu.typing.then(|| self.now() + REMOTE_TIMEOUT);
        self.note_typing(&edu.room_id, &edu.user_id, until);
        Ok(())
    }

    /// Somebody has left the room, or was removed.
    pub(crate) fn end_typing(&self, room_id: &RoomId, user_id: &UserId) {
        self.typing.set(room_id, user_id, None, self.now());
    }

    fn note_typing(&self, room_id: &RoomId, user_id: &UserId, until: Option<u64>) {
        self.typing.set(room_id, user_id, until, self.now());
        let start = {
            let mut rooms = self.typing.rooms();
            until.is_some() && !std::mem::replace(&mut rooms.sweeping, true)
        };
        if start {
            self.spawn(|homeserver| async move {
                let clock = homeserver.seams.clock.clone();
                loop {
                    clock.sleep(SWEEP).await;
                    if !homeserver.typing.sweep(clock.now()) {
                        break;
                    }
                }
            });
        }
    }

    /// Whether the user, of whichever server, is joined to a room that is held here.
    pub(crate) async fn is_joined(&self, room_id: &RoomId, user_id: &UserId) -> Result<bool, Error> {
        let Some(room) = self.room(room_id).await? else {
            return Ok(false);
        };
        let state = self.view(&room.snapshot(), &[member(user_id)]).await?;
        Ok(state.membership(user_id) == "join")
    }
}

#[cfg(test)]
mod tests {
    use ruma_common::{room_id, user_id};

    use super::*;

    #[test]
    fn notices_end_by_themselves() {
        let (room, alice, bob) = (room_id!("!r:x"), user_id!("@alice:x"), user_id!("@bob:x"));
        let typing = Typing::new(0);
        typing.set(room, alice, Some(1_000), 0);
        typing.set(room, bob, Some(2_000), 10);
        assert_eq!(typing.room(room), [alice, bob]);
        assert!(typing.sweep(1_000));
        assert_eq!(typing.room(room), [bob]);
        assert!(!typing.sweep(2_000));
        assert!(typing.room(room).is_empty());
    }

    #[test]
    fn only_what_others_see_changes_the_serial() {
        let (room, alice) = (room_id!("!r:x"), user_id!("@alice:x"));
        let typing = Typing::new(5);
        typing.set(room, alice, None, 5);
        assert_eq!(typing.serial(), 5);
        typing.set(room, alice, Some(1_000), 5);
        let first = typing.serial();
        let told = |serial, anyone_typing| SyncToken {
            typing: serial,
            anyone_typing,
            ..SyncToken::default()
        };
        assert!(first > 5 && typing.has_changed(room, &told(5, false)));
        assert!(!typing.has_changed(room, &told(first, true)));
        let other = room_id!("!other:x");
        assert!(!typing.has_changed(other, &told(5, true)) && !typing.has_changed(other, &told(4, false)));
        assert!(
            typing.has_changed(other, &told(4, true)),
            "what was told in an earlier run"
        );
        typing.set(room, alice, Some(2_000), 6);
        assert_eq!(typing.serial(), first);
        typing.set(room, alice, None, 5);
        assert!(typing.serial() > first);
    }
}
