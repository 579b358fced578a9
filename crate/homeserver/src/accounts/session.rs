//! Access tokens: which user and device a request comes from. Spec: Client-Server API, sections 'Using access tokens'
//! and 'Refreshing access tokens'.
//!
//! Only the SHA-256 of a token is stored. All sessions are kept in memory, so that a request waits for no
//! read; a token is usable only after it is durable, and gone from memory before the answer to its logout.
//!
//! A client that asks for it gets an access token that expires, and a refresh token that gives it another one. The old
//! pair stays usable until the new one is used for the first time: the answer that brings it may be lost.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use event_listener::Event;
use futures::future::{Either, select};
use hearth_storage::{Store, Table, WriteBatch};
use ruma_common::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::{
    Error, Homeserver,
    stored::{from_slice, scan_all, to_vec},
};

/// Rows `t\0` + SHA-256 of the access token.
const ACCESS: &[u8] = b"t\0";
/// Rows `r\0` + SHA-256 of the refresh token.
const REFRESH: &[u8] = b"r\0";
/// The number of random bytes in a token.
pub(super) const TOKEN_BYTES: usize = 32;

pub(super) type TokenHash = [u8; 32];

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

/// An access token as stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Access {
    #[serde(flatten)]
    session: Session,
    /// When it expires, in milliseconds since the Unix epoch; `None` for never.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    /// The refresh token that it was got with, which goes when this one is used.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    replaces: Option<TokenHash>,
}

/// A refresh token as stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Refresh {
    #[serde(flatten)]
    session: Session,
    /// The refresh token that it was got with, which goes when this one is used.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    replaces: Option<TokenHash>,
    /// The pair that it gave last, which nobody has used yet: the access token first.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    gave: Option<(TokenHash, TokenHash)>,
}

/// All sessions, by the hash of their token.
#[derive(Default)]
pub(crate) struct Sessions {
    tokens: RwLock<Tokens>,
    /// Notified when tokens are forgotten.
    forgotten: Event,
}

#[derive(Default)]
struct Tokens {
    access: HashMap<TokenHash, Access>,
    refresh: HashMap<TokenHash, Refresh>,
}

impl Tokens {
    fn has(&self, session: &Session) -> bool {
        let mut access = self.access.values().map(|access| &access.session);
        let mut refresh = self.refresh.values().map(|refresh| &refresh.session);
        access.any(|own| own == session) || refresh.any(|own| own == session)
    }
}

