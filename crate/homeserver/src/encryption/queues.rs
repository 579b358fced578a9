//! How much waits for each device, and how much may: whoever sends too much loses what is newest of it.
//!
//! A queue is read once to count what waits in it, and its counts are then kept in memory. This does *not* read or
//! write messages otherwise; see [`to_device`](super::to_device).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_lock::MutexGuardArc;
use hearth_storage::Table;
use ruma_common::{DeviceId, OwnedDeviceId, OwnedServerName, OwnedUserId, ServerName, UserId};
use serde::Deserialize;

use super::to_device::{Message, queue_prefix};
use crate::{
    Error, Homeserver,
    stored::{from_slice, scan_all},
};

/// How much may wait for one device, in bytes with [`ROW`]: of each user of this server,
const MAX_OF_USER: usize = 16 * 1024 * 1024;
/// of all of them together,
const MAX_OF_OWN: usize = 64 * 1024 * 1024;
/// of each server that shares a room with this one: it answers for its users,
const MAX_OF_SERVER: usize = 8 * 1024 * 1024;
/// and of all other servers together: anybody can make as many as they like.
const MAX_OF_STRANGERS: usize = 1024 * 1024;
/// What a message costs beside its bytes.
const ROW: usize = 256;

/// The other servers that share a room with this one, once somebody had to know.
pub type KnownServers = Option<BTreeSet<OwnedServerName>>;

/// How much waits for a device, by who answers for it: of this server's users each, of other servers the server.
pub(super) type Weights = BTreeMap<String, usize>;

/// Whose messages share a limit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    Own,
    Known,
    Strangers,
}

/// Who sent a message that waits.
#[derive(Deserialize)]
struct Sent {
    sender: OwnedUserId,
}

/// What is known in memory of queues.
#[derive(Default)]
pub(crate) struct Queues(Mutex<HashMap<(OwnedUserId, OwnedDeviceId), Queue>>);

/// A queue, as far as it is known.
#[derive(Default)]
struct Queue {
    /// How much waits, once it was counted.
    weights: Option<Weights>,
    /// Up to which position messages were told to the client and are not deleted yet; `None` if that is not known.
    told: Option<u64>,
    /// Held while what waits is read to be counted, and while some of it is deleted.
    lock: Arc<async_lock::Mutex<()>>,
}

/// Messages that are counted in their queues. Those that are dropped before they are [stored](Counted::stored) are
/// counted no more.
pub(super) struct Counted {
    messages: Vec<Message>,
    source: String,
    queues: Arc<Queues>,
}

impl Queues {
    /// Waits until nobody else reads the queue to count it, or deletes messages.
    pub(super) async fn lock(&self, user_id: &UserId, device_id: &DeviceId) -> MutexGuardArc<()> {
        let lock = self.change(user_id, device_id, |queue| queue.lock.clone());
        lock.lock_arc().await
    }

    /// Whether the client has got all that it was told of, and that is deleted.
    pub(super) fn are_all_deleted(&self, user_id: &UserId, device_id: &DeviceId) -> bool {
        self.change(user_id, device_id, |queue| queue.told == Some(0))
    }

    /// Notes that the messages up to the log position `upto`, which weighed `gone`, were deleted.
    pub(super) fn note_deleted(&self, user_id: &UserId, device_id: &DeviceId, upto: u64, gone: &Weights) {
        self.change(user_id, device_id, |queue| {
            gone.iter()
                .for_each(|(source, weight)| queue.subtract(source, *weight));
            if queue.told.is_none_or(|told| told <= upto) {
                queue.told = Some(0);
            }
        });
    }

    /// Forgets what is known of a queue.
    pub(super) fn forget(&self, user_id: &UserId, device_id: &DeviceId) {
        self.map().remove(&(user_id.to_owned(), device_id.to_owned()));
    }

    /// Counts a message of `source` if there is room for it, as far as is known who shares rooms with this server.
    fn take(&self, message: &Message, source: &str, known: &KnownServers) -> bool {
        let group = Group::of(source, known);
        let (most_of_one, most_of_all) = match group {
            Group::Own => (MAX_OF_USER, MAX_OF_OWN),
            Group::Known => (MAX_OF_SERVER, usize::MAX),
            Group::Strangers => (MAX_OF_STRANGERS, MAX_OF_STRANGERS),
        };
        let weight = weight(&message.event);
        self.change(&message.user_id, &message.device_id, |queue| {
            let weights = queue.weights.get_or_insert_default();
            let alike = weights
                .iter()
                .filter(|(other, _)| Group::of(other, known) == group);
            let of_all: usize = alike.map(|(_, weight)| weight).sum();
            let of_one = weights.get(source).copied().unwrap_or_default();
            let fits = of_one + weight <= most_of_one && of_all + weight <= most_of_all;
            if fits {
                *weights.entry(source.to_owned()).or_default() += weight;
            }
            fits
        })
    }

