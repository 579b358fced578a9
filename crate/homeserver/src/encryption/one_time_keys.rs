//! One-time and fallback keys of the devices of local users. Spec: Client-Server API, section 'One-time and
//! fallback keys'.
//!
//! A one-time key is given away once. Its row is deleted before the answer that holds it, and its id is
//! remembered, so that a client that uploads it again (having missed the answer to its first upload) does not
//! bring it back.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hearth_storage::{Table, WriteBatch};
use ruma_common::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{is_name, rest_of, row};
use crate::{
    Error, Homeserver, JsonObject,
    federation::sendable::check_sendable,
    ordered::try_map,
    stored::{from_slice, scan_all, to_vec},
};

/// Rows `o\0user\0device\0algorithm:id`: a one-time key.
const ONE_TIME: u8 = b'o';
/// Rows `p\0user\0device\0algorithm:id`: the number of a one-time key that was given away.
const PAST: u8 = b'p';
/// Rows `f\0user\0device\0algorithm`: a fallback key.
const FALLBACK: u8 = b'f';
/// The most one-time keys that wait for one device.
const MAX_KEYS: usize = 1_000;
/// The most ids of keys given away that are remembered for one device.
const MAX_PAST: usize = 2_000;
/// The most fallback keys of one device, each of another algorithm.
const MAX_FALLBACK: usize = 16;
/// The most bytes of one key.
const MAX_KEY: usize = 4 * 1024;
/// The most devices whose counts are in memory.
const MAX_CACHED: usize = 10_000;
/// The algorithm whose count is always told: clients upload more when they hear of none.
const USUAL: &str = "signed_curve25519";

/// A stored one-time key.
#[derive(Serialize, Deserialize)]
struct OneTimeKey {
    /// Keys are given away in the order of their numbers.
    #[serde(rename = "n")]
    number: u64,
    #[serde(rename = "k")]
    key: Value,
}

/// A stored fallback key.
#[derive(Serialize, Deserialize)]
struct FallbackKey {
    #[serde(rename = "i")]
    name: String,
    #[serde(rename = "k")]
    key: Value,
    /// Whether it was given away.
    #[serde(rename = "u")]
    used: bool,
}

/// What a device has left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyCounts {
    /// How many one-time keys, by algorithm.
    pub(crate) one_time: BTreeMap<String, u64>,
    /// The algorithms whose fallback key was not given away.
    pub(crate) unused_fallback: BTreeSet<String>,
}

impl KeyCounts {
    pub(super) fn into_one_time(self) -> BTreeMap<String, u64> {
        self.one_time
    }
}

/// Counts of devices that synced or uploaded since the start.
#[derive(Default)]
pub(crate) struct KeyCountCache(Mutex<HashMap<(OwnedUserId, OwnedDeviceId), Arc<KeyCounts>>>);

impl KeyCountCache {
    fn map(&self) -> MutexGuard<'_, HashMap<(OwnedUserId, OwnedDeviceId), Arc<KeyCounts>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, user_id: &UserId, device_id: &DeviceId) -> Option<Arc<KeyCounts>> {
        self.map()
            .get(&(user_id.to_owned(), device_id.to_owned()))
            .cloned()
    }

    pub(super) fn put(&self, user_id: &UserId, device_id: &DeviceId, counts: KeyCounts) {
        let mut map = self.map();
        if map.len() >= MAX_CACHED {
            map.clear();
        }
        map.insert((user_id.to_owned(), device_id.to_owned()), Arc::new(counts));
    }

    pub(super) fn forget(&self, user_id: &UserId, device_id: &DeviceId) {
        self.map().remove(&(user_id.to_owned(), device_id.to_owned()));
    }
}

/// Keys of an upload, checked.
#[derive(Default)]
pub(super) struct NewKeys {
    /// By `algorithm:id`.
    one_time: BTreeMap<String, Value>,
    /// By algorithm.
    fallback: BTreeMap<String, (String, Value)>,
}

impl NewKeys {
    /// # Errors
    /// [`Error::InvalidParam`] if a key or its name is malformed, or if there are too many; [`Error::BadJson`] if a
    /// key could not be sent to another server.
    pub(super) fn parse(one_time: Option<JsonObject>, fallback: Option<JsonObject>) -> Result<Self, Error> {
        let (one_time, fallback) = (one_time.unwrap_or_default(), fallback.unwrap_or_default());
        if one_time.len() > MAX_KEYS || fallback.len() > MAX_FALLBACK {
            return Err(Error::InvalidParam("too many keys at once".into()));
        }
        let mut new = Self::default();
        for (name, key) in one_time {
            check_key(&name, &key)?;
            new.one_time.insert(name, key);
        }
        for (name, key) in fallback {
            let algorithm = check_key(&name, &key)?.to_owned();
            new.fallback.insert(algorithm, (name, key));
        }
        Ok(new)
    }
}

