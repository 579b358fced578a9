//! What clients keep for their user, globally and for each room. Spec: Client-Server API, 'Client Config'.

use hearth_storage::{Table, WriteBatch};
use ruma_common::{RoomId, UserId};

use crate::{
    Error, Homeserver, JsonObject, LogEntry,
    stored::{from_slice, scan_all, to_vec},
};

/// The most bytes of one piece of account data.
const MAX_CONTENT: usize = 256 * 1024;
/// The most bytes of a type.
const MAX_KIND: usize = 255;

impl Homeserver {
    /// One piece of account data, global if `room_id` is `None`.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn account_data(
        &self,
        user_id: &UserId,
        room_id: Option<&RoomId>,
        kind: &str,
    ) -> Result<Option<JsonObject>, Error> {
        let row = self
            .seams
            .store
            .get(Table::AccountData, &data_key(user_id, room_id, kind))
            .await?;
        row.map(|row| from_slice(&row)).transpose()
    }

    /// All account data of one room, or all that is global, by type.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn account_data_of(
        &self,
        user_id: &UserId,
        room_id: Option<&RoomId>,
    ) -> Result<Vec<(String, JsonObject)>, Error> {
        let prefix = data_key(user_id, room_id, "");
        let rows = scan_all(&*self.seams.store, Table::AccountData, &prefix).await?;
        let kind =
            |key: &[u8]| String::from_utf8_lossy(key.get(prefix.len()..).unwrap_or_default()).into_owned();
        rows.iter()
            .map(|(key, row)| Ok((kind(key), from_slice(row)?)))
            .collect()
    }

    /// Stores a piece of account data and tells the user's devices.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] if the type is empty or too long, [`Error::TooLarge`] above 256 KiB.
    pub async fn set_account_data(
        &self,
        user_id: &UserId,
        room_id: Option<&RoomId>,
        kind: &str,
        content: JsonObject,
    ) -> Result<(), Error> {
        if kind.is_empty() || kind.len() > MAX_KIND || kind.contains('\0') {
            return Err(Error::InvalidParam(format!("a type has 1 to {MAX_KIND} bytes")));
        }
        let row = to_vec(&content)?;
        if row.len() > MAX_CONTENT {
            return Err(Error::TooLarge(format!(
                "account data has at most {MAX_CONTENT} bytes"
            )));
        }
        let mut batch = WriteBatch::new();
        batch.put(Table::AccountData, data_key(user_id, room_id, kind), row);
        let room_id = room_id.map(ToOwned::to_owned);
        let entry = LogEntry::AccountData {
            user_id: user_id.to_owned(),
            room_id,
            kind: kind.to_owned(),
        };
        self.log.commit(batch, vec![entry]).await?;
        Ok(())
    }

    /// Changes a piece of account data, with nobody else changing it meanwhile. `change` gets what is there,
    /// or an empty object.
    ///
    /// # Errors
    /// What `change` fails with, and those of [`Homeserver::set_account_data`].
    pub async fn change_account_data(
        &self,
        user_id: &UserId,
        room_id: Option<&RoomId>,
        kind: &str,
        change: impl FnOnce(&mut JsonObject) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let _lock = self.accounts.lock(user_id).await;
        let mut content = self
            .account_data(user_id, room_id, kind)
            .await?
            .unwrap_or_default();
        change(&mut content)?;
        self.set_account_data(user_id, room_id, kind, content).await
    }
}

/// Rows `user\0room\0type`; the room is empty for global data.
fn data_key(user_id: &UserId, room_id: Option<&RoomId>, kind: &str) -> Vec<u8> {
    let room_id = room_id.map_or("", RoomId::as_str);
    [user_id.as_str(), room_id, kind].join("\0").into_bytes()
}
