//! What an account may not do: guests, suspended and locked accounts. Spec: Client-Server API, sections 'Guest Access',
//! 'Account suspension' and 'Account locking'.
//!
//! Which requests that concerns is for `hearth-api` to know. The administrator of a homeserver is whoever made the oldest
//! of its accounts that are open: the one who set it up.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use hearth_storage::{Store, Table, WriteBatch};
use ruma_common::{OwnedUserId, UserId};

use super::user::{User, user_key, users};
use crate::{Error, Homeserver, rooms::view::GUEST_ACCESS, stored::to_vec};

/// What an account may not do. Most may do everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether it is a guest's.
    pub guest: bool,
    /// Whether it may only read and leave.
    pub suspended: bool,
    /// Whether it can only be logged out.
    pub locked: bool,
    /// The log position as of which its events are hidden from whoever joins their rooms later.
    pub erased_at: Option<u64>,
}

/// A restriction that an administrator can lay on an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restriction {
    /// See [`Standing::suspended`].
    Suspended,
    /// See [`Standing::locked`].
    Locked,
}

/// The standings of the accounts that may not do everything.
#[derive(Default)]
pub(crate) struct Standings(RwLock<HashMap<OwnedUserId, Standing>>);

impl Standings {
    pub(crate) async fn load(store: &dyn Store) -> Result<Self, Error> {
        let standings = Self::default();
        for (user_id, user) in users(store).await? {
            standings.publish(&user_id, &user);
        }
        Ok(standings)
    }

    pub(super) fn publish(&self, user_id: &UserId, user: &User) {
        let mut standings = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match user.standing() {
            standing if standing == Standing::default() => drop(standings.remove(user_id)),
            standing => drop(standings.insert(user_id.to_owned(), standing)),
        }
    }
}

impl Homeserver {
    /// What an account of this server may not do.
    pub fn standing(&self, user_id: &UserId) -> Standing {
        let standings = &self.accounts.standings.0;
        let standings = standings.read().unwrap_or_else(PoisonError::into_inner);
        standings.get(user_id).copied().unwrap_or_default()
    }

    /// All guests.
    pub(crate) fn guests(&self) -> Vec<OwnedUserId> {
        let standings = &self.accounts.standings.0;
        let standings = standings.read().unwrap_or_else(PoisonError::into_inner);
        let guests = standings.iter().filter(|(_, standing)| standing.guest);
        guests.map(|(user_id, _)| user_id.clone()).collect()
    }

    /// Who administers this homeserver; `None` if there is no account yet.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn admin(&self) -> Result<Option<OwnedUserId>, Error> {
        let users = users(&*self.seams.store).await?.into_iter();
        let open = users.filter(|(_, user)| !user.deactivated && !user.guest);
        let first = open.min_by_key(|(user_id, user)| (user.created, user_id.clone()));
        Ok(first.map(|(user_id, _)| user_id))
    }

    /// Whether `user_id` administers this homeserver.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn is_admin(&self, user_id: &UserId) -> Result<bool, Error> {
        Ok(self.admin().await?.is_some_and(|admin| admin == user_id))
    }

    /// Whether an account is under `restriction`. `admin` asks.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if `admin` is none, [`Error::InvalidParam`] if the user is of another server,
    /// [`Error::NotFound`] if there is no such user.
    pub async fn is_restricted(
        &self,
        admin: &UserId,
        user_id: &UserId,
        restriction: Restriction,
    ) -> Result<bool, Error> {
        self.administered(admin, user_id).await?;
        let standing = self.standing(user_id);
        Ok(match restriction {
            Restriction::Suspended => standing.suspended,
            Restriction::Locked => standing.locked,
        })
    }

    /// Lays `restriction` on an account, or takes it off.
    ///
    /// # Errors
    /// Those of [`Homeserver::is_restricted`]; [`Error::Forbidden`] if it is the administrator's own account.
    pub async fn restrict(
        &self,
        admin: &UserId,
        user_id: &UserId,
        restriction: Restriction,
        restricted: bool,
    ) -> Result<(), Error> {
        self.administered(admin, user_id).await?;
        if admin == user_id {
            return Err(Error::Forbidden("this is the administrator's account".into()));
        }
        let _lock = self.accounts.lock(user_id).await;
        let not_found = || Error::NotFound("no such user".into());
        let mut user = self.user(user_id).await?.ok_or_else(not_found)?;
        match restriction {
            Restriction::Suspended => user.suspended = restricted,
            Restriction::Locked => user.locked = restricted,
        }
        let mut batch = WriteBatch::new();
        batch
            .put(Table::Accounts, user_key(user_id), to_vec(&user)?)
            .strict();
        self.seams.store.commit(batch).await?;
        self.accounts.standings.publish(user_id, &user);
        Ok(())
    }

    /// Checks that `admin` administers the account `user_id`.
    pub(super) async fn administered(&self, admin: &UserId, user_id: &UserId) -> Result<(), Error> {
        if !self.is_admin(admin).await? {
            return Err(Error::Forbidden("you do not administer this homeserver".into()));
        }
        if !self.is_local(user_id) {
            return Err(Error::InvalidParam("the user is not of this server".into()));
        }
        match self.user_exists(user_id).await? {
            true => Ok(()),
            false => Err(Error::NotFound("no such user".into())),
        }
    }

    /// Checks that an account may be logged in.
    pub(super) fn check_may_log_in(&self, user_id: &UserId) -> Result<(), Error> {
        match self.standing(user_id).locked {
            true => Err(Error::UserLocked),
            false => Ok(()),
        }
    }

    /// Checks that a room lets guests in, if `user_id` is one.
    ///
    /// # Errors
    /// [`Error::GuestForbidden`] if it does not.
    pub(crate) async fn check_guest(
        &self,
        user_id: &UserId,
        room_id: &ruma_common::RoomId,
    ) -> Result<(), Error> {
        if !self.standing(user_id).guest {
            return Ok(());
        }
        let forbidden = || Error::GuestForbidden("the room does not let guests in".into());
        let room = self.resident_room(room_id).await?.ok_or_else(forbidden)?;
        let state = self.view(&room.snapshot(), &[GUEST_ACCESS]).await?;
        match state.text(GUEST_ACCESS, "guest_access") {
            Some("can_join") => Ok(()),
            _ => Err(forbidden()),
        }
    }
}
