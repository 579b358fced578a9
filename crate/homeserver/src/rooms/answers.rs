//! Answers to sends that are on their way to the devices that sent.
//!
//! A client knows its own message in `/sync` by the event id that the send was answered with. If matrix-js-sdk 43 hears of
//! the first message of a thread before, it takes the send for failed, and holds up the room's next ones for half a minute.
//! So a device is told by `/sync` of what it has sent when the send has been answered, and a sync that waits for that leaves
//! the answer, which comes over another connection, a moment to be there first. Nobody waits for sends that are not being
//! stored yet.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use event_listener::Event;
use ruma_common::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};

use crate::Clock;

/// By how much an answer is ahead of a sync that waited for it, in milliseconds. From a worker to its pages nothing
/// overtakes.
const AHEAD: u64 = if cfg!(target_arch = "wasm32") { 0 } else { 10 };

/// The answers that are owed.
#[derive(Clone)]
pub(crate) struct Answers(Arc<Shared>);

struct Shared {
    clock: Arc<dyn Clock>,
    owed: Mutex<Owed>,
    given: Event,
}

/// Who sends.
type Owner = (OwnedUserId, OwnedDeviceId);

#[derive(Default)]
struct Owed {
    /// How many answers there ever were.
    count: u64,
    /// To whom, by number.
    open: BTreeMap<u64, Owner>,
    /// Those that were given last and when, in milliseconds since the Unix epoch, oldest first.
    given: VecDeque<(u64, Owner)>,
}

/// An answer that is owed until this is dropped.
pub(crate) struct Answer {
    shared: Arc<Shared>,
    number: u64,
}

impl Answers {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared {
            clock,
            owed: Mutex::default(),
            given: Event::new(),
        }))
    }

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

    /// Waits until a device has got all answers that it is owed now. A sync that `has_waited` may be about to tell of what
    /// was answered just now: it waits until that answer is ahead.
    pub(crate) async fn given(&self, user_id: &UserId, device_id: &DeviceId, mut has_waited: bool) {
        let until = self.0.owed().count;
        loop {
            let given = self.0.given.listen();
            if !self.0.owed().owes(user_id, device_id, until) {
                break;
            }
            given.await;
            has_waited = true;
        }
        if has_waited {
            let since_given = self.0.since_given(user_id, device_id);
            let left = AHEAD.saturating_sub(since_given.unwrap_or(AHEAD));
            if left > 0 {
                self.0.clock.sleep(Duration::from_millis(left)).await;
            }
        }
    }
}

impl Shared {
    fn owed(&self) -> MutexGuard<'_, Owed> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how many milliseconds the device has had the answer that it got last, if that is not long ago.
    fn since_given(&self, user_id: &UserId, device_id: &DeviceId) -> Option<u64> {
        let now = self.clock.now();
        let owed = self.owed();
        let mut given = owed.given.iter().rev();
        let (at, _) = given.find(|(_, (user, device))| user == user_id && device == device_id)?;
        Some(now.saturating_sub(*at))
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
        let now = self.shared.clock.now();
        let mut owed = self.shared.owed();
        if let Some(owner) = owed.open.remove(&self.number) {
            owed.given.push_back((now, owner));
        }
        while owed.given.front().is_some_and(|(at, _)| at.abs_diff(now) > AHEAD) {
            owed.given.pop_front();
        }
        drop(owed);
        self.shared.given.notify(usize::MAX);
    }
}
