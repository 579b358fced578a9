//! Room aliases. Spec: Client-Server API, section 'Room aliases'.

use hearth_rooms::ordered;
use std::collections::BTreeSet;

use hearth_storage::{Table, WriteBatch};
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ruma_common::{OwnedRoomAliasId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomAliasId, RoomId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Error, Homeserver, JsonObject,
    rooms::{
        draft::Draft,
        room::Room,
        view::{CANONICAL_ALIAS, CREATE, HISTORY_VISIBILITY, POWER_LEVELS, member},
    },
    stored::{from_slice, scan_all, to_vec},
};

/// The most servers that are named as being in a room.
const MAX_SERVERS: usize = 50;
/// The most aliases of one canonical alias event that are looked at.
const MAX_NAMED: usize = 100;

impl Homeserver {
    /// Makes `alias` (of this server) mean `room_id`.
    ///
    /// # Errors
    /// [`Error::AliasTaken`] if it is taken, [`Error::Forbidden`] if the user is not in the room,
    /// [`Error::InvalidParam`] if it is another server's.
    pub async fn set_alias(
        &self,
        user_id: &UserId,
        alias: &RoomAliasId,
        room_id: &RoomId,
    ) -> Result<(), Error> {
        self.check_own(alias)?;
        let room = self.known_room(room_id).await?;
        if !self.is_joined(&room.room_id, user_id).await? {
            return Err(Error::Forbidden("you are not in this room".into()));
        }
        let _directory = self.directory_lock.lock().await;
        if self.alias_entry(alias).await?.is_some() {
            return Err(Error::AliasTaken);
        }
        let mut batch = WriteBatch::new();
        batch.put(Table::Directory, alias_key(alias), alias_row(room_id, user_id)?);
        Ok(self.seams.store.commit(batch).await?)
    }

