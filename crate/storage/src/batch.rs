//! Atomic sets of writes.

use crate::Table;

/// How far a batch must have got before its commit is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Survives the end of the process or worker. Power loss may undo the newest batches, never part of one.
    #[default]
    Relaxed,
    /// Flushed to the disk: for signing keys and access tokens.
    Strict,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOp {
    /// Stores the value under the key, replacing an earlier one.
    Put(Table, Vec<u8>, Vec<u8>),
    /// Stores the value under the key, which must not be there: the batch fails with
    /// [`StoreError::Exists`](crate::StoreError::Exists) if it is. Nothing else in the batch is of this key.
    Insert(Table, Vec<u8>, Vec<u8>),
    /// Removes the key, if it is there.
    Delete(Table, Vec<u8>),
}

impl WriteOp {
    /// The table that it writes to.
    pub fn table(&self) -> Table {
        match self {
            Self::Put(table, ..) | Self::Insert(table, ..) | Self::Delete(table, _) => *table,
        }
    }
}

/// Writes that take effect together, in order: a later write to the same key wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteBatch {
    ops: Vec<WriteOp>,
    durability: Durability,
}

impl WriteBatch {
    /// An empty batch of relaxed durability.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores `value` under `key`.
    pub fn put(&mut self, table: Table, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> &mut Self {
        self.ops.push(WriteOp::Put(table, key.into(), value.into()));
        self
    }

    /// Stores `value` under `key`; if `key` is there already, the whole batch fails with
    /// [`StoreError::Exists`](crate::StoreError::Exists). Costs less than to read `key` first.
    pub fn insert(&mut self, table: Table, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> &mut Self {
        self.ops.push(WriteOp::Insert(table, key.into(), value.into()));
        self
    }

    /// Removes `key`.
    pub fn delete(&mut self, table: Table, key: impl Into<Vec<u8>>) -> &mut Self {
        self.ops.push(WriteOp::Delete(table, key.into()));
        self
    }

    /// Asks for strict durability.
    pub fn strict(&mut self) -> &mut Self {
        self.durability = Durability::Strict;
        self
    }

    /// Appends the writes of `other`; the stricter durability holds for both.
    pub fn append(&mut self, other: Self) {
        self.ops.extend(other.ops);
        self.durability = self.durability.max(other.durability);
    }

    /// The writes, in order.
    pub fn ops(&self) -> &[WriteOp] {
        &self.ops
    }

    /// The writes, in order, by value.
    pub fn into_ops(self) -> Vec<WriteOp> {
        self.ops
    }

    /// The durability that the commit waits for.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}
