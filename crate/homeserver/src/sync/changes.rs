//! What a part of the log means to one user.
//!
//! It reads log entries and the user's memberships, both of which are in memory, and so finds out without
//! touching the store that there is nothing to tell.

use std::collections::{BTreeMap, BTreeSet};

use ruma_common::{OwnedEventId, OwnedRoomId, OwnedUserId, UserId};

use crate::{
    Error, Homeserver, LogEntry,
    encryption::ListChanges,
    rooms::{client_event::Viewer, memberships::UserMembership},
};

/// How many log entries are read at once.
const PAGE: usize = 1024;

/// What changed for a user.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    /// Changes of rooms that the user has to do with.
    pub(super) rooms: BTreeMap<OwnedRoomId, RoomChanges>,
    /// Types of global account data that changed.
    pub(super) account_data: BTreeSet<String>,
    /// What changed of keys and of who shares rooms.
    pub(super) lists: ListChanges,
    /// Messages for the device came.
    pub(super) to_device: bool,
    /// One-time keys of the device were given away.
    pub(super) keys_claimed: bool,
    /// The user began or ended to follow threads.
    pub(super) thread_subscriptions: bool,
}

/// What changed in a room.
#[derive(Clone, Debug, Default)]
pub(super) struct RoomChanges {
    /// Events that were appended to the timeline, oldest first.
    pub(super) events: Vec<OwnedEventId>,
    /// The state changed without an event.
    pub(super) state: bool,
    /// Whose receipts moved.
    pub(super) receipts: BTreeSet<OwnedUserId>,
    /// Types of the user's account data that changed.
    pub(super) account_data: BTreeSet<String>,
}

impl Changes {
    fn note(&mut self, entry: LogEntry, viewer: Viewer<'_>, rooms: &BTreeMap<OwnedRoomId, UserMembership>) {
        let user_id = viewer.user_id;
        match entry {
            LogEntry::Event {
                room_id,
                event_id,
                member,
            } if rooms.contains_key(&room_id) => {
                if let Some(member) = member {
                    let change = (room_id.clone(), member, event_id.clone());
                    self.lists.members.push(change);
                }
                self.rooms.entry(room_id).or_default().events.push(event_id);
            }
            LogEntry::State { room_id } if rooms.contains_key(&room_id) => {
                self.lists.rooms.insert(room_id.clone());
                self.rooms.entry(room_id).or_default().state = true;
            }
            LogEntry::DeviceList { user_id } => {
                self.lists.keys.insert(user_id);
            }
            LogEntry::Signed {
                user_id: signer,
                owner,
            } if signer == user_id => {
                self.lists.signed.insert(owner);
            }
            LogEntry::KeysClaimed {
                user_id: owner,
                device_id,
            } if viewer.is_on(&owner, &device_id) => self.keys_claimed = true,
            LogEntry::ThreadSubscription { user_id: owner } if owner == user_id => {
                self.thread_subscriptions = true;
            }
            LogEntry::ToDevice {
                user_id: owner,
                device_id,
            } if viewer.is_on(&owner, &device_id) => self.to_device = true,
            LogEntry::Receipt {
                room_id,
                user_id: owner,
                is_private,
            } if rooms.contains_key(&room_id) && (!is_private || owner == user_id) => {
                self.rooms.entry(room_id).or_default().receipts.insert(owner);
            }
            LogEntry::AccountData {
                user_id: owner,
                room_id: None,
                kind,
            } if owner == user_id => {
                self.account_data.insert(kind);
            }
            LogEntry::AccountData {
                user_id: owner,
                room_id: Some(room_id),
                kind,
            } if owner == user_id => {
                self.rooms.entry(room_id).or_default().account_data.insert(kind);
            }
            _ => {}
        }
    }
}

impl Homeserver {
    /// What changed of keys and of who shares rooms with the user, in the log entries after `from` up to `to`.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(crate) async fn list_changes(
        &self,
        user_id: &UserId,
        from: u64,
        to: u64,
    ) -> Result<ListChanges, Error> {
        let viewer = Viewer {
            user_id,
            device_id: None,
        };
        let changes = self.changes(viewer, &self.memberships(user_id), from, to).await?;
        Ok(changes.lists)
    }

    /// What the log entries after `from` up to `to` mean to the viewer, whose memberships are `rooms`.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(super) async fn changes(
        &self,
        viewer: Viewer<'_>,
        rooms: &BTreeMap<OwnedRoomId, UserMembership>,
        from: u64,
        to: u64,
    ) -> Result<Changes, Error> {
        let (mut changes, mut from) = (Changes::default(), from);
        loop {
            let page = self.log.since(from, to, PAGE).await?;
            let full = page.len() == PAGE;
            for (position, entry) in page {
                from = position;
                changes.note(entry, viewer, rooms);
            }
            if !full {
                return Ok(changes);
            }
        }
    }
}
