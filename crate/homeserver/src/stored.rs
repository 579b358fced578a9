//! How rows are written and read: compact JSON, in pages.

use hearth_storage::{Direction, Entry, KeyRange, Store, Table, prefix_end};
use serde::{Serialize, de::DeserializeOwned};
use std::ops::Bound;

use crate::Error;

/// How many rows are read at once.
const PAGE: usize = 1024;

/// Reads a stored value.
pub(crate) fn from_slice<T: DeserializeOwned>(value: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(value).map_err(|error| Error::Damaged(error.to_string()))
}

/// Writes a value to store.
pub(crate) fn to_vec<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Damaged(error.to_string()))
}

/// Every row whose key begins with `prefix`.
pub(crate) async fn scan_all(store: &dyn Store, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, Error> {
    let end = prefix_end(prefix).map_or(Bound::Unbounded, Bound::Excluded);
    let mut start = Bound::Included(prefix.to_vec());
    let mut rows = Vec::new();
    loop {
        let range = KeyRange {
            start,
            end: end.clone(),
        };
        let page = store.scan(table, range, Direction::Forward, PAGE).await?;
        let full = page.len() == PAGE;
        rows.extend(page);
        match rows.last() {
            Some((key, _)) if full => start = Bound::Excluded(key.clone()),
            _ => return Ok(rows),
        }
    }
}
