//! Logging in and out. Spec: Client-Server API, sections 'Login' and 'Account deactivation'.

use hearth_storage::{Table, WriteBatch};
use ruma_common::{OwnedDeviceId, OwnedUserId, UserId};

use super::{NewDevice, Session, user::user_key};
use crate::{Error, Homeserver, stored::to_vec};

/// A login with a password.
#[derive(Clone, Debug, Default)]
pub struct Login {
    /// The local part of the user id, or all of it.
    pub user: String,
    /// The password.
    pub password: String,
    /// The device to log in.
    pub device: NewDevice,
}

/// What a client gets to know when it is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    /// The user.
    pub user_id: OwnedUserId,
    /// The device.
    pub device_id: OwnedDeviceId,
    /// The access token, which is not stored and cannot be told again.
    pub access_token: String,
}

impl Homeserver {
    /// Logs a device in. Earlier tokens of the device are no longer usable.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if user and password do not fit.
    pub async fn login(&self, login: Login) -> Result<LoggedIn, Error> {
        let forbidden = || Error::Forbidden("Invalid user name or password".into());
        let user_id = self.local_user_id(&login.user).map_err(|_| forbidden())?;
        if !self.check_password(&user_id, &login.password).await? {
            return Err(forbidden());
        }
        let _lock = self.accounts.lock(&user_id).await;
        self.commit_login(WriteBatch::new(), &user_id, login.device).await
    }

    /// Commits `batch` with the device and a token for it. The caller holds the user's lock.
    pub(super) async fn commit_login(
        &self,
        mut batch: WriteBatch,
        user_id: &UserId,
        device: NewDevice,
    ) -> Result<LoggedIn, Error> {
        let device_id = self.put_device(&mut batch, user_id, device).await?;
        let session = Session {
            user_id: user_id.to_owned(),
            device_id: device_id.clone(),
        };
        let token = self.put_token(&mut batch, session)?;
        self.seams.store.commit(batch).await?;
        Ok(LoggedIn {
            user_id: user_id.to_owned(),
            device_id,
            access_token: self.publish_token(token),
        })
    }

    /// Logs one device out, which is thereby gone.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn logout(&self, session: &Session) -> Result<(), Error> {
        let _lock = self.accounts.lock(&session.user_id).await;
        let device_ids = std::slice::from_ref(&session.device_id);
        self.commit_deletion(WriteBatch::new(), &session.user_id, device_ids)
            .await
    }

    /// Logs all devices of a user out.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn logout_all(&self, user_id: &UserId) -> Result<(), Error> {
        let _lock = self.accounts.lock(user_id).await;
        self.commit_logout_all(WriteBatch::new(), user_id).await
    }

    /// Closes an account for good: it leaves its rooms, cannot log in, and its name stays taken.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such user.
    pub async fn deactivate(&self, user_id: &UserId) -> Result<(), Error> {
        for room_id in self.joined_rooms(user_id) {
            if let Err(error) = self.leave_room(user_id, &room_id, None).await {
                tracing::warn!(%room_id, %error, "a closed account could not leave a room");
            }
        }
        let _lock = self.accounts.lock(user_id).await;
        let mut user = self
            .user(user_id)
            .await?
            .ok_or_else(|| Error::NotFound("no such user".into()))?;
        user.password = None;
        user.deactivated = true;
        let mut batch = WriteBatch::new();
        batch
            .put(Table::Accounts, user_key(user_id), to_vec(&user)?)
            .strict();
        self.delete_cross_signing(&mut batch, user_id).await?;
        self.commit_logout_all(batch, user_id).await
    }

    async fn commit_logout_all(&self, batch: WriteBatch, user_id: &UserId) -> Result<(), Error> {
        let devices = self.devices(user_id).await?.into_iter();
        let device_ids: Vec<_> = devices.map(|device| device.device_id).collect();
        self.commit_deletion(batch, user_id, &device_ids).await
    }
}
