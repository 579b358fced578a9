//! Messages from device to device. Spec: Client-Server API, section 'Send-to-Device messaging'.
//!
//! A message waits in its device's queue from the log position at which it came until a sync shows that the client
//! has it. Messages for other servers wait in the outbox; see [`direct_to_device`](super::direct_to_device).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use hearth_storage::{Direction, KeyRange, Table, WriteBatch};
use ruma_common::{DeviceId, OwnedDeviceId, OwnedServerName, OwnedUserId, ServerName, UserId};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{checked_name, row};
use crate::{
    Error, Homeserver, JsonObject, LogEntry,
    accounts::Session,
    stored::{from_slice, scan_all, to_vec},
};

/// Rows `t\0user\0device\0position`: a message that waits.
const MESSAGE: u8 = b't';
/// Rows `x\0user\0device\0hash`: a transaction id that the device has used.
const TRANSACTION: u8 = b'x';
/// How long a transaction id is remembered at least, in milliseconds.
const TRANSACTION_LIFETIME: u64 = 24 * 60 * 60 * 1000;
/// The most messages that one answer of `/sync` holds.
pub(crate) const MAX_TOLD: usize = 100;
/// How much may wait for one device, in bytes with [`ROW`]: of this server's own users,
const MAX_OF_OWN: usize = 64 * 1024 * 1024;
/// of each server that shares a room with this one,
const MAX_OF_SERVER: usize = 8 * 1024 * 1024;
/// and of all other servers together: anybody can make as many as they like.
const MAX_OF_STRANGERS: usize = 1024 * 1024;
/// What a message costs beside its bytes.
const ROW: usize = 256;
/// The most messages that are deleted at once.
const MAX_DELETED: usize = 10_000;
/// The most devices that one request is for.
const MAX_RECIPIENTS: usize = 10_000;
/// The most bytes of one message's content, here as in Synapse.
const MAX_CONTENT: usize = 64 * 1024;
/// About how many bytes of messages one answer of `/sync` holds.
const MAX_TOLD_BYTES: usize = 1024 * 1024;

/// Contents by user and by device (`*`: all of the user's).
pub type Messages = BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, JsonObject>>;

/// A message that goes into the queue of a device of this server.
pub(super) struct Message {
    pub(super) user_id: OwnedUserId,
    pub(super) device_id: OwnedDeviceId,
    /// The event, as it is stored.
    pub(super) event: Vec<u8>,
}

/// How much waits for a device, by the server that sent it.
type Weights = BTreeMap<OwnedServerName, usize>;

/// Who sent a message that waits.
#[derive(Deserialize)]
struct Sent {
    sender: OwnedUserId,
}

impl Sent {
    fn server(&self) -> OwnedServerName {
        self.sender.server_name().to_owned()
    }
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
}

impl Queues {
    fn map(&self) -> MutexGuard<'_, HashMap<(OwnedUserId, OwnedDeviceId), Queue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_counted(&self, user_id: &UserId, device_id: &DeviceId) -> bool {
        self.change(user_id, device_id, |queue| queue.weights.is_some())
    }

    fn change<T>(&self, user_id: &UserId, device_id: &DeviceId, change: impl FnOnce(&mut Queue) -> T) -> T {
        let key = (user_id.to_owned(), device_id.to_owned());
        change(self.map().entry(key).or_default())
    }

    fn forget(&self, user_id: &UserId, device_id: &DeviceId) {
        self.map().remove(&(user_id.to_owned(), device_id.to_owned()));
    }
}

impl Homeserver {
    /// Sends messages of `kind` from the device of `session`. The same `txn_id` from the same device again sends
    /// nothing, also after a restart.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] if there are too many, [`Error::TooLarge`] if one is.
    pub async fn send_to_device(
        &self,
        session: &Session,
        kind: &str,
        txn_id: &str,
        messages: Messages,
    ) -> Result<(), Error> {
        check(kind, &messages)?;
        let sender = &session.user_id;
        let _lock = self.accounts.lock(sender).await;
        let transaction = transaction_row(session, kind, txn_id);
        if self.seams.store.get(Table::Keys, &transaction).await?.is_some() {
            return Ok(());
        }
        let mut batch = WriteBatch::new();
        if transaction.ends_with(&[0]) {
            self.forget_transactions(&mut batch, session).await?;
        }
        batch.put(Table::Keys, transaction, self.now().to_be_bytes());
        let (local, remote): (Messages, Messages) = messages
            .into_iter()
            .partition(|(user_id, _)| self.is_local(user_id));
        let remote = self.direct_to_device_edus(sender, kind, remote)?;
        let _gate = self.encryption.gate.read().await;
        let local = self.addressed(sender, kind, local).await?;
        let local = self.with_room(self.server_name(), local).await?;
        self.commit_messages(batch, local, remote).await
    }

