//! Conditional batches on one partition of a `Cas` table: what CQL calls a lightweight transaction.

use crate::{Table, Value};

/// A batch that is applied wholly if every condition holds, else not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionalBatch {
    /// The table, of kind `Cas`.
    pub table: &'static Table,
    /// One value for each partition column.
    pub partition: Vec<Value>,
    /// The steps; at least one carries a condition.
    pub steps: Vec<ConditionalStep>,
}

/// One statement of a [`ConditionalBatch`]. Columns are named, values follow the column's type.
///
/// A condition on a missing row or static fails, unless it asks for `Null`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConditionalStep {
    /// `UPDATE … SET statics WHERE partition IF conditions`, on static columns.
    UpdateStatics {
        /// New values.
        set: Vec<(&'static str, Value)>,
        /// Required present values of static columns; may be empty if another step has conditions.
        conditions: Vec<(&'static str, Value)>,
    },
    /// `INSERT … IF NOT EXISTS` of the static row.
    InsertStaticsIfNotExists {
        /// Values of the static columns; those not named stay null.
        set: Vec<(&'static str, Value)>,
    },
    /// `INSERT` of a row, riding on the batch's other conditions: replaces the named columns.
    Insert {
        /// The clustering columns' values.
        clustering: Vec<Value>,
        /// Values of value columns.
        set: Vec<(&'static str, Value)>,
    },
    /// `INSERT … IF NOT EXISTS` of a row.
    InsertIfNotExists {
        /// The clustering columns' values.
        clustering: Vec<Value>,
        /// Values of value columns.
        set: Vec<(&'static str, Value)>,
    },
    /// `UPDATE … WHERE key IF conditions`, on a row's value columns. Refused if the row is missing.
    Update {
        /// The clustering columns' values.
        clustering: Vec<Value>,
        /// New values.
        set: Vec<(&'static str, Value)>,
        /// Required present values, at least one.
        conditions: Vec<(&'static str, Value)>,
    },
    /// `DELETE … WHERE key IF conditions` of one row.
    Delete {
        /// The clustering columns' values.
        clustering: Vec<Value>,
        /// Required present values, at least one.
        conditions: Vec<(&'static str, Value)>,
    },
    /// Delete of all static columns `IF conditions`.
    DeleteStatics {
        /// Required present values of static columns, at least one.
        conditions: Vec<(&'static str, Value)>,
    },
    /// Plain delete of every row of the partition (not of the statics), riding on the batch's
    /// other conditions.
    DeleteRows,
}

/// What became of a conditional batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it was applied.
    Applied,
    /// None of it was applied.
    Refused {
        /// The columns that the conditions name, with the values that the store holds, as far as
        /// the engine tells (Cassandra and Scylla tell different amounts): for decisions read again.
        current: Vec<(&'static str, Value)>,
    },
}
