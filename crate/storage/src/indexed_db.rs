//! The browser's store: one IndexedDB database with one object store for each table.
//!
//! It works wherever `globalThis.indexedDB` does: in pages, workers and service workers. Keys and values are
//! byte arrays. IndexedDB's cost is per transaction, so that a commit joins all others that wait while a
//! transaction is under way, and a range is one `getAllRecords` (or `getAll` and `getAllKeys`) where the
//! browser has it. Within a transaction nothing but its own requests is awaited: it would end by itself.
//!
//! Does *not* ask for persistent storage (only a page can) and never deletes a database.

mod connection;
mod exchange;
mod group;
mod range;

use std::rc::Rc;

use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::IdbTransactionMode;

use self::{connection::Connection, exchange::failure, group::Group};
use crate::{BoxFuture, Direction, Durability, Entry, KeyRange, Store, StoreError, Table, WriteBatch};

/// A store in one IndexedDB database.
///
/// Clones share the connection. A connection that the browser drops is opened anew, once for each operation
/// that notices; one that is closed for a newer release of the app stays closed.
#[derive(Clone)]
pub struct IndexedDbStore {
    connection: Rc<Connection>,
    group: Rc<Group>,
}

impl IndexedDbStore {
    /// Opens the database `name`, makes it if there is none, and brings it to the current schema.
    ///
    /// Waits while an older release holds the database open; that is told to close it.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] if a newer release wrote the database, which stays as it is; else what the
    /// browser reports.
    pub async fn open(name: &str) -> Result<Self, StoreError> {
        let connection = Rc::new(Connection::open(name).await?);
        let group = Group::new(Rc::clone(&connection));
        Ok(Self {
            connection,
            group: Rc::new(group),
        })
    }

    /// Calls `tell`, with the reason, when the database is taken away: deleted, or upgraded by a newer release. From
    /// then on every operation fails with [`StoreError::Closed`].
    pub fn on_loss(&self, tell: impl FnOnce(&str) + 'static) {
        self.connection.on_loss(tell);
    }
}

impl Store for IndexedDbStore {
    fn get<'a>(&'a self, table: Table, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        Box::pin(async move {
            let transaction = self.begin_read(table).await?;
            let entries = transaction.object_store(table.name()).map_err(failure)?;
            let request = entries.get(&to_js(key)).map_err(failure)?;
            let value = exchange::answer(&request).await?;
            Ok(from_js(&value))
        })
    }

    fn get_many<'a>(
        &'a self,
        table: Table,
        keys: &'a [Vec<u8>],
    ) -> BoxFuture<'a, Result<Vec<Option<Vec<u8>>>, StoreError>> {
        Box::pin(async move {
            if keys.is_empty() {
                return Ok(Vec::new());
            }
            let transaction = self.begin_read(table).await?;
            let entries = transaction.object_store(table.name()).map_err(failure)?;
            let requests: Result<Vec<_>, _> = keys.iter().map(|key| entries.get(&to_js(key))).collect();
            let requests = requests.map_err(failure)?;
            exchange::completion(&transaction).await?;
            requests
                .iter()
                .map(|request| request.result().map(|value| from_js(&value)).map_err(failure))
                .collect()
        })
    }

    fn scan(
        &self,
        table: Table,
        range: KeyRange,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        Box::pin(async move {
            // IndexedDB rejects ranges that hold no key, and takes a count of 0 for 'all'.
            if range.is_empty() || limit == 0 {
                return Ok(Vec::new());
            }
            let transaction = self.begin_read(table).await?;
            let entries = transaction.object_store(table.name()).map_err(failure)?;
            range::scan(
                &entries,
                &range,
                direction,
                u32::try_from(limit).unwrap_or(u32::MAX),
            )
            .await
        })
    }

    fn commit(&self, batch: WriteBatch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.group.commit(batch))
    }
}

impl IndexedDbStore {
    async fn begin_read(&self, table: Table) -> Result<web_sys::IdbTransaction, StoreError> {
        self.connection
            .begin(&[table], IdbTransactionMode::Readonly, Durability::Relaxed)
            .await
    }
}

/// The bytes as a JavaScript value of their own, outside the memory of the wasm instance.
fn to_js(bytes: &[u8]) -> JsValue {
    Uint8Array::from(bytes).into()
}

/// The bytes of a value (an array) or key (a buffer); `None` for `undefined`.
fn from_js(value: &JsValue) -> Option<Vec<u8>> {
    if let Some(array) = value.dyn_ref::<Uint8Array>() {
        return Some(array.to_vec());
    }
    value
        .is_instance_of::<ArrayBuffer>()
        .then(|| Uint8Array::new(value).to_vec())
}
