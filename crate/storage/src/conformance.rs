//! What every [`Store`] must do, as one suite that each backend's tests run.
//!
//! A check gets an empty store and panics where the store breaks its promise. What only a backend can be asked
//! (files, versions, lost connections) is tested beside that backend.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test suite panics")]

use std::{
    collections::BTreeMap,
    ops::Bound::{self, Excluded, Included, Unbounded},
};

use futures::future::{join, join_all};

use crate::{
    Direction, Direction::Backward, Direction::Forward, Entry, KeyRange, Store, StoreError, Table, WriteBatch,
};

/// Declares one test for each check of the suite, for the backend that `open` (a function that returns a
/// future of an empty store) makes, under the test attribute `test`.
#[macro_export]
macro_rules! conformance_tests {
    ($open:path, #[$test:meta]) => {
        $crate::conformance_tests!(@ $open, #[$test],
            reads_what_was_written, tables_are_apart, scans_in_byte_order, scans_every_kind_of_range,
            an_insert_finds_no_entry_or_fails_whole, scans_prefixes, stops_at_the_limit, the_last_write_of_a_batch_wins,
            an_empty_batch_changes_nothing, keeps_large_values, keeps_thousands_of_entries,
            concurrent_commits_are_all_visible, a_scan_sees_a_batch_whole, agrees_with_a_model,
        );
    };
    (@ $open:path, #[$test:meta], $($check:ident,)*) => {
        $(#[$test]
        async fn $check() {
            let store = $open().await;
            $crate::conformance::$check(&store).await;
        })*
    };
}

/// `get` and `get_many` find what was put, in the order asked for, and nothing that was deleted.
pub async fn reads_what_was_written(store: &impl Store) {
    assert_eq!(store.get(Table::Meta, b"a").await.unwrap(), None);
    put(store, &[(b"a", b"1"), (b"b", b""), (b"", b"empty key")]).await;
    assert_eq!(store.get(Table::Meta, b"a").await.unwrap(), Some(b"1".to_vec()));
    assert_eq!(store.get(Table::Meta, b"b").await.unwrap(), Some(Vec::new()));
    assert_eq!(
        store.get(Table::Meta, b"").await.unwrap(),
        Some(b"empty key".to_vec())
    );

    let keys = [b"b".to_vec(), b"missing".to_vec(), b"a".to_vec(), b"a".to_vec()];
    let found = store.get_many(Table::Meta, &keys).await.unwrap();
    assert_eq!(
        found,
        [Some(Vec::new()), None, Some(b"1".to_vec()), Some(b"1".to_vec())]
    );
    assert_eq!(
        store.get_many(Table::Meta, &[]).await.unwrap(),
        Vec::<Option<Vec<u8>>>::new()
    );

    let mut batch = WriteBatch::new();
    batch
        .delete(Table::Meta, b"a".as_slice())
        .delete(Table::Meta, b"never there".as_slice());
    store.commit(batch).await.unwrap();
    assert_eq!(store.get(Table::Meta, b"a").await.unwrap(), None);
}

/// The same key in two tables is two entries, and one batch writes to every table.
pub async fn tables_are_apart(store: &impl Store) {
    let mut batch = WriteBatch::new();
    for table in Table::ALL {
        batch.put(*table, b"key".as_slice(), table.name());
    }
    store.commit(batch).await.unwrap();
    for table in Table::ALL {
        assert_eq!(
            store.get(*table, b"key").await.unwrap(),
            Some(table.name().into()),
            "{table:?}"
        );
        assert_eq!(scan(store, *table, KeyRange::all(), Forward).await.len(), 1);
    }
}

/// Keys are ordered as unsigned bytes, a prefix before what it begins.
pub async fn scans_in_byte_order(store: &impl Store) {
    let sorted: [&[u8]; 9] = [
        b"",
        b"\0",
        b"\0\0",
        b"\0\xff",
        b"a",
        b"a\0",
        b"b",
        b"\x80",
        b"\xff\xff",
    ];
    let mut shuffled = sorted;
    shuffled.reverse();
    shuffled.swap(1, 6);
    let entries: Vec<_> = shuffled.iter().map(|key| (*key, b"value".as_slice())).collect();
    put(store, &entries).await;
    assert_eq!(keys(store, KeyRange::all(), Forward).await, sorted);
    let mut backward = sorted;
    backward.reverse();
    assert_eq!(keys(store, KeyRange::all(), Backward).await, backward);
}

