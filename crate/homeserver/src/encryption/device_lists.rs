//! Who is told that devices or keys of a user have changed: in `/sync` and `/keys/changes`, and on other servers by
//! EDU. Spec: Client-Server API, 'Tracking the device list for a user'; Server-Server API, 'Device Management'.
//!
//! The updates of one user are numbered without gaps. Each names the one before it, so a server that missed one
//! notices.

use std::collections::BTreeSet;

use hearth_storage::{Table, WriteBatch};
use ruma_common::{DeviceId, OwnedDeviceId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::Serialize;
use serde_json::{Value, json};

use super::row;
use crate::{
    Error, Homeserver, JsonObject, LogEntry,
    federation::sender::MAX_UPDATES_WAITING,
    rooms::{memberships::UserMembership, view::Key},
};

/// Rows `s\0user`: the number of the last update of the devices of a local user.
const STREAM_ID: u8 = b's';
/// With more membership changes than this between two syncs, it is not looked into what each of them changed.
const MAX_COMPARED: usize = 500;
/// What says that a room's messages are encrypted.
const ENCRYPTION: Key<'static> = ("m.room.encryption", "");

/// A change of one device of a local user, as other servers are told.
pub(super) struct DeviceUpdate {
    device_id: OwnedDeviceId,
    /// The keys it has now; `None` if it is gone.
    keys: Option<JsonObject>,
}

impl DeviceUpdate {
    pub(super) fn keys(device_id: &DeviceId, keys: JsonObject) -> Self {
        Self {
            device_id: device_id.to_owned(),
            keys: Some(keys),
        }
    }

    pub(super) fn deleted(device_id: OwnedDeviceId) -> Self {
        Self {
            device_id,
            keys: None,
        }
    }

    fn content(&self, user_id: &UserId, stream_id: u64) -> Value {
        let mut content = json!({
            "user_id": user_id, "device_id": self.device_id, "stream_id": stream_id, "prev_id": [],
        });
        if let Some(previous) = stream_id.checked_sub(1).filter(|previous| *previous > 0) {
            content["prev_id"] = json!([previous]);
        }
        match &self.keys {
            Some(keys) => content["keys"] = json!(keys),
            None => content["deleted"] = json!(true),
        }
        content
    }
}

/// Users whose devices a client must ask for again, and users whom it need not track any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeviceLists {
    /// Whose keys changed, or who is in a room with the user only now.
    pub changed: BTreeSet<OwnedUserId>,
    /// Who is in no room with the user any more.
    pub left: BTreeSet<OwnedUserId>,
}

impl DeviceLists {
    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.left.is_empty()
    }
}

/// What happened to rooms and keys in a part of the log, as far as device lists go.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListChanges {
    /// Whose keys changed.
    pub(crate) keys: BTreeSet<OwnedUserId>,
    /// Whose keys the user has signed.
    pub(crate) signed: BTreeSet<OwnedUserId>,
    /// Member events, with their room.
    pub(crate) members: Vec<(OwnedRoomId, OwnedUserId, OwnedEventId)>,
    /// Rooms whose state changed in ways that events do not tell.
    pub(crate) rooms: BTreeSet<OwnedRoomId>,
}

impl ListChanges {
    /// Whether nothing happened.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.signed.is_empty() && self.members.is_empty() && self.rooms.is_empty()
    }
}

impl Homeserver {
    /// Commits `batch` and tells of `updates` to devices of a local user. The caller holds the user's lock.
    pub(super) async fn commit_device_updates(
        &self,
        user_id: &UserId,
        mut batch: WriteBatch,
        updates: Vec<DeviceUpdate>,
    ) -> Result<(), Error> {
        let mut stream_id = self.stream_id(user_id).await?;
        let mut edus = Vec::new();
        for update in updates {
            stream_id += 1;
            edus.push(json!({
                "edu_type": "m.device_list_update", "content": update.content(user_id, stream_id),
            }));
        }
        batch.put(
            Table::Keys,
            row(STREAM_ID, &[user_id.as_str()]),
            stream_id.to_be_bytes(),
        );
        self.commit_key_changes(user_id, batch, edus).await
    }

    /// Commits `batch`, tells the local users who share a room with `user_id` that their keys changed, and sends
    /// `edus` to the other servers that do.
    pub(super) async fn commit_key_changes(
        &self,
        user_id: &UserId,
        mut batch: WriteBatch,
        edus: Vec<Value>,
    ) -> Result<(), Error> {
        let mut servers = self.servers_sharing(user_id).await?;
        let reservation = self.log.reserve(1);
        for server in std::mem::take(&mut servers) {
            if self
                .outbox
                .store_edus(&mut batch, &server, &edus, MAX_UPDATES_WAITING)?
            {
                servers.insert(server);
            }
        }
        let entry = LogEntry::DeviceList {
            user_id: user_id.to_owned(),
        };
        let Some(shared) = self.shared() else {
            return Err(Error::Damaged("closing".into()));
        };
        let count = edus.len();
        let post = move || servers.iter().for_each(|server| shared.post_edus(server, count));
        reservation.commit(batch, vec![entry], post).await?;
        Ok(())
    }

