//! Signatures of keys that were made after the keys were uploaded. Spec: Client-Server API, `POST
//! /keys/signatures/upload`.
//!
//! They are kept apart from the keys: a key that is uploaded again keeps them. Who signs another user's master key
//! tells nobody but themself.

use std::collections::BTreeMap;

use hearth_storage::{Table, WriteBatch};
use ruma_common::{DeviceId, OwnedUserId, UserId};
use serde::Serialize;

use super::{
    cross_signing::{key_of, signing_key_update},
    device_keys::{are_same_keys, signing_key},
    device_lists::DeviceUpdate,
    is_name, row,
    signed_json::{Signature, add_signature, is_signed_by, signatures},
};
use crate::{Error, Homeserver, JsonObject, LogEntry, stored::scan_all};

/// Rows `g\0user\0key\0signer\0key id`: the signature of a key of `user`, which is named by its device or public
/// key.
const SIGNATURE: u8 = b'g';
/// The most keys that one request signs.
const MAX_SIGNED: usize = 1_000;

/// Signed keys by user and by device or public key.
pub type SignedKeys = BTreeMap<OwnedUserId, BTreeMap<String, JsonObject>>;

/// Why signatures were not taken, by user and by device or public key.
pub type Failures = BTreeMap<OwnedUserId, BTreeMap<String, Failure>>;

/// Why a signature was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// An error code of the specification.
    pub errcode: &'static str,
    /// For people.
    pub error: String,
}

impl Failure {
    fn new(errcode: &'static str, error: &str) -> Self {
        Self {
            errcode,
            error: error.to_owned(),
        }
    }
}

/// Signatures that were found right, of one key.
struct Accepted {
    user_id: OwnedUserId,
    name: String,
    signatures: Vec<Signature>,
}

impl Homeserver {
    /// Adds signatures of the user to keys: of the user's own devices and master key, and of other users' master
    /// keys. Returns what was not taken, and why.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] if there are too many.
    pub async fn add_signatures(&self, user_id: &UserId, signed: SignedKeys) -> Result<Failures, Error> {
        if signed.values().map(BTreeMap::len).sum::<usize>() > MAX_SIGNED {
            return Err(Error::InvalidParam(format!(
                "at most {MAX_SIGNED} keys are signed at once"
            )));
        }
        let (mut accepted, mut failures) = (Vec::new(), Failures::new());
        for (owner, keys) in signed {
            for (name, key) in keys {
                let checked = if owner == user_id {
                    self.check_own_key(user_id, &name, &key).await?
                } else {
                    self.check_other_key(user_id, &owner, &name, &key).await?
                };
                match checked {
                    Ok(signatures) => accepted.push(Accepted {
                        user_id: owner.clone(),
                        name,
                        signatures,
                    }),
                    Err(failure) => {
                        failures.entry(owner.clone()).or_default().insert(name, failure);
                    }
                }
            }
        }
        self.store_signatures(user_id, accepted).await?;
        Ok(failures)
    }

    /// The right signatures that `key` bears, a key of the user's own.
    async fn check_own_key(
        &self,
        user_id: &UserId,
        name: &str,
        key: &JsonObject,
    ) -> Result<Result<Vec<Signature>, Failure>, Error> {
        let own = self.cross_signing_keys(user_id).await?;
        if let Some(master) = own
            .master
            .filter(|master| key_of(master).is_some_and(|(_, public)| public == name))
        {
            let devices = self.all_device_keys(user_id).await?;
            let signer = |id: &str| {
                let device_id = <&DeviceId>::from(id.strip_prefix("ed25519:")?);
                signing_key(devices.get(device_id)?, device_id).map(str::to_owned)
            };
            return Ok(right_signatures(user_id, key, &master, signer));
        }
        let Some(device) = self.device_keys(user_id, name.into()).await? else {
            return Ok(Err(not_found()));
        };
        let self_signing = own.self_signing.as_ref().and_then(key_of);
        let own_key =
            signing_key(&device, name.into()).map(|public| (format!("ed25519:{name}"), public.to_owned()));
        let signer = |id: &str| {
            let by_user = self_signing
                .filter(|(known, _)| *known == id)
                .map(|(_, public)| public.to_owned());
            by_user.or_else(|| {
                own_key
                    .clone()
                    .filter(|(known, _)| *known == id)
                    .map(|(_, public)| public)
            })
        };
        Ok(right_signatures(user_id, key, &device, signer))
    }

    /// The right signature that `key` bears, a master key of somebody else.
    async fn check_other_key(
        &self,
        user_id: &UserId,
        owner: &UserId,
        name: &str,
        key: &JsonObject,
    ) -> Result<Result<Vec<Signature>, Failure>, Error> {
        let known = self.master_key_of(owner).await?;
        let Some(master) = known.filter(|master| key_of(master).is_some_and(|(_, public)| public == name))
        else {
            return Ok(Err(not_found()));
        };
        let own = self.cross_signing_keys(user_id).await?;
        let user_signing = own.user_signing.as_ref().and_then(key_of);
        let signer = |id: &str| {
            user_signing
                .filter(|(known, _)| *known == id)
                .map(|(_, public)| public.to_owned())
        };
        Ok(right_signatures(user_id, key, &master, signer))
    }

