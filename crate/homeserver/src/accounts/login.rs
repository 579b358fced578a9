//! Logging in and out. Spec: Client-Server API, sections 'Login' and 'Account deactivation'.

use futures::future::join_all;
use hearth_storage::{Table, WriteBatch};
use ruma_common::{OwnedDeviceId, OwnedUserId, RoomId, UserId};

use super::{
    Issued, NewDevice, Session,
    filter::filters_prefix,
    profile::profile_key,
    user::{user_key, users},
};
use crate::{
    Error, Homeserver,
    encryption::backup::{all_keys_prefix, versions_prefix},
    rooms::memberships::UserMembership,
    stored::{scan_all, to_vec},
    thread_subscriptions::subscriptions_prefix,
};

/// How many rooms of other servers a closed account leaves at once.
const LEFT_AT_ONCE: usize = 4;

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
    /// Its tokens.
    pub tokens: Issued,
}

impl Homeserver {
    /// Logs a device in. Earlier tokens of the device are no longer usable.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if user and password do not fit, [`Error::UserLocked`].
    pub async fn login(&self, login: Login) -> Result<LoggedIn, Error> {
        let forbidden = || Error::Forbidden("Invalid user name or password".into());
        let user_id = self.local_user_id(&login.user).map_err(|_| forbidden())?;
        let user = self.user(&user_id).await?;
        if !self.is_password_of(user.as_ref(), &login.password).await? {
            return Err(forbidden());
        }
        let checked = user.and_then(|user| user.password);
        let _lock = self.accounts.lock(&user_id).await;
        // Meanwhile the password may have been changed, or the account closed.
        if self.user(&user_id).await?.and_then(|user| user.password) != checked {
            return Err(forbidden());
        }
        self.check_may_log_in(&user_id)?;
        self.commit_login(WriteBatch::new(), &user_id, login.device).await
    }

    /// Commits `batch` with the device and a token for it. The caller holds the user's lock.
    pub(super) async fn commit_login(
        &self,
        mut batch: WriteBatch,
        user_id: &UserId,
        device: NewDevice,
    ) -> Result<LoggedIn, Error> {
        let refreshable = device.refreshable;
        let device_id = self.put_device(&mut batch, user_id, device).await?;
        let session = Session {
            user_id: user_id.to_owned(),
            device_id: device_id.clone(),
        };
        let tokens = self.put_tokens(&mut batch, session, refreshable)?;
        self.seams.store.commit(batch).await?;
        Ok(LoggedIn {
            user_id: user_id.to_owned(),
            device_id,
            tokens: self.publish_tokens(tokens),
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

    /// Closes an account for good: it cannot log in, its name stays taken, and it leaves its rooms and declines its
    /// invites, at the next start if a stop comes between. What only the user could read goes. If `erase` is set, the
    /// profile goes, too, and whoever joins a room from now on gets the user's events there as if they were redacted.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such user.
    pub async fn deactivate(&self, user_id: &UserId, erase: bool) -> Result<(), Error> {
        self.close(user_id, erase).await?;
        self.leave_all(user_id).await;
        Ok(())
    }

    async fn close(&self, user_id: &UserId, erase: bool) -> Result<(), Error> {
        let _lock = self.accounts.lock(user_id).await;
        let mut user = self
            .user(user_id)
            .await?
            .ok_or_else(|| Error::NotFound("no such user".into()))?;
        user.password = None;
        user.deactivated = true;
        user.erased_at = erase.then(|| self.log.current());
        let mut batch = WriteBatch::new();
        batch
            .put(Table::Accounts, user_key(user_id), to_vec(&user)?)
            .strict();
        for (table, own) in own_rows(user_id) {
            for (key, _) in scan_all(&*self.seams.store, table, &own).await? {
                batch.delete(table, key);
            }
        }
        if erase {
            batch.delete(Table::Accounts, profile_key(user_id));
        }
        self.forget_delayed(&mut batch, user_id).await?;
        self.delete_cross_signing(&mut batch, user_id).await?;
        self.commit_logout_all(batch, user_id).await?;
        self.accounts.standings.publish(user_id, &user);
        self.forget_status(user_id).await
    }

    /// Takes a closed account out of its rooms. Where another server must be asked, beside the caller.
    async fn leave_all(&self, user_id: &UserId) {
        let waits = |entry: &UserMembership| matches!(entry.membership.as_str(), "join" | "invite" | "knock");
        let rooms = self.memberships(user_id).into_iter();
        let mut elsewhere = Vec::new();
        for (room_id, _) in rooms.filter(|(_, entry)| waits(entry)) {
            match self.resident_room(&room_id).await {
                Ok(Some(_)) => self.leave_closed(user_id, &room_id).await,
                _ => elsewhere.push(room_id),
            }
        }
        let user_id = user_id.to_owned();
        self.spawn(|homeserver| async move {
            for some in elsewhere.chunks(LEFT_AT_ONCE) {
                join_all(
                    some.iter()
                        .map(|room_id| homeserver.leave_closed(&user_id, room_id)),
                )
                .await;
            }
        });
    }

    async fn leave_closed(&self, user_id: &UserId, room_id: &RoomId) {
        if let Err(error) = self.leave_room(user_id, room_id, None).await {
            tracing::warn!(%room_id, %error, "a closed account could not leave a room");
        }
    }

    /// Takes closed accounts out of the rooms that they are still in. Called at the start.
    pub(crate) fn leave_all_closed(&self) {
        self.spawn(|homeserver| async move {
            let users = users(&*homeserver.seams.store).await.unwrap_or_default();
            for (user_id, _) in users.iter().filter(|(_, user)| user.deactivated) {
                homeserver.leave_all(user_id).await;
            }
        });
    }

    /// Commits `batch` and the deletion of all devices of a user. The caller holds the user's lock.
    pub(super) async fn commit_logout_all(&self, batch: WriteBatch, user_id: &UserId) -> Result<(), Error> {
        let devices = self.devices(user_id).await?.into_iter();
        let device_ids: Vec<_> = devices.map(|device| device.device_id).collect();
        self.commit_deletion(batch, user_id, &device_ids).await
    }
}

/// What begins the rows that only the user could read: account data, filters, threads that are followed, backups of keys.
fn own_rows(user_id: &UserId) -> [(Table, Vec<u8>); 5] {
    [
        (Table::AccountData, [user_id.as_bytes(), &[0]].concat()),
        (Table::Accounts, filters_prefix(user_id)),
        (Table::Accounts, subscriptions_prefix(user_id)),
        (Table::Keys, versions_prefix(user_id)),
        (Table::Keys, all_keys_prefix(user_id)),
    ]
}
