//! Group commit: batches that are given while a transaction is under way share the next one.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    mem,
    rc::Rc,
};

use futures::channel::oneshot;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;
use web_sys::{IdbTransaction, IdbTransactionMode};

use super::{
    connection::Connection,
    exchange::{completion, failure},
    to_js,
};
use crate::{Durability, StoreError, Table, WriteBatch, WriteOp};

/// The batches that wait for a transaction.
pub(super) struct Group {
    connection: Rc<Connection>,
    queue: Rc<RefCell<Vec<Commit>>>,
    writing: Rc<Cell<bool>>,
}

/// A batch, and where its result goes.
struct Commit {
    batch: WriteBatch,
    done: oneshot::Sender<Result<(), StoreError>>,
}

impl Group {
    pub(super) fn new(connection: Rc<Connection>) -> Self {
        Self {
            connection,
            queue: Rc::default(),
            writing: Rc::default(),
        }
    }

    /// Queues `batch` and waits until it is stored or has failed.
    pub(super) async fn commit(&self, batch: WriteBatch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let (done, result) = oneshot::channel();
        self.queue.borrow_mut().push(Commit { batch, done });
        self.write();
        result
            .await
            .unwrap_or_else(|_| Err(StoreError::Closed("the writer has stopped".into())))
    }

    /// Starts a task that writes until the queue is empty, unless there is one.
    fn write(&self) {
        if self.writing.replace(true) {
            return;
        }
        let (connection, queue) = (Rc::clone(&self.connection), Rc::clone(&self.queue));
        let writing = Rc::clone(&self.writing);
        spawn_local(async move {
            loop {
                let group = mem::take(&mut *queue.borrow_mut());
                if group.is_empty() {
                    break;
                }
                commit_group(&connection, group).await;
            }
            writing.set(false);
        });
    }
}

/// Commits a group in one transaction; if that fails, each batch alone, so that one batch that finds no room
/// does not take others with it.
async fn commit_group(connection: &Connection, group: Vec<Commit>) {
    let batches: Vec<&WriteBatch> = group.iter().map(|commit| &commit.batch).collect();
    let together = write(connection, &batches).await;
    let alone = group.len() > 1 && together.is_err();
    for Commit { batch, done } in group {
        let result = if alone {
            write(connection, &[&batch]).await
        } else {
            together.clone()
        };
        // Whoever asked may have gone away; the batch is stored all the same.
        let _ = done.send(result);
    }
}

async fn write(connection: &Connection, batches: &[&WriteBatch]) -> Result<(), StoreError> {
    let tables: BTreeSet<Table> = ops(batches).map(WriteOp::table).collect();
    let tables: Vec<Table> = tables.into_iter().collect();
    let durability = batches
        .iter()
        .map(|batch| batch.durability())
        .max()
        .unwrap_or(Durability::Relaxed);
    let transaction = connection
        .begin(&tables, IdbTransactionMode::Readwrite, durability)
        .await?;
    if let Err(exception) = apply(&transaction, batches) {
        // Dropping the transaction would store the writes before the one that failed.
        let _ = transaction.abort();
        return Err(failure(exception));
    }
    completion(&transaction).await
}

/// Places every write. Their answers are not waited for: one that fails rolls the transaction back.
fn apply(transaction: &IdbTransaction, batches: &[&WriteBatch]) -> Result<(), JsValue> {
    for op in ops(batches) {
        let entries = transaction.object_store(op.table().name())?;
        match op {
            WriteOp::Put(_, key, value) => entries.put_with_key(&to_js(value), &to_js(key))?,
            WriteOp::Insert(_, key, value) => entries.add_with_key(&to_js(value), &to_js(key))?,
            WriteOp::Delete(_, key) => entries.delete(&to_js(key))?,
        };
    }
    Ok(())
}

fn ops<'a>(batches: &'a [&WriteBatch]) -> impl Iterator<Item = &'a WriteOp> {
    batches.iter().flat_map(|batch| batch.ops())
}
