//! Accounts: users, their devices and access tokens, profiles, filters, account data and push rules.
//!
//! What a user owns is read and written here. What rooms show of a user (the profile in a membership event)
//! is the business of [`rooms`](crate::rooms). User-Interactive Authentication is a conversation over HTTP and
//! is held in `hearth-api`.

pub mod account_data;
pub mod device;
pub mod directory;
pub mod filter;
pub mod login;
pub mod one_purpose;
pub mod password;
pub mod profile;
pub mod push_rules;
mod pushers;
pub mod register;
pub mod reports;
pub mod session;
pub mod standing;
pub mod user;

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::{Arc, Mutex as StdMutex},
};

use async_lock::{Mutex, MutexGuardArc};
use hearth_storage::Store;
use ruma_common::{OwnedUserId, UserId, push::Ruleset};

use self::{device::Seen, session::Sessions, standing::Standings};
pub use self::{
    device::{Device, NewDevice},
    login::{LoggedIn, Login},
    register::Registration,
    session::{Issued, Session},
    standing::{Restriction, Standing},
};
use crate::Error;

/// How many locks the users share.
const LOCKS: usize = 64;

/// What is kept in memory of accounts.
pub(crate) struct Accounts {
    sessions: Sessions,
    seen: Seen,
    standings: Standings,
    /// Whoever reads and then writes what a user owns holds the user's lock.
    locks: Vec<Arc<Mutex<()>>>,
    /// The push rules of users, as far as they were asked for: every new event asks for them.
    push_rules: StdMutex<HashMap<OwnedUserId, Arc<Ruleset>>>,
    /// Passwords are hashed one at a time, because a hash takes megabytes of memory.
    hashing: Mutex<()>,
}

impl Accounts {
    /// Reads what is kept in memory from `store`.
    pub(crate) async fn load(store: &dyn Store) -> Result<Self, Error> {
        let locks = std::iter::repeat_with(Arc::default).take(LOCKS).collect();
        let sessions = Sessions::load(store).await?;
        let standings = Standings::load(store).await?;
        Ok(Self {
            sessions,
            seen: Seen::default(),
            standings,
            locks,
            push_rules: StdMutex::default(),
            hashing: Mutex::default(),
        })
    }

    /// Waits until nobody else changes what `user_id` owns. `None` cannot happen: there are locks.
    pub(crate) async fn lock(&self, user_id: &UserId) -> Option<MutexGuardArc<()>> {
        let mut hasher = DefaultHasher::new();
        user_id.hash(&mut hasher);
        let place = hasher.finish() % LOCKS as u64;
        match self.locks.get(usize::try_from(place).unwrap_or_default()) {
            Some(lock) => Some(lock.lock_arc().await),
            None => None,
        }
    }
}

/// The key of a row in `Table::Accounts`: its kind and what names it.
fn key(kind: u8, parts: &[&str]) -> Vec<u8> {
    let mut key = vec![kind];
    for part in parts {
        key.push(0);
        key.extend_from_slice(part.as_bytes());
    }
    key
}