    /// The number of the last update of a user's devices.
    pub(super) async fn stream_id(&self, user_id: &UserId) -> Result<u64, Error> {
        let value = self
            .seams
            .store
            .get(Table::Keys, &row(STREAM_ID, &[user_id.as_str()]))
            .await?;
        let Some(value) = value else { return Ok(0) };
        let bytes = value.try_into().map_err(|_| Error::Damaged("stream id".into()))?;
        Ok(u64::from_be_bytes(bytes))
    }

    /// Whose devices changed for the local user between two positions of the log (`GET /keys/changes`).
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn key_changes(&self, user_id: &UserId, from: u64, to: u64) -> Result<DeviceLists, Error> {
        let to = to.min(self.log.current());
        if self.log.has_more_than(crate::sync::MAX_MISSED, from, to).await? {
            return self.all_device_lists(user_id).await;
        }
        let changes = self.list_changes(user_id, from, to).await?;
        self.device_lists(user_id, from, changes).await
    }

    /// Everybody whom the user may track, as changed: after so long a time that nobody remembers what changed.
    pub(crate) async fn all_device_lists(&self, user_id: &UserId) -> Result<DeviceLists, Error> {
        let mut changed = self.users_sharing(user_id).await?;
        changed.insert(user_id.to_owned());
        Ok(DeviceLists {
            changed,
            left: BTreeSet::new(),
        })
    }

    /// What `changes` after the position `from` mean to the local user.
    pub(crate) async fn device_lists(
        &self,
        user_id: &UserId,
        from: u64,
        changes: ListChanges,
    ) -> Result<DeviceLists, Error> {
        let mut lists = DeviceLists::default();
        lists
            .changed
            .extend(self.those_sharing(user_id, &changes.keys).await?);
        lists.changed.extend(changes.keys.get(user_id).cloned());
        lists.changed.extend(changes.signed);
        let (mut candidates, mut own_rooms) = (BTreeSet::new(), BTreeSet::new());
        let compare = changes.members.len() <= MAX_COMPARED;
        for (room_id, member, event_id) in changes.members {
            if compare && !self.changes_membership(&event_id).await? {
                continue;
            }
            if member == user_id {
                own_rooms.insert(room_id);
            } else {
                candidates.insert(member);
            }
        }
        let mut present = BTreeSet::new();
        let mut rooms = own_rooms.clone();
        for room_id in changes.rooms {
            // Of other rooms nobody's devices matter, and clients ask for them when that changes.
            if self.is_encrypted(&room_id).await? {
                rooms.insert(room_id);
            }
        }
        for room_id in &rooms {
            let own = self.user_membership(user_id, room_id);
            if own.as_ref().is_some_and(|own| own.membership == "join") {
                // Nobody of these needs to be looked up.
                present.extend(self.joined_users(room_id).await?);
            } else if own_rooms.contains(room_id) || own.is_some_and(|own| is_recent(&own, from)) {
                candidates.extend(self.joined_users(room_id).await?);
            }
        }
        candidates.retain(|candidate| !present.contains(candidate));
        present.extend(self.those_sharing(user_id, &candidates).await?);
        lists.left.extend(
            candidates
                .into_iter()
                .filter(|candidate| !present.contains(candidate)),
        );
        present.remove(user_id);
        lists.left.remove(user_id);
        lists.changed.extend(present);
        Ok(lists)
    }

    /// Whether the messages of a room are encrypted.
    async fn is_encrypted(&self, room_id: &RoomId) -> Result<bool, Error> {
        let Some(room) = self.room(room_id).await? else {
            return Ok(false);
        };
        let state = self.view(&room.snapshot(), &[ENCRYPTION]).await?;
        Ok(state.get(ENCRYPTION.0, ENCRYPTION.1).is_some())
    }

    /// Whether a member event is a join or the end of one, and not a new name.
    async fn changes_membership(&self, event_id: &ruma_common::EventId) -> Result<bool, Error> {
        let Some(event) = self.stored_event(event_id).await? else {
            return Ok(true);
        };
        let joins = event.content_text("membership") == Some("join");
        let Some(replaced) = &event.decision.replaces else {
            return Ok(joins);
        };
        let replaced = self.stored_event(replaced).await?;
        let was_joined = replaced.is_some_and(|event| event.content_text("membership") == Some("join"));
        Ok(joins != was_joined)
    }
}

fn is_recent(membership: &UserMembership, from: u64) -> bool {
    membership.position > from
}
