//! Looking entries up, and listing them.

use std::sync::Arc;

use ruma_common::OwnedEventId;

use super::{
    KeyPath, TreeError,
    node::{Entry, Node, NodeHash, NodeSource, Reader},
    path::{NIBBLES, type_nibbles},
};

/// The event of `event_type` and `state_key` in the state `root`.
///
/// # Errors
/// [`TreeError::Missing`] if a node has to be loaded.
pub fn get(
    source: &impl NodeSource,
    root: &NodeHash,
    event_type: &str,
    state_key: &str,
) -> Result<Option<OwnedEventId>, TreeError> {
    let mut reader = Reader::new(source);
    let found = find(&mut reader, root, event_type, state_key);
    reader.finish(found)
}

/// The events of several types and state keys in the state `root`, in their order.
///
/// # Errors
/// [`TreeError::Missing`] with all nodes that are known to be needed.
pub fn get_many<'k>(
    source: &impl NodeSource,
    root: &NodeHash,
    keys: impl IntoIterator<Item = (&'k str, &'k str)>,
) -> Result<Vec<Option<OwnedEventId>>, TreeError> {
    let mut reader = Reader::new(source);
    let found = keys
        .into_iter()
        .map(|(event_type, key)| find(&mut reader, root, event_type, key))
        .collect();
    reader.finish(found)
}

/// All entries of the state `root`.
///
/// # Errors
/// [`TreeError::Missing`] with all nodes that are known to be needed.
pub fn entries(source: &impl NodeSource, root: &NodeHash) -> Result<Vec<Entry>, TreeError> {
    let mut reader = Reader::new(source);
    let mut found = Vec::new();
    if *root != NodeHash::EMPTY {
        collect(&mut reader, root, &mut found);
    }
    reader.finish(found)
}

/// All entries of `event_type` in the state `root`, without looking at other types.
///
/// # Errors
/// [`TreeError::Missing`] with all nodes that are known to be needed.
pub fn entries_of_type(
    source: &impl NodeSource,
    root: &NodeHash,
    event_type: &str,
) -> Result<Vec<Entry>, TreeError> {
    let mut reader = Reader::new(source);
    let mut found = Vec::new();
    if *root != NodeHash::EMPTY {
        collect_type(&mut reader, *root, &type_nibbles(event_type), &mut found);
    }
    found.retain(|entry| entry.event_type == event_type);
    reader.finish(found)
}

/// The entries of the state `root` but those of one type. See [`entries_except_type`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// The entries of other types.
    pub entries: Vec<Entry>,
    /// How many entries were passed over unread: all whose paths begin as those of the type do. If these are
    /// more than the state has entries of the type, some of them are of other types (hashes of types can
    /// share their first bytes, and be made to), and [`entries`] has to be asked.
    pub skipped: u64,
}

/// All entries of the state `root` but those of `event_type`, whose subtree is not looked at.
///
/// # Errors
/// [`TreeError::Missing`] with all nodes that are known to be needed.
pub fn entries_except_type(
    source: &impl NodeSource,
    root: &NodeHash,
    event_type: &str,
) -> Result<Others, TreeError> {
    let mut reader = Reader::new(source);
    let mut others = Others::default();
    if *root != NodeHash::EMPTY {
        collect_others(&mut reader, *root, event_type, &mut others);
    }
    reader.finish(others)
}

fn find<S: NodeSource>(
    reader: &mut Reader<'_, S>,
    root: &NodeHash,
    event_type: &str,
    state_key: &str,
) -> Option<OwnedEventId> {
    let path = KeyPath::new(event_type, state_key);
    let mut hash = *root;
    let mut depth = 0;
    while hash != NodeHash::EMPTY && depth <= NIBBLES {
        match &*reader.node(&hash)? {
            Node::Bucket(entries) => {
                let is_it = |entry: &&Entry| entry.event_type == event_type && entry.state_key == state_key;
                return entries.iter().find(is_it).map(|entry| entry.event_id.clone());
            }
            Node::Branch(branch) => {
                if !path.has(depth, &branch.prefix) {
                    return None;
                }
                depth += branch.prefix.len();
                hash = branch.children.get(&path.nibble(depth))?.hash;
                depth += 1;
            }
        }
    }
    None
}

