//! Where other servers were last said to be: relays and routes from invite links, kept over restarts.
//!
//! The app's own relays come from its `config.json` each time and are not kept here.

use std::{collections::BTreeMap, sync::Arc};

use hearth_homeserver::{Error, ordered::map};
use hearth_p2p::Network;
use hearth_storage::{Direction, KeyRange, Store, StoreError, Table, WriteBatch};

const RELAYS_KEY: &[u8] = b"addresses/relays";
/// Routes that came with invite links.
const LINKED: &[u8] = b"addresses/linked/";
/// Routes that the network has learned from those to whom they lead.
const LEARNED: &[u8] = b"addresses/route/";
/// Relays that are kept; the oldest go first.
const MAX_RELAYS: usize = 16;
/// Routes of each kind that are kept. More are used until the next restart only.
const MAX_ROUTES: usize = 1000;

/// Routes by server.
type Routes = BTreeMap<String, Vec<String>>;

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
        // Where the network has too many, the first go.
        for kind in [LEARNED, LINKED] {
            for (server, relays) in self.routes(kind).await? {
                network.add_route(&server, relays);
            }
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
            let mut batch = WriteBatch::new();
            batch.put(Table::Meta, RELAYS_KEY, json(&kept));
            self.store.commit(batch).await?;
        }
        Ok(())
    }

    /// Keeps `relays`, which an invite link names, as the way to `server`, instead of what was known.
    ///
    /// # Errors
    /// [`Error::Store`] if the store fails.
    pub(crate) async fn keep_linked(&self, server: &str, relays: &[String]) -> Result<(), Error> {
        let routes = self.routes(LINKED).await?;
        if routes.len() >= MAX_ROUTES && !routes.contains_key(server) {
            return Ok(());
        }
        let mut batch = WriteBatch::new();
        batch.put(Table::Meta, key(LINKED, server), json(bounded(relays)));
        Ok(self.store.commit(batch).await?)
    }

    /// Keeps `relays`, which `server` itself has told, as the way to it. If too many are kept, one to a server that is
    /// not `known` makes place.
    ///
    /// # Errors
    /// [`Error::Store`] if the store fails.
    pub(crate) async fn keep_learned(
        &self,
        server: &str,
        relays: &[String],
        known: &[String],
    ) -> Result<(), Error> {
        let routes = self.routes(LEARNED).await?;
        let relays = bounded(relays);
        if routes.get(server).is_some_and(|kept| kept == relays) {
            return Ok(());
        }
        let mut batch = WriteBatch::new();
        if routes.len() >= MAX_ROUTES && !routes.contains_key(server) {
            let Some(stranger) = routes.keys().find(|kept| !known.contains(kept)) else {
                return Ok(());
            };
            batch.delete(Table::Meta, key(LEARNED, stranger));
        }
        batch.put(Table::Meta, key(LEARNED, server), json(relays));
        Ok(self.store.commit(batch).await?)
    }

    async fn relays(&self) -> Result<Vec<String>, StoreError> {
        let stored = self.store.get(Table::Meta, RELAYS_KEY).await?;
        Ok(stored.map(|json| parse(&json)).unwrap_or_default())
    }

    async fn routes(&self, kind: &[u8]) -> Result<Routes, StoreError> {
        let range = KeyRange::prefix(kind);
        let found = self
            .store
            .scan(Table::Meta, range, Direction::Forward, MAX_ROUTES)
            .await?;
        Ok(map(found.into_iter().filter_map(|(key, json)| {
            let server = String::from_utf8(key.strip_prefix(kind)?.to_vec()).ok()?;
            Some((server, parse(&json)))
        })))
    }
}

fn key(kind: &[u8], server: &str) -> Vec<u8> {
    [kind, server.as_bytes()].concat()
}

fn bounded(relays: &[String]) -> &[String] {
    relays.get(..MAX_RELAYS).unwrap_or(relays)
}

fn json(relays: &[String]) -> String {
    serde_json::json!(relays).to_string()
}

/// What cannot be read is as good as unknown: the next invite link brings it again.
fn parse(json: &[u8]) -> Vec<String> {
    serde_json::from_slice(json).unwrap_or_default()
}