/// Included, excluded and absent bounds, in every combination and both directions; ranges without keys.
pub async fn scans_every_kind_of_range(store: &impl Store) {
    let present: [&[u8]; 5] = [b"b", b"d", b"f", b"h", b"j"];
    let entries: Vec<_> = present.iter().map(|key| (*key, *key)).collect();
    put(store, &entries).await;
    let edges: [&[u8]; 6] = [b"", b"a", b"b", b"e", b"h", b"z"];
    for start in edges.iter().flat_map(|edge| bounds(edge)) {
        for end in edges.iter().flat_map(|edge| bounds(edge)) {
            let range = KeyRange {
                start: start.clone(),
                end,
            };
            let mut expected: Vec<&[u8]> = present.into_iter().filter(|key| contains(&range, key)).collect();
            assert_eq!(keys(store, range.clone(), Forward).await, expected, "{range:?}");
            expected.reverse();
            assert_eq!(keys(store, range.clone(), Backward).await, expected, "{range:?}");
        }
    }
}

/// A prefix range holds just the keys that begin with it, also where no key follows the prefix.
pub async fn scans_prefixes(store: &impl Store) {
    let entries: [(&[u8], &[u8]); 7] = [
        (b"a", b""),
        (b"a\0b", b""),
        (b"a\xff", b""),
        (b"a\xff\xff\x01", b""),
        (b"b", b""),
        (b"\xff", b""),
        (b"\xff\xff", b""),
    ];
    put(store, &entries).await;
    let with = async |prefix: &[u8]| keys(store, KeyRange::prefix(prefix), Forward).await;
    assert_eq!(
        with(b"a").await,
        [b"a".as_slice(), b"a\0b", b"a\xff", b"a\xff\xff\x01"]
    );
    assert_eq!(with(b"a\xff").await, [b"a\xff".as_slice(), b"a\xff\xff\x01"]);
    assert_eq!(with(b"a\xff\xff").await, [b"a\xff\xff\x01"]);
    assert_eq!(with(b"\xff").await, [b"\xff".as_slice(), b"\xff\xff"]);
    assert_eq!(with(b"c").await, Vec::<Vec<u8>>::new());
    assert_eq!(with(b"").await.len(), entries.len());
}

/// A limit cuts at the end that the direction goes towards; none and more than there is are fine.
pub async fn stops_at_the_limit(store: &impl Store) {
    put(store, &[(b"1", b""), (b"2", b""), (b"3", b"")]).await;
    let limited = async |direction, limit| {
        let entries = store
            .scan(Table::Meta, KeyRange::all(), direction, limit)
            .await
            .unwrap();
        entries.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(limited(Forward, 2).await, [b"1", b"2"]);
    assert_eq!(limited(Backward, 2).await, [b"3", b"2"]);
    for direction in [Forward, Backward] {
        assert_eq!(limited(direction, 0).await, Vec::<Vec<u8>>::new());
        assert_eq!(limited(direction, 3).await.len(), 3);
        assert_eq!(limited(direction, usize::MAX).await.len(), 3);
    }
}

/// Writes of one batch take effect in order.
pub async fn the_last_write_of_a_batch_wins(store: &impl Store) {
    put(store, &[(b"gone", b"old")]).await;
    let mut batch = WriteBatch::new();
    batch.put(Table::Meta, b"kept".as_slice(), b"1".as_slice());
    batch.delete(Table::Meta, b"kept".as_slice());
    batch.put(Table::Meta, b"kept".as_slice(), b"2".as_slice());
    batch.put(Table::Meta, b"gone".as_slice(), b"new".as_slice());
    batch.delete(Table::Meta, b"gone".as_slice());
    store.commit(batch).await.unwrap();
    assert_eq!(
        store.get(Table::Meta, b"kept").await.unwrap(),
        Some(b"2".to_vec())
    );
    assert_eq!(store.get(Table::Meta, b"gone").await.unwrap(), None);
}

/// A batch that inserts a key is stored if the key is not there, and not at all if it is; also where several
/// batches are committed at the same time.
pub async fn an_insert_finds_no_entry_or_fails_whole(store: &impl Store) {
    let inserting = |value: &'static [u8]| {
        let mut batch = WriteBatch::new();
        batch.put(Table::Events, value, b"beside".as_slice());
        batch.insert(Table::Meta, b"once".as_slice(), value);
        batch
    };
    store.commit(inserting(b"first")).await.unwrap();
    let refused = store.commit(inserting(b"second")).await;
    assert_eq!(refused, Err(StoreError::Exists));
    let mut other = WriteBatch::new();
    other.put(Table::Meta, b"other".as_slice(), b"1".as_slice());
    let both = join(store.commit(inserting(b"third")), store.commit(other)).await;
    assert_eq!(both, (Err(StoreError::Exists), Ok(())));
    assert_eq!(
        store.get(Table::Meta, b"once").await.unwrap(),
        Some(b"first".to_vec())
    );
    assert_eq!(
        scan(store, Table::Events, KeyRange::all(), Forward).await,
        [(b"first".to_vec(), b"beside".to_vec())]
    );

    let mut removing = WriteBatch::new();
    removing.delete(Table::Meta, b"once".as_slice());
    store.commit(removing).await.unwrap();
    store.commit(inserting(b"fourth")).await.unwrap();
}