    async fn store_signatures(&self, user_id: &UserId, accepted: Vec<Accepted>) -> Result<(), Error> {
        if accepted.is_empty() {
            return Ok(());
        }
        let _lock = self.accounts.lock(user_id).await;
        let (mut own, mut others) = (WriteBatch::new(), WriteBatch::new());
        let (mut names, mut entries) = (Vec::new(), Vec::new());
        for accepted in accepted {
            let is_own = accepted.user_id == user_id;
            let batch = if is_own { &mut own } else { &mut others };
            for signature in &accepted.signatures {
                let key = signature_row(&accepted.user_id, &accepted.name, signature);
                batch.put(Table::Keys, key, signature.signature.as_bytes());
            }
            if is_own {
                names.push((accepted.name, accepted.signatures));
            } else {
                entries.push(LogEntry::Signed {
                    user_id: user_id.to_owned(),
                    owner: accepted.user_id,
                });
            }
        }
        if !entries.is_empty() {
            self.log.commit(others, entries).await?;
        }
        if names.is_empty() {
            return Ok(());
        }
        self.commit_own_signatures(user_id, own, names).await
    }

    /// Commits signatures of the user's own keys with `batch`, and tells whoever shares a room with the user.
    async fn commit_own_signatures(
        &self,
        user_id: &UserId,
        batch: WriteBatch,
        names: Vec<(String, Vec<Signature>)>,
    ) -> Result<(), Error> {
        let mut updates = Vec::new();
        for (name, new) in names {
            let device_id = <&DeviceId>::from(name.as_str());
            let Some(keys) = self.device_keys(user_id, device_id).await? else {
                continue;
            };
            let mut keys = self.with_signatures(keys, user_id, &name, user_id).await?;
            new.iter()
                .for_each(|signature| add_signature(&mut keys, signature));
            updates.push(DeviceUpdate::keys(device_id, keys));
        }
        if updates.is_empty() {
            let keys = self.cross_signing_keys(user_id).await?;
            return self
                .commit_key_changes(user_id, batch, vec![signing_key_update(user_id, &keys)])
                .await;
        }
        self.commit_device_updates(user_id, batch, updates).await
    }

    /// `key` of `owner`, named `name`, with the signatures that `viewer` may see: the owner's and their own.
    pub(super) async fn with_signatures(
        &self,
        mut key: JsonObject,
        owner: &UserId,
        name: &str,
        viewer: &UserId,
    ) -> Result<JsonObject, Error> {
        let prefix = row(SIGNATURE, &[owner.as_str(), name, ""]);
        for (stored, value) in scan_all(&*self.seams.store, Table::Keys, &prefix).await? {
            let damaged = || Error::Damaged("signature".into());
            let rest = super::rest_of(&stored, &prefix)?;
            let (signer, key_id) = rest.split_once('\0').ok_or_else(damaged)?;
            if signer != owner.as_str() && signer != viewer.as_str() {
                continue;
            }
            let signature = Signature {
                signer: signer.to_owned(),
                key_id: key_id.to_owned(),
                signature: String::from_utf8(value).map_err(|_| damaged())?,
            };
            add_signature(&mut key, &signature);
        }
        Ok(key)
    }

    /// Deletes the signatures of a key, with `batch`.
    pub(super) async fn delete_signatures(
        &self,
        batch: &mut WriteBatch,
        owner: &UserId,
        name: &str,
    ) -> Result<(), Error> {
        let prefix = row(SIGNATURE, &[owner.as_str(), name, ""]);
        for (key, _) in scan_all(&*self.seams.store, Table::Keys, &prefix).await? {
            batch.delete(Table::Keys, key);
        }
        Ok(())
    }
}

/// The signatures of `user_id` that `key` bears, all of which must be right; `known` is the key as it is here.
fn right_signatures(
    user_id: &UserId,
    key: &JsonObject,
    known: &JsonObject,
    signer: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Signature>, Failure> {
    if !are_same_keys(key, known) {
        return Err(Failure::new(
            "M_INVALID_PARAM",
            "the key is another than is known",
        ));
    }
    let invalid = |error: &str| Failure::new("M_INVALID_SIGNATURE", error);
    let own: Vec<_> = signatures(key)
        .into_iter()
        .filter(|signature| signature.signer == user_id.as_str() && is_name(&signature.key_id))
        .collect();
    let mut right = Vec::new();
    for signature in own {
        let Some(public) = signer(&signature.key_id) else {
            continue;
        };
        if !is_signed_by(key, user_id, &signature.key_id, &public) {
            return Err(invalid("a signature is not right"));
        }
        right.push(signature);
    }
    match right.is_empty() {
        true => Err(invalid("there is no signature by a key that may sign this")),
        false => Ok(right),
    }
}

fn not_found() -> Failure {
    Failure::new("M_NOT_FOUND", "there is no such key")
}

fn signature_row(owner: &UserId, name: &str, signature: &Signature) -> Vec<u8> {
    let parts = [owner.as_str(), name, &signature.signer, &signature.key_id];
    row(SIGNATURE, &parts)
}
