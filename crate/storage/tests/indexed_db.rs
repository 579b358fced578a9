//! The IndexedDB store against the suite that every store must pass, and what only a browser can be asked.
//! Runs in a service worker.
#![cfg(target_family = "wasm")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use hearth_storage::{
    Direction, IndexedDbStore, KeyRange, SCHEMA_VERSION, Store, StoreError, Table, WriteBatch,
    conformance_tests,
};
use js_sys::{Function, Promise};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_service_worker);

/// A store that uses all that the browser has.
async fn open() -> IndexedDbStore {
    run(
        "if (globalThis.getAllRecords) IDBObjectStore.prototype.getAllRecords = getAllRecords",
        "",
    )
    .await
    .unwrap();
    IndexedDbStore::open(&fresh_name()).await.unwrap()
}

/// A name that no database has, in this run or an earlier one of the same browser profile.
fn fresh_name() -> String {
    thread_local!(static COUNT: Cell<u32> = const { Cell::new(0) });
    let count = COUNT.replace(COUNT.get() + 1);
    format!("hearth-test-{count}-{}", js_sys::Math::random())
}

conformance_tests!(open, #[wasm_bindgen_test]);

/// The same suite where the browser has no `getAllRecords`: `getAll`, `getAllKeys` and cursors.
mod without_get_all_records {
    use super::*;

    async fn open() -> IndexedDbStore {
        run("delete IDBObjectStore.prototype.getAllRecords", "")
            .await
            .unwrap();
        super::open().await
    }

    conformance_tests!(open, #[wasm_bindgen_test]);
}

/// Runs the body of an async JavaScript function with `name` as its argument.
async fn run(body: &str, name: &str) -> Result<JsValue, JsValue> {
    let function = Function::new_with_args("name", &format!("return (async () => {{ {body} }})()"));
    let promise: Promise = function.call1(&JsValue::UNDEFINED, &name.into())?.into();
    JsFuture::from(promise).await
}

/// What the JavaScript below shares: requests and transactions as promises.
const PROMISES: &str = "
    const settled = (target, good, bad) => new Promise((resolve, reject) => {
        target['on' + good] = () => resolve(target.result);
        target['on' + bad] = () => reject(target.error);
    });
    const open = (version, upgrade) => {
        const request = indexedDB.open(name, version);
        request.onupgradeneeded = () => upgrade(request.result, request.transaction);
        return settled(request, 'success', 'error');
    };
";

async fn run_with_promises(body: &str, name: &str) -> Result<JsValue, JsValue> {
    run(&format!("{PROMISES}{body}"), name).await
}

async fn write(store: &IndexedDbStore, key: &[u8]) -> Result<(), StoreError> {
    let mut batch = WriteBatch::new();
    batch
        .put(Table::Meta, key, b"value".as_slice())
        .put(Table::Stream, key, b"value".as_slice());
    store.commit(batch).await
}

#[wasm_bindgen_test]
async fn a_reopened_database_has_everything() {
    let name = fresh_name();
    for round in 0..3u8 {
        let store = IndexedDbStore::open(&name).await.unwrap();
        let found = store
            .scan(Table::Stream, KeyRange::all(), Direction::Forward, 10)
            .await
            .unwrap();
        assert_eq!(found.len(), usize::from(round));
        write(&store, &[round]).await.unwrap();
    }
}

#[wasm_bindgen_test]
async fn a_second_connection_sees_what_was_acknowledged() {
    let name = fresh_name();
    let (first, second) = (
        IndexedDbStore::open(&name).await.unwrap(),
        IndexedDbStore::open(&name).await.unwrap(),
    );
    write(&first, b"a").await.unwrap();
    assert_eq!(
        second.get(Table::Stream, b"a").await.unwrap(),
        Some(b"value".to_vec())
    );
}

/// The tables of the first release.
const OF_VERSION_1: [&str; 12] = [
    "meta",
    "accounts",
    "account_data",
    "rooms",
    "events",
    "timeline",
    "state",
    "memberships",
    "receipts",
    "directory",
    "stream",
    "federation",
];

/// Makes a database of `version` with `tables`, each with its name under the key 7, and opens it as this
/// release does.
async fn opened_later(version: u32, tables: &[&str]) -> IndexedDbStore {
    let name = fresh_name();
    run_with_promises(
        &format!(
            "const db = await open({version}, (db, transaction) => {{
                for (const table of {tables:?}) {{
                    db.createObjectStore(table).put(new TextEncoder().encode(table), new Uint8Array([7]));
                }}
            }});
            db.close();"
        ),
        &name,
    )
    .await
    .unwrap();
    IndexedDbStore::open(&name).await.unwrap()
}

