//! Devices of users. Spec: Client-Server API, section 'Device Management'.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use hearth_storage::{Table, WriteBatch};
use ruma_common::{DeviceId, OwnedDeviceId, UserId};
use serde::{Deserialize, Serialize};

use super::{Session, key};
use crate::{
    Error, Homeserver, LogEntry,
    stored::{from_slice, scan_all, to_vec},
};

/// Rows `d\0user\0device`.
const DEVICE: u8 = b'd';
/// The most bytes of a device id.
const MAX_DEVICE_ID: usize = 255;
/// The most bytes of a display name.
const MAX_DISPLAY_NAME: usize = 512;
/// Bytes of randomness in a device id that the server chooses.
const DEVICE_ID_BYTES: usize = 5;

/// How often it is written down when a device was seen, in milliseconds.
const SEEN_INTERVAL: u64 = 5 * 60 * 1000;
/// The most devices of which it is in memory when they were seen.
const MAX_SEEN: usize = 10_000;

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its id.
    pub device_id: OwnedDeviceId,
    /// What the user calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// When it was seen last, give or take five minutes, in milliseconds since the Unix epoch.
    pub last_seen_ts: u64,
    /// From which address, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_ip: Option<String>,
}

/// When devices were written down as seen.
#[derive(Default)]
pub(super) struct Seen(Mutex<HashMap<Session, u64>>);

impl Seen {
    /// Whether it is time to write down that the device is seen at `now`.
    fn is_due(&self, session: &Session, now: u64) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen
            .get(session)
            .is_some_and(|last| now.saturating_sub(*last) < SEEN_INTERVAL)
        {
            return false;
        }
        if seen.len() >= MAX_SEEN {
            seen.clear();
        }
        seen.insert(session.clone(), now);
        true
    }
}

/// A device that logs in.
#[derive(Clone, Debug, Default)]
pub struct NewDevice {
    /// Its id, or `None` to be given one.
    pub device_id: Option<String>,
    /// Its name, if it is not known yet.
    pub display_name: Option<String>,
    /// Whether its access token is to expire and can be refreshed.
    pub refreshable: bool,
}

