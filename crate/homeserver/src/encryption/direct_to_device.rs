//! Messages from device to device between servers: `m.direct_to_device`. Spec: Server-Server API, section
//! 'Send-to-device messaging'.
//!
//! They leave through the outbox, which may send one twice. Of each server the ids of the last messages are
//! remembered, in the batch that stores the message, so that it arrives once.

use std::collections::BTreeMap;

use hearth_storage::{Table, WriteBatch};
use ruma_common::{OwnedServerName, OwnedUserId, ServerName, UserId};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    KnownServers, is_name, row,
    to_device::{Messages, check, is_small},
};
use crate::{Error, Homeserver, JsonObject, stored::to_vec};

/// Rows `m\0server`: hashes of the ids of the last messages of another server, the newest last.
const HEARD: u8 = b'm';
/// How many ids are remembered of each server: a transaction has at most 100 EDUs, and only the last transactions
/// can be sent again.
const MAX_HEARD: usize = 512;
/// Bytes of a hash that are kept.
const HASH: usize = 16;
/// Bytes of randomness in a message id.
const ID_BYTES: usize = 16;
/// The most devices that one EDU is for.
const MAX_RECIPIENTS: usize = 1_000;
/// How many bytes of ids and contents one EDU has, unless that is a single message: a transaction with 50 of them is
/// no larger than other servers take.
const MAX_BYTES: usize = 64 * 1024;

/// The content of an `m.direct_to_device` EDU.
#[derive(Deserialize)]
struct DirectToDevice {
    sender: OwnedUserId,
    #[serde(rename = "type")]
    kind: String,
    message_id: String,
    messages: Messages,
}

impl Homeserver {
    /// EDUs for the servers of the users in `messages`.
    pub(super) fn direct_to_device_edus(
        &self,
        sender: &UserId,
        kind: &str,
        messages: Messages,
    ) -> Result<BTreeMap<OwnedServerName, Vec<Value>>, Error> {
        let mut by_server: BTreeMap<OwnedServerName, Messages> = BTreeMap::new();
        for (user_id, contents) in messages {
            let server = user_id.server_name().to_owned();
            by_server.entry(server).or_default().insert(user_id, contents);
        }
        let edu = |messages: Messages| {
            let content = json!({
                "sender": sender, "type": kind, "message_id": self.random_id(ID_BYTES), "messages": messages,
            });
            json!({"edu_type": "m.direct_to_device", "content": content})
        };
        by_server
            .into_iter()
            .map(|(server, messages)| Ok((server, split(messages)?.into_iter().map(edu).collect())))
            .collect()
    }

    /// Takes in an `m.direct_to_device` EDU, once. One that is malformed or whose sender is not of `origin` is
    /// ignored, and so are messages that are too large, users of other servers and devices that there are not. `known`
    /// is kept from one EDU of a transaction to the next.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn receive_direct_to_device(
        &self,
        origin: &ServerName,
        content: &JsonObject,
        known: &mut KnownServers,
    ) -> Result<(), Error> {
        let Ok(mut edu) = DirectToDevice::deserialize(Value::Object(content.clone())) else {
            return Ok(());
        };
        let recipients = edu.messages.values().map(BTreeMap::len).sum::<usize>();
        for contents in edu.messages.values_mut() {
            contents.retain(|_, content| is_small(content));
        }
        let is_sane = edu.sender.server_name() == origin && is_name(&edu.message_id);
        if !is_sane || recipients > MAX_RECIPIENTS || check(&edu.kind, &edu.messages).is_err() {
            return Ok(());
        }
        edu.messages
            .retain(|user_id, contents| self.is_local(user_id) && !contents.is_empty());
        if edu.messages.is_empty() {
            return Ok(());
        }
        let inbox = self.encryption.inbox.lock_arc().await;
        let key = row(HEARD, &[origin.as_str()]);
        let mut heard = self.seams.store.get(Table::Keys, &key).await?.unwrap_or_default();
        let hash = Sha256::digest(&edu.message_id);
        let hash = hash.get(..HASH).unwrap_or_default();
        if heard.chunks(HASH).any(|known| known == hash) {
            return Ok(());
        }
        heard.extend_from_slice(hash);
        let surplus = heard.len().saturating_sub(MAX_HEARD * HASH);
        heard.drain(..surplus);
        let mut batch = WriteBatch::new();
        batch.put(Table::Keys, key, heard);
        let gate = self.encryption.gate.read_arc().await;
        let messages = self.addressed(&edu.sender, &edu.kind, edu.messages).await?;
        let messages = self.with_room(&edu.sender, messages, known).await?;
        if messages.messages().is_empty() {
            return Ok(());
        }
        self.commit_messages(batch, messages, BTreeMap::new(), (inbox, gate))
            .await
    }
}

/// `messages` in parts that an EDU each may have.
fn split(messages: Messages) -> Result<Vec<Messages>, Error> {
    let mut parts = vec![Messages::new()];
    let (mut bytes, mut recipients) = (0, 0);
    for (user_id, contents) in messages {
        for (device_id, content) in contents {
            let size = user_id.as_str().len() + device_id.as_str().len() + to_vec(&content)?.len();
            (bytes, recipients) = (bytes + size, recipients + 1);
            if recipients > 1 && (bytes > MAX_BYTES || recipients > MAX_RECIPIENTS) {
                parts.push(Messages::new());
                (bytes, recipients) = (size, 1);
            }
            if let Some(part) = parts.last_mut() {
                part.entry(user_id.clone())
                    .or_default()
                    .insert(device_id, content);
            }
        }
    }
    Ok(parts)
}
