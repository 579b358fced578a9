//! Dehydrated devices: a device of the user's that nobody is logged in on, which receives keys while all others are
//! away. Proposal MSC3814, as matrix-js-sdk calls it.
//!
//! It is a device like others, with keys and a queue, but without a token. A user has at most one.

use hearth_storage::{Table, WriteBatch};
use ruma_common::{DeviceId, OwnedDeviceId, UserId};
use serde::{Deserialize, Serialize};

use super::{device_keys::checked_device_keys, one_time_keys::NewKeys, row, to_device::MAX_TOLD};
use crate::{
    Error, Homeserver, JsonObject,
    accounts::NewDevice,
    stored::{from_slice, to_vec},
};

/// Rows `y\0user`: the user's dehydrated device.
const DEHYDRATED: u8 = b'y';
/// The most bytes of the data.
const MAX_DATA: usize = 128 * 1024;

/// A dehydrated device as it is uploaded.
#[derive(Clone, Debug, Deserialize)]
pub struct Dehydration {
    /// Its id.
    pub device_id: String,
    /// The device itself, encrypted by whoever made it.
    pub device_data: JsonObject,
    /// What it is called.
    pub initial_device_display_name: Option<String>,
    /// Its identity keys.
    pub device_keys: JsonObject,
    /// One-time keys.
    pub one_time_keys: Option<JsonObject>,
    /// Fallback keys.
    pub fallback_keys: Option<JsonObject>,
}

/// A dehydrated device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DehydratedDevice {
    /// Its id.
    pub device_id: OwnedDeviceId,
    /// The device itself, encrypted by whoever made it.
    pub device_data: JsonObject,
}

/// Messages that wait for a dehydrated device.
#[derive(Clone, Debug, Serialize)]
pub struct DehydratedEvents {
    /// The messages.
    pub events: Vec<JsonObject>,
    /// Where to go on.
    pub next_batch: String,
}

impl Homeserver {
    /// The user's dehydrated device.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    pub async fn dehydrated_device(&self, user_id: &UserId) -> Result<DehydratedDevice, Error> {
        let row = self
            .seams
            .store
            .get(Table::Keys, &dehydrated_row(user_id))
            .await?;
        from_slice(&row.ok_or_else(|| Error::NotFound("there is no dehydrated device".into()))?)
    }

    /// Makes a dehydrated device for the user; an earlier one is deleted.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] if a device of that id is logged in or the keys are malformed, [`Error::BadJson`] if they
    /// could not be sent to another server, [`Error::TooLarge`].
    pub async fn dehydrate(&self, user_id: &UserId, wish: Dehydration) -> Result<OwnedDeviceId, Error> {
        let device_id = OwnedDeviceId::from(wish.device_id.as_str());
        let keys = checked_device_keys(wish.device_keys, user_id, &device_id)?;
        let new = NewKeys::parse(wish.one_time_keys, wish.fallback_keys)?;
        if to_vec(&wish.device_data)?.len() > MAX_DATA {
            return Err(Error::TooLarge(format!("a device has at most {MAX_DATA} bytes")));
        }
        let _lock = self.accounts.lock(user_id).await;
        let earlier = match self.dehydrated_device(user_id).await {
            Ok(device) => Some(device.device_id),
            Err(Error::NotFound(_)) => None,
            Err(error) => return Err(error),
        };
        let is_taken = self.device(user_id, &device_id).await.is_ok();
        if is_taken && earlier.as_ref() != Some(&device_id) {
            return Err(Error::InvalidParam("there is a device of that id".into()));
        }
        if let Some(earlier) = earlier {
            self.commit_deletion(WriteBatch::new(), user_id, &[earlier])
                .await?;
        }
        let mut batch = WriteBatch::new();
        let device = NewDevice {
            refreshable: false,
            device_id: Some(wish.device_id),
            display_name: wish.initial_device_display_name,
        };
        self.put_device(&mut batch, user_id, device).await?;
        let stored = DehydratedDevice {
            device_id: device_id.clone(),
            device_data: wish.device_data,
        };
        batch.put(Table::Keys, dehydrated_row(user_id), to_vec(&stored)?);
        self.store_keys(user_id, &device_id, Some(keys), new, batch)
            .await?;
        Ok(device_id)
    }

    /// Deletes the user's dehydrated device. Returns its id.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    pub async fn delete_dehydrated(&self, user_id: &UserId) -> Result<OwnedDeviceId, Error> {
        let _lock = self.accounts.lock(user_id).await;
        let device_id = self.dehydrated_device(user_id).await?.device_id;
        self.commit_deletion(WriteBatch::new(), user_id, std::slice::from_ref(&device_id))
            .await?;
        Ok(device_id)
    }

    /// The messages that wait for the user's dehydrated device after `from`. They stay until it is deleted.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the user has no such dehydrated device, [`Error::InvalidParam`] if `from` is none of
    /// our tokens.
    pub async fn dehydrated_events(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        from: Option<&str>,
    ) -> Result<DehydratedEvents, Error> {
        if self.dehydrated_device(user_id).await?.device_id != device_id {
            return Err(Error::NotFound("this is not the dehydrated device".into()));
        }
        let invalid = |_| Error::InvalidParam("`next_batch` is none of ours".into());
        let from = from.map_or(Ok(0), str::parse).map_err(invalid)?;
        let (events, upto) = self
            .messages_for(user_id, device_id, from, self.log.current(), MAX_TOLD)
            .await?;
        Ok(DehydratedEvents {
            events,
            next_batch: upto.to_string(),
        })
    }

    /// Forgets that one of `device_ids` is dehydrated, with `batch`.
    pub(super) async fn forget_dehydrated(
        &self,
        batch: &mut WriteBatch,
        user_id: &UserId,
        device_ids: &[OwnedDeviceId],
    ) -> Result<(), Error> {
        match self.dehydrated_device(user_id).await {
            Ok(device) if device_ids.contains(&device.device_id) => {
                batch.delete(Table::Keys, dehydrated_row(user_id));
                Ok(())
            }
            Ok(_) | Err(Error::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn dehydrated_row(user_id: &UserId) -> Vec<u8> {
    row(DEHYDRATED, &[user_id.as_str()])
}
