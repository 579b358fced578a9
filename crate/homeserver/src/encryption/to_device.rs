//! Messages from device to device. Spec: Client-Server API, section 'Send-to-Device messaging'.
//!
//! A message waits in its device's queue from the log position at which it came until a sync shows that the client
//! has it. Messages for other servers wait in the outbox; see [`direct_to_device`](super::direct_to_device).

use std::collections::BTreeMap;

use hearth_storage::{Direction, KeyRange, MaybeSend, StoreError, Table, WriteBatch};
use ruma_common::{DeviceId, OwnedDeviceId, OwnedServerName, OwnedUserId, UserId};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    checked_name,
    queues::{Counted, Weights, weight},
    row,
};
use crate::{
    Error, Homeserver, JsonObject, LogEntry,
    accounts::Session,
    federation::{sendable::check_sendable, sender::MAX_MESSAGES_WAITING},
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

impl Homeserver {
    /// Sends messages of `kind` from the device of `session`. The same `txn_id` from the same device again sends
    /// nothing, also after a restart.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] if there are too many, [`Error::TooLarge`] if one is, [`Error::BadJson`] if one could
    /// not be sent to another server.
    pub async fn send_to_device(
        &self,
        session: &Session,
        kind: &str,
        txn_id: &str,
        messages: Messages,
    ) -> Result<(), Error> {
        check(kind, &messages)?;
        messages
            .values()
            .flat_map(BTreeMap::values)
            .try_for_each(check_sendable)?;
        let sender = &session.user_id;
        let lock = self.accounts.lock(sender).await;
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
        let gate = self.encryption.gate.read_arc().await;
        let local = self.addressed(sender, kind, local).await?;
        let local = self.with_room(sender, local, &mut None).await?;
        self.commit_messages(batch, local, remote, (lock, gate)).await
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

    /// Puts messages into queues that [have room](Homeserver::with_room) and EDUs into the outbox, in one batch.
    /// `held`, the gate among it, is let go of when that is done, be it after the caller has stopped waiting.
    pub(super) async fn commit_messages(
        &self,
        mut batch: WriteBatch,
        counted: Counted,
        remote: BTreeMap<OwnedServerName, Vec<Value>>,
        held: impl MaybeSend + 'static,
    ) -> Result<(), Error> {
        let mut entries = Vec::new();
        let messages = counted.messages();
        if !messages.is_empty() || !remote.is_empty() {
            // Who sent them deletes them at our answer: nobody could send again what a loss of power takes away.
            batch.strict();
        }
        let reservation = self.log.reserve(messages.len());
        for (position, message) in (reservation.first()..).zip(messages) {
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
            if self
                .outbox
                .store_edus(&mut batch, &server, &edus, MAX_MESSAGES_WAITING)?
            {
                posted.push((server, edus.len()));
            }
        }
        let Some(shared) = self.shared() else {
            return Err(Error::Damaged("closing".into()));
        };
        let publish = move || {
            counted.stored();
            posted
                .iter()
                .for_each(|(server, count)| shared.post_edus(server, *count));
            drop(held);
        };
        reservation.commit(batch, entries, publish).await.map(drop)
    }

    /// Deletes the messages up to the log position `upto`, which the client has got. Where nothing can be stored any more
    /// they stay: what the client says next deletes them, and until then it can go on reading.
    pub(crate) async fn acknowledge_messages(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        upto: u64,
    ) -> Result<(), Error> {
        let queues = self.encryption.queues.clone();
        // A position from after the present is of a database that was rolled back: it says nothing of what is here.
        if queues.are_all_deleted(user_id, device_id) || upto == 0 || upto > self.log.current() {
            return Ok(());
        }
        let lock = queues.lock(user_id, device_id).await;
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
            *gone.entry(self.source_of(&event)?).or_default() += weight(&event);
            batch.delete(Table::Keys, key);
        }
        if batch.is_empty() {
            queues.note_deleted(user_id, device_id, upto, &gone);
            return Ok(());
        }
        let (user_id, device_id) = (user_id.to_owned(), device_id.to_owned());
        let publish = move || {
            queues.note_deleted(&user_id, &device_id, upto, &gone);
            drop(lock);
        };
        let reservation = self.log.reserve(0);
        match reservation.commit(batch, Vec::new(), publish).await {
            Ok(_) | Err(Error::Store(StoreError::Full)) => Ok(()),
            Err(error) => Err(error),
        }
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

pub(super) fn queue_prefix(user_id: &UserId, device_id: &DeviceId) -> Vec<u8> {
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
