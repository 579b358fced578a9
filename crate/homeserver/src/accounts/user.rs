//! Users of this homeserver: which there are, and how they may be named.

use hearth_storage::{Store, Table};
use ruma_common::{OwnedServerName, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use super::{key, standing::Standing};
use crate::{
    Error, Homeserver,
    stored::{from_slice, scan_all},
};

/// Rows `u\0user`.
const USER: u8 = b'u';
/// The most bytes of a user id. Spec: Appendices, section 'User Identifiers'.
const MAX_USER_ID: usize = 255;

/// A user as stored.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct User {
    /// When the account was made, in milliseconds since the Unix epoch.
    #[serde(rename = "c")]
    pub(crate) created: u64,
    /// The hash of the password as a PHC string; `None` for an account without one.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<String>,
    /// Whether the account was closed for good.
    #[serde(rename = "x", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) deactivated: bool,
    /// Whether the account is a guest's.
    #[serde(rename = "g", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) guest: bool,
    /// Whether the account may only read and leave.
    #[serde(rename = "s", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) suspended: bool,
    /// Whether the account can only be logged out.
    #[serde(rename = "l", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) locked: bool,
    /// The log position at which the user asked for their events to be hidden.
    #[serde(rename = "z", default, skip_serializing_if = "Option::is_none")]
    pub(crate) erased_at: Option<u64>,
}

impl User {
    /// What it may not do.
    pub(super) fn standing(&self) -> Standing {
        Standing {
            guest: self.guest,
            suspended: self.suspended,
            locked: self.locked,
            erased_at: self.erased_at,
        }
    }
}

/// Every account there is or was.
pub(super) async fn users(store: &dyn Store) -> Result<Vec<(OwnedUserId, User)>, Error> {
    let rows = scan_all(store, Table::Accounts, &[USER, 0]).await?;
    let user = |(key, row): &(Vec<u8>, Vec<u8>)| Ok((user_of_key(key)?, from_slice(row)?));
    rows.iter().map(user).collect()
}

/// Whose accounts `store` holds, if there are some and none is of the server `name`.
///
/// # Errors
/// [`Error::Store`] or [`Error::Damaged`].
pub async fn other_owner(store: &dyn Store, name: &str) -> Result<Option<OwnedServerName>, Error> {
    let users = users(store).await?;
    let mut owners = users.iter().map(|(user_id, _)| user_id.server_name());
    let first = owners.next();
    let is_ours = first.is_some_and(|owner| owner == name) || owners.any(|owner| owner == name);
    Ok(first.filter(|_| !is_ours).map(ToOwned::to_owned))
}

impl Homeserver {
    /// Whether there is or was an account `user_id` here.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn user_exists(&self, user_id: &UserId) -> Result<bool, Error> {
        Ok(self.user(user_id).await?.is_some())
    }

    /// Whether `user_id` has a password.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn has_password(&self, user_id: &UserId) -> Result<bool, Error> {
        Ok(self
            .user(user_id)
            .await?
            .is_some_and(|user| user.password.is_some()))
    }

    pub(crate) async fn user(&self, user_id: &UserId) -> Result<Option<User>, Error> {
        let row = self.seams.store.get(Table::Accounts, &user_key(user_id)).await?;
        row.map(|row| from_slice(&row)).transpose()
    }

    /// Every account that is open, but for guests'.
    pub(crate) async fn users(&self) -> Result<Vec<OwnedUserId>, Error> {
        let users = users(&*self.seams.store).await?.into_iter();
        let open = users.filter(|(_, user)| !user.deactivated && !user.guest);
        Ok(open.map(|(user_id, _)| user_id).collect())
    }

    /// The user id for `name`, a local part or a whole id of this server.
    ///
    /// # Errors
    /// [`Error::InvalidUsername`] if it breaks the grammar or is another server's.
    pub fn local_user_id(&self, name: &str) -> Result<OwnedUserId, Error> {
        let suffix = format!(":{}", self.server_name());
        let local = match name.strip_prefix('@') {
            None => name,
            Some(rest) => rest
                .strip_suffix(&suffix)
                .ok_or_else(|| invalid("The user is not of this server"))?,
        };
        let local = local.to_ascii_lowercase();
        if local.is_empty() || !local.bytes().all(is_allowed) {
            return Err(invalid("A user name has only the characters a-z, 0-9 and ._=-/+"));
        }
        let user_id = format!("@{local}{suffix}");
        if user_id.len() > MAX_USER_ID {
            return Err(invalid("The user name is too long"));
        }
        UserId::parse(user_id).map_err(|error| invalid(&error.to_string()))
    }
}

/// The key of a user's row.
pub(super) fn user_key(user_id: &UserId) -> Vec<u8> {
    key(USER, &[user_id.as_str()])
}

fn user_of_key(key: &[u8]) -> Result<OwnedUserId, Error> {
    let user_id = key.get(2..).and_then(|user_id| str::from_utf8(user_id).ok());
    let user_id = user_id.and_then(|user_id| UserId::parse(user_id).ok());
    user_id.ok_or_else(|| Error::Damaged("user key".into()))
}

fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._=-/+".contains(&byte)
}

fn invalid(reason: &str) -> Error {
    Error::InvalidUsername(reason.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use futures::executor::block_on;
    use hearth_storage::{MemoryStore, WriteBatch};

    use super::*;
    use crate::stored::to_vec;

    #[test]
    fn a_store_is_of_whose_accounts_it_holds() {
        let store = MemoryStore::new();
        let owner = |name| block_on(other_owner(&store, name)).unwrap();
        assert_eq!(owner("here.example"), None);
        let register = |user_id: &str| {
            let mut batch = WriteBatch::new();
            let user = to_vec(&User::default()).unwrap();
            batch.put(Table::Accounts, user_key(&UserId::parse(user_id).unwrap()), user);
            block_on(store.commit(batch)).unwrap();
        };
        register("@ann:there.example");
        assert_eq!(owner("there.example"), None);
        assert_eq!(owner("here.example").unwrap(), "there.example");
        // Earlier releases could be started under two names.
        register("@bob:here.example");
        assert_eq!((owner("there.example"), owner("here.example")), (None, None));
    }
}