    fn is_counted(&self, user_id: &UserId, device_id: &DeviceId) -> bool {
        self.change(user_id, device_id, |queue| queue.weights.is_some())
    }

    fn change<T>(&self, user_id: &UserId, device_id: &DeviceId, change: impl FnOnce(&mut Queue) -> T) -> T {
        let key = (user_id.to_owned(), device_id.to_owned());
        change(self.map().entry(key).or_default())
    }

    fn map(&self) -> MutexGuard<'_, HashMap<(OwnedUserId, OwnedDeviceId), Queue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn subtract(&mut self, source: &str, weight: usize) {
        let Some(weights) = &mut self.weights else { return };
        if let Some(waiting) = weights.get_mut(source) {
            *waiting = waiting.saturating_sub(weight);
        }
        weights.retain(|_, weight| *weight > 0);
    }
}

impl Group {
    fn of(source: &str, known: &KnownServers) -> Self {
        let is_known = |server: &ServerName| known.as_ref().is_some_and(|known| known.contains(server));
        match <&ServerName>::try_from(source) {
            Err(_) => Self::Own,
            Ok(server) if is_known(server) => Self::Known,
            Ok(_) => Self::Strangers,
        }
    }
}

impl Counted {
    pub(super) fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Notes that the messages wait in their queues.
    pub(super) fn stored(mut self) {
        self.messages.clear();
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        for Message {
            user_id,
            device_id,
            event,
        } in &self.messages
        {
            self.queues.change(user_id, device_id, |queue| {
                queue.subtract(&self.source, weight(event));
            });
        }
    }
}

impl Homeserver {
    /// Those of `messages`, all of `sender`, for which their queues have room: they are counted. Whoever answers for
    /// too much loses what is newest of it, and no other known server loses anything, nor does any other user of this
    /// one unless several of them flood a device together. Strangers share what they have. Who is known is looked up
    /// once it has to be.
    pub(super) async fn with_room(
        &self,
        sender: &UserId,
        messages: Vec<Message>,
        known: &mut KnownServers,
    ) -> Result<Counted, Error> {
        let queues = &self.encryption.queues;
        let mut counted = Counted {
            messages: Vec::new(),
            source: self.source(sender),
            queues: queues.clone(),
        };
        for message in messages {
            self.count_queue(&message.user_id, &message.device_id).await?;
            let mut fits = queues.take(&message, &counted.source, known);
            if !fits && known.is_none() && !self.is_local(sender) {
                *known = Some(self.known_servers().await?);
                fits = queues.take(&message, &counted.source, known);
            }
            let Message {
                user_id, device_id, ..
            } = &message;
            match fits {
                true => counted.messages.push(message),
                false => tracing::warn!(%sender, %user_id, %device_id, "too many messages wait for a device"),
            }
        }
        Ok(counted)
    }

    /// Counts what waits for a device, if that was not done yet.
    async fn count_queue(&self, user_id: &UserId, device_id: &DeviceId) -> Result<(), Error> {
        let queues = &self.encryption.queues;
        if queues.is_counted(user_id, device_id) {
            return Ok(());
        }
        let _lock = queues.lock(user_id, device_id).await;
        if queues.is_counted(user_id, device_id) {
            return Ok(());
        }
        let mut weights = Weights::new();
        let prefix = queue_prefix(user_id, device_id);
        for (_, event) in scan_all(&*self.seams.store, Table::Keys, &prefix).await? {
            *weights.entry(self.source_of(&event)?).or_default() += weight(&event);
        }
        queues.change(user_id, device_id, |queue| queue.weights = Some(weights));
        Ok(())
    }

    /// Notes that the messages after `from` up to `upto` (0: there are none) were told: the next sync from there
    /// deletes them.
    pub(crate) fn note_told(&self, user_id: &UserId, device_id: &DeviceId, from: u64, upto: u64) {
        self.encryption.queues.change(user_id, device_id, |queue| {
            queue.told = match queue.told {
                // What waits from before `from` is not known.
                None if from > 0 && upto == 0 => None,
                told => Some(told.unwrap_or_default().max(upto)),
            };
        });
    }

    /// Who answers for a message that waits.
    pub(super) fn source_of(&self, event: &[u8]) -> Result<String, Error> {
        Ok(self.source(&from_slice::<Sent>(event)?.sender))
    }

    /// Who answers for what `sender` sends. No user id is the name of a server.
    fn source(&self, sender: &UserId) -> String {
        match self.is_local(sender) {
            true => sender.to_string(),
            false => sender.server_name().to_string(),
        }
    }
}

/// What a message that waits counts for.
pub(super) fn weight(event: &[u8]) -> usize {
    event.len() + ROW
}
