//! Ranges of keys in IndexedDB.

use std::ops::Bound::{Excluded, Included, Unbounded};

use js_sys::{Array, Function, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use web_sys::{IdbCursorDirection, IdbCursorWithValue, IdbKeyRange, IdbObjectStore, IdbRequest};

use super::{
    exchange::{answer, completion, failure},
    from_js, to_js,
};
use crate::{Direction, Entry, KeyRange, StoreError};

#[wasm_bindgen]
extern "C" {
    /// What `getAllRecords` returns for each entry.
    type Record;

    #[wasm_bindgen(method, getter)]
    fn key(this: &Record) -> JsValue;

    #[wasm_bindgen(method, getter)]
    fn value(this: &Record) -> JsValue;
}

/// At most `limit` entries (not 0) of `entries` in `range` (not empty).
pub(super) async fn scan(
    entries: &IdbObjectStore,
    range: &KeyRange,
    direction: Direction,
    limit: u32,
) -> Result<Vec<Entry>, StoreError> {
    let query = query(range).map_err(failure)?;
    match (get_all_records(entries), direction) {
        (Some(method), _) => records(entries, &method, &query, direction, limit).await,
        (None, Direction::Forward) => keys_and_values(entries, &query, limit).await,
        (None, Direction::Backward) => walk_back(entries, &query, limit).await,
    }
}

/// `undefined` for every key, else an `IDBKeyRange`.
fn query(range: &KeyRange) -> Result<JsValue, JsValue> {
    let (start, start_open) = match &range.start {
        Unbounded => (None, false),
        Included(key) => (Some(to_js(key)), false),
        Excluded(key) => (Some(to_js(key)), true),
    };
    let (end, end_open) = match &range.end {
        Unbounded => (None, false),
        Included(key) => (Some(to_js(key)), false),
        Excluded(key) => (Some(to_js(key)), true),
    };
    let range = match (start, end) {
        (None, None) => return Ok(JsValue::UNDEFINED),
        (Some(start), None) => IdbKeyRange::lower_bound_with_open(&start, start_open),
        (None, Some(end)) => IdbKeyRange::upper_bound_with_open(&end, end_open),
        (Some(start), Some(end)) => {
            IdbKeyRange::bound_with_lower_open_and_upper_open(&start, &end, start_open, end_open)
        }
    };
    range.map(Into::into)
}

/// `IDBObjectStore.getAllRecords`, in the browsers that have it (Chromium from 141).
fn get_all_records(entries: &IdbObjectStore) -> Option<Function> {
    Reflect::get(entries, &"getAllRecords".into())
        .ok()?
        .dyn_into()
        .ok()
}

async fn records(
    entries: &IdbObjectStore,
    method: &Function,
    query: &JsValue,
    direction: Direction,
    limit: u32,
) -> Result<Vec<Entry>, StoreError> {
    let options = Object::new();
    let order = match direction {
        Direction::Forward => "next",
        Direction::Backward => "prev",
    };
    for (name, value) in [
        ("query", query),
        ("count", &limit.into()),
        ("direction", &order.into()),
    ] {
        Reflect::set(&options, &name.into(), value).map_err(failure)?;
    }
    let request: IdbRequest = method.call1(entries, &options).map_err(failure)?.unchecked_into();
    let found: Array = answer(&request).await?.unchecked_into();
    found
        .iter()
        .map(|record| {
            let record: Record = record.unchecked_into();
            entry(&record.key(), &record.value())
        })
        .collect()
}

async fn keys_and_values(
    entries: &IdbObjectStore,
    query: &JsValue,
    limit: u32,
) -> Result<Vec<Entry>, StoreError> {
    let keys = entries
        .get_all_keys_with_key_and_limit(query, limit)
        .map_err(failure)?;
    let values = entries
        .get_all_with_key_and_limit(query, limit)
        .map_err(failure)?;
    completion(&entries.transaction()).await?;
    let keys: Array = keys.result().map_err(failure)?.unchecked_into();
    let values: Array = values.result().map_err(failure)?.unchecked_into();
    keys.iter()
        .zip(values.iter())
        .map(|(key, value)| entry(&key, &value))
        .collect()
}

async fn walk_back(entries: &IdbObjectStore, query: &JsValue, limit: u32) -> Result<Vec<Entry>, StoreError> {
    let request = entries
        .open_cursor_with_range_and_direction(query, IdbCursorDirection::Prev)
        .map_err(failure)?;
    let mut found = Vec::new();
    loop {
        let Ok(cursor) = answer(&request).await?.dyn_into::<IdbCursorWithValue>() else {
            return Ok(found);
        };
        found.push(entry(
            &cursor.key().map_err(failure)?,
            &cursor.value().map_err(failure)?,
        )?);
        if found.len() >= limit as usize {
            return Ok(found);
        }
        cursor.continue_().map_err(failure)?;
    }
}

fn entry(key: &JsValue, value: &JsValue) -> Result<Entry, StoreError> {
    from_js(key)
        .zip(from_js(value))
        .ok_or_else(|| StoreError::Backend("an entry is not made of bytes".into()))
}