impl Sessions {
    pub(crate) async fn load(store: &dyn Store) -> Result<Self, Error> {
        let tokens = Tokens {
            access: read_all(store, ACCESS).await?,
            refresh: read_all(store, REFRESH).await?,
        };
        Ok(Self {
            tokens: RwLock::new(tokens),
            forgotten: Event::new(),
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, Tokens> {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tokens> {
        self.tokens.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nothing is left by which `session` could go on.
    async fn end(&self, session: &Session) {
        loop {
            let forgotten = self.forgotten.listen();
            if !self.read().has(session) {
                return;
            }
            forgotten.await;
        }
    }
}

/// Tokens whose rows are in a batch that is not committed yet.
pub(super) struct NewTokens {
    /// For the client alone.
    access: (String, TokenHash, Access),
    refresh: Option<(String, TokenHash, Refresh)>,
}

/// Tokens for a client, which are not stored and cannot be told again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The access token.
    pub access_token: String,
    /// What gets another access token, if this one expires.
    pub refresh_token: Option<String>,
    /// How long the access token is usable, in milliseconds, if it expires.
    pub expires_in_ms: Option<u64>,
}

impl Homeserver {
    /// What comes of `waiting`, which may take long, unless the session ends before: then nothing is told any more.
    ///
    /// # Errors
    /// [`Error::UnknownToken`] if the user was logged out meanwhile, else what `waiting` gives.
    pub async fn while_signed_in<T>(
        &self,
        session: &Session,
        waiting: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let end = self.accounts.sessions.end(session);
        match select(pin!(end), pin!(waiting)).await {
            Either::Left(((), _)) => Err(Error::UnknownToken),
            Either::Right((answer, _)) => answer,
        }
    }

    /// Whose token `token` is.
    ///
    /// # Errors
    /// [`Error::UnknownToken`] if nobody's, [`Error::TokenExpired`] if it is not usable any more.
    pub fn session(&self, token: &str) -> Result<Session, Error> {
        let hash = hash(token);
        let found = self.accounts.sessions.read().access.get(&hash).cloned();
        let found = found.ok_or(Error::UnknownToken)?;
        if found.expires.is_some_and(|expires| expires <= self.now()) {
            return Err(Error::TokenExpired);
        }
        if found.replaces.is_some() {
            self.drop_replaced(hash);
        }
        Ok(found.session)
    }

    /// Whose token `token` is, though it may have expired: to end the session it is good enough.
    ///
    /// # Errors
    /// [`Error::UnknownToken`] if nobody's.
    pub fn session_to_end(&self, token: &str) -> Result<Session, Error> {
        let sessions = self.accounts.sessions.read();
        let found = sessions.access.get(&hash(token)).ok_or(Error::UnknownToken)?;
        Ok(found.session.clone())
    }

    /// Gives a new pair of tokens for a refresh token.
    ///
    /// # Errors
    /// [`Error::UnknownToken`] if it is not known or was replaced; [`Error::UserLocked`].
    pub async fn refresh(&self, token: &str) -> Result<Issued, Error> {
        let used = hash(token);
        let find = || self.accounts.sessions.read().refresh.get(&used).cloned();
        let session = find().ok_or(Error::UnknownToken)?.session;
        if self.standing(&session.user_id).locked {
            return Err(Error::UserLocked);
        }
        let _lock = self.accounts.lock(&session.user_id).await;
        let known = find().ok_or(Error::UnknownToken)?;
        let mut batch = WriteBatch::new();
        let new = self.new_tokens(&mut batch, session, Some(Some(used)))?;
        let gave = new
            .refresh
            .as_ref()
            .map(|(_, refresh, _)| (new.access.1, *refresh));
        let unused = known.gave;
        if let Some((access, refresh)) = &unused {
            batch.delete(Table::Accounts, row_key(ACCESS, access));
            batch.delete(Table::Accounts, row_key(REFRESH, refresh));
        }
        if let Some(replaced) = &known.replaces {
            batch.delete(Table::Accounts, row_key(REFRESH, replaced));
        }
        let kept = Refresh {
            replaces: None,
            gave,
            ..known.clone()
        };
        batch
            .put(Table::Accounts, row_key(REFRESH, &used), to_vec(&kept)?)
            .strict();
        self.seams.store.commit(batch).await?;
        let mut tokens = self.accounts.sessions.write();
        if let Some((access, refresh)) = &unused {
            tokens.access.remove(access);
            tokens.refresh.remove(refresh);
        }
        if let Some(replaced) = &known.replaces {
            tokens.refresh.remove(replaced);
        }
        tokens.refresh.insert(used, kept);
        drop(tokens);
        Ok(self.publish(new))
    }

    /// Puts new tokens of the device into `batch`, and takes the device's earlier tokens out.
    pub(super) fn put_tokens(
        &self,
        batch: &mut WriteBatch,
        session: Session,
        refreshable: bool,
    ) -> Result<NewTokens, Error> {
        self.delete_tokens(batch, |old| old.is_of(&session.user_id, &session.device_id));
        self.new_tokens(batch, session, refreshable.then_some(None))
    }

    /// Puts new tokens into `batch`: a pair if `refreshed` is there, which says by which refresh token they were got.
    fn new_tokens(
        &self,
        batch: &mut WriteBatch,
        session: Session,
        refreshed: Option<Option<TokenHash>>,
    ) -> Result<NewTokens, Error> {
        let lifetime = u64::try_from(self.config.access_token_lifetime.as_millis()).unwrap_or(u64::MAX);
        let replaces = refreshed.flatten();
        let access = Access {
            session: session.clone(),
            expires: refreshed.map(|_| self.now().saturating_add(lifetime)),
            replaces,
        };
        let token = self.random_id(TOKEN_BYTES);
        let access = (token.clone(), hash(&token), access);
        batch
            .put(Table::Accounts, row_key(ACCESS, &access.1), to_vec(&access.2)?)
            .strict();
        let mut refresh = None;
        if refreshed.is_some() {
            let token = self.random_id(TOKEN_BYTES);
            let (hash, row) = (
                hash(&token),
                Refresh {
                    session,
                    replaces,
                    gave: None,
                },
            );
            batch
                .put(Table::Accounts, row_key(REFRESH, &hash), to_vec(&row)?)
                .strict();
            refresh = Some((token, hash, row));
        }
        Ok(NewTokens { access, refresh })
    }

    /// Makes tokens usable in place of all others of the device, after the commit of their rows.
    pub(super) fn publish_tokens(&self, new: NewTokens) -> Issued {
        let session = new.access.2.session.clone();
        self.forget_tokens(|old| *old == session);
        self.publish(new)
    }

    fn publish(&self, new: NewTokens) -> Issued {
        let mut tokens = self.accounts.sessions.write();
        let (access_token, hash, access) = new.access;
        let expires_in_ms = access.expires.map(|expires| expires.saturating_sub(self.now()));
        tokens.access.insert(hash, access);
        let refresh_token = new.refresh.map(|(token, hash, refresh)| {
            tokens.refresh.insert(hash, refresh);
            token
        });
        Issued {
            access_token,
            refresh_token,
            expires_in_ms,
        }
    }

    /// Takes away what an access token replaces, which is used for the first time: the refresh token that it was got
    /// with, and the device's other access tokens. At once in memory, and beside the caller in the store: what a stop
    /// in between leaves behind goes when the token is used again.
    fn drop_replaced(&self, used: TokenHash) {
        let mut batch = WriteBatch::new();
        let mut tokens = self.accounts.sessions.write();
        let Some(access) = tokens.access.get_mut(&used) else {
            return;
        };
        let Some(replaced) = access.replaces.take() else {
            return;
        };
        let access = access.clone();
        tokens.refresh.remove(&replaced);
        batch.delete(Table::Accounts, row_key(REFRESH, &replaced));
        tokens.access.retain(|hash, other| {
            let stays = *hash == used || other.session != access.session;
            if !stays {
                batch.delete(Table::Accounts, row_key(ACCESS, hash));
            }
            stays
        });
        drop(tokens);
        self.spawn(|homeserver| async move {
            // Who has logged out meanwhile stays logged out.
            let _lock = homeserver.accounts.lock(&access.session.user_id).await;
            let is_usable = homeserver.accounts.sessions.read().access.contains_key(&used);
            if let Ok(row) = to_vec(&access)
                && is_usable
            {
                batch.put(Table::Accounts, row_key(ACCESS, &used), row);
            }
            if let Err(error) = homeserver.seams.store.commit(batch).await {
                tracing::warn!(%error, "replaced tokens stay in the store");
            }
        });
    }

    /// Takes the rows of all tokens that `gone` names out of the store, with `batch`.
    pub(super) fn delete_tokens(&self, batch: &mut WriteBatch, gone: impl Fn(&Session) -> bool) {
        let tokens = self.accounts.sessions.read();
        for (hash, _) in tokens.access.iter().filter(|(_, access)| gone(&access.session)) {
            batch.delete(Table::Accounts, row_key(ACCESS, hash)).strict();
        }
        for (hash, _) in tokens
            .refresh
            .iter()
            .filter(|(_, refresh)| gone(&refresh.session))
        {
            batch.delete(Table::Accounts, row_key(REFRESH, hash)).strict();
        }
    }

    /// Makes all tokens that `gone` names unusable, after their rows were deleted.
    pub(super) fn forget_tokens(&self, gone: impl Fn(&Session) -> bool) {
        let mut tokens = self.accounts.sessions.write();
        tokens.access.retain(|_, access| !gone(&access.session));
        tokens.refresh.retain(|_, refresh| !gone(&refresh.session));
        drop(tokens);
        self.accounts.sessions.forgotten.notify(usize::MAX);
    }
}

/// The rows of one kind.
async fn read_all<T: DeserializeOwned>(
    store: &dyn Store,
    prefix: &[u8],
) -> Result<HashMap<TokenHash, T>, Error> {
    let rows = scan_all(store, Table::Accounts, prefix).await?;
    let row = |(key, value): (Vec<u8>, Vec<u8>)| {
        let hash = key.strip_prefix(prefix).and_then(|hash| hash.try_into().ok());
        let hash = hash.ok_or_else(|| Error::Damaged("token key".into()))?;
        Ok((hash, from_slice(&value)?))
    };
    rows.into_iter().map(row).collect()
}

/// What is stored of a token.
pub(super) fn hash(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

fn row_key(prefix: &[u8], hash: &TokenHash) -> Vec<u8> {
    [prefix, hash].concat()
}
