//! Devices of users of other servers, as this server knows them. Spec: Server-Server API, section 'Device
//! Management'.
//!
//! A list is kept once somebody has asked for it, and holds as long as the server shares a room with its user: for
//! so long it hears of each change. A change that does not follow upon the last one known makes the list stale, and
//! it is fetched again: at once if it can be, else when somebody asks.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use hearth_storage::{Table, WriteBatch};
use http::Method;
use ruma_common::{OwnedDeviceId, OwnedUserId, ServerName, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    cross_signing::{CrossSigningKeys, is_cross_signing_key},
    device_keys::is_device_keys,
    is_name, row,
};
use crate::{
    Error, FederationError, Homeserver, JsonObject, LogEntry,
    federation::{request::RequestError, uri::path},
    stored::{from_slice, to_vec},
};

/// Rows `r\0user`: the devices of a user of another server.
const REMOTE: u8 = b'r';
/// The most devices of one user.
const MAX_DEVICES: usize = 1_000;
/// The most bytes of all keys of one user.
const MAX_BYTES: usize = 1024 * 1024;
/// The most lists that are fetched at once because of what other servers sent.
const MAX_RESYNCS: usize = 32;

/// The devices and keys of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UserKeys {
    #[serde(rename = "d")]
    pub(super) devices: BTreeMap<OwnedDeviceId, JsonObject>,
    #[serde(rename = "c")]
    pub(super) cross_signing: CrossSigningKeys,
}

/// What is stored of a user of another server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct RemoteList {
    /// The last update that is part of it.
    #[serde(rename = "s")]
    stream_id: u64,
    /// The log position before it was fetched.
    #[serde(rename = "p")]
    position: u64,
    /// Whether an update was missed.
    #[serde(rename = "x", default)]
    stale: bool,
    #[serde(flatten)]
    keys: UserKeys,
}

/// The content of an `m.device_list_update` EDU.
#[derive(Deserialize)]
struct DeviceListUpdate {
    user_id: OwnedUserId,
    device_id: OwnedDeviceId,
    stream_id: u64,
    #[serde(default)]
    prev_id: Vec<u64>,
    #[serde(default)]
    deleted: bool,
    keys: Option<JsonObject>,
}

/// The content of an `m.signing_key_update` EDU.
#[derive(Deserialize)]
struct SigningKeyUpdate {
    user_id: OwnedUserId,
    master_key: Option<JsonObject>,
    self_signing_key: Option<JsonObject>,
}

/// Lists that are being fetched, each with how often and the greatest update heard of meanwhile.
#[derive(Default)]
pub(crate) struct Resyncs(Mutex<HashMap<OwnedUserId, Fetching>>);

#[derive(Default)]
struct Fetching {
    count: usize,
    newest: u64,
}

impl Resyncs {
    fn map(&self) -> MutexGuard<'_, HashMap<OwnedUserId, Fetching>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a list is being fetched, for as long as what this returns is kept.
    fn begin<'a>(&'a self, user_id: &'a UserId) -> Fetch<'a> {
        self.map().entry(user_id.to_owned()).or_default().count += 1;
        Fetch {
            resyncs: self,
            user_id,
        }
    }

    /// Notes that an update of the list came.
    fn hear(&self, user_id: &UserId, stream_id: u64) {
        if let Some(fetching) = self.map().get_mut(user_id) {
            fetching.newest = fetching.newest.max(stream_id);
        }
    }

    /// Whether the list may be fetched now: not while it is, which hears of what comes meanwhile.
    fn has_room_for(&self, user_id: &UserId) -> bool {
        let map = self.map();
        map.len() < MAX_RESYNCS && !map.contains_key(user_id)
    }
}

/// A list that is being fetched, until this is dropped: whoever asked may stop waiting.
struct Fetch<'a> {
    resyncs: &'a Resyncs,
    user_id: &'a UserId,
}

impl Fetch<'_> {
    /// The greatest update that came since the fetch began.
    fn newest(&self) -> u64 {
        let map = self.resyncs.map();
        map.get(self.user_id).map_or(0, |fetching| fetching.newest)
    }
}

impl Drop for Fetch<'_> {
    fn drop(&mut self) {
        let mut map = self.resyncs.map();
        if let Some(fetching) = map.get_mut(self.user_id) {
            fetching.count = fetching.count.saturating_sub(1);
            if fetching.count == 0 {
                map.remove(self.user_id);
            }
        }
    }
}

impl Homeserver {
    /// The devices of a user of another server as they are known here; `None` if they must be asked for.
    pub(super) async fn known_devices(&self, user_id: &UserId) -> Result<Option<UserKeys>, Error> {
        let Some(list) = self.remote_list(user_id).await?.filter(|list| !list.stale) else {
            return Ok(None);
        };
        let holds = self.is_known_since(user_id, list.position).await?;
        Ok(holds.then_some(list.keys))
    }

    /// The devices as they were known last, right or not.
    pub(super) async fn last_known_devices(&self, user_id: &UserId) -> Result<Option<UserKeys>, Error> {
        Ok(self.remote_list(user_id).await?.map(|list| list.keys))
    }

