//! What was read or written last, kept in memory up to a limit.
//!
//! A [`Cache`] forgets what was not used for the longest time. It does *not* know how its values are loaded.

use std::{
    borrow::Borrow,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

use lru::LruCache;

/// Values by key, of which those used last are kept. Values are cheap to clone.
pub(crate) struct Cache<K: Hash + Eq, V> {
    entries: Mutex<Entries<K, V>>,
    limit: usize,
}

struct Entries<K: Hash + Eq, V> {
    /// Values with their weights.
    values: LruCache<K, (V, usize)>,
    weight: usize,
    /// How often something was written.
    writes: u64,
}

/// A moment in the life of a [`Cache`], taken before reading what is to be [filled in](Cache::fill).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(u64);

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    /// An empty cache whose values weigh at most `limit` together, in whatever unit [`Cache::put`] is given.
    pub(crate) fn new(limit: usize) -> Self {
        let entries = Entries {
            values: LruCache::unbounded(),
            weight: 0,
            writes: 0,
        };
        Self {
            entries: Mutex::new(entries),
            limit,
        }
    }

    /// The value of `key`, which counts as used.
    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.entries().values.get(key).map(|(value, _)| value.clone())
    }

    /// Keeps `value`, which is what `key` now stands for.
    pub(crate) fn put(&self, key: K, value: V, weight: usize) {
        let mut entries = self.entries();
        entries.writes += 1;
        entries.put(key, value, weight);
        entries.shrink(self.limit);
    }

    /// Forgets what `key` stood for, which is nothing now.
    pub(crate) fn remove<Q: Hash + Eq + ?Sized>(&self, key: &Q)
    where
        K: Borrow<Q>,
    {
        let mut entries = self.entries();
        entries.writes += 1;
        if let Some((_, weight)) = entries.values.pop(key) {
            entries.weight -= weight;
        }
    }

    /// The present moment.
    pub(crate) fn moment(&self) -> Moment {
        Moment(self.entries().writes)
    }

    /// Keeps what was read after `since`, unless something was written in between: it may be out of date.
    pub(crate) fn fill(&self, since: Moment, read: impl IntoIterator<Item = (K, V, usize)>) {
        let mut entries = self.entries();
        if entries.writes != since.0 {
            return;
        }
        for (key, value, weight) in read {
            entries.put(key, value, weight);
        }
        entries.shrink(self.limit);
    }

    fn entries(&self) -> MutexGuard<'_, Entries<K, V>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq, V> Entries<K, V> {
    fn put(&mut self, key: K, value: V, weight: usize) {
        self.weight += weight;
        if let Some((_, replaced)) = self.values.put(key, (value, weight)) {
            self.weight -= replaced;
        }
    }

    fn shrink(&mut self, limit: usize) {
        while self.weight > limit {
            let Some((_, (_, weight))) = self.values.pop_lru() else {
                return;
            };
            self.weight -= weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(cache: &Cache<u8, u8>) -> Vec<u8> {
        (0..10).filter(|key| cache.get(key).is_some()).collect()
    }

    #[test]
    fn what_was_not_used_is_forgotten() {
        let cache = Cache::new(10);
        for key in 0..5 {
            cache.put(key, key, 2);
        }
        assert_eq!(cache.get(&0), Some(0));
        cache.put(5, 5, 2);
        assert_eq!(kept(&cache), [0, 2, 3, 4, 5]);
        cache.put(6, 6, 6);
        assert_eq!(kept(&cache), [4, 5, 6]);
    }

    #[test]
    fn a_replaced_value_weighs_nothing() {
        let cache = Cache::new(10);
        for weight in [9, 1, 9, 5] {
            cache.put(1, 1, weight);
        }
        cache.put(2, 2, 5);
        assert_eq!(kept(&cache), [1, 2]);
    }

    #[test]
    fn what_was_read_before_a_write_is_not_kept() {
        let cache = Cache::new(10);
        let before = cache.moment();
        cache.put(1, 2, 1);
        cache.fill(before, [(1, 1, 1), (3, 3, 1)]);
        assert_eq!((cache.get(&1), cache.get(&3)), (Some(2), None));
        cache.fill(cache.moment(), [(3, 3, 1)]);
        assert_eq!(cache.get(&3), Some(3));
    }

    #[test]
    fn what_was_read_before_it_was_removed_is_not_kept() {
        let cache = Cache::new(10);
        cache.put(1, 1, 10);
        let before = cache.moment();
        cache.remove(&1);
        cache.fill(before, [(1, 1, 1)]);
        assert!(kept(&cache).is_empty());
        cache.put(2, 2, 10);
        assert_eq!(kept(&cache), [2]);
    }

    #[test]
    fn what_is_too_heavy_is_not_kept() {
        let cache = Cache::new(10);
        cache.put(1, 1, 11);
        assert!(kept(&cache).is_empty());
    }
}
