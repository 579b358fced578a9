//! Keys of other servers, vouched for by this one. Spec: Server-Server API, section 'Querying keys through another
//! server'.
//!
//! Between servers of our kind nobody needs it, since the key is the name. What a server has published is asked for once
//! and kept, so that others may have it while that server is away.

use hearth_storage::{Direction, KeyRange, Table, WriteBatch};
use http::Method;
use ruma_common::{CanonicalJsonObject, OwnedServerName, ServerName};
use ruma_signatures::{PublicKeyMap, sign_json, verify_json};
use serde_json::{Value, json};

use crate::{
    Error, Homeserver,
    identity::{KEY_VERSION, public_key},
    stored::{from_slice, to_vec},
};

/// Rows `n\0server`: what a server has published, as it signed it.
const PUBLISHED: &[u8] = b"n\0";
/// The most servers that one request asks for: anybody may make it.
const MAX_SERVERS: usize = 20;
/// The most bytes of what a server has published.
const MAX_BYTES: usize = 16 * 1024;
/// Of how many servers it is kept, unless they share a room with this one.
const MAX_KEPT: usize = 200;

impl Homeserver {
    /// Answers `POST /_matrix/key/v2/query`. `wanted` are servers, each with the least time (milliseconds since the
    /// Unix epoch) up to which its keys have to be valid. Servers that cannot be asked are left out.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] over 20 servers.
    pub async fn notarised_keys(&self, wanted: &[(OwnedServerName, Option<u64>)]) -> Result<Value, Error> {
        if wanted.len() > MAX_SERVERS {
            return Err(Error::InvalidParam(format!(
                "at most {MAX_SERVERS} servers at once"
            )));
        }
        let mut found = Vec::new();
        for (server, least) in wanted {
            let least = least.unwrap_or_else(|| self.now());
            if server == self.server_name() {
                found.push(self.server_keys()?);
            } else if let Some(keys) = self.keys_of(server, least).await? {
                found.push(self.countersigned_keys(keys)?);
            }
        }
        Ok(json!({ "server_keys": found }))
    }

    /// What `server` has published: what is kept if that is valid at `least`, else what it says now; what is kept even if
    /// it is too old, if the server does not answer.
    async fn keys_of(&self, server: &ServerName, least: u64) -> Result<Option<Value>, Error> {
        let key = [PUBLISHED, server.as_bytes()].concat();
        let kept = self.seams.store.get(Table::Keys, &key).await?;
        let kept: Option<Value> = kept.map(|row| from_slice(&row)).transpose()?;
        let valid = |keys: &Value| {
            keys["valid_until_ts"]
                .as_u64()
                .is_some_and(|until| until >= least)
        };
        if kept.as_ref().is_some_and(valid) {
            return Ok(kept);
        }
        let answer = self
            .request(server, Method::GET, "/_matrix/key/v2/server", None)
            .await;
        let Some(keys) = answer.ok().filter(|keys| is_of(server, keys)) else {
            return Ok(kept);
        };
        let row = to_vec(&keys)?;
        if row.len() > MAX_BYTES {
            return Ok(kept);
        }
        if kept.is_some() || self.keeps_keys_of(server).await? {
            let mut batch = WriteBatch::new();
            batch.put(Table::Keys, key, row);
            self.seams.store.commit(batch).await?;
        }
        Ok(Some(keys))
    }

    /// Whether what `server` has published is kept, though it was not before.
    async fn keeps_keys_of(&self, server: &ServerName) -> Result<bool, Error> {
        let range = KeyRange::prefix(PUBLISHED);
        let scan = self
            .seams
            .store
            .scan(Table::Keys, range, Direction::Forward, MAX_KEPT);
        Ok(scan.await?.len() < MAX_KEPT || self.known_servers().await?.contains(server))
    }

    fn countersigned_keys(&self, keys: Value) -> Result<Value, Error> {
        let damaged = |error: String| Error::Damaged(error);
        let mut keys: CanonicalJsonObject =
            serde_json::from_value(keys).map_err(|error| damaged(error.to_string()))?;
        sign_json(self.server_name().as_str(), self.identity.key_pair(), &mut keys)
            .map_err(|error| damaged(error.to_string()))?;
        serde_json::to_value(keys).map_err(|error| damaged(error.to_string()))
    }
}

/// Whether `keys` are what `server` publishes: its name, its key, and signed with it.
fn is_of(server: &ServerName, keys: &Value) -> bool {
    let Some(key) = public_key(server.as_str()) else {
        return false;
    };
    let key: ruma_common::serde::Base64 = ruma_common::serde::Base64::new(key.to_vec());
    let key_id = format!("ed25519:{KEY_VERSION}");
    let named = keys["server_name"] == server.as_str() && keys["valid_until_ts"].is_u64();
    let has_key = keys["verify_keys"][&key_id]["key"] == key.encode();
    let Ok(object) = serde_json::from_value::<CanonicalJsonObject>(keys.clone()) else {
        return false;
    };
    let own = [(key_id, key)].into_iter().collect();
    let keys = PublicKeyMap::from_iter([(server.to_string(), own)]);
    named && has_key && verify_json(&keys, &object).is_ok()
}
