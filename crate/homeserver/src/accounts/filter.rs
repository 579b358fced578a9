//! Filters that clients have stored. Spec: Client-Server API, section 'Filtering'.
//!
//! The id of a filter is made of its content: the same filter has the same id, and is stored once.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hearth_storage::{Table, WriteBatch};
use ruma_common::UserId;
use sha2::{Digest, Sha256};

use super::key;
use crate::{
    Error, Homeserver, JsonObject,
    stored::{from_slice, to_vec},
    sync::Filter,
};

/// Rows `f\0user\0filter`.
const FILTER: u8 = b'f';
/// Bytes of a filter's hash that make its id.
const ID_BYTES: usize = 12;
/// The most bytes of a filter.
const MAX_FILTER: usize = 64 * 1024;

impl Homeserver {
    /// Stores a filter of the user. Returns its id, which never begins with `{`.
    ///
    /// # Errors
    /// [`Error::BadJson`] if it is no filter, [`Error::TooLarge`] above 64 KiB.
    pub async fn store_filter(&self, user_id: &UserId, filter: &JsonObject) -> Result<String, Error> {
        let row = to_vec(filter)?;
        if row.len() > MAX_FILTER {
            return Err(Error::TooLarge(format!(
                "a filter has at most {MAX_FILTER} bytes"
            )));
        }
        Filter::parse(&String::from_utf8_lossy(&row))?;
        let hash = Sha256::digest(&row);
        let id = URL_SAFE_NO_PAD.encode(hash.get(..ID_BYTES).unwrap_or(&hash));
        let (key, store) = (key(FILTER, &[user_id.as_str(), &id]), &self.seams.store);
        // Clients store theirs at every start, also where nothing can be stored any more.
        if store.get(Table::Accounts, &key).await?.is_none() {
            let mut batch = WriteBatch::new();
            batch.put(Table::Accounts, key, row);
            store.commit(batch).await?;
        }
        Ok(id)
    }

    /// A filter that the user has stored.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none of that id.
    pub async fn stored_filter(&self, user_id: &UserId, id: &str) -> Result<JsonObject, Error> {
        let row = self
            .seams
            .store
            .get(Table::Accounts, &key(FILTER, &[user_id.as_str(), id]))
            .await?;
        from_slice(&row.ok_or_else(|| Error::NotFound("no such filter".into()))?)
    }
}

/// What begins the keys of a user's filters in `Table::Accounts`.
pub(super) fn filters_prefix(user_id: &UserId) -> Vec<u8> {
    key(FILTER, &[user_id.as_str(), ""])
}
