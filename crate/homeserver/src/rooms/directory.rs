//! The published directory of rooms. Spec: Client-Server API, section 'Listing rooms'.

use hearth_storage::{Table, WriteBatch};
use http::Method;
use ruma_common::{OwnedServerName, RoomAliasId, RoomId, ServerName, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Error, Homeserver, JsonObject,
    federation::received::take_array,
    rooms::{
        create::object,
        description::read_summary,
        room::Snapshot,
        view::{AVATAR, CANONICAL_ALIAS, CREATE, GUEST_ACCESS, HISTORY_VISIBILITY, JOIN_RULES, NAME, TOPIC},
    },
    stored::scan_all,
};

/// The most rooms of one page.
const MAX_PAGE: u64 = 100;
/// What the keys of published rooms begin with.
const PUBLISHED: &[u8] = b"p\0";

/// Which part of the directory is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DirectoryQuery {
    /// The most rooms to return.
    pub limit: Option<u64>,
    /// Where to go on, as an earlier answer said.
    pub since: Option<String>,
    /// `generic_search_term` and `room_types`.
    pub filter: Option<JsonObject>,
    /// Another server, whose directory is asked for.
    #[serde(skip)]
    pub server: Option<OwnedServerName>,
}

/// One page of the directory, as the spec has it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DirectoryPage {
    /// The rooms, those with most members first.
    #[serde(skip_deserializing)]
    pub chunk: Vec<JsonObject>,
    /// The token of the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_batch: Option<String>,
    /// The token of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev_batch: Option<String>,
    /// About how many rooms there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_room_count_estimate: Option<u64>,
}

impl Homeserver {
    /// A page of the directory of this server, or of `query.server`.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] if `since` is malformed, [`Error::Unreachable`] if the other server is.
    pub async fn public_rooms(&self, query: DirectoryQuery) -> Result<DirectoryPage, Error> {
        if let Some(server) = query.server.clone().filter(|server| server != self.server_name()) {
            return self.remote_directory(&server, query).await;
        }
        let mut rooms = self.published_rooms(&query).await?;
        rooms.sort_by_key(|(members, _)| std::cmp::Reverse(*members));
        let total = rooms.len();
        let start = match &query.since {
            Some(since) => since
                .parse()
                .map_err(|_| Error::InvalidParam("`since` is malformed".into()))?,
            None => 0usize,
        };
        let limit = query
            .limit
            // As in Synapse, 0 asks for no limit of its own.
            .filter(|limit| *limit > 0)
            .unwrap_or(MAX_PAGE)
            .min(MAX_PAGE)
            .try_into()
            .unwrap_or(usize::MAX);
        let end = start.saturating_add(limit).min(total);
        let chunk = rooms
            .into_iter()
            .skip(start)
            .take(limit)
            .map(|(_, room)| room)
            .collect();
        Ok(DirectoryPage {
            chunk,
            next_batch: (end < total).then(|| end.to_string()),
            prev_batch: (start > 0).then(|| start.saturating_sub(limit).to_string()),
            total_room_count_estimate: Some(total as u64),
        })
    }

    /// Whether a room is in this server's directory.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the room is not known here.
    pub async fn is_published(&self, room_id: &RoomId) -> Result<bool, Error> {
        self.known_room(room_id).await?;
        Ok(self
            .seams
            .store
            .get(Table::Directory, &published_key(room_id))
            .await?
            .is_some())
    }

    /// Puts a room into this server's directory or takes it out.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the room is not known here, [`Error::Forbidden`] if the user may not set its
    /// canonical alias.
    pub async fn set_published(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        published: bool,
    ) -> Result<(), Error> {
        let room = self.known_room(room_id).await?;
        if !self.may_name(user_id, &room).await? {
            return Err(Error::Forbidden("you may not publish this room".into()));
        }
        let mut batch = WriteBatch::new();
        match published {
            true => batch.put(Table::Directory, published_key(room_id), []),
            false => batch.delete(Table::Directory, published_key(room_id)),
        };
        Ok(self.seams.store.commit(batch).await?)
    }

