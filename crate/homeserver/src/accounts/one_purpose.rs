//! Tokens that stand for a user for a short time and one purpose: to log in another client (spec: Client-Server API,
//! section 'Token-based user login'), and to prove to somebody else who they are (section 'OpenID').
//!
//! Only the SHA-256 of a token is stored.

use hearth_storage::{Table, WriteBatch};
use ruma_common::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use super::{
    LoggedIn, NewDevice,
    session::{TOKEN_BYTES, hash},
};
use crate::{
    Error, Homeserver,
    stored::{from_slice, scan_all, to_vec},
};

/// Rows `l\0` + SHA-256: a token that logs in, once.
const LOGIN: &[u8] = b"l\0";
/// Rows `o\0` + SHA-256: a token that proves who a user is.
const OPENID: &[u8] = b"o\0";
/// How long a login token is usable, in milliseconds. The spec has no number; MSC3882 recommends two minutes.
pub const LOGIN_LIFETIME: u64 = 2 * 60 * 1000;
/// How long an OpenID token is usable, in milliseconds.
pub const OPENID_LIFETIME: u64 = 60 * 60 * 1000;
/// The most tokens of one kind that wait for one user. With more, the oldest go.
const MAX_OF_USER: usize = 20;

/// A token as stored.
#[derive(Serialize, Deserialize)]
struct Token {
    #[serde(rename = "u")]
    user_id: OwnedUserId,
    /// In milliseconds since the Unix epoch.
    #[serde(rename = "e")]
    expires: u64,
}

impl Homeserver {
    /// A token that logs `user_id` in once, within [`LOGIN_LIFETIME`].
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn login_token(&self, user_id: &UserId) -> Result<String, Error> {
        self.issue(LOGIN, user_id, LOGIN_LIFETIME).await
    }

    /// Logs a device in with a login token, which is used up by that.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the token is not known, used or expired.
    pub async fn login_by_token(&self, token: &str, device: NewDevice) -> Result<LoggedIn, Error> {
        let forbidden = || Error::Forbidden("Invalid login token".into());
        let known = self.one_purpose(LOGIN, token).await?.ok_or_else(forbidden)?;
        let _lock = self.accounts.lock(&known).await;
        // Somebody else may have used it up meanwhile.
        self.one_purpose(LOGIN, token).await?.ok_or_else(forbidden)?;
        self.check_may_log_in(&known)?;
        let mut batch = WriteBatch::new();
        batch.delete(Table::Accounts, key(LOGIN, token)).strict();
        self.commit_login(batch, &known, device).await
    }

    /// A token that tells whoever shows it to this server who `user_id` is, for [`OPENID_LIFETIME`].
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn openid_token(&self, user_id: &UserId) -> Result<String, Error> {
        self.issue(OPENID, user_id, OPENID_LIFETIME).await
    }

    /// Whom an OpenID token stands for.
    ///
    /// # Errors
    /// [`Error::UnknownToken`] if it is not known or expired.
    pub async fn openid_user(&self, token: &str) -> Result<OwnedUserId, Error> {
        self.one_purpose(OPENID, token).await?.ok_or(Error::UnknownToken)
    }

    /// Makes a token, and removes those that have expired, and the user's oldest if they are many.
    async fn issue(&self, kind: &[u8], user_id: &UserId, lifetime: u64) -> Result<String, Error> {
        let now = self.now();
        let mut batch = WriteBatch::new();
        let mut own = Vec::new();
        for (key, row) in scan_all(&*self.seams.store, Table::Accounts, kind).await? {
            let known: Token = from_slice(&row)?;
            if known.expires <= now {
                batch.delete(Table::Accounts, key);
            } else if known.user_id == user_id {
                own.push((known.expires, key));
            }
        }
        own.sort_unstable();
        let surplus = (own.len() + 1).saturating_sub(MAX_OF_USER);
        for (_, key) in own.into_iter().take(surplus) {
            batch.delete(Table::Accounts, key);
        }
        let token = self.random_id(TOKEN_BYTES);
        let row = Token {
            user_id: user_id.to_owned(),
            expires: now + lifetime,
        };
        batch.put(Table::Accounts, key(kind, &token), to_vec(&row)?);
        self.seams.store.commit(batch).await?;
        Ok(token)
    }

    /// Whom a token stands for, if it is usable and the account is open.
    async fn one_purpose(&self, kind: &[u8], token: &str) -> Result<Option<OwnedUserId>, Error> {
        let row = self.seams.store.get(Table::Accounts, &key(kind, token)).await?;
        let Some(row) = row else { return Ok(None) };
        let known: Token = from_slice(&row)?;
        let user = self.user(&known.user_id).await?;
        let usable = known.expires > self.now() && user.is_some_and(|user| !user.deactivated);
        Ok(usable.then_some(known.user_id))
    }
}

fn key(kind: &[u8], token: &str) -> Vec<u8> {
    [kind, &hash(token)].concat()
}
