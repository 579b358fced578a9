//! What clients keep for their user, globally and for each room. Spec: Client-Server API, 'Client Config'.

use std::collections::BTreeMap;

use hearth_storage::{Table, WriteBatch};
use ruma_common::{OwnedRoomId, RoomId, UserId};

use crate::{
    Error, Homeserver, JsonObject, LogEntry,
    stored::{from_slice, scan_all, to_vec},
};

/// The most bytes of one piece of account data.
const MAX_CONTENT: usize = 256 * 1024;
/// Account data by type, of rooms and (`None`) global.
pub(crate) type AllAccountData = BTreeMap<Option<OwnedRoomId>, Vec<(String, JsonObject)>>;
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
        self.commit_account_data(user_id, room_id, kind, batch).await
    }

    /// Removes a piece of account data, and tells the user's devices by an empty one (MSC3391). Nothing happens if
    /// there is none.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn delete_account_data(
        &self,
        user_id: &UserId,
        room_id: Option<&RoomId>,
        kind: &str,
    ) -> Result<(), Error> {
        let _lock = self.accounts.lock(user_id).await;
        if self.account_data(user_id, room_id, kind).await?.is_none() {
            return Ok(());
        }
        let mut batch = WriteBatch::new();
        batch.delete(Table::AccountData, data_key(user_id, room_id, kind));
        self.commit_account_data(user_id, room_id, kind, batch).await
    }

    async fn commit_account_data(
        &self,
        user_id: &UserId,
        room_id: Option<&RoomId>,
        kind: &str,
        batch: WriteBatch,
    ) -> Result<(), Error> {
        let entry = LogEntry::AccountData {
            user_id: user_id.to_owned(),
            room_id: room_id.map(ToOwned::to_owned),
            kind: kind.to_owned(),
        };
        let (shared, user_id, kind) = (self.shared(), user_id.to_owned(), kind.to_owned());
        let publish = move || {
            if let Some(shared) = shared {
                shared.policies.account_data_changed(&user_id, &kind);
            }
        };
        self.log.reserve(1).commit(batch, vec![entry], publish).await?;
        Ok(())
    }

    /// All account data of the user, global (under `None`) and of rooms, in one read.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub(crate) async fn all_account_data(&self, user_id: &UserId) -> Result<AllAccountData, Error> {
        let prefix = [user_id.as_bytes(), &[0]].concat();
        let mut all = AllAccountData::new();
        for (key, row) in scan_all(&*self.seams.store, Table::AccountData, &prefix).await? {
            let rest = String::from_utf8_lossy(key.get(prefix.len()..).unwrap_or_default()).into_owned();
            let (room_id, kind) = rest.split_once('\0').unwrap_or_default();
            let room_id = RoomId::parse(room_id).ok();
            all.entry(room_id)
                .or_default()
                .push((kind.to_owned(), from_slice(&row)?));
        }
        Ok(all)
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
