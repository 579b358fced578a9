//! Identity keys of the devices of local users, and their upload together with one-time and fallback keys.
//! Spec: Client-Server API, section 'Key algorithms' and `POST /keys/upload`.
//!
//! The server checks whose keys they are. It does *not* check that a device has signed its own keys: whoever
//! would use them does.

use std::collections::BTreeMap;

use hearth_storage::{Table, WriteBatch};
use ruma_common::{DeviceId, OwnedDeviceId, UserId};
use serde::Deserialize;
use serde_json::Value;

use super::{
    device_lists::DeviceUpdate,
    one_time_keys::{KeyCounts, NewKeys},
    rest_of, row,
    signed_json::signed_part,
};
use crate::{
    Error, Homeserver, JsonObject,
    accounts::Session,
    federation::sendable::check_sendable,
    ordered::try_map,
    stored::{from_slice, scan_all, to_vec},
};

/// Rows `d\0user\0device`: the keys as they were uploaded, without `unsigned`.
const DEVICE_KEYS: u8 = b'd';
/// The most bytes of a device's identity keys.
const MAX_DEVICE_KEYS: usize = 64 * 1024;

/// What a device uploads.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct KeysUpload {
    /// Its identity keys.
    pub device_keys: Option<JsonObject>,
    /// One-time keys by `algorithm:id`.
    pub one_time_keys: Option<JsonObject>,
    /// Fallback keys by `algorithm:id`.
    pub fallback_keys: Option<JsonObject>,
}

impl Homeserver {
    /// Stores keys of the device that `session` is of. Returns how many one-time keys it has now, by algorithm.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] if the keys are another device's, malformed or too many, or if a one-time key is
    /// uploaded again with other content; [`Error::BadJson`] if fields of the identity keys are missing, or if keys
    /// could not be sent to another server.
    pub async fn upload_keys(
        &self,
        session: &Session,
        upload: KeysUpload,
    ) -> Result<BTreeMap<String, u64>, Error> {
        let (user_id, device_id) = (&session.user_id, &session.device_id);
        let new = NewKeys::parse(upload.one_time_keys, upload.fallback_keys)?;
        let device_keys = upload
            .device_keys
            .map(|keys| checked_device_keys(keys, user_id, device_id))
            .transpose()?;
        let _lock = self.accounts.lock(user_id).await;
        self.device(user_id, device_id)
            .await
            .map_err(|_| Error::UnknownToken)?;
        self.store_keys(user_id, device_id, device_keys, new, WriteBatch::new())
            .await
            .map(KeyCounts::into_one_time)
    }

    /// Stores checked keys of a device with `batch`. The caller holds the user's lock.
    pub(super) async fn store_keys(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        device_keys: Option<JsonObject>,
        new: NewKeys,
        mut batch: WriteBatch,
    ) -> Result<KeyCounts, Error> {
        let counts = self.put_keys(&mut batch, user_id, device_id, new).await?;
        let changed = match device_keys {
            Some(keys) => self.put_device_keys(&mut batch, user_id, device_id, keys).await?,
            None => None,
        };
        match changed {
            Some(keys) => {
                let update = DeviceUpdate::keys(device_id, keys);
                self.commit_device_updates(user_id, batch, vec![update]).await?;
            }
            None if batch.is_empty() => (),
            None => self.seams.store.commit(batch).await?,
        }
        self.encryption.counts.put(user_id, device_id, counts.clone());
        Ok(counts)
    }

    /// Puts identity keys into `batch`. Returns them if they are other ones than before.
    async fn put_device_keys(
        &self,
        batch: &mut WriteBatch,
        user_id: &UserId,
        device_id: &DeviceId,
        keys: JsonObject,
    ) -> Result<Option<JsonObject>, Error> {
        if self.device_keys(user_id, device_id).await?.as_ref() == Some(&keys) {
            return Ok(None);
        }
        batch.put(Table::Keys, device_keys_row(user_id, device_id), to_vec(&keys)?);
        Ok(Some(keys))
    }