impl Homeserver {
    /// The devices of a user of this server.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn devices(&self, user_id: &UserId) -> Result<Vec<Device>, Error> {
        let prefix = key(DEVICE, &[user_id.as_str(), ""]);
        let rows = scan_all(&*self.seams.store, Table::Accounts, &prefix).await?;
        rows.iter().map(|(_, row)| from_slice(row)).collect()
    }

    /// The devices of a user, for the user or the administrator.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if `asker` is neither; [`Error::InvalidParam`], [`Error::NotFound`].
    pub async fn whois(&self, asker: &UserId, user_id: &UserId) -> Result<Vec<Device>, Error> {
        if asker != user_id {
            self.administered(asker, user_id).await?;
        }
        self.devices(user_id).await
    }

    /// One device.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the user has no such device.
    pub async fn device(&self, user_id: &UserId, device_id: &DeviceId) -> Result<Device, Error> {
        let row = self
            .seams
            .store
            .get(Table::Accounts, &device_key(user_id, device_id))
            .await?;
        from_slice(&row.ok_or_else(|| Error::NotFound("no such device".into()))?)
    }

    /// Names a device; `None` leaves the name as it is.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the user has no such device, [`Error::InvalidParam`] if the name is too long.
    pub async fn rename_device(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        display_name: Option<String>,
    ) -> Result<(), Error> {
        let _lock = self.accounts.lock(user_id).await;
        let mut device = self.device(user_id, device_id).await?;
        let Some(display_name) = checked_name(display_name)? else {
            return Ok(());
        };
        device.display_name = Some(display_name);
        let mut batch = WriteBatch::new();
        batch.put(Table::Accounts, device_key(user_id, device_id), to_vec(&device)?);
        if self.device_keys(user_id, device_id).await?.is_none() {
            return Ok(self.seams.store.commit(batch).await?);
        }
        // Who sees its keys sees its name beside them.
        let entry = LogEntry::DeviceList {
            user_id: user_id.to_owned(),
        };
        self.log.commit(batch, vec![entry]).await.map(drop)
    }

    /// Removes devices with their tokens, keys and messages. Those that the user does not have are passed over.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn delete_devices(&self, user_id: &UserId, device_ids: &[OwnedDeviceId]) -> Result<(), Error> {
        let _lock = self.accounts.lock(user_id).await;
        self.commit_deletion(WriteBatch::new(), user_id, device_ids).await
    }

    /// Commits `batch` and the deletion of devices of a user. The caller holds the user's lock.
    pub(crate) async fn commit_deletion(
        &self,
        mut batch: WriteBatch,
        user_id: &UserId,
        device_ids: &[OwnedDeviceId],
    ) -> Result<(), Error> {
        let gone = |session: &Session| session.user_id == user_id && device_ids.contains(&session.device_id);
        for device_id in device_ids {
            batch.delete(Table::Accounts, device_key(user_id, device_id));
            self.forget_connections(&mut batch, user_id, device_id).await?;
        }
        self.delete_tokens(&mut batch, gone);
        self.delete_pushers(&mut batch, user_id, device_ids).await?;
        self.commit_without_keys(batch, user_id, device_ids).await?;
        self.forget_tokens(gone);
        Ok(())
    }

    /// Notes that a device was seen, coming from the address `ip`. Written at most every five minutes, beside the
    /// caller.
    pub fn note_seen(&self, session: &Session, ip: Option<String>) {
        if !self.accounts.seen.is_due(session, self.now()) {
            return;
        }
        let session = session.clone();
        self.spawn(|homeserver| async move {
            if let Err(error) = homeserver.write_seen(&session, ip).await {
                tracing::warn!(%error, "when a device was seen is not written down");
            }
        });
    }

    async fn write_seen(&self, session: &Session, ip: Option<String>) -> Result<(), Error> {
        let (user_id, device_id) = (&session.user_id, &session.device_id);
        let _lock = self.accounts.lock(user_id).await;
        let mut device = match self.device(user_id, device_id).await {
            Err(Error::NotFound(_)) => return Ok(()),
            device => device?,
        };
        let is_new = ip.is_some() && device.last_seen_ip != ip;
        if self.now().saturating_sub(device.last_seen_ts) < SEEN_INTERVAL && !is_new {
            return Ok(());
        }
        device.last_seen_ts = self.now();
        device.last_seen_ip = ip.or(device.last_seen_ip);
        let mut batch = WriteBatch::new();
        batch.put(Table::Accounts, device_key(user_id, device_id), to_vec(&device)?);
        Ok(self.seams.store.commit(batch).await?)
    }

    /// Puts a device that logs in into `batch`. Returns its id.
    pub(crate) async fn put_device(
        &self,
        batch: &mut WriteBatch,
        user_id: &UserId,
        new: NewDevice,
    ) -> Result<OwnedDeviceId, Error> {
        let device_id = new
            .device_id
            .unwrap_or_else(|| self.random_id(DEVICE_ID_BYTES).to_uppercase());
        if device_id.is_empty() || device_id.len() > MAX_DEVICE_ID || device_id.contains('\0') {
            return Err(Error::InvalidParam(format!(
                "a device id has 1 to {MAX_DEVICE_ID} bytes"
            )));
        }
        let device_id = OwnedDeviceId::from(device_id);
        let (known, last_seen_ip) = match self.device(user_id, &device_id).await {
            Ok(device) => (device.display_name, device.last_seen_ip),
            Err(Error::NotFound(_)) => {
                self.check_device_name(user_id, &device_id).await?;
                (None, None)
            }
            Err(error) => return Err(error),
        };
        let display_name = known.or(checked_name(new.display_name)?);
        let device = Device {
            device_id: device_id.clone(),
            display_name,
            last_seen_ts: self.now(),
            last_seen_ip,
        };
        batch.put(Table::Accounts, device_key(user_id, &device_id), to_vec(&device)?);
        Ok(device_id)
    }
}

fn device_key(user_id: &UserId, device_id: &DeviceId) -> Vec<u8> {
    key(DEVICE, &[user_id.as_str(), device_id.as_str()])
}

fn checked_name(display_name: Option<String>) -> Result<Option<String>, Error> {
    if display_name
        .as_ref()
        .is_some_and(|name| name.len() > MAX_DISPLAY_NAME)
    {
        return Err(Error::InvalidParam(format!(
            "a device's name has at most {MAX_DISPLAY_NAME} bytes"
        )));
    }
    Ok(display_name)
}
