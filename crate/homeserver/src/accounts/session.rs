//! Access tokens: which user and device a request comes from. Spec: Client-Server API, 'Using access tokens'.
//!
//! Only the SHA-256 of a token is stored. All sessions are kept in memory, so that a request waits for no
//! read; a token is usable only after it is durable, and gone from memory before the answer to its logout.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use hearth_storage::{Store, Table, WriteBatch};
use ruma_common::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    Error, Homeserver,
    stored::{from_slice, scan_all, to_vec},
};

/// Rows `t\0` + SHA-256 of the token.
const PREFIX: &[u8] = b"t\0";
/// The number of random bytes in a token.
const TOKEN_BYTES: usize = 32;

type TokenHash = [u8; 32];

/// Who a request comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Session {
    /// The user.
    #[serde(rename = "u")]
    pub user_id: OwnedUserId,
    /// The device.
    #[serde(rename = "d")]
    pub device_id: OwnedDeviceId,
}

impl Session {
    fn is_of(&self, user_id: &UserId, device_id: &DeviceId) -> bool {
        self.user_id == user_id && self.device_id == device_id
    }
}

/// All sessions, by the hash of their token.
#[derive(Default)]
pub(crate) struct Sessions(RwLock<HashMap<TokenHash, Session>>);

impl Sessions {
    pub(crate) async fn load(store: &dyn Store) -> Result<Self, Error> {
        let rows = scan_all(store, Table::Accounts, PREFIX).await?;
        let sessions = rows
            .into_iter()
            .map(|(key, value)| Ok((hash_of_key(&key)?, from_slice(&value)?)));
        Ok(Self(RwLock::new(sessions.collect::<Result<_, Error>>()?)))
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<TokenHash, Session>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<TokenHash, Session>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token whose row is in a batch that is not committed yet.
pub(super) struct NewToken {
    /// The token, for the client alone.
    pub(super) token: String,
    hash: TokenHash,
    session: Session,
}

impl Homeserver {
    /// Whose token `token` is.
    ///
    /// # Errors
    /// [`Error::UnknownToken`] if nobody's.
    pub fn session(&self, token: &str) -> Result<Session, Error> {
        self.accounts
            .sessions
            .read()
            .get(&hash(token))
            .cloned()
            .ok_or(Error::UnknownToken)
    }

    /// Puts a new token of the device into `batch`, and takes the device's earlier tokens out.
    pub(super) fn put_token(&self, batch: &mut WriteBatch, session: Session) -> Result<NewToken, Error> {
        self.delete_tokens(batch, |old| old.is_of(&session.user_id, &session.device_id));
        let token = self.random_id(TOKEN_BYTES);
        let hash = hash(&token);
        batch
            .put(Table::Accounts, row_key(&hash), to_vec(&session)?)
            .strict();
        Ok(NewToken { token, hash, session })
    }

    /// Makes a token usable, after the commit of its row. Returns it.
    pub(super) fn publish_token(&self, new: NewToken) -> String {
        let mut sessions = self.accounts.sessions.write();
        sessions.retain(|_, old| !old.is_of(&new.session.user_id, &new.session.device_id));
        sessions.insert(new.hash, new.session);
        new.token
    }

    /// Takes the rows of all tokens that `gone` names out of the store, with `batch`.
    pub(super) fn delete_tokens(&self, batch: &mut WriteBatch, gone: impl Fn(&Session) -> bool) {
        for (hash, _) in self
            .accounts
            .sessions
            .read()
            .iter()
            .filter(|(_, session)| gone(session))
        {
            batch.delete(Table::Accounts, row_key(hash)).strict();
        }
    }

    /// Makes all tokens that `gone` names unusable, after their rows were deleted.
    pub(super) fn forget_tokens(&self, gone: impl Fn(&Session) -> bool) {
        self.accounts.sessions.write().retain(|_, session| !gone(session));
    }
}

fn hash(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

fn row_key(hash: &TokenHash) -> Vec<u8> {
    [PREFIX, hash].concat()
}

fn hash_of_key(key: &[u8]) -> Result<TokenHash, Error> {
    let hash = key.strip_prefix(PREFIX).and_then(|hash| hash.try_into().ok());
    hash.ok_or_else(|| Error::Damaged("token key".into()))
}