    /// The published rooms that match, with their number of members. One that no user of this server is in is left
    /// out: what is known of it grows old, and nobody here lets others in.
    async fn published_rooms(&self, query: &DirectoryQuery) -> Result<Vec<(u64, JsonObject)>, Error> {
        let term = query
            .filter
            .as_ref()
            .and_then(|filter| filter.get("generic_search_term"));
        let term = term.and_then(Value::as_str).unwrap_or_default().to_lowercase();
        let types = query
            .filter
            .as_ref()
            .and_then(|filter| filter.get("room_types"))
            .and_then(Value::as_array);
        let mut rooms = Vec::new();
        for (key, _) in scan_all(&*self.seams.store, Table::Directory, PUBLISHED).await? {
            let room_id = key.get(PUBLISHED.len()..).and_then(|id| str::from_utf8(id).ok());
            let Some(room_id) = room_id.and_then(|id| RoomId::parse(id).ok()) else {
                continue;
            };
            let Some(room) = self.resident_room(&room_id).await? else {
                continue;
            };
            let summary = self.directory_entry(&room.snapshot()).await?;
            if matches(&summary, &term, types) {
                rooms.push((room.snapshot().members().joined, summary));
            }
        }
        Ok(rooms)
    }

    /// A room as the directory lists it. Spec: Client-Server API, `PublicRoomsChunk`.
    pub(crate) async fn directory_entry(&self, snapshot: &Snapshot) -> Result<JsonObject, Error> {
        let keys = [
            CREATE,
            JOIN_RULES,
            HISTORY_VISIBILITY,
            CANONICAL_ALIAS,
            NAME,
            TOPIC,
            AVATAR,
            GUEST_ACCESS,
        ];
        let state = self.view(snapshot, &keys).await?;
        // It may be empty or malformed, for which clients refuse the whole directory.
        let alias = state.text(CANONICAL_ALIAS, "alias");
        let alias = alias.filter(|alias| RoomAliasId::parse(alias).is_ok());
        let mut summary = object(json!({
            "room_id": snapshot.room_id,
            "num_joined_members": snapshot.members().joined,
            "world_readable": state.text(HISTORY_VISIBILITY, "history_visibility") == Some("world_readable"),
            "guest_can_join": state.text(GUEST_ACCESS, "guest_access") == Some("can_join"),
            "name": state.text(NAME, "name"),
            "topic": state.text(TOPIC, "topic"),
            "avatar_url": state.text(AVATAR, "url"),
            "canonical_alias": alias,
            "join_rule": state.text(JOIN_RULES, "join_rule"),
            "room_type": state.text(CREATE, "type"),
        }));
        summary.retain(|_, value| !value.is_null());
        Ok(summary)
    }

    /// A page of the directory of `server`, without the rooms that it does not describe as the specification says.
    async fn remote_directory(
        &self,
        server: &ServerName,
        query: DirectoryQuery,
    ) -> Result<DirectoryPage, Error> {
        let body = json!({
            "limit": query.limit.unwrap_or(MAX_PAGE).min(MAX_PAGE),
            "since": query.since,
            "filter": query.filter.unwrap_or_default(),
        });
        let mut body = object(body);
        body.retain(|_, value| !value.is_null());
        let uri = "/_matrix/federation/v1/publicRooms";
        let mut answer = self.request(server, Method::POST, uri, Some(body.into())).await?;
        let chunk = take_array(&mut answer, "chunk", MAX_PAGE as usize).into_iter();
        let page: DirectoryPage = serde_json::from_value(answer)
            .map_err(|_| Error::Unreachable("the answer is malformed".into()))?;
        Ok(DirectoryPage {
            chunk: chunk.filter_map(read_summary).collect(),
            ..page
        })
    }
}

fn matches(summary: &JsonObject, term: &str, types: Option<&Vec<Value>>) -> bool {
    let has_term = |field: &str| {
        let text = summary.get(field).and_then(Value::as_str);
        text.is_some_and(|text| text.to_lowercase().contains(term))
    };
    let found = term.is_empty() || ["name", "topic", "canonical_alias"].into_iter().any(has_term);
    let kind = summary.get("room_type").unwrap_or(&Value::Null);
    found && types.is_none_or(|types| types.contains(kind))
}

/// The key of a published room in `Table::Directory`.
pub(crate) fn published_key(room_id: &RoomId) -> Vec<u8> {
    [PUBLISHED, room_id.as_bytes()].concat()
}