    /// Asks the user's server for all devices, and keeps them if the server shares a room with the user.
    pub(super) async fn fetch_devices(&self, user_id: &UserId) -> Result<UserKeys, RequestError> {
        let fetch = self.encryption.resyncs.begin(user_id);
        let position = self.log.current();
        let uri = path("v1/user/devices", &[user_id.as_str()], "");
        let answer = self.request(user_id.server_name(), Method::GET, &uri, None).await;
        let newest = fetch.newest();
        drop(fetch);
        let (stream_id, keys) = parse_list(user_id, answer?)
            .ok_or_else(|| FederationError::Protocol("malformed devices".into()))?;
        let list = RemoteList {
            stream_id,
            position,
            stale: newest > stream_id,
            keys,
        };
        if let Err(error) = self.keep_list(user_id, &list).await {
            tracing::warn!(%user_id, %error, "devices of another server were not kept");
        }
        Ok(list.keys)
    }

    async fn keep_list(&self, user_id: &UserId, list: &RemoteList) -> Result<(), Error> {
        let _lock = self.accounts.lock(user_id).await;
        let known = self.remote_list(user_id).await?;
        if known.is_some_and(|known| {
            !known.stale && known.stream_id > list.stream_id && known.position >= list.position
        }) {
            return Ok(());
        }
        let mut batch = WriteBatch::new();
        batch.put(Table::Keys, remote_row(user_id), to_vec(list)?);
        Ok(self.seams.store.commit(batch).await?)
    }

    async fn remote_list(&self, user_id: &UserId) -> Result<Option<RemoteList>, Error> {
        let row = self.seams.store.get(Table::Keys, &remote_row(user_id)).await?;
        row.map(|row| from_slice(&row)).transpose()
    }

    /// Takes in an `m.device_list_update` EDU. One that is malformed, or about a user who is not of `origin` or in
    /// no room that is held here, is ignored.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn receive_device_list_update(
        &self,
        origin: &ServerName,
        content: &JsonObject,
    ) -> Result<(), Error> {
        let Ok(update) = DeviceListUpdate::deserialize(Value::Object(content.clone())) else {
            return Ok(());
        };
        let user_id = update.user_id.clone();
        let is_sane = user_id.server_name() == origin && is_name(update.device_id.as_str());
        if !is_sane || !self.is_known_user(&user_id).await? {
            return Ok(());
        }
        self.encryption.resyncs.hear(&user_id, update.stream_id);
        let _lock = self.accounts.lock(&user_id).await;
        let mut batch = WriteBatch::new();
        let mut resync = false;
        if let Some(mut list) = self.remote_list(&user_id).await? {
            if update.stream_id <= list.stream_id && !list.stale {
                return Ok(());
            }
            list.apply(update);
            resync = list.stale;
            batch.put(Table::Keys, remote_row(&user_id), to_vec(&list)?);
        }
        self.commit_remote_change(&user_id, batch, resync).await
    }

    /// Takes in an `m.signing_key_update` EDU, as [`Homeserver::receive_device_list_update`] does its own.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn receive_signing_key_update(
        &self,
        origin: &ServerName,
        content: &JsonObject,
    ) -> Result<(), Error> {
        let Ok(update) = SigningKeyUpdate::deserialize(Value::Object(content.clone())) else {
            return Ok(());
        };
        let user_id = update.user_id.clone();
        if user_id.server_name() != origin || !self.is_known_user(&user_id).await? {
            return Ok(());
        }
        // A list that is being fetched may be from before this.
        self.encryption.resyncs.hear(&user_id, u64::MAX);
        let keys = checked_cross_signing(&user_id, update.master_key, update.self_signing_key);
        let _lock = self.accounts.lock(&user_id).await;
        let mut batch = WriteBatch::new();
        if let Some(mut list) = self.remote_list(&user_id).await? {
            // Synapse names only those that have changed.
            let keys = keys.or(list.keys.cross_signing.clone());
            if list.keys.cross_signing == keys {
                return Ok(());
            }
            list.keys.cross_signing = keys;
            batch.put(Table::Keys, remote_row(&user_id), to_vec(&list)?);
        }
        self.commit_remote_change(&user_id, batch, false).await
    }

    async fn commit_remote_change(
        &self,
        user_id: &UserId,
        batch: WriteBatch,
        resync: bool,
    ) -> Result<(), Error> {
        let user_id = user_id.to_owned();
        let entry = LogEntry::DeviceList {
            user_id: user_id.clone(),
        };
        self.log.commit(batch, vec![entry]).await?;
        if resync {
            self.spawn(|homeserver| async move {
                if !homeserver.encryption.resyncs.has_room_for(&user_id) {
                    return;
                }
                if let Err(error) = homeserver.fetch_devices(&user_id).await {
                    tracing::debug!(%user_id, %error, "a stale device list stays so");
                }
            });
        }
        Ok(())
    }

    /// Answers `GET /user/devices/{userId}` of another server.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such user here.
    pub async fn federation_devices(&self, user_id: &UserId) -> Result<Value, Error> {
        if !self.is_local(user_id) || !self.user_exists(user_id).await? {
            return Err(Error::NotFound("there is no such user here".into()));
        }
        let _lock = self.accounts.lock(user_id).await;
        let keys = self.local_keys(user_id, user_id).await?;
        let devices: Vec<_> = keys
            .devices
            .iter()
            .map(|(device_id, keys)| json!({"device_id": device_id, "keys": keys}))
            .collect();
        let mut answer = json!({
            "user_id": user_id, "stream_id": self.stream_id(user_id).await?, "devices": devices,
        });
        if let Some(master) = keys.cross_signing.master {
            answer["master_key"] = master.into();
        }
        if let Some(self_signing) = keys.cross_signing.self_signing {
            answer["self_signing_key"] = self_signing.into();
        }
        Ok(answer)
    }
}

