//! The version of the schema, and how each earlier version becomes the current one.
//!
//! Migrations are appended, never edited: a database of any earlier release is opened by running those that
//! it has not seen, in the same transaction that records the new version. Nothing here deletes data, and a
//! database of a newer release is left as it is. *How* a table is made is each backend's business.

use crate::{StoreError, Table};

/// The schema version that this release reads and writes.
pub const SCHEMA_VERSION: u32 = Migration::Indices.version();

/// One step from a schema version to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Migration {
    /// An empty database gets the tables of version 1.
    Initial,
    /// Version 2 keeps the keys of devices and servers in a table of their own.
    DeviceAndServerKeys,
    /// Version 3 keeps media.
    Media,
    /// Version 4 keeps what relates to an event, and where words are found.
    Indices,
}

impl Migration {
    /// Every migration, oldest first.
    const ALL: &[Self] = &[
        Self::Initial,
        Self::DeviceAndServerKeys,
        Self::Media,
        Self::Indices,
    ];

    /// The schema version that the migration leads to.
    const fn version(self) -> u32 {
        match self {
            Self::Initial => 1,
            Self::DeviceAndServerKeys => 2,
            Self::Media => 3,
            Self::Indices => 4,
        }
    }

    /// The tables that the migration adds.
    pub(crate) fn new_tables(self) -> &'static [Table] {
        match self {
            Self::Initial => &[
                Table::Meta,
                Table::Accounts,
                Table::AccountData,
                Table::Rooms,
                Table::Events,
                Table::Timeline,
                Table::State,
                Table::Memberships,
                Table::Receipts,
                Table::Directory,
                Table::Stream,
                Table::Federation,
            ],
            Self::DeviceAndServerKeys => &[Table::Keys],
            Self::Media => &[Table::Media],
            Self::Indices => &[Table::Relations, Table::Search],
        }
    }

    /// The migrations that a database of version `found` (0: empty) still needs, oldest first.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] if a newer release wrote the database.
    pub(crate) fn pending(found: u32) -> Result<impl Iterator<Item = Self>, StoreError> {
        if found > SCHEMA_VERSION {
            return Err(StoreError::NewerSchema {
                found,
                known: SCHEMA_VERSION,
            });
        }
        Ok(Self::ALL
            .iter()
            .copied()
            .filter(move |migration| migration.version() > found))
    }
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn migrations_together_make_every_table_once() {
        let made: Vec<Table> = Migration::ALL
            .iter()
            .flat_map(|step| step.new_tables())
            .copied()
            .collect();
        let distinct: BTreeSet<Table> = made.iter().copied().collect();
        assert_eq!(made.len(), distinct.len());
        assert_eq!(distinct, Table::ALL.iter().copied().collect());
    }

    #[test]
    fn versions_count_up_from_one() {
        let versions: Vec<u32> = Migration::ALL.iter().map(|step| step.version()).collect();
        assert_eq!(versions, (1..=SCHEMA_VERSION).collect::<Vec<_>>());
    }

    #[test]
    fn only_what_is_missing_is_run() {
        assert_eq!(Migration::pending(0).unwrap().count(), Migration::ALL.len());
        assert_eq!(
            Migration::pending(1).unwrap().collect::<Vec<_>>(),
            [
                Migration::DeviceAndServerKeys,
                Migration::Media,
                Migration::Indices
            ]
        );
        assert_eq!(Migration::pending(SCHEMA_VERSION).unwrap().count(), 0);
        let newer = Migration::pending(SCHEMA_VERSION + 1).err();
        assert_eq!(
            newer,
            Some(StoreError::NewerSchema {
                found: SCHEMA_VERSION + 1,
                known: SCHEMA_VERSION
            })
        );
    }
}
