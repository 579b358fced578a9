//! Loading and storing the nodes of state trees. What they mean is `hearth_rooms::state_tree`'s to know.

use std::{collections::HashMap, sync::Arc};

use hearth_rooms::{
    StateMap,
    state_tree::{
        self, Change as TreeChange, Difference, Divergence, Entry, Node, NodeHash, NodeSource, TreeError,
    },
};
use hearth_storage::{Table, WriteBatch};
use ruma_common::OwnedEventId;

use crate::{
    Error, Homeserver,
    cache::Cache,
    rooms::{event::StoredEvent, view::MEMBER},
};

/// About how many bytes of nodes are kept in memory.
const CACHED_BYTES: usize = 16 << 20;
/// Who reads more nodes than this at once reads all of a state, and not soon again: they are not kept.
const MANY: usize = 256;

/// One entry of the state: type, state key and event.
#[derive(Clone, Debug)]
pub(crate) struct StateEntry {
    /// The event type.
    pub kind: String,
    /// The state key.
    pub state_key: String,
    /// The event; `None` removes the entry.
    pub event_id: Option<OwnedEventId>,
}

impl StateEntry {
    /// The entry that `event` makes.
    pub(crate) fn of(event: &StoredEvent) -> Self {
        let state_key = event.state_key().unwrap_or_default().to_owned();
        Self {
            kind: event.kind().to_owned(),
            state_key,
            event_id: Some(event.event_id.clone()),
        }
    }
}

/// New nodes that are not stored yet.
#[derive(Clone, Default)]
pub(crate) struct Nodes {
    nodes: HashMap<NodeHash, Arc<Node>>,
}

impl Nodes {
    /// Keeps them in memory, once they are stored. Not before: a later change would take them for stored.
    pub(crate) fn publish(self, cache: &NodeCache) {
        for (hash, node) in self.nodes {
            cache.keep(hash, node);
        }
    }

    /// Puts them into `batch`.
    pub(crate) fn write(&self, batch: &mut WriteBatch) {
        for (hash, node) in &self.nodes {
            write_node(batch, hash, node);
        }
    }

    /// They in batches of at most `size`, for a tree that is not said to be there before all are stored.
    pub(crate) fn batches(&self, size: usize) -> impl Iterator<Item = WriteBatch> {
        let nodes: Vec<_> = self.nodes.iter().collect();
        let slices = (0..nodes.len()).step_by(size.max(1));
        slices.map(move |first| {
            let mut batch = WriteBatch::new();
            for (hash, node) in nodes.iter().skip(first).take(size.max(1)) {
                write_node(&mut batch, hash, node);
            }
            batch
        })
    }
}

fn write_node(batch: &mut WriteBatch, hash: &NodeHash, node: &Node) {
    batch.put(Table::State, hash.as_bytes().as_slice(), node.encode());
}

/// The nodes that were used last.
pub(crate) struct NodeCache {
    nodes: Cache<NodeHash, Arc<Node>>,
}

impl Default for NodeCache {
    fn default() -> Self {
        Self {
            nodes: Cache::new(CACHED_BYTES),
        }
    }
}

impl NodeCache {
    fn keep(&self, hash: NodeHash, node: Arc<Node>) {
        let weight = weight(&node);
        self.nodes.put(hash, node, weight);
    }
}

/// About how many bytes a node takes in memory.
fn weight(node: &Node) -> usize {
    const ENTRY: usize = 250;
    const CHILD: usize = 64;
    match node {
        Node::Bucket(entries) => entries.len() * ENTRY,
        Node::Branch(branch) => branch.children.len() * CHILD + ENTRY,
    }
}

/// Nodes that are new, loaded for this call, or kept from earlier ones.
struct Loaded<'a> {
    new: &'a Nodes,
    cache: &'a NodeCache,
    loaded: HashMap<NodeHash, Arc<Node>>,
}

impl NodeSource for Loaded<'_> {
    fn node(&self, hash: &NodeHash) -> Option<Arc<Node>> {
        let here = self
            .new
            .nodes
            .get(hash)
            .or_else(|| self.loaded.get(hash))
            .cloned();
        here.or_else(|| self.cache.nodes.get(hash))
    }
}

impl Homeserver {
    /// The root of the tree `root` with `entries` set; the nodes that this makes are added to `new`.
    pub(crate) async fn tree_insert(
        &self,
        root: &str,
        entries: Vec<StateEntry>,
        new: &mut Nodes,
    ) -> Result<String, Error> {
        let root = parse_root(root)?;
        let changes: Vec<_> = entries.into_iter().map(change_of).collect();
        let changed = self
            .with_nodes(new, |nodes| state_tree::apply(nodes, &root, changes.clone()))
            .await?;
        for (hash, node) in changed.nodes {
            new.nodes.insert(hash, node);
        }
        Ok(hex::encode(changed.root.as_bytes()))
    }

    /// The whole state of the tree `root`.
    pub(crate) async fn tree_state(&self, root: &str, new: &Nodes) -> Result<StateMap, Error> {
        let root = parse_root(root)?;
        let entries = self
            .with_nodes(new, |nodes| state_tree::entries(nodes, &root))
            .await?;
        let pairs = entries
            .into_iter()
            .map(|entry| ((entry.event_type.into(), entry.state_key), entry.event_id));
        Ok(pairs.collect())
    }