    /// Takes the transaction ids of a device that are older than a day out of the store, with `batch`. Called now and
    /// then.
    async fn forget_transactions(&self, batch: &mut WriteBatch, session: &Session) -> Result<(), Error> {
        let oldest = self.now().saturating_sub(TRANSACTION_LIFETIME).to_be_bytes();
        let prefix = transaction_prefix(session);
        for (key, time) in scan_all(&*self.seams.store, Table::Keys, &prefix).await? {
            if time[..] < oldest[..] {
                batch.delete(Table::Keys, key);
            }
        }
        Ok(())
    }

    /// The messages for devices that there are.
    pub(super) async fn addressed(
        &self,
        sender: &UserId,
        kind: &str,
        messages: Messages,
    ) -> Result<Vec<Message>, Error> {
        let mut addressed = Vec::new();
        for (user_id, contents) in messages {
            let devices = self.devices(&user_id).await?;
            for (device_id, content) in contents {
                let event = to_vec(&json!({"sender": sender, "type": kind, "content": content}))?;
                let is_meant = |known: &DeviceId| device_id == "*" || device_id == known;
                let meant = devices.iter().filter(|device| is_meant(&device.device_id));
                addressed.extend(meant.map(|device| Message {
                    user_id: user_id.clone(),
                    device_id: device.device_id.clone(),
                    event: event.clone(),
                }));
            }
        }
        addressed.truncate(MAX_RECIPIENTS);
        Ok(addressed)
    }

    /// Puts messages into queues that [have room](Homeserver::with_room) and EDUs into the outbox, in one batch. The
    /// caller holds the gate.
    pub(super) async fn commit_messages(
        &self,
        mut batch: WriteBatch,
        messages: Vec<Message>,
        remote: BTreeMap<OwnedServerName, Vec<Value>>,
    ) -> Result<(), Error> {
        let mut entries = Vec::new();
        let reservation = self.log.reserve(messages.len());
        for (position, message) in (reservation.first()..).zip(&messages) {
            let Message {
                user_id,
                device_id,
                event,
            } = message;
            let row = message_row(user_id, device_id, position);
            batch.put(Table::Keys, row, event.as_slice());
            entries.push(LogEntry::ToDevice {
                user_id: user_id.clone(),
                device_id: device_id.clone(),
            });
        }
        let mut posted = Vec::new();
        for (server, edus) in remote {
            if self.outbox.store_edus(&mut batch, &server, &edus)? {
                posted.push((server, edus.len()));
            }
        }
        let Some(shared) = self.shared() else {
            return Err(Error::Damaged("closing".into()));
        };
        let post = move || {
            posted
                .iter()
                .for_each(|(server, count)| shared.post_edus(server, *count));
        };
        let committed = reservation.commit(batch, entries, post).await;
        if committed.is_err() {
            for message in &messages {
                let (user_id, device_id) = (&message.user_id, &message.device_id);
                self.encryption
                    .queues
                    .change(user_id, device_id, |queue| queue.weights = None);
            }
        }
        committed.map(drop)
    }

    /// Those of `messages`, all of users of `origin`, for which their queues have room: they are counted. Whoever sends
    /// too much loses what is newest of it, and nobody else loses anything.
    pub(super) async fn with_room(
        &self,
        origin: &ServerName,
        messages: Vec<Message>,
    ) -> Result<Vec<Message>, Error> {
        let own = self.server_name();
        let known = match origin == own {
            true => BTreeSet::new(),
            false => self.known_servers().await?,
        };
        let is_stranger = |server: &ServerName| server != own && !known.contains(server);
        let limit = match origin == own {
            true => MAX_OF_OWN,
            false if is_stranger(origin) => MAX_OF_STRANGERS,
            false => MAX_OF_SERVER,
        };
        let shares = |server: &ServerName| server == origin || (is_stranger(server) && is_stranger(origin));
        let mut kept = Vec::new();
        for message in messages {
            let (user_id, device_id) = (&message.user_id, &message.device_id);
            let counted = match self.encryption.queues.is_counted(user_id, device_id) {
                true => Weights::new(),
                false => self.weigh_queue(user_id, device_id).await?,
            };
            let weight = weight(&message.event);
            let fits = self.encryption.queues.change(user_id, device_id, |queue| {
                let weights = queue.weights.get_or_insert(counted);
                let sharing = weights.iter().filter(|(server, _)| shares(server));
                let waiting: usize = sharing.map(|(_, weight)| weight).sum();
                let fits = waiting + weight <= limit;
                if fits {
                    *weights.entry(origin.to_owned()).or_default() += weight;
                }
                fits
            });
            match fits {
                true => kept.push(message),
                false => tracing::warn!(%origin, %user_id, %device_id, "too many messages wait for a device"),
            }
        }
        Ok(kept)
    }

    /// How much waits for a device.
    async fn weigh_queue(&self, user_id: &UserId, device_id: &DeviceId) -> Result<Weights, Error> {
        let mut weights = Weights::new();
        let prefix = queue_prefix(user_id, device_id);
        for (_, event) in scan_all(&*self.seams.store, Table::Keys, &prefix).await? {
            *weights.entry(from_slice::<Sent>(&event)?.server()).or_default() += weight(&event);
        }
        Ok(weights)
    }

