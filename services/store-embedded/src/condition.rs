//! Conditional batches, on the writer thread, which alone decides: no lock is needed.

use fjall::{OwnedWriteBatch, Readable};
use hanse_store::{Column, ConditionalBatch, ConditionalStep, Outcome, StoreError, Value};

use crate::{
    disk,
    engine::Core,
    key::{self, TableId},
    row::{self, Header, State},
};

/// Rows of `Cas` tables carry no stamp and do not expire.
const HEADER: Header = Header {
    stamp: None,
    state: State::Live,
};

/// What a step is about: the statics or one row, as stored.
struct Target {
    key: Vec<u8>,
    columns: &'static [Column],
    stored: Option<Vec<Value>>,
}

impl Core {
    /// Decides the batch, and writes it in one piece if every condition holds.
    pub(crate) fn conditional(&self, batch: &ConditionalBatch) -> Result<Outcome, StoreError> {
        let id = self.table_id(batch.table)?;
        let mut targets = Vec::with_capacity(batch.steps.len());
        for step in &batch.steps {
            targets.push(self.target(batch, id, step)?);
        }
        let steps = || batch.steps.iter().zip(&targets);
        if !steps().all(|(step, target)| target.as_ref().is_none_or(|target| target.allows(step))) {
            let current = steps().flat_map(|(step, target)| current(step, target.as_ref()));
            return Ok(Outcome::Refused {
                current: current.collect(),
            });
        }
        let mut writes = self.db.batch();
        for (step, target) in batch.steps.iter().zip(targets) {
            match target {
                Some(target) => self.write(&mut writes, step, target),
                None => self.delete_rows(&mut writes, batch, id)?,
            }
        }
        writes.commit().map_err(disk::write_failed)?;
        Ok(Outcome::Applied)
    }

    /// Reads what the step is about; `None` for [`ConditionalStep::DeleteRows`].
    fn target(
        &self,
        batch: &ConditionalBatch,
        id: TableId,
        step: &ConditionalStep,
    ) -> Result<Option<Target>, StoreError> {
        let table = batch.table;
        let (key, columns) = match step.clustering() {
            Some(clustering) => (
                key::row_key(table, id, &batch.partition, clustering),
                table.values,
            ),
            None if step.is_static() => (key::statics_key(id, &batch.partition), table.statics),
            None => return Ok(None),
        };
        let stored = self
            .cas
            .get(&key)
            .map_err(|error| disk::read_failed(&error))?;
        let stored = stored
            .map(|bytes| row::decode(table, columns.len(), &bytes).map(|(_, values)| values))
            .transpose()?;
        Ok(Some(Target {
            key,
            columns,
            stored,
        }))
    }

    fn write(&self, writes: &mut OwnedWriteBatch, step: &ConditionalStep, target: Target) {
        let deletes = matches!(
            step,
            ConditionalStep::Delete { .. } | ConditionalStep::DeleteStatics { .. }
        );
        let values = target.merged(step);
        // Statics that are all null do not exist; a row without values does.
        if deletes || step.is_static() && values.iter().all(|value| *value == Value::Null) {
            writes.remove(&self.cas, target.key);
        } else {
            writes.insert(&self.cas, target.key, row::encode(HEADER, &values));
        }
    }

    fn delete_rows(
        &self,
        writes: &mut OwnedWriteBatch,
        batch: &ConditionalBatch,
        id: TableId,
    ) -> Result<(), StoreError> {
        let prefix = key::rows_prefix(batch.table, id, &batch.partition);
        for pair in self.db.snapshot().prefix(&self.cas, prefix) {
            let key = pair.key().map_err(|error| disk::read_failed(&error))?;
            writes.remove(&self.cas, key);
        }
        Ok(())
    }
}

impl Target {
    /// Whether the step's conditions hold. Those on a row ask for a value that is not null (checked
    /// before), so a missing row fails them.
    fn allows(&self, step: &ConditionalStep) -> bool {
        match step {
            ConditionalStep::InsertStaticsIfNotExists { .. }
            | ConditionalStep::InsertIfNotExists { .. } => self.stored.is_none(),
            _ => step
                .conditions()
                .iter()
                .all(|(name, required)| self.value(name) == *required),
        }
    }

    fn value(&self, name: &str) -> Value {
        let at = self.columns.iter().position(|column| column.name == name);
        let values = self.stored.as_deref().unwrap_or_default();
        at.and_then(|at| values.get(at))
            .cloned()
            .unwrap_or(Value::Null)
    }

    /// The stored values with those that the step sets in their place.
    fn merged(&self, step: &ConditionalStep) -> Vec<Value> {
        let new = |column: &Column| {
            let set = step.set().iter().find(|(name, _)| *name == column.name);
            set.map_or_else(|| self.value(column.name), |(_, value)| value.clone())
        };
        self.columns.iter().map(new).collect()
    }
}

/// The stored values of the columns that the step compares.
fn current(step: &ConditionalStep, target: Option<&Target>) -> Vec<(&'static str, Value)> {
    let named = match step {
        ConditionalStep::InsertStaticsIfNotExists { set }
        | ConditionalStep::InsertIfNotExists { set, .. } => set,
        _ => step.conditions(),
    };
    let Some(target) = target else {
        return Vec::new();
    };
    named
        .iter()
        .map(|(name, _)| (*name, target.value(name)))
        .collect()
}
