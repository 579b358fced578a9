//! Making accounts. Spec: Client-Server API, section 'Account registration'.

use hearth_storage::{Table, WriteBatch};
use ruma_common::{OwnedUserId, UserId};
use serde_json::json;

use super::{
    LoggedIn, NewDevice,
    profile::profile_key,
    user::{User, user_key},
};
use crate::{Error, Homeserver, stored::to_vec};

/// Bytes of randomness in a user name that the server chooses.
const NAME_BYTES: usize = 6;

/// A wish for an account.
#[derive(Clone, Debug, Default)]
pub struct Registration {
    /// The local part of the user id, or `None` to be given one.
    pub username: Option<String>,
    /// The password, or `None` for an account that cannot log in again.
    pub password: Option<String>,
    /// The device to log in, or `None` for no login.
    pub device: Option<NewDevice>,
}

impl Homeserver {
    /// Whether a user name is free and well-formed; the user id that it would be.
    ///
    /// # Errors
    /// [`Error::InvalidUsername`], [`Error::UserInUse`].
    pub async fn available_user_id(&self, username: &str) -> Result<OwnedUserId, Error> {
        let user_id = self.local_user_id(username)?;
        if self.user_exists(&user_id).await? {
            Err(Error::UserInUse)
        } else {
            Ok(user_id)
        }
    }

    /// Makes an account, and logs it in if asked to. Whether registration is open is for the caller to check.
    ///
    /// # Errors
    /// [`Error::InvalidUsername`], [`Error::UserInUse`], [`Error::InvalidParam`].
    pub async fn register(&self, wish: Registration) -> Result<(OwnedUserId, Option<LoggedIn>), Error> {
        let username = wish.username.unwrap_or_else(|| self.random_id(NAME_BYTES));
        let user_id = self.local_user_id(&username)?;
        let password = self.hash_wished(wish.password).await?;
        let login = self.store_user(&user_id, password, wish.device, false).await?;
        Ok((user_id, login))
    }

    /// Makes a guest's account, which cannot log in again, and logs it in on the device named.
    ///
    /// # Errors
    /// [`Error::InvalidParam`].
    pub async fn register_guest(&self, device: NewDevice) -> Result<LoggedIn, Error> {
        let user_id = self.local_user_id(&format!("guest-{}", self.random_id(NAME_BYTES)))?;
        let login = self.store_user(&user_id, None, Some(device), true).await?;
        login.ok_or_else(|| Error::Damaged("a guest was not logged in".into()))
    }

    /// Makes a guest's account an ordinary one, logs the guest out, and the user in if asked to. Spec: section 'Guest
    /// Access'.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if `guest` is none, or has another name than is wished for; [`Error::UserLocked`],
    /// [`Error::InvalidUsername`], [`Error::InvalidParam`].
    pub async fn upgrade_guest(
        &self,
        guest: &UserId,
        wish: Registration,
    ) -> Result<(OwnedUserId, Option<LoggedIn>), Error> {
        let named = wish.username.map(|name| self.local_user_id(&name)).transpose()?;
        let password = self.hash_wished(wish.password).await?;
        let _lock = self.accounts.lock(guest).await;
        let user = self.user(guest).await?;
        let user = user.filter(|user| user.guest && named.as_deref() == Some(guest));
        let mut user = user.ok_or_else(|| Error::Forbidden("no guest of that name asks".into()))?;
        self.check_may_log_in(guest)?;
        // Of the users the oldest administers, and this one is new.
        (user.created, user.password, user.guest) = (self.now(), password, false);
        let mut batch = WriteBatch::new();
        batch
            .put(Table::Accounts, user_key(guest), to_vec(&user)?)
            .strict();
        self.commit_logout_all(batch, guest).await?;
        self.accounts.standings.publish(guest, &user);
        let login = match wish.device {
            Some(device) => Some(self.commit_login(WriteBatch::new(), guest, device).await?),
            None => None,
        };
        Ok((guest.to_owned(), login))
    }

    async fn hash_wished(&self, password: Option<String>) -> Result<Option<String>, Error> {
        match password {
            Some(password) => Ok(Some(self.hash_password(&password).await?)),
            None => Ok(None),
        }
    }

    async fn store_user(
        &self,
        user_id: &UserId,
        password: Option<String>,
        device: Option<NewDevice>,
        guest: bool,
    ) -> Result<Option<LoggedIn>, Error> {
        let _lock = self.accounts.lock(user_id).await;
        if self.user_exists(user_id).await? {
            return Err(Error::UserInUse);
        }
        let user = User {
            created: self.now(),
            password,
            guest,
            ..User::default()
        };
        let mut batch = WriteBatch::new();
        batch
            .put(Table::Accounts, user_key(user_id), to_vec(&user)?)
            .strict();
        if !guest {
            // As in Synapse: without a name of their own, clients would show the whole user id, half of which is a key.
            let profile = json!({"displayname": user_id.localpart()});
            batch.put(Table::Accounts, profile_key(user_id), to_vec(&profile)?);
        }
        match device {
            Some(device) => {
                let login = self.commit_login(batch, user_id, device).await?;
                self.accounts.standings.publish(user_id, &user);
                Ok(Some(login))
            }
            None => {
                self.seams.store.commit(batch).await?;
                Ok(None)
            }
        }
    }
}