    /// Removes `alias`, also from among the names of its room. Its creator and whoever may set the room's canonical alias
    /// may do so.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`].
    pub async fn remove_alias(&self, user_id: &UserId, alias: &RoomAliasId) -> Result<(), Error> {
        let room_id = self.forget_alias(user_id, alias).await?;
        match self.unname(user_id, &room_id, alias).await {
            // The alias is gone all the same, as the specification recommends.
            Ok(()) | Err(Error::Forbidden(_) | Error::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes `alias` out of the canonical alias event of the room.
    async fn unname(&self, user_id: &UserId, room_id: &RoomId, alias: &RoomAliasId) -> Result<(), Error> {
        let room = self.known_room(room_id).await?;
        let state = self.view(&room.snapshot(), &[CANONICAL_ALIAS]).await?;
        let Some(event) = state.get(CANONICAL_ALIAS.0, CANONICAL_ALIAS.1) else {
            return Ok(());
        };
        let is_named = |named: &Value| named.as_str() == Some(alias.as_str());
        if only_aliases(event.content(), is_named).is_empty() {
            return Ok(());
        }
        let mut content = event.content().clone();
        content.retain(|field, _| field != "alias" && field != "alt_aliases");
        content.extend(only_aliases(event.content(), |named| !is_named(named)));
        let draft = Draft::state(user_id, CANONICAL_ALIAS.0, CANONICAL_ALIAS.1, content);
        self.send_draft(room_id, draft).await.map(drop)
    }

    /// Makes `alias` mean nothing. The room that it meant.
    async fn forget_alias(&self, user_id: &UserId, alias: &RoomAliasId) -> Result<OwnedRoomId, Error> {
        let _directory = self.directory_lock.lock().await;
        let entry = self.alias_entry(alias).await?;
        let entry = entry.ok_or_else(|| Error::NotFound("no such room alias".into()))?;
        let may = match self.room(&entry.room_id).await? {
            Some(room) => self.may_name(user_id, &room).await?,
            None => false,
        };
        if entry.creator != user_id && !may {
            return Err(Error::Forbidden("you may not remove this alias".into()));
        }
        let mut batch = WriteBatch::new();
        batch.delete(Table::Directory, alias_key(alias));
        self.seams.store.commit(batch).await?;
        Ok(entry.room_id)
    }

    /// What `alias` means, asking its server if that is another one: the room and servers that are in it.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it means nothing, or its server cannot be reached.
    pub async fn resolve_alias(
        &self,
        alias: &RoomAliasId,
    ) -> Result<(OwnedRoomId, Vec<OwnedServerName>), Error> {
        if alias.server_name() == self.server_name() {
            return self.local_alias(alias).await;
        }
        let alias_text = utf8_percent_encode(alias.as_str(), NON_ALPHANUMERIC);
        let uri = format!("/_matrix/federation/v1/query/directory?room_alias={alias_text}");
        let answer = self.request(alias.server_name(), Method::GET, &uri, None).await;
        let answer =
            answer.map_err(|error| Error::NotFound(format!("the alias cannot be looked up: {error}")))?;
        let answer: Answer = serde_json::from_value(answer)
            .map_err(|_| Error::NotFound("the alias's server gave a malformed answer".into()))?;
        Ok((
            answer.room_id,
            answer.servers.into_iter().take(MAX_SERVERS).collect(),
        ))
    }

    /// What an alias of this server means.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it means nothing.
    pub async fn local_alias(
        &self,
        alias: &RoomAliasId,
    ) -> Result<(OwnedRoomId, Vec<OwnedServerName>), Error> {
        let entry = self.alias_entry(alias).await?;
        let entry = entry.ok_or_else(|| Error::NotFound("no such room alias".into()))?;
        let mut servers = vec![self.server_name().to_owned()];
        if let Some(room) = self.room(&entry.room_id).await? {
            let others = self.others(&room.snapshot(), self.server_name()).await?;
            servers.extend(others.into_iter().take(MAX_SERVERS));
        }
        Ok((entry.room_id, servers))
    }

    /// This server's aliases of a room.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the user is not in the room and it is not world-readable.
    pub async fn room_aliases(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
    ) -> Result<Vec<OwnedRoomAliasId>, Error> {
        let forbidden = || Error::Forbidden("you are not in this room".into());
        let room = self.room(room_id).await?.ok_or_else(forbidden)?;
        let keys = [HISTORY_VISIBILITY, member(user_id)];
        let state = self.view(&room.snapshot(), &keys).await?;
        let anyone = state.text(HISTORY_VISIBILITY, "history_visibility") == Some("world_readable");
        if !anyone && state.membership(user_id) != "join" {
            return Err(forbidden());
        }
        Ok(self
            .aliases_of(room_id)
            .await?
            .into_iter()
            .map(|(alias, _)| alias)
            .collect())
    }

    /// This server's aliases of a room, and who made them.
    pub(crate) async fn aliases_of(
        &self,
        room_id: &RoomId,
    ) -> Result<Vec<(OwnedRoomAliasId, OwnedUserId)>, Error> {
        let mut aliases = Vec::new();
        for (key, value) in scan_all(&*self.seams.store, Table::Directory, b"a\0").await? {
            let entry: AliasEntry = from_slice(&value)?;
            let alias = key.get(2..).and_then(|alias| str::from_utf8(alias).ok());
            let alias = alias.and_then(|alias| RoomAliasId::parse(alias).ok());
            let alias = alias.filter(|_| entry.room_id == room_id);
            aliases.extend(alias.map(|alias| (alias, entry.creator)));
        }
        Ok(aliases)
    }

    /// The alias that a new room is to get, if it is free.
    pub(crate) async fn free_alias(
        &self,
        local_part: Option<&str>,
    ) -> Result<Option<OwnedRoomAliasId>, Error> {
        let Some(local_part) = local_part else {
            return Ok(None);
        };
        let alias = RoomAliasId::parse(format!("#{local_part}:{}", self.server_name()))
            .map_err(|_| Error::InvalidParam("the alias is malformed".into()))?;
        if local_part.contains([':', '\0']) {
            return Err(Error::InvalidParam("the alias is malformed".into()));
        }
        match self.alias_entry(&alias).await? {
            Some(_) => Err(Error::RoomInUse),
            None => Ok(Some(alias)),
        }
    }

    /// Whether every alias that `content` names and the room does not have yet means the room. What is malformed in the
    /// present one is no hindrance to mend it.
    /// Spec: Client-Server API, `m.room.canonical_alias`.
    pub(crate) async fn check_canonical_alias(
        &self,
        room_id: &RoomId,
        content: &JsonObject,
    ) -> Result<(), Error> {
        let room = self.known_room(room_id).await?;
        let state = self.view(&room.snapshot(), &[CANONICAL_ALIAS]).await?;
        let present = state.iter().flat_map(|event| named_aliases(event.content()));
        let present: BTreeSet<_> = ordered::set(present.filter_map(Result::ok));
        let named = named_aliases(content).collect::<Result<BTreeSet<_>, _>>()?;
        let new: Vec<_> = named.difference(&present).collect();
        if new.len() > MAX_NAMED {
            return Err(Error::InvalidParam(format!("more than {MAX_NAMED} new aliases")));
        }
        for alias in new {
            match self.resolve_alias(alias).await {
                Ok((found, _)) if found == room_id => (),
                _ => return Err(Error::BadAlias(format!("{alias} does not mean this room"))),
            }
        }
        Ok(())
    }

    /// Whether the user may set the canonical alias of a room, and so say what it is called elsewhere.
    pub(crate) async fn may_name(&self, user_id: &UserId, room: &Room) -> Result<bool, Error> {
        let keys = [CREATE, POWER_LEVELS, member(user_id)];
        let state = self.view(&room.snapshot(), &keys).await?;
        Ok(state.may_send(user_id, CANONICAL_ALIAS.0, true))
    }

    async fn alias_entry(&self, alias: &RoomAliasId) -> Result<Option<AliasEntry>, Error> {
        let value = self.seams.store.get(Table::Directory, &alias_key(alias)).await?;
        value.map(|value| from_slice(&value)).transpose()
    }

    fn check_own(&self, alias: &RoomAliasId) -> Result<(), Error> {
        match alias.server_name() == self.server_name() {
            true => Ok(()),
            false => Err(Error::InvalidParam("the alias belongs to another server".into())),
        }
    }
}

/// What an alias of this server means, and who made it.
#[derive(Serialize, Deserialize)]
struct AliasEntry {
    #[serde(rename = "r")]
    room_id: OwnedRoomId,
    #[serde(rename = "c")]
    creator: OwnedUserId,
}

/// Another server's answer about an alias.
#[derive(Deserialize)]
struct Answer {
    room_id: OwnedRoomId,
    #[serde(default)]
    servers: Vec<OwnedServerName>,
}

/// The aliases that the content of a canonical alias names; an error for each that is malformed.
pub(super) fn named_aliases(
    content: &JsonObject,
) -> impl Iterator<Item = Result<OwnedRoomAliasId, Error>> + '_ {
    let alternatives = content
        .get("alt_aliases")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let named = content
        .get("alias")
        .into_iter()
        .filter(|alias| !alias.is_null())
        .chain(alternatives);
    let parse = |alias: &Value| {
        let alias = alias.as_str().and_then(|alias| RoomAliasId::parse(alias).ok());
        alias.ok_or_else(|| Error::InvalidParam("an alias is malformed".into()))
    };
    named.filter(|alias| alias.as_str() != Some("")).map(parse)
}

/// The content of `m.room.canonical_alias` with only those aliases that `keep` holds to.
pub(super) fn only_aliases(content: &JsonObject, keep: impl Fn(&Value) -> bool) -> JsonObject {
    let mut kept = JsonObject::new();
    let alias = content.get("alias").filter(|alias| keep(alias));
    kept.extend(alias.map(|alias| ("alias".to_owned(), alias.clone())));
    let others = content.get("alt_aliases").and_then(Value::as_array);
    let others: Vec<_> = others
        .into_iter()
        .flatten()
        .filter(|alias| keep(alias))
        .cloned()
        .collect();
    if !others.is_empty() {
        kept.insert("alt_aliases".into(), others.into());
    }
    kept
}

/// The key of an alias in `Table::Directory`.
pub(crate) fn alias_key(alias: &RoomAliasId) -> Vec<u8> {
    [b"a\0", alias.as_bytes()].concat()
}

/// The row of an alias.
pub(crate) fn alias_row(room_id: &RoomId, creator: &UserId) -> Result<Vec<u8>, Error> {
    to_vec(&AliasEntry {
        room_id: room_id.to_owned(),
        creator: creator.to_owned(),
    })
}
