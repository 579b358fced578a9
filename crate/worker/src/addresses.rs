//! Where other servers were last said to be: relays and routes from invite links, kept over restarts.
//!
//! The app's own relays come from its `config.json` each time and are not kept here.

use std::{collections::BTreeMap, sync::Arc};

use hearth_homeserver::Error;
use hearth_p2p::Network;
use hearth_storage::{Direction, KeyRange, Store, StoreError, Table, WriteBatch};

const RELAYS_KEY: &[u8] = b"addresses/relays";
const ROUTE_PREFIX: &[u8] = b"addresses/route/";
/// Relays that are kept; the oldest go first.
const MAX_RELAYS: usize = 16;
/// Routes that are kept. More are used until the next restart only.
const MAX_ROUTES: usize = 1000;

/// Addresses in the store.
#[derive(Clone)]
pub(crate) struct Addresses {
    store: Arc<dyn Store>,
}

impl Addresses {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Gives everything known to `network`.
    ///
    /// # Errors
    /// [`Error::Store`] if the store fails.
    pub(crate) async fn apply(&self, network: &Network) -> Result<(), Error> {
        network.add_relays(self.relays().await?);
        for (server, relays) in self.routes().await? {
            network.add_route(&server, relays);
        }
        Ok(())
    }

    /// Keeps `relays` as the newest.
    ///
    /// # Errors
    /// [`Error::Store`] if the store fails.
    pub(crate) async fn keep_relays(&self, relays: &[String]) -> Result<(), Error> {
        let known = self.relays().await?;
        let mut kept: Vec<_> = known
            .iter()
            .filter(|relay| !relays.contains(relay))
            .cloned()
            .collect();
        kept.extend_from_slice(relays);
        let surplus = kept.len().saturating_sub(MAX_RELAYS);
        kept.drain(..surplus);
        if kept != known {
            self.put(RELAYS_KEY.to_vec(), &kept).await?;
        }
        Ok(())
    }

    /// Keeps `relays` as the way to `server`, instead of what was known.
    ///
    /// # Errors
    /// [`Error::Store`] if the store fails.
    pub(crate) async fn keep_route(&self, server: &str, relays: &[String]) -> Result<(), Error> {
        let routes = self.routes().await?;
        let is_known = routes.get(server).is_some_and(|known| known == relays);
        if is_known || (routes.len() >= MAX_ROUTES && !routes.contains_key(server)) {
            return Ok(());
        }
        let relays = relays.get(..MAX_RELAYS).unwrap_or(relays);
        self.put([ROUTE_PREFIX, server.as_bytes()].concat(), relays)
            .await?;
        Ok(())
    }

    async fn relays(&self) -> Result<Vec<String>, StoreError> {
        let stored = self.store.get(Table::Meta, RELAYS_KEY).await?;
        Ok(stored.map(|json| parse(&json)).unwrap_or_default())
    }

    async fn routes(&self) -> Result<BTreeMap<String, Vec<String>>, StoreError> {
        let range = KeyRange::prefix(ROUTE_PREFIX);
        let found = self
            .store
            .scan(Table::Meta, range, Direction::Forward, MAX_ROUTES)
            .await?;
        Ok(found
            .into_iter()
            .filter_map(|(key, json)| Some((server(&key)?, parse(&json))))
            .collect())
    }

    async fn put(&self, key: Vec<u8>, relays: &[String]) -> Result<(), StoreError> {
        let mut batch = WriteBatch::new();
        batch.put(Table::Meta, key, serde_json::json!(relays).to_string());
        self.store.commit(batch).await
    }
}

fn server(key: &[u8]) -> Option<String> {
    String::from_utf8(key.strip_prefix(ROUTE_PREFIX)?.to_vec()).ok()
}

/// What cannot be read is as good as unknown: the next invite link brings it again.
fn parse(json: &[u8]) -> Vec<String> {
    serde_json::from_slice(json).unwrap_or_default()
}
