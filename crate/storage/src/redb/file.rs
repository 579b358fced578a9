//! The open file, and how it comes back after the disk was full.
//!
//! Once a write has failed, redb fails all others until the file is opened again. Nothing of what failed is stored: its
//! pages are not all there, and redb goes back to the last transaction that is whole. That is so of a full disk; after
//! other failures nobody knows what the disk holds, and the file stays as it is until the process is started anew.

use std::sync::{PoisonError, RwLock};

use ::redb::{Database, DatabaseError, Error};

type Open = dyn Fn() -> Result<Database, DatabaseError> + Send + Sync;

/// The file of a store.
pub(super) struct File {
    /// `None` from when the disk was full until somebody reads or writes again.
    database: RwLock<Option<Database>>,
    open: Box<Open>,
}

impl File {
    /// `database`, which `open` opens again.
    pub(super) fn new(
        database: Database,
        open: impl Fn() -> Result<Database, DatabaseError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            database: RwLock::new(Some(database)),
            open: Box::new(open),
        }
    }

    /// Whether [`File::with`] need neither open the file nor wait until somebody has.
    pub(super) fn is_at_hand(&self) -> bool {
        self.database.try_read().is_ok_and(|database| database.is_some())
    }

    /// Reads or writes. If the file is closed, opens it before, which reads all of it.
    ///
    /// # Errors
    /// What failed; the file may not open either.
    pub(super) fn with<T>(&self, action: impl FnOnce(&Database) -> Result<T, Error>) -> Result<T, Error> {
        loop {
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(database) = &*database {
                return action(database);
            }
            drop(database);
            self.reopen()?;
        }
    }

    fn reopen(&self) -> Result<(), Error> {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if database.is_none() {
            *database = Some((self.open)()?);
        }
        Ok(())
    }

    /// Closes the file until it is needed.
    pub(super) fn close(&self) {
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