/// Adds all entries below `hash` to `found`.
fn collect<S: NodeSource>(reader: &mut Reader<'_, S>, hash: &NodeHash, found: &mut Vec<Entry>) {
    buckets_below(reader, hash, |bucket| {
        if let Node::Bucket(entries) = &*bucket {
            found.extend(entries.iter().cloned());
        }
    });
}

/// Tells `tell` all buckets below `hash`, in their order.
pub(super) fn buckets_below<S: NodeSource>(
    reader: &mut Reader<'_, S>,
    hash: &NodeHash,
    mut tell: impl FnMut(Arc<Node>),
) {
    let mut open = vec![*hash];
    while let Some(hash) = open.pop() {
        let Some(node) = reader.node(&hash) else {
            continue;
        };
        match &*node {
            Node::Bucket(_) => tell(node),
            Node::Branch(branch) => open.extend(branch.children.values().rev().map(|child| child.hash)),
        }
    }
}

/// Adds the entries below `hash` whose paths go on with `prefix` to `found`, and perhaps a few others.
fn collect_type<S: NodeSource>(
    reader: &mut Reader<'_, S>,
    mut hash: NodeHash,
    mut prefix: &[u8],
    found: &mut Vec<Entry>,
) {
    while !prefix.is_empty() {
        let Some(node) = reader.node(&hash) else { return };
        let Node::Branch(branch) = &*node else { break };
        let shared = prefix.len().min(branch.prefix.len());
        if prefix.get(..shared) != branch.prefix.get(..shared) {
            return;
        }
        let Some((nibble, rest)) = prefix.get(shared..).and_then(<[u8]>::split_first) else {
            break;
        };
        let Some(child) = branch.children.get(nibble) else {
            return;
        };
        hash = child.hash;
        prefix = rest;
    }
    collect(reader, &hash, found);
}

/// Adds what lies below `hash` to `others`: follows the path of `event_type` and takes all that branches off.
fn collect_others<S: NodeSource>(
    reader: &mut Reader<'_, S>,
    mut hash: NodeHash,
    event_type: &str,
    others: &mut Others,
) {
    let nibbles = type_nibbles(event_type);
    let mut rest = nibbles.as_slice();
    loop {
        let Some(node) = reader.node(&hash) else { return };
        let branch = match &*node {
            Node::Bucket(entries) => return others.part(entries, event_type),
            Node::Branch(branch) => branch,
        };
        let shared = rest
            .iter()
            .zip(&branch.prefix)
            .take_while(|(a, b)| a == b)
            .count();
        if shared == rest.len() {
            others.skipped = branch.count();
            return;
        }
        if shared < branch.prefix.len() {
            return collect(reader, &hash, &mut others.entries);
        }
        let Some((nibble, below)) = rest.get(shared..).and_then(<[u8]>::split_first) else {
            return;
        };
        for (_, child) in branch.children.iter().filter(|(other, _)| *other != nibble) {
            collect(reader, &child.hash, &mut others.entries);
        }
        let Some(child) = branch.children.get(nibble) else {
            return;
        };
        if below.is_empty() {
            others.skipped = child.count;
            return;
        }
        (hash, rest) = (child.hash, below);
    }
}

impl Others {
    /// Takes a bucket in which the type may stand beside others.
    fn part(&mut self, bucket: &[Entry], event_type: &str) {
        let (own, others): (Vec<_>, Vec<_>) = bucket.iter().partition(|entry| entry.event_type == event_type);
        self.skipped = own.len() as u64;
        self.entries.extend(others.into_iter().cloned());
    }
}