/// Committing nothing succeeds, with either durability.
pub async fn an_empty_batch_changes_nothing(store: &impl Store) {
    store.commit(WriteBatch::new()).await.unwrap();
    let mut strict = WriteBatch::new();
    strict.strict();
    store.commit(strict).await.unwrap();
    assert_eq!(
        scan(store, Table::Meta, KeyRange::all(), Forward).await,
        Vec::<Entry>::new()
    );
}

/// A value of several MiB, with every byte value in it, comes back as it was.
pub async fn keeps_large_values(store: &impl Store) {
    let large: Vec<u8> = (0..5 << 20)
        .map(|index: u32| (index ^ (index >> 8)) as u8)
        .collect();
    let mut batch = WriteBatch::new();
    batch
        .put(Table::Events, b"large".as_slice(), large.clone())
        .strict();
    store.commit(batch).await.unwrap();
    assert!(
        store
            .get(Table::Events, b"large")
            .await
            .unwrap()
            .is_some_and(|found| found == large)
    );
    let scanned = scan(store, Table::Events, KeyRange::all(), Backward).await;
    assert!(scanned == [(b"large".to_vec(), large)]);
}

/// One batch of thousands of entries is read back whole, and in pages.
pub async fn keeps_thousands_of_entries(store: &impl Store) {
    const COUNT: u32 = 5000;
    let mut batch = WriteBatch::new();
    for index in 0..COUNT {
        batch.put(Table::Timeline, index.to_be_bytes(), index.to_le_bytes());
    }
    store.commit(batch).await.unwrap();
    let all = scan(store, Table::Timeline, KeyRange::all(), Forward).await;
    let expected: Vec<Entry> = (0..COUNT)
        .map(|index| (index.to_be_bytes().to_vec(), index.to_le_bytes().to_vec()))
        .collect();
    assert!(all == expected);
    assert!(pages(store, Table::Timeline, 700).await == expected);
}

async fn pages(store: &impl Store, table: Table, size: usize) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    loop {
        let start = found.last().map_or(Unbounded, |(key, _)| Excluded(key.clone()));
        let range = KeyRange {
            start,
            end: Unbounded,
        };
        let page = store.scan(table, range, Forward, size).await.unwrap();
        if page.is_empty() {
            return found;
        }
        found.extend(page);
    }
}

/// Batches that are committed at the same time all take effect, in the order in which they were given.
pub async fn concurrent_commits_are_all_visible(store: &impl Store) {
    let commits = (0..200u32).map(|index| {
        let mut batch = WriteBatch::new();
        batch.put(Table::Stream, index.to_be_bytes(), b"entry".as_slice());
        batch.put(Table::Meta, b"last".as_slice(), index.to_be_bytes());
        if index % 50 == 0 {
            batch.strict();
        }
        store.commit(batch)
    });
    for result in join_all(commits).await {
        result.unwrap();
    }
    assert_eq!(
        scan(store, Table::Stream, KeyRange::all(), Forward).await.len(),
        200
    );
    assert_eq!(
        store.get(Table::Meta, b"last").await.unwrap(),
        Some(199u32.to_be_bytes().to_vec())
    );
}

