//! Where users want to be told of what they have not read. Spec: Client-Server API, section 'Push Notifications'.
//!
//! Pushers are kept and listed. Nothing is sent to gateways: the browser that a push would wake is the server itself.

use hearth_storage::{Table, WriteBatch};
use ruma_common::{DeviceId, OwnedDeviceId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Error, Homeserver, JsonObject,
    stored::{from_slice, scan_all, to_vec},
};

/// What the keys of pushers in `Table::Accounts` begin with: `pusher\0user\0app_id\0pushkey`.
const PREFIX: &[u8] = b"pusher\0";
/// The most pushers of one user.
const MAX_PUSHERS: usize = 100;
/// The most bytes of an app id.
const MAX_APP_ID: usize = 64;
/// The most bytes of a push key.
const MAX_PUSHKEY: usize = 512;
/// The most bytes of a pusher.
const MAX_BYTES: usize = 16 * 1024;
/// The path of the only endpoint of a gateway.
const GATEWAY_PATH: &str = "/_matrix/push/v1/notify";
/// The fields of a pusher that are kept.
const FIELDS: [&str; 8] = [
    "app_display_name",
    "app_id",
    "data",
    "device_display_name",
    "kind",
    "lang",
    "profile_tag",
    "pushkey",
];

/// A pusher as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// The device that made it.
    #[serde(rename = "d")]
    device_id: OwnedDeviceId,
    /// What clients get.
    #[serde(rename = "p")]
    pusher: JsonObject,
}

impl Homeserver {
    /// The pushers of a user.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Damaged`].
    pub async fn pushers(&self, user_id: &UserId) -> Result<Vec<JsonObject>, Error> {
        let rows = scan_all(
            &*self.seams.store,
            Table::Accounts,
            &pusher_key(&[user_id.as_str(), ""]),
        )
        .await?;
        rows.iter()
            .map(|(_, row)| Ok(from_slice::<Stored>(row)?.pusher))
            .collect()
    }

    /// Makes, changes or (with a `kind` of `null`) removes a pusher. Unless `append` is set, pushers of other users for
    /// the same app and push key are removed.
    ///
    /// # Errors
    /// [`Error::MissingParam`] or [`Error::InvalidParam`] if the pusher is malformed, [`Error::TooLarge`] if it, or
    /// the number of pushers, is.
    pub async fn set_pusher(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        mut pusher: JsonObject,
    ) -> Result<(), Error> {
        let app_id = identifier(&pusher, "app_id", MAX_APP_ID)?;
        let pushkey = identifier(&pusher, "pushkey", MAX_PUSHKEY)?;
        let key = pusher_key(&[user_id.as_str(), &app_id, &pushkey]);
        let mut batch = WriteBatch::new();
        let _lock = self.accounts.lock(user_id).await;
        if pusher.get("kind").is_none_or(Value::is_null) {
            if !pusher.contains_key("kind") {
                return Err(Error::MissingParam("a pusher has a kind".into()));
            }
            batch.delete(Table::Accounts, key);
            return Ok(self.seams.store.commit(batch).await?);
        }
        check(&pusher)?;
        if pusher.get("append").and_then(Value::as_bool) != Some(true) {
            self.delete_others(&mut batch, user_id, &[&app_id, &pushkey])
                .await?;
        }
        pusher.retain(|field, _| FIELDS.contains(&field.as_str()));
        let row = to_vec(&Stored {
            device_id: device_id.to_owned(),
            pusher,
        })?;
        let is_new = self.seams.store.get(Table::Accounts, &key).await?.is_none();
        let is_full = is_new && self.pushers(user_id).await?.len() >= MAX_PUSHERS;
        if row.len() > MAX_BYTES || is_full {
            return Err(Error::TooLarge(
                "the pusher is too large, or there are too many".into(),
            ));
        }
        batch.put(Table::Accounts, key, row);
        Ok(self.seams.store.commit(batch).await?)
    }

    /// Takes the pushers of other users for the same app and push key out of the store, with `batch`.
    async fn delete_others(
        &self,
        batch: &mut WriteBatch,
        user_id: &UserId,
        ids: &[&str],
    ) -> Result<(), Error> {
        let end = pusher_key(&[&[""], ids].concat()).split_off(PREFIX.len());
        let own = pusher_key(&[user_id.as_str(), ""]);
        for (key, _) in scan_all(&*self.seams.store, Table::Accounts, PREFIX).await? {
            if key.ends_with(&end) && !key.starts_with(&own) {
                batch.delete(Table::Accounts, key);
            }
        }
        Ok(())
    }

    /// Takes the pushers of devices out of the store, with `batch`.
    pub(crate) async fn delete_pushers(
        &self,
        batch: &mut WriteBatch,
        user_id: &UserId,
        device_ids: &[OwnedDeviceId],
    ) -> Result<(), Error> {
        let prefix = pusher_key(&[user_id.as_str(), ""]);
        for (key, row) in scan_all(&*self.seams.store, Table::Accounts, &prefix).await? {
            if device_ids.contains(&from_slice::<Stored>(&row)?.device_id) {
                batch.delete(Table::Accounts, key);
            }
        }
        Ok(())
    }
}

fn pusher_key(parts: &[&str]) -> Vec<u8> {
    [PREFIX, parts.join("\0").as_bytes()].concat()
}

/// The field `name`, which is part of a key.
fn identifier(pusher: &JsonObject, name: &str, most: usize) -> Result<String, Error> {
    let value = text(pusher, name)?;
    match value.is_empty() || value.len() > most || value.contains('\0') {
        true => Err(Error::InvalidParam(format!("{name} has 1 to {most} bytes"))),
        false => Ok(value.to_owned()),
    }
}

fn text<'a>(pusher: &'a JsonObject, name: &str) -> Result<&'a str, Error> {
    let missing = || Error::MissingParam(format!("a pusher has a {name}"));
    let value = pusher.get(name).ok_or_else(missing)?;
    value
        .as_str()
        .ok_or_else(|| Error::BadJson(format!("{name} is a text")))
}

/// Checks what every pusher has. Only those for HTTP gateways are known.
fn check(pusher: &JsonObject) -> Result<(), Error> {
    for name in ["app_display_name", "device_display_name", "lang"] {
        text(pusher, name)?;
    }
    let data = pusher
        .get("data")
        .ok_or_else(|| Error::MissingParam("a pusher has data".into()))?;
    let data = data
        .as_object()
        .ok_or_else(|| Error::BadJson("data is an object".into()))?;
    if text(pusher, "kind")? != "http" {
        return Err(Error::InvalidParam(
            "only pushers of the kind http are known".into(),
        ));
    }
    match is_gateway(text(data, "url")?) {
        true => Ok(()),
        false => Err(Error::InvalidParam(format!(
            "the url of a pusher is one of HTTPS with the path {GATEWAY_PATH}"
        ))),
    }
}

fn is_gateway(url: &str) -> bool {
    let uri = url.parse::<http::Uri>().ok();
    uri.is_some_and(|uri| uri.scheme_str() == Some("https") && uri.path() == GATEWAY_PATH)
}
