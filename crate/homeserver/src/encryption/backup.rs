//! Backups of room keys, encrypted by the user's own clients. Spec: Client-Server API, section 'Server-side key
//! backups'.
//!
//! A user has any number of versions, of which the newest takes new keys. What a client can tell by `count` and
//! `etag` changes with every key that is added, replaced or deleted. Deleted versions are remembered, so that
//! their numbers are not used again.

use std::collections::BTreeMap;

use hearth_storage::{Direction, KeyRange, Table, WriteBatch};
use ruma_common::{OwnedRoomId, RoomId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{checked_name, rest_of, row};
use crate::{
    Error, Homeserver, JsonObject,
    stored::{from_slice, scan_all, to_vec},
};

/// Rows `v\0user\0version`: a version.
const VERSION: u8 = b'v';
/// Rows `b\0user\0version\0room\0session`: a key.
const KEY: u8 = b'b';
/// The most bytes of an algorithm's name. Which one it is, is for clients to know.
const MAX_ALGORITHM: usize = 255;
/// The most bytes of a version's `auth_data`.
const MAX_AUTH_DATA: usize = 64 * 1024;
/// The most bytes of one key.
const MAX_KEY: usize = 64 * 1024;

/// A version of a backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Version {
    algorithm: String,
    auth_data: JsonObject,
    count: u64,
    etag: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
}

/// A version as a client makes or changes it.
#[derive(Clone, Debug, Deserialize)]
pub struct NewVersion {
    /// How keys are encrypted.
    pub algorithm: String,
    /// What the algorithm needs.
    pub auth_data: JsonObject,
    /// Which version it is, where one is changed.
    pub version: Option<String>,
}

/// A key of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUpKey {
    /// The first message that it decrypts.
    pub first_message_index: u64,
    /// How often it was passed on.
    pub forwarded_count: u64,
    /// Whether it came from a device that the user trusts.
    pub is_verified: bool,
    /// The key, encrypted.
    pub session_data: JsonObject,
}

/// The keys of a room by session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomKeys {
    /// The keys.
    pub sessions: BTreeMap<String, BackedUpKey>,
}

/// Keys by room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupKeys {
    /// The keys.
    pub rooms: BTreeMap<OwnedRoomId, RoomKeys>,
}

/// What of a backup is meant.
#[derive(Clone, Copy, Debug)]
pub enum BackupScope<'a> {
    /// All of it.
    All,
    /// One room.
    Room(&'a RoomId),
    /// One key.
    Session(&'a RoomId, &'a str),
}

/// How many keys a version has, and a mark that changes whenever they do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackupStatus {
    /// The mark.
    pub etag: String,
    /// How many.
    pub count: u64,
}

impl Version {
    fn status(&self) -> BackupStatus {
        BackupStatus {
            etag: self.etag.to_string(),
            count: self.count,
        }
    }

    fn answer(&self, number: u64) -> Value {
        json!({
            "version": number.to_string(),
            "algorithm": self.algorithm,
            "auth_data": self.auth_data,
            "count": self.count,
            "etag": self.etag.to_string(),
        })
    }
}

impl BackedUpKey {
    /// Whether this key is to be kept rather than `known`. Spec: `PUT /room_keys/keys/{roomId}/{sessionId}`.
    fn is_better_than(&self, known: &Self) -> bool {
        let rank = |key: &Self| (!key.is_verified, key.first_message_index, key.forwarded_count);
        rank(self) < rank(known)
    }
}

impl Homeserver {
    /// Makes a new version of the user's backup. Returns its name.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] if the algorithm is none, [`Error::TooLarge`].
    pub async fn create_backup(&self, user_id: &UserId, new: NewVersion) -> Result<String, Error> {
        check_version(&new)?;
        let _lock = self.accounts.lock(user_id).await;
        let number = match self.newest_row(user_id).await? {
            Some((number, _)) => number + 1,
            None => 1,
        };
        let version = Version {
            algorithm: new.algorithm,
            auth_data: new.auth_data,
            count: 0,
            etag: 0,
            deleted: false,
        };
        let mut batch = WriteBatch::new();
        put_version(&mut batch, user_id, number, &version)?;
        self.seams.store.commit(batch).await?;
        Ok(number.to_string())
    }