/// A reader beside a writer sees each batch whole or not at all, and never less than was acknowledged.
pub async fn a_scan_sees_a_batch_whole(store: &impl Store) {
    const WIDTH: u32 = 20;
    let writer = async {
        for round in 0..20u32 {
            let mut batch = WriteBatch::new();
            for column in 0..WIDTH {
                batch.put(Table::State, column.to_be_bytes(), round.to_be_bytes());
            }
            store.commit(batch).await.unwrap();
        }
    };
    let reader = async {
        let mut newest = Vec::new();
        for _ in 0..40 {
            let row = scan(store, Table::State, KeyRange::all(), Forward).await;
            let values: Vec<_> = row.into_iter().map(|(_, value)| value).collect();
            assert!(
                values.windows(2).all(|pair| pair.first() == pair.last()),
                "half a batch: {values:?}"
            );
            assert!(values.is_empty() || values.len() == WIDTH as usize);
            assert!(
                values.first().unwrap_or(&Vec::new()) >= &newest,
                "went back in time"
            );
            newest = values.first().cloned().unwrap_or_default();
        }
    };
    join(writer, reader).await;
}

/// Thousands of random operations leave the store equal to an ordered map, and every scan on the way agrees.
pub async fn agrees_with_a_model(store: &impl Store) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut model = BTreeMap::new();
    for _ in 0..150 {
        let batch = random_batch(&mut random, &mut model);
        store.commit(batch).await.unwrap();
        let range = KeyRange {
            start: random_bound(&mut random),
            end: random_bound(&mut random),
        };
        let direction = if random.below(2) == 0 { Forward } else { Backward };
        let limit = random.below(30);
        let found = store
            .scan(Table::Rooms, range.clone(), direction, limit)
            .await
            .unwrap();
        assert_eq!(
            found,
            expected(&model, &range, direction, limit),
            "{range:?} {direction:?} {limit}"
        );
    }
    assert_eq!(
        scan(store, Table::Rooms, KeyRange::all(), Forward).await,
        model.into_iter().collect::<Vec<_>>()
    );
}

fn random_batch(random: &mut Random, model: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for _ in 0..random.below(20) {
        let key = random.key();
        if random.below(4) == 0 {
            model.remove(&key);
            batch.delete(Table::Rooms, key);
        } else {
            let value = random.next().to_be_bytes().to_vec();
            model.insert(key.clone(), value.clone());
            batch.put(Table::Rooms, key, value);
        }
    }
    batch
}

fn random_bound(random: &mut Random) -> Bound<Vec<u8>> {
    match random.below(3) {
        0 => Unbounded,
        1 => Included(random.key()),
        _ => Excluded(random.key()),
    }
}

fn expected(
    model: &BTreeMap<Vec<u8>, Vec<u8>>,
    range: &KeyRange,
    direction: Direction,
    limit: usize,
) -> Vec<Entry> {
    let inside = model.iter().filter(|(key, _)| contains(range, key));
    let mut entries: Vec<Entry> = inside.map(|(key, value)| (key.clone(), value.clone())).collect();
    if direction == Backward {
        entries.reverse();
    }
    entries.truncate(limit);
    entries
}

/// The generator splitmix64: the same operations in every run, on every backend.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, limit: u64) -> usize {
        (self.next() % limit) as usize
    }

    /// A short key of few distinct bytes, so that keys meet often.
    fn key(&mut self) -> Vec<u8> {
        let length = self.below(4);
        (0..length)
            .map(|_| [0, 1, 0x7f, 0xfe, 0xff][self.below(5)])
            .collect()
    }
}

fn bounds(edge: &[u8]) -> [Bound<Vec<u8>>; 3] {
    [Included(edge.to_vec()), Excluded(edge.to_vec()), Unbounded]
}

/// Whether `key` lies in `range`, told from the definition of bounds alone.
fn contains(range: &KeyRange, key: &[u8]) -> bool {
    let after_start = match &range.start {
        Unbounded => true,
        Included(start) => key >= start.as_slice(),
        Excluded(start) => key > start.as_slice(),
    };
    let before_end = match &range.end {
        Unbounded => true,
        Included(end) => key <= end.as_slice(),
        Excluded(end) => key < end.as_slice(),
    };
    after_start && before_end
}

async fn put(store: &impl Store, entries: &[(&[u8], &[u8])]) {
    let mut batch = WriteBatch::new();
    for (key, value) in entries {
        batch.put(Table::Meta, *key, *value);
    }
    store.commit(batch).await.unwrap();
}

async fn scan(store: &impl Store, table: Table, range: KeyRange, direction: Direction) -> Vec<Entry> {
    store.scan(table, range, direction, usize::MAX).await.unwrap()
}

async fn keys(store: &impl Store, range: KeyRange, direction: Direction) -> Vec<Vec<u8>> {
    scan(store, Table::Meta, range, direction)
        .await
        .into_iter()
        .map(|(key, _)| key)
        .collect()
}
