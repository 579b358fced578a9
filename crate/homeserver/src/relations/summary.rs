//! What is known at a glance of the children of an event: whether there is anything to tell with it.

use hearth_storage::Table;
use serde::{Deserialize, Serialize};

use super::{REFERENCE, REPLACE, THREAD};
use crate::{Error, Homeserver, cache::Cache, stored::from_slice};

/// About how many bytes of summaries are kept in memory.
const CACHED_BYTES: usize = 2 << 20;
/// About how many bytes one takes beside its key.
const WEIGHT: usize = 128;

/// Which children an event has. An edit or a reference that was redacted may still be noted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// There are edits, valid or not.
    #[serde(rename = "e", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) edited: bool,
    /// There are references.
    #[serde(rename = "r", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) referenced: bool,
    /// The thread that begins with the event.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub(crate) thread: Option<Thread>,
}

/// A thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Thread {
    /// How many events it has, but for the root.
    #[serde(rename = "n")]
    pub(crate) count: u64,
    /// The place of the latest in the timeline.
    #[serde(rename = "l")]
    pub(crate) latest: i64,
}

impl Summary {
    /// Notes a child of that relation at a place in the timeline.
    pub(super) fn note(&mut self, rel_type: &str, order: i64) {
        match rel_type {
            REPLACE => self.edited = true,
            REFERENCE => self.referenced = true,
            THREAD => {
                let thread = self.thread.get_or_insert(Thread {
                    count: 0,
                    latest: order,
                });
                thread.count += 1;
                thread.latest = thread.latest.max(order);
            }
            _ => {}
        }
    }

    /// Whether there is nothing to tell.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Summaries that were read or written last, by the keys of their rows.
pub(crate) struct SummaryCache {
    summaries: Cache<Vec<u8>, Summary>,
}

impl Default for SummaryCache {
    fn default() -> Self {
        Self {
            summaries: Cache::new(CACHED_BYTES),
        }
    }
}

impl SummaryCache {
    /// Keeps what has just been committed.
    pub(crate) fn keep(&self, key: Vec<u8>, summary: Summary) {
        let weight = key.len() + WEIGHT;
        self.summaries.put(key, summary, weight);
    }
}

impl Homeserver {
    /// The summaries of the keys, in order; an empty one where none is stored. One read at most.
    pub(crate) async fn summaries(&self, keys: &[Vec<u8>]) -> Result<Vec<Summary>, Error> {
        let cache = &self.relations.summaries;
        let before = cache.moment();
        let mut found: Vec<_> = keys.iter().map(|key| cache.get(key)).collect();
        let missing = keys.iter().zip(&found).filter(|(_, summary)| summary.is_none());
        let missing: Vec<_> = missing.map(|(key, _)| key.clone()).collect();
        if !missing.is_empty() {
            let rows = self.seams.store.get_many(Table::Relations, &missing).await?;
            let read = rows.iter().map(|row| match row {
                Some(row) => from_slice(row),
                None => Ok(Summary::default()),
            });
            let read: Vec<Summary> = read.collect::<Result<_, _>>()?;
            let entries = missing.into_iter().zip(read.clone());
            cache.fill(
                before,
                entries.map(|(key, summary)| {
                    let weight = key.len() + WEIGHT;
                    (key, summary, weight)
                }),
            );
            let mut read = read.into_iter();
            for summary in found.iter_mut().filter(|summary| summary.is_none()) {
                *summary = read.next();
            }
        }
        Ok(found.into_iter().map(Option::unwrap_or_default).collect())
    }
}
