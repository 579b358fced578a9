//! Passwords, hashed with Argon2id.

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version,
    password_hash::SaltString,
};
use futures::channel::oneshot;
use hearth_storage::{MaybeSend, Table, WriteBatch};
use ruma_common::UserId;

use super::{
    Session,
    user::{User, user_key},
};
use crate::{Error, Homeserver, stored::to_vec};

/// KiB of memory for one hash. With the passes below it is one of the pairs that OWASP's Password Storage Cheat Sheet holds
/// to be of equal strength: the one with the least memory, which a browser's worker never gives back, and the least work.
const MEMORY_KIB: u32 = 7 * 1024;
/// Passes over the memory.
const PASSES: u32 = 5;
/// The most bytes of a password: a hash reads all of it.
const MAX_PASSWORD: usize = 1024;

impl Homeserver {
    /// Whether `password` is the user's. An account without a password has none that fits.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn check_password(&self, user_id: &UserId, password: &str) -> Result<bool, Error> {
        let user = self.user(user_id).await?;
        self.is_password_of(user.as_ref(), password).await
    }

    /// Whether `password` is that of `user`, who may be none.
    pub(super) async fn is_password_of(&self, user: Option<&User>, password: &str) -> Result<bool, Error> {
        let user = user.filter(|user| !user.deactivated);
        let Some(stored) = user.and_then(|user| user.password.clone()) else {
            return Ok(false);
        };
        if password.len() > MAX_PASSWORD {
            return Ok(false);
        }
        let password = password.to_owned();
        self.hashing(move || verify(&password, &stored)).await?
    }

    /// Gives the user a new password. If `logout` is set, all devices but `session`'s are logged out.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] if the password is too long, [`Error::NotFound`] if there is no such user.
    pub async fn set_password(&self, session: &Session, password: &str, logout: bool) -> Result<(), Error> {
        let hash = self.hash_password(password).await?;
        let user_id = &session.user_id;
        let _lock = self.accounts.lock(user_id).await;
        let mut user = self
            .user(user_id)
            .await?
            .ok_or_else(|| Error::NotFound("no such user".into()))?;
        user.password = Some(hash);
        let mut batch = WriteBatch::new();
        batch
            .put(Table::Accounts, user_key(user_id), to_vec(&user)?)
            .strict();
        let mut others = Vec::new();
        if logout {
            let devices = self.devices(user_id).await?.into_iter();
            others.extend(
                devices
                    .map(|device| device.device_id)
                    .filter(|id| *id != session.device_id),
            );
        }
        self.commit_deletion(batch, user_id, &others).await
    }

    /// The hash of a new password.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] if it is longer than 1024 bytes or empty.
    pub(super) async fn hash_password(&self, password: &str) -> Result<String, Error> {
        if password.is_empty() || password.len() > MAX_PASSWORD {
            return Err(Error::InvalidParam(format!(
                "a password has 1 to {MAX_PASSWORD} bytes"
            )));
        }
        let mut salt = [0; 16];
        self.seams.rng.fill(&mut salt);
        let password = password.to_owned();
        self.hashing(move || hash(&password, &salt)).await?
    }

    /// Runs `work` as a task of its own, one at a time.
    async fn hashing<T: MaybeSend + 'static>(
        &self,
        work: impl FnOnce() -> T + MaybeSend + 'static,
    ) -> Result<T, Error> {
        let _turn = self.accounts.hashing.lock().await;
        let (done, result) = oneshot::channel();
        self.seams.spawner.spawn(Box::pin(async move {
            // Whoever asked may be gone.
            let _ = done.send(work());
        }));
        result
            .await
            .map_err(|_| Error::Damaged("the password was not hashed".into()))
    }
}

fn argon2() -> Result<Argon2<'static>, Error> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|error| damaged(&error))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &str, salt: &[u8]) -> Result<String, Error> {
    let salt = SaltString::encode_b64(salt).map_err(|error| damaged(&error))?;
    let hash = argon2()?
        .hash_password(password.as_bytes(), &salt)
        .map_err(|error| damaged(&error))?;
    Ok(hash.to_string())
}

/// Compares with a stored hash, which carries its own parameters.
fn verify(password: &str, stored: &str) -> Result<bool, Error> {
    let stored = PasswordHash::new(stored).map_err(|error| damaged(&error))?;
    match argon2()?.verify_password(password.as_bytes(), &stored) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::Password) => Ok(false),
        Err(error) => Err(damaged(&error)),
    }
}

fn damaged(error: &impl ToString) -> Error {
    Error::Damaged(format!("password hash: {}", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_earlier_versions_and_other_implementations_are_understood() {
        // By the npm package argon2id 1.0.1, with what new hashes were made by before.
        let stored = "$argon2id$v=19$m=9216,t=4,p=1$BwcHBwcHBwcHBwcHBwcHBw$bsmWH2hzrGFtOTqTCm0AfKMRgPPJNjtsgTEdKG1bnKE";
        assert!(matches!(verify("a long password", stored), Ok(true)));
        assert!(matches!(verify("another password", stored), Ok(false)));
    }
}