#[wasm_bindgen_test]
async fn databases_of_earlier_versions_keep_their_data_and_gain_the_new_tables() {
    let of_version_2 = [OF_VERSION_1.as_slice(), &["keys"]].concat();
    let of_version_3 = [of_version_2.as_slice(), &["media"]].concat();
    let versions = [
        (1, OF_VERSION_1.as_slice()),
        (2, &of_version_2),
        (3, &of_version_3),
    ];
    for (version, tables) in versions {
        let store = opened_later(version, tables).await;
        for table in Table::ALL {
            let kept = tables.contains(&table.name()).then(|| table.name().into());
            let found = store.get(*table, &[7]).await.unwrap();
            assert_eq!(found, kept, "version {version}, {table:?}");
            let mut batch = WriteBatch::new();
            batch.put(*table, b"new".as_slice(), b"value".as_slice());
            store.commit(batch).await.unwrap();
        }
    }
}

#[wasm_bindgen_test]
async fn a_database_of_a_newer_release_is_refused_and_left_as_it_is() {
    let name = fresh_name();
    let newer = SCHEMA_VERSION + 1;
    run_with_promises(
        &format!("(await open({newer}, db => db.createObjectStore('future').put(1, 1))).close()"),
        &name,
    )
    .await
    .unwrap();
    let refused = IndexedDbStore::open(&name).await.err();
    assert_eq!(
        refused,
        Some(StoreError::NewerSchema {
            found: newer,
            known: SCHEMA_VERSION
        })
    );
    let left = run_with_promises(
        "const db = await open(undefined, () => { throw 'changed' });
        const value = await settled(db.transaction('future').objectStore('future').get(1), 'success', 'error');
        const left = [db.version, ...db.objectStoreNames, value].join();
        db.close();
        return left;",
        &name,
    )
    .await
    .unwrap();
    assert_eq!(left.as_string(), Some(format!("{newer},future,1")));
}

#[wasm_bindgen_test]
async fn a_newer_release_may_upgrade_while_the_store_is_open() {
    let name = fresh_name();
    let store = IndexedDbStore::open(&name).await.unwrap();
    write(&store, b"a").await.unwrap();
    let newer = SCHEMA_VERSION + 1;
    run_with_promises(&format!("(await open({newer}, () => {{}})).close()"), &name)
        .await
        .unwrap();
    assert!(matches!(write(&store, b"b").await, Err(StoreError::Closed(_))));
    assert!(matches!(
        store.get(Table::Meta, b"a").await,
        Err(StoreError::Closed(_))
    ));
}

/// The browser may close a connection at any time: `close()` on every database that is open stands for it.
#[wasm_bindgen_test]
async fn a_lost_connection_is_opened_anew() {
    let name = fresh_name();
    let store = IndexedDbStore::open(&name).await.unwrap();
    write(&store, b"a").await.unwrap();
    close_at_next_transaction().await;
    assert_eq!(
        store.get(Table::Meta, b"a").await.unwrap(),
        Some(b"value".to_vec())
    );
    close_at_next_transaction().await;
    write(&store, b"b").await.unwrap();
    assert_eq!(
        store.get(Table::Meta, b"b").await.unwrap(),
        Some(b"value".to_vec())
    );
}

async fn close_at_next_transaction() {
    run(
        "const begin = IDBDatabase.prototype.transaction;
        IDBDatabase.prototype.transaction = function (...args) {
            IDBDatabase.prototype.transaction = begin;
            this.close();
            return begin.apply(this, args);
        };",
        "",
    )
    .await
    .unwrap();
}

/// What the store says when it has lost its database.
fn losses(store: &IndexedDbStore) -> Rc<RefCell<Vec<String>>> {
    let losses = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&losses);
    store.on_loss(move |why| noted.borrow_mut().push(why.to_owned()));
    losses
}

async fn delete(name: &str) {
    run_with_promises(
        "await settled(indexedDB.deleteDatabase(name), 'success', 'error')",
        name,
    )
    .await
    .unwrap();
}