    /// The identity keys of a device of this server, as the device uploaded them.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(crate) async fn device_keys(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<Option<JsonObject>, Error> {
        let row = self
            .seams
            .store
            .get(Table::Keys, &device_keys_row(user_id, device_id))
            .await?;
        row.map(|row| from_slice(&row)).transpose()
    }

    /// The identity keys of all devices of a local user.
    pub(super) async fn all_device_keys(
        &self,
        user_id: &UserId,
    ) -> Result<BTreeMap<OwnedDeviceId, JsonObject>, Error> {
        let prefix = row(DEVICE_KEYS, &[user_id.as_str(), ""]);
        let rows = scan_all(&*self.seams.store, Table::Keys, &prefix).await?;
        try_map(
            rows.iter()
                .map(|(key, value)| Ok((rest_of(key, &prefix)?.into(), from_slice(value)?))),
        )
    }

    /// Commits `batch` and the deletion of everything that is kept for devices of a local user, and tells whoever
    /// shares a room with the user. The caller holds the user's lock.
    pub(crate) async fn commit_without_keys(
        &self,
        mut batch: WriteBatch,
        user_id: &UserId,
        device_ids: &[OwnedDeviceId],
    ) -> Result<(), Error> {
        let _gate = self.encryption.gate.write().await;
        let with_keys = self.delete_keys(&mut batch, user_id, device_ids).await?;
        self.forget_dehydrated(&mut batch, user_id, device_ids).await?;
        for device_id in device_ids {
            self.encryption.counts.forget(user_id, device_id);
        }
        if with_keys.is_empty() {
            return Ok(self.seams.store.commit(batch).await?);
        }
        let updates = with_keys.into_iter().map(DeviceUpdate::deleted).collect();
        self.commit_device_updates(user_id, batch, updates).await
    }

    /// Deletes everything that is kept for devices of a local user, with `batch`: identity, one-time and fallback
    /// keys, signatures of them, and messages that wait. Returns which of them had identity keys. The caller
    /// holds the user's lock and the gate.
    pub(super) async fn delete_keys(
        &self,
        batch: &mut WriteBatch,
        user_id: &UserId,
        device_ids: &[OwnedDeviceId],
    ) -> Result<Vec<OwnedDeviceId>, Error> {
        let mut with_keys = Vec::new();
        for device_id in device_ids {
            if self.device_keys(user_id, device_id).await?.is_some() {
                batch.delete(Table::Keys, device_keys_row(user_id, device_id));
                with_keys.push(device_id.clone());
            }
            self.delete_one_time_keys(batch, user_id, device_id).await?;
            self.delete_signatures(batch, user_id, device_id.as_str()).await?;
            self.delete_messages(batch, user_id, device_id).await?;
        }
        Ok(with_keys)
    }
}

/// Identity keys, if they are those of the device and well-formed; without what the server adds.
pub(super) fn checked_device_keys(
    mut keys: JsonObject,
    user_id: &UserId,
    device_id: &DeviceId,
) -> Result<JsonObject, Error> {
    if keys.get("user_id").and_then(Value::as_str) != Some(user_id.as_str()) {
        return Err(Error::InvalidParam("`user_id` is not the user's own".into()));
    }
    if keys.get("device_id").and_then(Value::as_str) != Some(device_id.as_str()) {
        return Err(Error::InvalidParam("`device_id` is not this device's".into()));
    }
    if !is_device_keys(&keys) {
        return Err(Error::BadJson(
            "`device_keys` has `algorithms`, `keys` and `signatures`".into(),
        ));
    }
    keys.remove("unsigned");
    check_sendable(&keys)?;
    if to_vec(&keys)?.len() > MAX_DEVICE_KEYS {
        return Err(Error::TooLarge(format!(
            "device keys have at most {MAX_DEVICE_KEYS} bytes"
        )));
    }
    Ok(keys)
}

/// Whether `keys` has the fields of identity keys. Spec: definition `DeviceKeys`.
pub(super) fn is_device_keys(keys: &JsonObject) -> bool {
    let texts = |value: &Value| match value {
        Value::Array(values) => values.iter().all(Value::is_string),
        Value::Object(values) => values.values().all(Value::is_string),
        _ => false,
    };
    let algorithms = keys
        .get("algorithms")
        .is_some_and(|value| value.is_array() && texts(value));
    let public = keys
        .get("keys")
        .is_some_and(|value| value.is_object() && texts(value));
    let signatures = keys.get("signatures").and_then(Value::as_object);
    let signed =
        signatures.is_some_and(|signers| signers.values().all(|keys| keys.is_object() && texts(keys)));
    algorithms && public && signed && keys.contains_key("user_id") && keys.contains_key("device_id")
}

/// The Ed25519 key in identity keys, in base64.
pub(super) fn signing_key<'a>(keys: &'a JsonObject, device_id: &DeviceId) -> Option<&'a str> {
    keys.get("keys")?.get(format!("ed25519:{device_id}"))?.as_str()
}

/// Whether `first` and `second` are the same keys, whoever has signed them.
pub(super) fn are_same_keys(first: &JsonObject, second: &JsonObject) -> bool {
    signed_part(first) == signed_part(second)
}

fn device_keys_row(user_id: &UserId, device_id: &DeviceId) -> Vec<u8> {
    row(DEVICE_KEYS, &[user_id.as_str(), device_id.as_str()])
}
