//! What is known of one user's presence. Times are milliseconds since the Unix epoch.

use std::collections::BTreeMap;

use ruma_common::{DeviceId, OwnedDeviceId};
use serde_json::json;

use super::{ACTIVE, FORGOTTEN, IDLE, PresenceState};
use crate::JsonObject;

/// The most devices of one user that are looked at.
const MAX_DEVICES: usize = 50;
/// After how long other servers are told of a user who is there again, though nothing has changed: they would take
/// the user for gone.
const PING: u64 = 25 * 60_000;

/// What is known of a user.
#[derive(Clone, Debug, Default)]
pub(super) struct Person {
    /// When it last changed.
    pub(super) serial: u64,
    pub(super) state: PresenceState,
    pub(super) currently_active: bool,
    /// When they last did something; 0 if that is not known.
    pub(super) last_active: u64,
    pub(super) status_msg: Option<String>,
    /// The devices of a local user that are there.
    devices: BTreeMap<OwnedDeviceId, Device>,
    /// When another server's user was heard of last, or other servers were told of a local one.
    pub(super) heard: u64,
}

#[derive(Clone, Copy, Debug)]
struct Device {
    state: PresenceState,
    /// Until when it is there, unless it syncs again.
    until: u64,
}

impl Person {
    /// What others see of it, but for how long ago something was done.
    pub(super) fn shown(&self) -> (PresenceState, bool, Option<String>) {
        (self.state, self.currently_active, self.status_msg.clone())
    }

    /// The content of an `m.presence` event.
    pub(super) fn content(&self, now: u64) -> JsonObject {
        let mut content = JsonObject::from_iter([("presence".to_owned(), json!(self.state))]);
        if self.last_active > 0 {
            let ago = now.saturating_sub(self.last_active);
            content.insert("last_active_ago".into(), ago.into());
        }
        if let Some(status_msg) = &self.status_msg {
            content.insert("status_msg".into(), status_msg.as_str().into());
        }
        if self.state == PresenceState::Online {
            content.insert("currently_active".into(), self.currently_active.into());
        }
        content
    }

    /// A device says that it is there until then, or (`Offline`) that it is not.
    pub(super) fn sync(&mut self, device_id: &DeviceId, state: PresenceState, until: u64, now: u64) {
        if state == PresenceState::Offline {
            self.devices.remove(device_id);
            return;
        }
        if self.state == PresenceState::Offline {
            self.last_active = now;
        }
        if self.devices.len() < MAX_DEVICES || self.devices.contains_key(device_id) {
            let known = self.devices.get(device_id).map_or(0, |device| device.until);
            let until = until.max(known);
            self.devices.insert(device_id.to_owned(), Device { state, until });
        }
    }

    /// The user does something.
    pub(super) fn act(&mut self, now: u64) {
        self.last_active = now;
    }

    /// Works out the presence of a local user.
    pub(super) fn refresh(&mut self, now: u64) {
        self.devices.retain(|_, device| device.until > now);
        let said = self.devices.values().map(|device| device.state).max();
        let idle = now.saturating_sub(self.last_active);
        self.state = match said.unwrap_or_default() {
            PresenceState::Online if idle >= IDLE => PresenceState::Unavailable,
            state => state,
        };
        self.currently_active = self.state == PresenceState::Online && idle < ACTIVE;
    }

    /// Takes another server's user for gone who was not heard of for long.
    pub(super) fn expire(&mut self, now: u64) {
        if now.saturating_sub(self.heard) >= FORGOTTEN {
            self.state = PresenceState::Offline;
            self.currently_active = false;
        }
    }

    /// Whether other servers are to be told again that the user is there.
    pub(super) fn is_due(&self, now: u64) -> bool {
        self.state != PresenceState::Offline && now.saturating_sub(self.heard) >= PING
    }

    /// Whether it is a local user who is there.
    pub(super) fn has_devices(&self) -> bool {
        !self.devices.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::GRACE, *};

    fn device(name: &str) -> OwnedDeviceId {
        name.into()
    }

    #[test]
    fn the_most_present_device_counts() {
        let mut person = Person::default();
        person.sync(&device("A"), PresenceState::Unavailable, GRACE, 1);
        person.refresh(1);
        assert_eq!(person.state, PresenceState::Unavailable);
        person.sync(&device("B"), PresenceState::Online, GRACE, 1);
        person.refresh(1);
        assert_eq!(person.shown(), (PresenceState::Online, true, None));
        person.sync(&device("B"), PresenceState::Offline, GRACE, 1);
        person.refresh(1);
        assert_eq!(person.state, PresenceState::Unavailable);
        person.refresh(GRACE);
        assert_eq!(person.state, PresenceState::Offline);
    }

    #[test]
    fn whoever_does_nothing_is_away() {
        let mut person = Person::default();
        person.sync(&device("A"), PresenceState::Online, 10 * IDLE, 1);
        person.refresh(1 + ACTIVE);
        assert_eq!(person.shown(), (PresenceState::Online, false, None));
        person.refresh(1 + IDLE);
        assert_eq!(person.state, PresenceState::Unavailable);
        person.act(2 + IDLE);
        person.refresh(2 + IDLE);
        assert_eq!(person.shown(), (PresenceState::Online, true, None));
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        assert_eq!(
            serde_json::Value::Object(Person::default().content(7)),
            json!({"presence": "offline"})
        );
    }
}