    /// The entries of one type in the tree `root`: state keys and events.
    pub(crate) async fn tree_of_type(
        &self,
        root: &str,
        kind: &str,
    ) -> Result<Vec<(String, OwnedEventId)>, Error> {
        let root = parse_root(root)?;
        let read = |nodes: &Loaded<'_>| state_tree::entries_of_type(nodes, &root, kind);
        let entries = self.with_nodes(&Nodes::default(), read).await?;
        Ok(entries
            .into_iter()
            .map(|entry| (entry.state_key, entry.event_id))
            .collect())
    }

    /// The entries of the tree `root` that are no memberships. The memberships are not read if it is known how
    /// many they are (`members`).
    pub(crate) async fn tree_without_members(
        &self,
        root: &str,
        members: Option<u64>,
    ) -> Result<Vec<Entry>, Error> {
        let root = parse_root(root)?;
        let nothing = Nodes::default();
        let read = |nodes: &Loaded<'_>| state_tree::entries_except_type(nodes, &root, MEMBER);
        let others = self.with_nodes(&nothing, read).await?;
        if others.skipped == 0 || members == Some(others.skipped) {
            return Ok(others.entries);
        }
        let mut entries = self
            .with_nodes(&nothing, |nodes| state_tree::entries(nodes, &root))
            .await?;
        entries.retain(|entry| entry.event_type != MEMBER);
        Ok(entries)
    }

    /// Single entries of the tree `root`, in the order of `keys`.
    pub(crate) async fn tree_get(
        &self,
        root: &str,
        keys: &[(&str, &str)],
        new: &Nodes,
    ) -> Result<Vec<Option<OwnedEventId>>, Error> {
        let root = parse_root(root)?;
        let keys = || keys.iter().copied();
        self.with_nodes(new, |nodes| state_tree::get_many(nodes, &root, keys()))
            .await
    }

    /// Where the trees `before` and `after` differ.
    pub(crate) async fn tree_difference(
        &self,
        before: &str,
        after: &str,
        new: &Nodes,
    ) -> Result<Vec<Difference>, Error> {
        let (before, after) = (parse_root(before)?, parse_root(after)?);
        self.with_nodes(new, |nodes| state_tree::diff(nodes, &before, &after))
            .await
    }

    /// Where the trees `roots` are not all the same.
    pub(crate) async fn tree_divergences(
        &self,
        roots: &[String],
        new: &Nodes,
    ) -> Result<Vec<Divergence>, Error> {
        let roots = parse_roots(roots)?;
        self.with_nodes(new, |nodes| state_tree::divergences(nodes, &roots))
            .await
    }

    /// The events that all the trees `roots` have in common and the tree `before` does not have.
    pub(crate) async fn tree_later(
        &self,
        before: &str,
        roots: &[String],
        new: &Nodes,
    ) -> Result<Vec<OwnedEventId>, Error> {
        let (before, roots) = (parse_root(before)?, parse_roots(roots)?);
        self.with_nodes(new, |nodes| state_tree::later(nodes, &before, &roots))
            .await
    }

    /// Calls `read` until it has every node that it needs.
    async fn with_nodes<T>(
        &self,
        new: &Nodes,
        read: impl Fn(&Loaded<'_>) -> Result<T, TreeError>,
    ) -> Result<T, Error> {
        let mut nodes = Loaded {
            new,
            cache: &self.nodes,
            loaded: HashMap::new(),
        };
        loop {
            match read(&nodes) {
                Ok(value) => return Ok(value),
                Err(TreeError::Missing(missing)) => self.load_nodes(&missing, &mut nodes).await?,
                Err(error @ TreeError::Damaged) => return Err(Error::Damaged(error.to_string())),
            }
        }
    }

    async fn load_nodes(&self, missing: &[NodeHash], nodes: &mut Loaded<'_>) -> Result<(), Error> {
        let keys: Vec<_> = missing.iter().map(|hash| hash.as_bytes().to_vec()).collect();
        let values = self.seams.store.get_many(Table::State, &keys).await?;
        for (hash, value) in missing.iter().zip(values) {
            let value = value.ok_or_else(|| Error::Damaged("a node of the state is missing".into()))?;
            let node = Node::decode(hash, &value).map_err(|error| Error::Damaged(error.to_string()))?;
            let node = Arc::new(node);
            if missing.len() <= MANY {
                nodes.cache.keep(*hash, node.clone());
            }
            nodes.loaded.insert(*hash, node);
        }
        Ok(())
    }
}

fn change_of(entry: StateEntry) -> TreeChange {
    TreeChange {
        event_type: entry.kind,
        state_key: entry.state_key,
        event_id: entry.event_id,
    }
}

/// The root of the empty state, as it is stored.
pub(crate) fn empty_root() -> String {
    hex::encode(NodeHash::EMPTY.as_bytes())
}

fn parse_roots(roots: &[String]) -> Result<Vec<NodeHash>, Error> {
    roots.iter().map(|root| parse_root(root)).collect()
}

fn parse_root(root: &str) -> Result<NodeHash, Error> {
    let damaged = || Error::Damaged("state root".into());
    let bytes = hex::decode(root).map_err(|_| damaged())?;
    Ok(NodeHash::from_bytes(bytes.try_into().map_err(|_| damaged())?))
}