    /// A version of the user's backup, or the newest.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    pub async fn backup(&self, user_id: &UserId, version: Option<&str>) -> Result<Value, Error> {
        let (number, version) = match version {
            Some(version) => self.version(user_id, version).await?,
            None => self.newest(user_id).await?.ok_or_else(no_backup)?,
        };
        Ok(version.answer(number))
    }

    /// Changes what the algorithm needs to know of a version.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::InvalidParam`] if version or algorithm would be another.
    pub async fn update_backup(&self, user_id: &UserId, version: &str, new: NewVersion) -> Result<(), Error> {
        check_version(&new)?;
        if new.version.as_deref().is_some_and(|named| named != version) {
            return Err(Error::InvalidParam("the versions in path and body differ".into()));
        }
        let _lock = self.accounts.lock(user_id).await;
        let (number, mut known) = self.version(user_id, version).await?;
        if known.algorithm != new.algorithm {
            return Err(Error::InvalidParam(
                "the algorithm of a version does not change".into(),
            ));
        }
        known.auth_data = new.auth_data;
        let mut batch = WriteBatch::new();
        put_version(&mut batch, user_id, number, &known)?;
        Ok(self.seams.store.commit(batch).await?)
    }

    /// Deletes a version and its keys. One that was deleted before stays so.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there never was such a version.
    pub async fn delete_backup(&self, user_id: &UserId, version: &str) -> Result<(), Error> {
        let _lock = self.accounts.lock(user_id).await;
        let (number, mut known) = self.any_version(user_id, version).await?;
        let mut batch = WriteBatch::new();
        for (key, _) in scan_all(&*self.seams.store, Table::Keys, &keys_prefix(user_id, number)).await? {
            batch.delete(Table::Keys, key);
        }
        known.deleted = true;
        known.count = 0;
        known.auth_data = JsonObject::new();
        put_version(&mut batch, user_id, number, &known)?;
        Ok(self.seams.store.commit(batch).await?)
    }

    /// Adds keys to the newest version. A key that is there stays if it is at least as good.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such version, [`Error::WrongBackupVersion`] if it is not the newest,
    /// [`Error::TooLarge`] if a key is.
    pub async fn put_room_keys(
        &self,
        user_id: &UserId,
        version: &str,
        keys: BackupKeys,
    ) -> Result<BackupStatus, Error> {
        let _lock = self.accounts.lock(user_id).await;
        let (number, mut current) = self.newest(user_id).await?.ok_or_else(no_backup)?;
        if number.to_string() != version {
            self.version(user_id, version).await?;
            return Err(Error::WrongBackupVersion {
                current: number.to_string(),
            });
        }
        let mut batch = WriteBatch::new();
        let rows = key_rows(user_id, number, keys)?;
        let names: Vec<_> = rows.iter().map(|(name, _)| name.clone()).collect();
        let known = self.seams.store.get_many(Table::Keys, &names).await?;
        for ((name, key), known) in rows.into_iter().zip(known) {
            let known = known.map(|known| from_slice::<BackedUpKey>(&known)).transpose()?;
            if known.as_ref().is_some_and(|known| !key.is_better_than(known)) {
                continue;
            }
            current.count += u64::from(known.is_none());
            batch.put(Table::Keys, name, to_vec(&key)?);
        }
        self.commit_keys(user_id, number, current, batch).await
    }

    /// Deletes keys of a version.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such version.
    pub async fn delete_room_keys(
        &self,
        user_id: &UserId,
        version: &str,
        scope: BackupScope<'_>,
    ) -> Result<BackupStatus, Error> {
        let _lock = self.accounts.lock(user_id).await;
        let (number, mut known) = self.version(user_id, version).await?;
        let mut batch = WriteBatch::new();
        for (key, _) in self.key_rows_of(user_id, number, scope).await? {
            batch.delete(Table::Keys, key);
            known.count = known.count.saturating_sub(1);
        }
        self.commit_keys(user_id, number, known, batch).await
    }

    /// Keys of a version.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such version.
    pub async fn room_keys(
        &self,
        user_id: &UserId,
        version: &str,
        scope: BackupScope<'_>,
    ) -> Result<BackupKeys, Error> {
        let (number, _) = self.version(user_id, version).await?;
        let prefix = keys_prefix(user_id, number);
        let mut keys = BackupKeys::default();
        for (key, value) in self.key_rows_of(user_id, number, scope).await? {
            let damaged = || Error::Damaged("room key".into());
            let name = rest_of(&key, &prefix)?;
            let (room_id, session) = name.split_once('\0').ok_or_else(damaged)?;
            let room_id = RoomId::parse(room_id).map_err(|_| damaged())?;
            let room = keys.rooms.entry(room_id).or_default();
            room.sessions.insert(session.to_owned(), from_slice(&value)?);
        }
        Ok(keys)
    }

    async fn commit_keys(
        &self,
        user_id: &UserId,
        number: u64,
        mut version: Version,
        mut batch: WriteBatch,
    ) -> Result<BackupStatus, Error> {
        if !batch.is_empty() {
            version.etag += 1;
            put_version(&mut batch, user_id, number, &version)?;
            self.seams.store.commit(batch).await?;
        }
        Ok(version.status())
    }

    async fn key_rows_of(
        &self,
        user_id: &UserId,
        number: u64,
        scope: BackupScope<'_>,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        let mut prefix = keys_prefix(user_id, number);
        match scope {
            BackupScope::All => (),
            BackupScope::Room(room_id) => prefix.extend([room_id.as_bytes(), &[0]].concat()),
            BackupScope::Session(room_id, session) => {
                let key = key_row(user_id, number, room_id, session);
                let value = self.seams.store.get(Table::Keys, &key).await?;
                return Ok(value.map(|value| (key, value)).into_iter().collect());
            }
        }
        scan_all(&*self.seams.store, Table::Keys, &prefix).await
    }

    /// The version named `version`, unless it was deleted.
    async fn version(&self, user_id: &UserId, version: &str) -> Result<(u64, Version), Error> {
        let (number, version) = self.any_version(user_id, version).await?;
        match version.deleted {
            true => Err(no_backup()),
            false => Ok((number, version)),
        }
    }

    async fn any_version(&self, user_id: &UserId, version: &str) -> Result<(u64, Version), Error> {
        let number: u64 = version.parse().map_err(|_| no_backup())?;
        let key = version_row(user_id, number);
        let row = self.seams.store.get(Table::Keys, &key).await?;
        let row = row
            .filter(|_| number.to_string() == version)
            .ok_or_else(no_backup)?;
        Ok((number, from_slice(&row)?))
    }

    /// The newest version that was not deleted.
    async fn newest(&self, user_id: &UserId) -> Result<Option<(u64, Version)>, Error> {
        let newest = self.newest_row(user_id).await?;
        if let Some(newest) = newest.filter(|(_, version)| !version.deleted) {
            return Ok(Some(newest));
        }
        let rows = scan_all(&*self.seams.store, Table::Keys, &versions_prefix(user_id)).await?;
        for (key, value) in rows.iter().rev() {
            let version: Version = from_slice(value)?;
            if !version.deleted {
                return Ok(Some((number_of(key)?, version)));
            }
        }
        Ok(None)
    }

    async fn newest_row(&self, user_id: &UserId) -> Result<Option<(u64, Version)>, Error> {
        let range = KeyRange::prefix(versions_prefix(user_id));
        let rows = self
            .seams
            .store
            .scan(Table::Keys, range, Direction::Backward, 1)
            .await?;
        match rows.first() {
            Some((key, value)) => Ok(Some((number_of(key)?, from_slice(value)?))),
            None => Ok(None),
        }
    }
}