impl RemoteList {
    /// Makes an update part of the list, or the list stale if it does not follow upon what is known.
    fn apply(&mut self, update: DeviceListUpdate) {
        let follows =
            !update.prev_id.is_empty() && update.prev_id.iter().all(|previous| *previous <= self.stream_id);
        if self.stale || !follows {
            self.stale = true;
            return;
        }
        self.stream_id = update.stream_id;
        if update.deleted {
            self.keys.devices.remove(&update.device_id);
            return;
        }
        let Some(keys) = update.keys else { return };
        let fits = self.keys.devices.len() < MAX_DEVICES || self.keys.devices.contains_key(&update.device_id);
        match fits && are_keys_of(&keys, &update.user_id, update.device_id.as_str()) {
            true => {
                self.keys.devices.insert(update.device_id.clone(), keys);
            }
            false => self.stale = true,
        }
        if to_vec(&self.keys.devices).is_ok_and(|devices| devices.len() > MAX_BYTES) {
            self.keys.devices.remove(&update.device_id);
            self.stale = true;
        }
    }
}

/// The answer to `GET /user/devices`: the number of the last update, and the keys. What is malformed in it is left
/// out.
fn parse_list(user_id: &UserId, answer: Value) -> Option<(u64, UserKeys)> {
    let Value::Object(mut answer) = answer else {
        return None;
    };
    let stream_id = answer.get("stream_id")?.as_u64()?;
    let Some(Value::Array(rows)) = answer.remove("devices") else {
        return None;
    };
    let mut devices = JsonObject::new();
    for device in rows.into_iter().take(MAX_DEVICES) {
        let Value::Object(mut device) = device else {
            continue;
        };
        if let (Some(Value::String(id)), Some(keys)) = (device.remove("device_id"), device.remove("keys")) {
            devices.insert(id, keys);
        }
    }
    let mut object = |field: &str| match answer.remove(field) {
        Some(Value::Object(key)) => Some(key),
        _ => None,
    };
    let cross_signing = (object("master_key"), object("self_signing_key"));
    Some((stream_id, checked_keys(user_id, devices, cross_signing)))
}

/// The well-formed ones among keys that another server has told of its user `user_id`.
pub(super) fn checked_keys(
    user_id: &UserId,
    devices: JsonObject,
    (master, self_signing): (Option<JsonObject>, Option<JsonObject>),
) -> UserKeys {
    let (mut found, mut bytes) = (BTreeMap::new(), 0);
    for (device_id, keys) in devices.into_iter().take(MAX_DEVICES) {
        let Value::Object(keys) = keys else { continue };
        bytes += to_vec(&keys).map_or(MAX_BYTES, |keys| keys.len());
        if bytes <= MAX_BYTES && are_keys_of(&keys, user_id, &device_id) {
            found.insert(device_id.into(), keys);
        }
    }
    UserKeys {
        devices: found,
        cross_signing: checked_cross_signing(user_id, master, self_signing),
    }
}

fn checked_cross_signing(
    user_id: &UserId,
    master: Option<JsonObject>,
    self_signing: Option<JsonObject>,
) -> CrossSigningKeys {
    CrossSigningKeys {
        master: master.filter(|key| is_cross_signing_key(key, user_id, "master")),
        self_signing: self_signing.filter(|key| is_cross_signing_key(key, user_id, "self_signing")),
        user_signing: None,
    }
}

/// Whether `keys` are well-formed identity keys of the device.
fn are_keys_of(keys: &JsonObject, user_id: &UserId, device_id: &str) -> bool {
    let says = |field: &str, text: &str| keys.get(field).and_then(Value::as_str) == Some(text);
    is_name(device_id)
        && says("user_id", user_id.as_str())
        && says("device_id", device_id)
        && is_device_keys(keys)
}

fn remote_row(user_id: &UserId) -> Vec<u8> {
    row(REMOTE, &[user_id.as_str()])
}

#[cfg(test)]
mod tests {
    use ruma_common::user_id;

    use super::*;

    #[test]
    fn a_fetch_that_nobody_waits_for_has_ended() {
        let resyncs = Resyncs::default();
        let user_id = user_id!("@a:x");
        let (one, two) = (resyncs.begin(user_id), resyncs.begin(user_id));
        resyncs.hear(user_id, 7);
        drop(one);
        assert_eq!(two.newest(), 7);
        drop(two);
        assert!(resyncs.map().is_empty());
    }
}
