//! A partition, and conditional batches on it.

use std::collections::BTreeMap;

use hanse_store::{ConditionalBatch, ConditionalStep, Outcome, Row, Table, Value};

use crate::Cell;

/// The rows that share a partition key.
#[derive(Clone, Debug, Default)]
pub struct Partition {
    pub(crate) statics: Option<Vec<Value>>,
    pub(crate) rows: BTreeMap<Vec<Value>, Cell>,
    /// Decided, but not seen by plain reads before a serial read or another conditional batch has
    /// finished it: what a Paxos round leaves behind whose coordinator failed to commit.
    uncommitted: Option<ConditionalBatch>,
}

/// How soon plain reads see a batch that is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// At once.
    Now,
    /// When the next serial read or conditional batch comes by.
    Later,
}

impl Partition {
    pub(crate) fn row(&self, table: &Table, clustering: &[Value], values: &[Value]) -> Row {
        let nulls = || vec![Value::Null; table.statics.len()];
        Row {
            clustering: clustering.to_vec(),
            statics: self.statics.clone().unwrap_or_else(nulls),
            values: values.to_vec(),
        }
    }

    /// Finishes what is decided and not committed.
    pub(crate) fn commit(&mut self, table: &'static Table) {
        if let Some(batch) = self.uncommitted.take() {
            self.write(table, &batch);
        }
    }

    /// Decides a batch: applies all of it if every condition holds.
    pub fn decide(&mut self, batch: &ConditionalBatch, commit: Commit) -> Outcome {
        let table = batch.table;
        self.commit(table);
        if !batch.steps.iter().all(|step| self.allows(table, step)) {
            let compared = batch
                .steps
                .iter()
                .flat_map(|step| self.compared(table, step));
            return Outcome::Refused {
                current: compared.collect(),
            };
        }
        match commit {
            Commit::Now => self.write(table, batch),
            Commit::Later => self.uncommitted = Some(batch.clone()),
        }
        Outcome::Applied
    }

    fn allows(&self, table: &Table, step: &ConditionalStep) -> bool {
        match step {
            ConditionalStep::InsertStaticsIfNotExists { .. } => self.statics.is_none(),
            ConditionalStep::InsertIfNotExists { clustering, .. } => {
                !self.rows.contains_key(clustering)
            }
            // Conditions on a row ask for a value (checked before): a missing row fails them.
            _ => step
                .conditions()
                .iter()
                .all(|(name, required)| self.value(table, step, name) == *required),
        }
    }

    /// What is stored in the columns that the step compares.
    fn compared(&self, table: &Table, step: &ConditionalStep) -> Vec<(&'static str, Value)> {
        let named = match step {
            ConditionalStep::InsertStaticsIfNotExists { set }
            | ConditionalStep::InsertIfNotExists { set, .. } => set.as_slice(),
            _ => step.conditions(),
        };
        let value = |(name, _): &(&'static str, Value)| (*name, self.value(table, step, name));
        named.iter().map(value).collect()
    }

    /// The present value of a column of what the step is about.
    fn value(&self, table: &Table, step: &ConditionalStep, name: &str) -> Value {
        let at = if step.is_static() {
            table.static_index(name)
        } else {
            table.value_index(name)
        };
        let stored = at.and_then(|at| self.stored(step)?.get(at));
        stored.cloned().unwrap_or(Value::Null)
    }

    fn stored(&self, step: &ConditionalStep) -> Option<&Vec<Value>> {
        match step.clustering() {
            Some(clustering) => self.rows.get(clustering)?.values.as_ref(),
            None => self.statics.as_ref(),
        }
    }

    fn write(&mut self, table: &'static Table, batch: &ConditionalBatch) {
        for step in &batch.steps {
            match step {
                ConditionalStep::DeleteRows => self.rows.clear(),
                ConditionalStep::DeleteStatics { .. } => self.statics = None,
                ConditionalStep::Delete { clustering, .. } => {
                    self.rows.remove(clustering);
                }
                _ => self.set(table, step),
            }
        }
    }

    fn set(&mut self, table: &'static Table, step: &ConditionalStep) {
        let columns = if step.is_static() {
            table.statics
        } else {
            table.values
        };
        let new = |name: &str| {
            let set = step.set().iter().find(|(column, _)| *column == name);
            set.map_or_else(|| self.value(table, step, name), |(_, value)| value.clone())
        };
        let values: Vec<Value> = columns.iter().map(|column| new(column.name)).collect();
        if let Some(clustering) = step.clustering() {
            let cell = Cell {
                stamp: None,
                expires_at_ms: None,
                values: Some(values),
            };
            self.rows.insert(clustering.to_vec(), cell);
        } else {
            // Statics that are all null do not exist.
            let exist = values.iter().any(|value| *value != Value::Null);
            self.statics = exist.then_some(values);
        }
    }
}
