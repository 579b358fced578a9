//! Ordered, transactional key-value storage behind one small trait.
//!
//! A [`Store`] is a fixed set of named [`Table`]s, each an ordered map of byte keys to byte values. It reads
//! single keys, many keys and ranges, and writes by atomic [`WriteBatch`]. It does *not* know what the bytes
//! mean, offer read-modify-write, or lock anything: whoever reads before writing holds a lock of its own.

mod batch;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
#[cfg(target_family = "wasm")]
mod indexed_db;
mod memory;
mod platform;
mod range;
#[cfg(not(target_family = "wasm"))]
mod redb;
mod schema;
mod table;

pub use batch::{Durability, WriteBatch, WriteOp};
pub use error::StoreError;
#[cfg(target_family = "wasm")]
pub use indexed_db::IndexedDbStore;
pub use memory::MemoryStore;
pub use platform::{BoxFuture, MaybeSend, MaybeSync};
pub use range::{Direction, KeyRange, prefix_end};
#[cfg(not(target_family = "wasm"))]
pub use redb::RedbStore;
pub use schema::SCHEMA_VERSION;
pub use table::Table;

/// One entry of a table: key and value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// An ordered, transactional key-value store.
///
/// Every method sees all batches whose commit was acknowledged before the call.
pub trait Store: MaybeSend + MaybeSync + 'static {
    /// The value of `key` in `table`.
    fn get<'a>(&'a self, table: Table, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>>;

    /// The values of `keys` in `table`, in the order of `keys`.
    fn get_many<'a>(
        &'a self,
        table: Table,
        keys: &'a [Vec<u8>],
    ) -> BoxFuture<'a, Result<Vec<Option<Vec<u8>>>, StoreError>>;

    /// At most `limit` entries of `table` whose keys lie in `range`, in the order of `direction`.
    fn scan(
        &self,
        table: Table,
        range: KeyRange,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>>;

    /// Applies `batch` whole or not at all. Returns once it is durable as [`WriteBatch::durability`] asks.
    ///
    /// Batches that are committed at the same time may share one transaction of the backend (group commit);
    /// each still succeeds or fails whole.
    fn commit(&self, batch: WriteBatch) -> BoxFuture<'_, Result<(), StoreError>>;
}
