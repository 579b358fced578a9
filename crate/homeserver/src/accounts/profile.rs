//! Profiles of users. Spec: Client-Server API, section 'Profiles'.

use hearth_storage::{Table, WriteBatch};
use ruma_common::UserId;
use serde_json::Value;

use super::key;
use crate::{
    Error, Homeserver, JsonObject,
    stored::{from_slice, to_vec},
};

/// Rows `p\0user`.
const PROFILE: u8 = b'p';
/// The most bytes of a whole profile. Spec: 'Profiles', limits of custom fields.
const MAX_PROFILE: usize = 64 * 1024;
/// The most bytes of a name or of the address of a picture, which are part of events.
const MAX_SHOWN: usize = 1024;
/// The most bytes of the name of a field.
const MAX_FIELD_NAME: usize = 255;

impl Homeserver {
    /// The profile of a user of this server: `displayname`, `avatar_url` and other fields, as far as set.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such user.
    pub async fn local_profile(&self, user_id: &UserId) -> Result<JsonObject, Error> {
        let keys = [super::user::user_key(user_id), profile_key(user_id)];
        let mut rows = self
            .seams
            .store
            .get_many(Table::Accounts, &keys)
            .await?
            .into_iter();
        let user = rows.next().flatten();
        if !self.is_local(user_id) || user.is_none() {
            return Err(Error::NotFound("no such user".into()));
        }
        rows.next()
            .flatten()
            .map_or(Ok(JsonObject::new()), |row| from_slice(&row))
    }

    /// The profile of any user; of another server's by asking it.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such user, [`Error::Unreachable`] if their server does not answer.
    pub async fn profile(&self, user_id: &UserId) -> Result<JsonObject, Error> {
        if self.is_local(user_id) {
            self.local_profile(user_id).await
        } else {
            self.remote_profile(user_id).await
        }
    }

    /// The fields of a local user's profile that membership events show.
    pub(crate) async fn member_profile(&self, user_id: &UserId) -> Result<JsonObject, Error> {
        let row = self
            .seams
            .store
            .get(Table::Accounts, &profile_key(user_id))
            .await?;
        let mut profile: JsonObject = row.map_or(Ok(JsonObject::new()), |row| from_slice(&row))?;
        profile.retain(|field, value| is_shown_in_rooms(field) && value.is_string());
        Ok(profile)
    }

    /// Sets a field of the profile of a user of this server, or removes it with `None`, and shows it in the
    /// user's rooms.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such user; [`Error::InvalidParam`] if the name or value is malformed;
    /// [`Error::KeyTooLarge`] or [`Error::ProfileTooLarge`].
    pub async fn set_profile_field(
        &self,
        user_id: &UserId,
        field: &str,
        value: Option<Value>,
    ) -> Result<(), Error> {
        check_field(field, value.as_ref())?;
        self.store_profile_field(user_id, field, value).await?;
        if is_shown_in_rooms(field) {
            // Also what is so already: not all rooms may have taken it.
            self.publish_profile(user_id).await?;
        }
        Ok(())
    }

    /// Sets several fields of the profile of a user of this server, and removes those that are `null`; if `replace` is set
    /// all others, too. All or nothing.
    ///
    /// # Errors
    /// Those of [`Homeserver::set_profile_field`].
    pub async fn change_profile(
        &self,
        user_id: &UserId,
        fields: JsonObject,
        replace: bool,
    ) -> Result<(), Error> {
        for (field, value) in &fields {
            check_field(field, Some(value).filter(|value| !value.is_null()))?;
        }
        let lock = self.accounts.lock(user_id).await;
        let before = self.local_profile(user_id).await?;
        let is_shown = replace || fields.keys().any(|field| is_shown_in_rooms(field));
        let mut profile = if replace { JsonObject::new() } else { before };
        profile.extend(fields);
        profile.retain(|_, value| !value.is_null());
        self.commit_profile(user_id, &profile).await?;
        drop(lock);
        match is_shown {
            true => self.publish_profile(user_id).await,
            false => Ok(()),
        }
    }

    async fn store_profile_field(
        &self,
        user_id: &UserId,
        field: &str,
        value: Option<Value>,
    ) -> Result<(), Error> {
        let _lock = self.accounts.lock(user_id).await;
        let mut profile = self.local_profile(user_id).await?;
        if profile.get(field) == value.as_ref() {
            return Ok(());
        }
        match value {
            Some(value) => profile.insert(field.to_owned(), value),
            None => profile.remove(field),
        };
        self.commit_profile(user_id, &profile).await
    }

    async fn commit_profile(&self, user_id: &UserId, profile: &JsonObject) -> Result<(), Error> {
        let row = to_vec(profile)?;
        if row.len() > MAX_PROFILE {
            return Err(Error::ProfileTooLarge { max: MAX_PROFILE });
        }
        let mut batch = WriteBatch::new();
        batch.put(Table::Accounts, profile_key(user_id), row);
        Ok(self.seams.store.commit(batch).await?)
    }
}

fn is_shown_in_rooms(field: &str) -> bool {
    matches!(field, "displayname" | "avatar_url")
}

fn check_field(field: &str, value: Option<&Value>) -> Result<(), Error> {
    let text = |value: Option<&Value>| value.is_none_or(Value::is_string);
    match field {
        _ if is_shown_in_rooms(field) && !text(value) => {
            Err(Error::InvalidParam(format!("{field} is not a string")))
        }
        _ if is_shown_in_rooms(field)
            && value
                .and_then(Value::as_str)
                .is_some_and(|text| text.len() > MAX_SHOWN) =>
        {
            Err(Error::InvalidParam(format!(
                "{field} has at most {MAX_SHOWN} bytes"
            )))
        }
        _ if field.len() > MAX_FIELD_NAME => Err(Error::KeyTooLarge { max: MAX_FIELD_NAME }),
        // Those that an earlier version took may be removed.
        _ if value.is_some() && !is_shown_in_rooms(field) && !is_namespaced(field) => Err(
            Error::InvalidParam("a profile field has a namespaced name, as org.example.field".into()),
        ),
        _ => Ok(()),
    }
}

/// Whether `field` is at least two words with a dot between each. Spec: the pattern of `keyName` of `PUT
/// /profile/{userId}/{keyName}`.
fn is_namespaced(field: &str) -> bool {
    let is_word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    field.contains('.') && field.split('.').all(is_word)
}

/// The key of a user's profile.
pub(super) fn profile_key(user_id: &UserId) -> Vec<u8> {
    key(PROFILE, &[user_id.as_str()])
}
