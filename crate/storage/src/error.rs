//! What can go wrong in a store.

/// Why a read or a commit failed. After an error nothing of the batch is stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The browser or disk has no room left.
    #[error("storage is full")]
    Full,
    /// A key that a batch inserts is there already.
    #[error("a key that is to be inserted is there already")]
    Exists,
    /// The database was closed, by a newer version of the app or by the browser.
    #[error("storage was closed: {0}")]
    Closed(String),
    /// The database was written by a newer release than this one.
    #[error("the database has schema {found}, this release knows up to {known}")]
    NewerSchema {
        /// The version found.
        found: u32,
        /// The newest version that this release can open.
        known: u32,
    },
    /// The backend failed in another way.
    #[error("storage failed: {0}")]
    Backend(String),
}
