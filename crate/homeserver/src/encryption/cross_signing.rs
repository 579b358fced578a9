//! Cross-signing keys of local users. Spec: Client-Server API, section 'Cross-signing'.

use hearth_storage::{Table, WriteBatch};
use ruma_common::{DeviceId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    row,
    signed_json::{is_signed_by, signed_part},
};
use crate::{
    Error, Homeserver, JsonObject, LogEntry,
    federation::sendable::check_sendable,
    stored::{from_slice, to_vec},
};

/// Rows `c\0user`: the cross-signing keys of a local user.
const CROSS_SIGNING: u8 = b'c';
/// The most bytes of one key.
const MAX_KEY: usize = 16 * 1024;

/// The cross-signing keys of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrossSigningKeys {
    /// The key that signs the others.
    #[serde(rename = "master_key", default, skip_serializing_if = "Option::is_none")]
    pub master: Option<JsonObject>,
    /// The key that signs the user's devices.
    #[serde(rename = "self_signing_key", default, skip_serializing_if = "Option::is_none")]
    pub self_signing: Option<JsonObject>,
    /// The key that signs other users' master keys. For its owner alone.
    #[serde(rename = "user_signing_key", default, skip_serializing_if = "Option::is_none")]
    pub user_signing: Option<JsonObject>,
}

impl CrossSigningKeys {
    /// Each key that there is, with its usage.
    fn parts(&self) -> impl Iterator<Item = (&'static str, &JsonObject)> {
        let parts = [
            ("master", &self.master),
            ("self_signing", &self.self_signing),
            ("user_signing", &self.user_signing),
        ];
        parts
            .into_iter()
            .filter_map(|(usage, key)| Some((usage, key.as_ref()?)))
    }

    /// These keys, and those of `other` where there are none.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            master: self.master.or(other.master),
            self_signing: self.self_signing.or(other.self_signing),
            user_signing: self.user_signing.or(other.user_signing),
        }
    }
}

impl Homeserver {
    /// Checks an upload of cross-signing keys.
    ///
    /// # Errors
    /// [`Error::MissingParam`] if there is no master key, [`Error::InvalidSignature`] if another key is not signed
    /// by it, [`Error::InvalidParam`] if a key is malformed, [`Error::BadJson`] if it could not be sent to another
    /// server, [`Error::Forbidden`] if one is called as a device is.
    async fn check_cross_signing(&self, user_id: &UserId, upload: &CrossSigningKeys) -> Result<(), Error> {
        for (usage, key) in upload.parts() {
            check_sendable(key)?;
            if !is_cross_signing_key(key, user_id, usage) {
                return Err(Error::InvalidParam(format!("`{usage}_key` is malformed")));
            }
        }
        let known = self.cross_signing_keys(user_id).await?;
        let master = upload.master.as_ref().or(known.master.as_ref());
        let Some((master_id, master_key)) = master.and_then(key_of) else {
            return Err(Error::MissingParam("there is no master signing key".into()));
        };
        for (usage, key) in upload.parts().filter(|(usage, _)| *usage != "master") {
            if !is_signed_by(key, user_id, master_id, master_key) {
                return Err(Error::InvalidSignature(format!(
                    "`{usage}_key` is not signed by the master key"
                )));
            }
        }
        let devices = self.devices(user_id).await?;
        let names = |key: &JsonObject| {
            key_of(key).is_some_and(|(_, key)| devices.iter().any(|device| device.device_id == key))
        };
        match upload.parts().any(|(_, key)| names(key)) {
            true => Err(Error::Forbidden(
                "a key is called as one of your devices is".into(),
            )),
            false => Ok(()),
        }
    }

    /// Stores cross-signing keys, and tells whoever shares a room with the user of those that others see. `false`, and
    /// nothing is stored, if keys would be other than they are and that is not `confirmed` by the user.
    ///
    /// # Errors
    /// [`Error::MissingParam`] if there is no master key, [`Error::InvalidSignature`] if another key is not signed
    /// by it, [`Error::InvalidParam`] if a key is malformed, [`Error::BadJson`] if it could not be sent to another
    /// server, [`Error::Forbidden`] if one is called as a device is.
    pub async fn set_cross_signing(
        &self,
        user_id: &UserId,
        upload: CrossSigningKeys,
        confirmed: bool,
    ) -> Result<bool, Error> {
        let _lock = self.accounts.lock(user_id).await;
        self.check_cross_signing(user_id, &upload).await?;
        let known = self.cross_signing_keys(user_id).await?;
        if is_known(&upload, &known) {
            return Ok(true);
        }
        if known.master.is_some() && !confirmed {
            return Ok(false);
        }
        let mut batch = WriteBatch::new();
        for old in replaced(&upload, &known) {
            self.delete_signatures(&mut batch, user_id, old).await?;
        }
        let keys = upload.or(known.clone());
        batch.put(Table::Keys, cross_signing_row(user_id), to_vec(&keys)?);
        if (&keys.master, &keys.self_signing) == (&known.master, &known.self_signing) {
            // Nobody else sees the key that signs other users' keys, nor hears of it.
            let entry = LogEntry::Signed {
                user_id: user_id.to_owned(),
                owner: user_id.to_owned(),
            };
            self.log.commit(batch, vec![entry]).await?;
            return Ok(true);
        }
        let edus = vec![signing_key_update(user_id, &keys)];
        self.commit_key_changes(user_id, batch, edus).await?;
        Ok(true)
    }