fn check_version(new: &NewVersion) -> Result<(), Error> {
    if new.algorithm.is_empty() || new.algorithm.len() > MAX_ALGORITHM {
        return Err(Error::InvalidParam(format!(
            "an algorithm has 1 to {MAX_ALGORITHM} bytes"
        )));
    }
    if to_vec(&new.auth_data)?.len() > MAX_AUTH_DATA {
        return Err(Error::TooLarge(format!(
            "`auth_data` has at most {MAX_AUTH_DATA} bytes"
        )));
    }
    Ok(())
}

/// The rows of `keys`, checked.
fn key_rows(user_id: &UserId, number: u64, keys: BackupKeys) -> Result<Vec<(Vec<u8>, BackedUpKey)>, Error> {
    let mut rows = Vec::new();
    for (room_id, room) in keys.rooms {
        checked_name(room_id.as_str())?;
        for (session, key) in room.sessions {
            checked_name(&session)?;
            if to_vec(&key)?.len() > MAX_KEY {
                return Err(Error::TooLarge(format!("a key has at most {MAX_KEY} bytes")));
            }
            rows.push((key_row(user_id, number, &room_id, &session), key));
        }
    }
    Ok(rows)
}

fn put_version(
    batch: &mut WriteBatch,
    user_id: &UserId,
    number: u64,
    version: &Version,
) -> Result<(), Error> {
    batch.put(Table::Keys, version_row(user_id, number), to_vec(version)?);
    Ok(())
}

fn no_backup() -> Error {
    Error::NotFound("there is no such backup".into())
}

/// What begins the keys of all versions of a user's backup in `Table::Keys`.
pub(crate) fn versions_prefix(user_id: &UserId) -> Vec<u8> {
    row(VERSION, &[user_id.as_str(), ""])
}

fn version_row(user_id: &UserId, number: u64) -> Vec<u8> {
    [versions_prefix(user_id).as_slice(), &number.to_be_bytes()].concat()
}

/// What begins the keys of all that a user has backed up in `Table::Keys`.
pub(crate) fn all_keys_prefix(user_id: &UserId) -> Vec<u8> {
    row(KEY, &[user_id.as_str(), ""])
}

fn keys_prefix(user_id: &UserId, number: u64) -> Vec<u8> {
    [&*all_keys_prefix(user_id), &number.to_be_bytes(), &[0]].concat()
}

fn key_row(user_id: &UserId, number: u64, room_id: &RoomId, session: &str) -> Vec<u8> {
    let mut key = keys_prefix(user_id, number);
    key.extend([room_id.as_bytes(), &[0], session.as_bytes()].concat());
    key
}

fn number_of(key: &[u8]) -> Result<u64, Error> {
    let (_, number) = key
        .split_last_chunk::<8>()
        .ok_or_else(|| Error::Damaged("backup version".into()))?;
    Ok(u64::from_be_bytes(*number))
}