    /// Deletes the messages up to the log position `upto`, which the client has got.
    pub(crate) async fn acknowledge_messages(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        upto: u64,
    ) -> Result<(), Error> {
        let told = self
            .encryption
            .queues
            .change(user_id, device_id, |queue| queue.told);
        // A position from after the present is of a database that was rolled back: it says nothing of what is here.
        if told == Some(0) || upto == 0 || upto > self.log.current() {
            return Ok(());
        }
        let mut batch = WriteBatch::new();
        let start = queue_prefix(user_id, device_id);
        let range = KeyRange::between(start, message_row(user_id, device_id, upto.saturating_add(1)));
        let got = self
            .seams
            .store
            .scan(Table::Keys, range, Direction::Forward, MAX_DELETED)
            .await?;
        let mut gone = Weights::new();
        for (key, event) in got {
            *gone.entry(from_slice::<Sent>(&event)?.server()).or_default() += weight(&event);
            batch.delete(Table::Keys, key);
        }
        if !batch.is_empty() {
            self.seams.store.commit(batch).await?;
        }
        self.encryption.queues.change(user_id, device_id, |queue| {
            for (server, weight) in queue.weights.iter_mut().flatten() {
                *weight = weight.saturating_sub(gone.get(server).copied().unwrap_or_default());
            }
            queue
                .weights
                .iter_mut()
                .for_each(|weights| weights.retain(|_, weight| *weight > 0));
            if queue.told.is_none_or(|told| told <= upto) {
                queue.told = Some(0);
            }
        });
        Ok(())
    }

    /// At most `limit` messages, and about [`MAX_TOLD_BYTES`], for a device after `from` up to `to`, the oldest first,
    /// and up to which position these are all.
    pub(crate) async fn messages_for(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        from: u64,
        to: u64,
        limit: usize,
    ) -> Result<(Vec<JsonObject>, u64), Error> {
        let range = KeyRange::between(
            message_row(user_id, device_id, from.saturating_add(1)),
            message_row(user_id, device_id, to.saturating_add(1)),
        );
        let rows = self
            .seams
            .store
            .scan(Table::Keys, range, Direction::Forward, limit)
            .await?;
        let (mut bytes, mut last, mut events) = (0, None, Vec::new());
        for (key, value) in &rows {
            bytes += value.len();
            if bytes > MAX_TOLD_BYTES && last.is_some() {
                return Ok((events, last.unwrap_or(to)));
            }
            last = position_of(key);
            events.push(from_slice(value)?);
        }
        Ok((events, last.filter(|_| rows.len() == limit).unwrap_or(to)))
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

    /// Deletes the queue of a device and its transaction ids, with `batch`.
    pub(super) async fn delete_messages(
        &self,
        batch: &mut WriteBatch,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<(), Error> {
        for kind in [MESSAGE, TRANSACTION] {
            let prefix = row(kind, &[user_id.as_str(), device_id.as_str(), ""]);
            for (key, _) in scan_all(&*self.seams.store, Table::Keys, &prefix).await? {
                batch.delete(Table::Keys, key);
            }
        }
        self.encryption.queues.forget(user_id, device_id);
        Ok(())
    }
}

/// What a message that waits counts for.
fn weight(event: &[u8]) -> usize {
    event.len() + ROW
}

/// Whether a message of this content is taken.
pub(super) fn is_small(content: &JsonObject) -> bool {
    to_vec(content).is_ok_and(|json| json.len() <= MAX_CONTENT)
}

pub(super) fn check(kind: &str, messages: &Messages) -> Result<(), Error> {
    checked_name(kind)?;
    if messages.values().map(BTreeMap::len).sum::<usize>() > MAX_RECIPIENTS {
        return Err(Error::InvalidParam(format!(
            "at most {MAX_RECIPIENTS} devices are sent to at once"
        )));
    }
    match messages.values().flat_map(BTreeMap::values).all(is_small) {
        true => Ok(()),
        false => Err(Error::TooLarge(format!(
            "a message has at most {MAX_CONTENT} bytes"
        ))),
    }
}

fn queue_prefix(user_id: &UserId, device_id: &DeviceId) -> Vec<u8> {
    row(MESSAGE, &[user_id.as_str(), device_id.as_str(), ""])
}

fn message_row(user_id: &UserId, device_id: &DeviceId, position: u64) -> Vec<u8> {
    [
        queue_prefix(user_id, device_id).as_slice(),
        &position.to_be_bytes(),
    ]
    .concat()
}

fn position_of(key: &[u8]) -> Option<u64> {
    let (_, position) = key.split_last_chunk::<8>()?;
    Some(u64::from_be_bytes(*position))
}

fn transaction_row(session: &Session, kind: &str, txn_id: &str) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update((kind.len() as u64).to_be_bytes());
    hash.update(kind);
    hash.update(txn_id);
    [transaction_prefix(session).as_slice(), &hash.finalize()].concat()
}

fn transaction_prefix(session: &Session) -> Vec<u8> {
    let device = [session.user_id.as_str(), session.device_id.as_str(), ""];
    row(TRANSACTION, &device)
}