async fn exists(name: &str) -> bool {
    let names = run(
        "return (await indexedDB.databases()).map(db => db.name).join()",
        "",
    );
    names.await.unwrap().as_string().unwrap().contains(name)
}

#[wasm_bindgen_test]
async fn a_deleted_database_is_told_of_and_not_made_again() {
    let name = fresh_name();
    let store = IndexedDbStore::open(&name).await.unwrap();
    let losses = losses(&store);
    write(&store, b"a").await.unwrap();
    delete(&name).await;
    assert_eq!(*losses.borrow(), ["the database was deleted"]);
    assert!(matches!(write(&store, b"b").await, Err(StoreError::Closed(_))));
    assert!(!exists(&name).await);
}

/// The browser closes the connection without a word and deletes the database. Who notices first looks and tells; nobody looks
/// again, which might make a database of an instance that is being replaced.
#[wasm_bindgen_test]
async fn a_database_that_is_gone_is_looked_for_once() {
    let name = fresh_name();
    let store = IndexedDbStore::open(&name).await.unwrap();
    let losses = losses(&store);
    run(
        "const begin = IDBDatabase.prototype.transaction;
        IDBDatabase.prototype.transaction = function (...args) {
            IDBDatabase.prototype.transaction = begin;
            this.onversionchange = null;
            this.close();
            indexedDB.deleteDatabase(this.name);
            return begin.apply(this, args);
        };
        const open = IDBFactory.prototype.open;
        globalThis.opened = 0;
        IDBFactory.prototype.open = function (...args) {
            globalThis.opened += 1;
            return open.apply(this, args);
        };
        globalThis.restore = () => { IDBFactory.prototype.open = open; };",
        "",
    )
    .await
    .unwrap();
    for result in futures::future::join_all((0..3).map(|_| store.get(Table::Meta, b"a"))).await {
        assert!(matches!(result, Err(StoreError::Closed(_))), "{result:?}");
    }
    let opened = run("restore(); return opened;", "").await.unwrap();
    assert_eq!(opened.as_f64(), Some(1.0));
    assert_eq!(losses.borrow().len(), 1);
    assert!(!exists(&name).await);
}

/// A put that finds no room is stood for by one that throws; the writes before it were placed already.
#[wasm_bindgen_test]
async fn a_full_disk_stores_nothing_of_the_batch() {
    let store = open().await;
    write(&store, b"before").await.unwrap();
    run(
        "const put = IDBObjectStore.prototype.put;
        let left = 3;
        IDBObjectStore.prototype.put = function (...args) {
            if (left-- > 0) return put.apply(this, args);
            IDBObjectStore.prototype.put = put;
            throw new DOMException('no room', 'QuotaExceededError');
        };",
        "",
    )
    .await
    .unwrap();
    let mut batch = WriteBatch::new();
    for key in 0..8u8 {
        batch
            .put(Table::Meta, [key], b"new".as_slice())
            .put(Table::Rooms, [key], b"new".as_slice());
    }
    assert_eq!(store.commit(batch).await, Err(StoreError::Full));
    let entries = store
        .scan(Table::Meta, KeyRange::all(), Direction::Forward, 100)
        .await
        .unwrap();
    assert_eq!(entries, [(b"before".to_vec(), b"value".to_vec())]);
    assert_eq!(
        store
            .scan(Table::Rooms, KeyRange::all(), Direction::Forward, 100)
            .await
            .unwrap(),
        []
    );
    write(&store, b"after").await.unwrap();
}

/// Counts the transactions that a hundred commits at once take.
#[wasm_bindgen_test]
async fn commits_at_once_share_transactions() {
    let store = open().await;
    run(
        "const begin = IDBDatabase.prototype.transaction;
        globalThis.transactions = 0;
        IDBDatabase.prototype.transaction = function (...args) {
            globalThis.transactions += 1;
            return begin.apply(this, args);
        };
        globalThis.restore = () => { IDBDatabase.prototype.transaction = begin; };",
        "",
    )
    .await
    .unwrap();
    let keys: Vec<[u8; 1]> = (0..100).map(|key| [key]).collect();
    for result in futures::future::join_all(keys.iter().map(|key| write(&store, key))).await {
        result.unwrap();
    }
    let transactions = run("restore(); return transactions;", "").await.unwrap();
    assert!(transactions.as_f64().unwrap() <= 2.0, "{transactions:?}");
}
