//! Ordered maps, sets and JSON objects out of iterators.
//!
//! `collect` sorts the entries before it builds a map of them, by code of about 5 KB for each kind of map or set, and for each kind of iterator
//! too. In the WebAssembly module that was the largest part that nobody needed: entries that are inserted one by one take little
//! code, and about as long.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::canonical_json::JsonObject;

/// A map of `entries`. Of those with the same key the last counts.
pub fn map<K: Ord, V>(entries: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    map.extend(entries);
    map
}

/// A map of `entries`, if each is one.
///
/// # Errors
/// The first error among them.
pub fn try_map<K: Ord, V, E>(
    entries: impl IntoIterator<Item = Result<(K, V), E>>,
) -> Result<BTreeMap<K, V>, E> {
    let mut map = BTreeMap::new();
    for entry in entries {
        let (key, value) = entry?;
        map.insert(key, value);
    }
    Ok(map)
}

/// A set of `members`.
pub fn set<K: Ord>(members: impl IntoIterator<Item = K>) -> BTreeSet<K> {
    let mut set = BTreeSet::new();
    set.extend(members);
    set
}

/// An object of `fields`.
pub fn object(fields: impl IntoIterator<Item = (String, Value)>) -> JsonObject {
    let mut object = JsonObject::new();
    object.extend(fields);
    object
}