    /// The cross-signing keys of a local user.
    pub(crate) async fn cross_signing_keys(&self, user_id: &UserId) -> Result<CrossSigningKeys, Error> {
        let row = self
            .seams
            .store
            .get(Table::Keys, &cross_signing_row(user_id))
            .await?;
        row.map_or_else(|| Ok(CrossSigningKeys::default()), |row| from_slice(&row))
    }

    /// Checks that a device of a local user is not called as one of the user's cross-signing keys is.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if it is.
    pub(crate) async fn check_device_name(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<(), Error> {
        let known = self.cross_signing_keys(user_id).await?;
        let mut keys = known.parts().filter_map(|(_, key)| key_of(key));
        match keys.any(|(_, key)| device_id == key) {
            true => Err(Error::Forbidden("a signing key of yours is called so".into())),
            false => Ok(()),
        }
    }

    /// Deletes the cross-signing keys of a local user and what was signed of them, with `batch`.
    pub(crate) async fn delete_cross_signing(
        &self,
        batch: &mut WriteBatch,
        user_id: &UserId,
    ) -> Result<(), Error> {
        let known = self.cross_signing_keys(user_id).await?;
        for (_, key) in known.parts().filter_map(|(_, key)| key_of(key)) {
            self.delete_signatures(batch, user_id, key).await?;
        }
        if known != CrossSigningKeys::default() {
            batch.delete(Table::Keys, cross_signing_row(user_id));
        }
        Ok(())
    }
}

/// The EDU that tells of a user's cross-signing keys.
pub(super) fn signing_key_update(user_id: &UserId, keys: &CrossSigningKeys) -> Value {
    let mut content = json!({"user_id": user_id});
    if let Some(master) = &keys.master {
        content["master_key"] = json!(master);
    }
    if let Some(self_signing) = &keys.self_signing {
        content["self_signing_key"] = json!(self_signing);
    }
    json!({"edu_type": "m.signing_key_update", "content": content})
}

/// The one public key of a cross-signing key: its id and itself.
pub(super) fn key_of(key: &JsonObject) -> Option<(&str, &str)> {
    let keys = key.get("keys")?.as_object()?;
    let (id, public) = keys.iter().next().filter(|_| keys.len() == 1)?;
    Some((id, public.as_str()?))
}

/// Whether `key` is a cross-signing key of `user_id` for `usage`, and can be stored.
pub(super) fn is_cross_signing_key(key: &JsonObject, user_id: &UserId, usage: &str) -> bool {
    let usages = key.get("usage").and_then(Value::as_array);
    let is_for = usages.is_some_and(|usages| usages.iter().any(|known| known == usage));
    let owned = key.get("user_id").and_then(Value::as_str) == Some(user_id.as_str());
    let named = key_of(key)
        .is_some_and(|(id, public)| id.strip_prefix("ed25519:") == Some(public) && super::is_name(public));
    let is_small = || to_vec(key).is_ok_and(|bytes| bytes.len() <= MAX_KEY);
    is_for && owned && named && is_small() && check_sendable(key).is_ok()
}

/// Whether `upload` has nothing but what is in `known`.
fn is_known(upload: &CrossSigningKeys, known: &CrossSigningKeys) -> bool {
    let same = |usage: &str, key: &JsonObject| {
        known
            .parts()
            .any(|(known, other)| known == usage && signed_part(other) == signed_part(key))
    };
    upload.parts().all(|(usage, key)| same(usage, key))
}

/// The public keys of `known` that `upload` replaces.
fn replaced<'a>(upload: &'a CrossSigningKeys, known: &'a CrossSigningKeys) -> Vec<&'a str> {
    let new = |usage: &str| {
        upload
            .parts()
            .find(|(other, _)| *other == usage)
            .and_then(|(_, key)| key_of(key))
    };
    let keys = known
        .parts()
        .filter_map(|(usage, key)| Some((new(usage)?, key_of(key)?)));
    keys.filter(|(new, old)| new != old)
        .map(|(_, (_, old))| old)
        .collect()
}

fn cross_signing_row(user_id: &UserId) -> Vec<u8> {
    row(CROSS_SIGNING, &[user_id.as_str()])
}