impl Homeserver {
    /// What the device has left: for every sync, so it is in memory.
    pub(crate) async fn key_counts(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<Arc<KeyCounts>, Error> {
        if let Some(counts) = self.encryption.counts.get(user_id, device_id) {
            return Ok(counts);
        }
        let _lock = self.accounts.lock(user_id).await;
        let names = self.one_time_keys(user_id, device_id).await?.into_keys();
        let fallback = self.fallback_keys(user_id, device_id).await?;
        let counts = count(names, &fallback);
        self.encryption.counts.put(user_id, device_id, counts.clone());
        Ok(Arc::new(counts))
    }

    /// Puts new keys of a device into `batch`. Returns what it will have. The caller holds the user's lock.
    pub(super) async fn put_keys(
        &self,
        batch: &mut WriteBatch,
        user_id: &UserId,
        device_id: &DeviceId,
        new: NewKeys,
    ) -> Result<KeyCounts, Error> {
        let mut keys = self.one_time_keys(user_id, device_id).await?;
        let past = self.past_keys(user_id, device_id).await?;
        forget_oldest(batch, user_id, device_id, &past);
        let mut number = keys
            .values()
            .map(|key| key.number)
            .chain(past.values().copied())
            .max();
        for (name, key) in new.one_time {
            match keys.get(&name) {
                Some(known) if known.key == key => (),
                Some(_) => {
                    return Err(Error::InvalidParam(format!(
                        "One time key {name} already exists with other content"
                    )));
                }
                None if past.contains_key(&name) => (),
                None => {
                    let next = number.map_or(0, |number| number + 1);
                    number = Some(next);
                    let key = OneTimeKey { number: next, key };
                    batch.put(
                        Table::Keys,
                        one_time_row(ONE_TIME, user_id, device_id, &name),
                        to_vec(&key)?,
                    );
                    keys.insert(name, key);
                }
            }
        }
        if keys.len() > MAX_KEYS {
            return Err(Error::InvalidParam(format!(
                "a device has at most {MAX_KEYS} one-time keys"
            )));
        }
        let mut fallback = self.fallback_keys(user_id, device_id).await?;
        for (algorithm, (name, key)) in new.fallback {
            let known = fallback.get(&algorithm);
            if known.is_some_and(|known| known.name == name && known.key == key) {
                continue;
            }
            let key = FallbackKey {
                name,
                key,
                used: false,
            };
            batch.put(
                Table::Keys,
                fallback_row(user_id, device_id, &algorithm),
                to_vec(&key)?,
            );
            fallback.insert(algorithm, key);
        }
        if fallback.len() > MAX_FALLBACK {
            return Err(Error::InvalidParam(format!(
                "a device has at most {MAX_FALLBACK} fallback keys"
            )));
        }
        Ok(count(keys.into_keys(), &fallback))
    }

    /// Takes a one-time key of `algorithm` off the device with `batch`, or its fallback key if there is none.
    /// Returns name and key, and what the device will have left. The caller holds the user's lock.
    pub(super) async fn take_key(
        &self,
        batch: &mut WriteBatch,
        user_id: &UserId,
        device_id: &DeviceId,
        algorithm: &str,
    ) -> Result<Option<((String, Value), KeyCounts)>, Error> {
        let mut keys = self.one_time_keys(user_id, device_id).await?;
        let mut fallback = self.fallback_keys(user_id, device_id).await?;
        let of_algorithm = keys
            .iter()
            .filter(|(name, _)| algorithm_of(name) == Some(algorithm));
        let oldest = of_algorithm
            .min_by_key(|(_, key)| key.number)
            .map(|(name, _)| name.clone());
        let taken = match oldest.and_then(|name| keys.remove_entry(&name)) {
            Some((name, OneTimeKey { number, key })) => {
                batch.delete(Table::Keys, one_time_row(ONE_TIME, user_id, device_id, &name));
                let past = one_time_row(PAST, user_id, device_id, &name);
                batch.put(Table::Keys, past, number.to_be_bytes());
                (name, key)
            }
            None => {
                let Some(key) = fallback.get_mut(algorithm) else {
                    return Ok(None);
                };
                if !key.used {
                    key.used = true;
                    batch.put(
                        Table::Keys,
                        fallback_row(user_id, device_id, algorithm),
                        to_vec(key)?,
                    );
                }
                (key.name.clone(), key.key.clone())
            }
        };
        Ok(Some((taken, count(keys.into_keys(), &fallback))))
    }

    /// Deletes all one-time and fallback keys of a device, with `batch`.
    pub(super) async fn delete_one_time_keys(
        &self,
        batch: &mut WriteBatch,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<(), Error> {
        for kind in [ONE_TIME, PAST, FALLBACK] {
            let prefix = one_time_row(kind, user_id, device_id, "");
            for (key, _) in scan_all(&*self.seams.store, Table::Keys, &prefix).await? {
                batch.delete(Table::Keys, key);
            }
        }
        Ok(())
    }

    async fn one_time_keys(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<BTreeMap<String, OneTimeKey>, Error> {
        let prefix = one_time_row(ONE_TIME, user_id, device_id, "");
        let rows = scan_all(&*self.seams.store, Table::Keys, &prefix).await?;
        try_map(
            rows.iter()
                .map(|(key, value)| Ok((rest_of(key, &prefix)?, from_slice(value)?))),
        )
    }

    async fn past_keys(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<BTreeMap<String, u64>, Error> {
        let prefix = one_time_row(PAST, user_id, device_id, "");
        let rows = scan_all(&*self.seams.store, Table::Keys, &prefix).await?;
        let number = |value: Vec<u8>| {
            let bytes = value
                .try_into()
                .map_err(|_| Error::Damaged("key number".into()))?;
            Ok::<_, Error>(u64::from_be_bytes(bytes))
        };
        try_map(
            rows.into_iter()
                .map(|(key, value)| Ok((rest_of(&key, &prefix)?, number(value)?))),
        )
    }

    async fn fallback_keys(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<BTreeMap<String, FallbackKey>, Error> {
        let prefix = fallback_row(user_id, device_id, "");
        let rows = scan_all(&*self.seams.store, Table::Keys, &prefix).await?;
        try_map(
            rows.iter()
                .map(|(key, value)| Ok((rest_of(key, &prefix)?, from_slice(value)?))),
        )
    }
}

/// Forgets the oldest keys given away, where there are too many. A client does not upload those again.
fn forget_oldest(
    batch: &mut WriteBatch,
    user_id: &UserId,
    device_id: &DeviceId,
    past: &BTreeMap<String, u64>,
) {
    let mut by_age: Vec<_> = past.iter().map(|(name, number)| (*number, name)).collect();
    by_age.sort_unstable();
    for (_, name) in by_age.iter().take(past.len().saturating_sub(MAX_PAST)) {
        batch.delete(Table::Keys, one_time_row(PAST, user_id, device_id, name));
    }
}

fn count(names: impl Iterator<Item = String>, fallback: &BTreeMap<String, FallbackKey>) -> KeyCounts {
    let mut one_time = BTreeMap::from([(USUAL.to_owned(), 0)]);
    for name in names {
        if let Some(algorithm) = algorithm_of(&name) {
            *one_time.entry(algorithm.to_owned()).or_default() += 1;
        }
    }
    let unused = fallback.iter().filter(|(_, key)| !key.used);
    KeyCounts {
        one_time,
        unused_fallback: unused.map(|(algorithm, _)| algorithm.clone()).collect(),
    }
}

/// The algorithm of a key, if the key and its name are well-formed and can be sent to another server.
fn check_key<'a>(name: &'a str, key: &Value) -> Result<&'a str, Error> {
    let invalid = || Error::InvalidParam(format!("{name:?} is no key, or too long a one"));
    let algorithm = algorithm_of(name).filter(|_| is_name(name)).ok_or_else(invalid)?;
    let is_key = match key {
        Value::String(_) => true,
        Value::Object(key) => {
            check_sendable(key)?;
            key.get("key").is_some_and(Value::is_string)
                && key.get("signatures").is_some_and(Value::is_object)
        }
        _ => false,
    };
    match is_key && to_vec(key)?.len() <= MAX_KEY {
        true => Ok(algorithm),
        false => Err(invalid()),
    }
}

fn algorithm_of(name: &str) -> Option<&str> {
    let (algorithm, id) = name.split_once(':')?;
    (!algorithm.is_empty() && !id.is_empty()).then_some(algorithm)
}

fn one_time_row(kind: u8, user_id: &UserId, device_id: &DeviceId, name: &str) -> Vec<u8> {
    row(kind, &[user_id.as_str(), device_id.as_str(), name])
}

fn fallback_row(user_id: &UserId, device_id: &DeviceId, algorithm: &str) -> Vec<u8> {
    row(FALLBACK, &[user_id.as_str(), device_id.as_str(), algorithm])
}
