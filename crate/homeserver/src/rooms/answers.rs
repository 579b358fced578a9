//! Answers to sends that are on their way to the devices that sent.
//!
//! A client knows its own message in `/sync` by the event id that the send was answered with, and matrix-js-sdk takes a
//! message in a thread that it hears of before for somebody else's. So a device is told by `/sync` of what it has sent
//! when the send has been answered. Nothing is timed, and nobody waits for sends that are not being stored yet.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use event_listener::Event;
use ruma_common::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};

/// The answers that are owed.
#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<Shared>);

#[derive(Default)]
struct Shared {
    owed: Mutex<Owed>,
    given: Event,
}

#[derive(Default)]
struct Owed {
    /// How many answers there ever were.
    count: u64,
    /// To whom, by number.
    open: BTreeMap<u64, (OwnedUserId, OwnedDeviceId)>,
}

/// An answer that is owed until this is dropped.
pub(crate) struct Answer {
    shared: Arc<Shared>,
    number: u64,
}

impl Answers {
    /// From now on a device is owed an answer.
    pub(crate) fn owe(&self, user_id: &UserId, device_id: &DeviceId) -> Answer {
        let mut owed = self.0.owed();
        let number = owed.count;
        owed.count += 1;
        owed.open
            .insert(number, (user_id.to_owned(), device_id.to_owned()));
        Answer {
            shared: self.0.clone(),
            number,
        }
    }

    /// Waits until a device has got all answers that it is owed now.
    pub(crate) async fn given(&self, user_id: &UserId, device_id: &DeviceId) {
        let until = self.0.owed().count;
        loop {
            let given = self.0.given.listen();
            if !self.0.owed().owes(user_id, device_id, until) {
                return;
            }
            given.await;
        }
    }
}

impl Shared {
    fn owed(&self) -> MutexGuard<'_, Owed> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owed {
    /// Whether the device is owed an answer of a number less than `until`.
    fn owes(&self, user_id: &UserId, device_id: &DeviceId, until: u64) -> bool {
        let mut owners = self.open.range(..until).map(|(_, owner)| owner);
        owners.any(|(user, device)| user == user_id && device == device_id)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.shared.owed().open.remove(&self.number);
        self.shared.given.notify(usize::MAX);
    }
}
