//! The statements of a conditional batch.

use hanse_store::{Column, ColumnType, ConditionalBatch, ConditionalStep, Value};

use crate::{
    bind::{Call, Param},
    cql::{Cql, equal, marks, names, quoted, whole},
};

type Named = [(&'static str, Value)];

impl Cql {
    /// The statements of a batch, one for each step.
    pub(crate) fn conditional<'a>(&self, batch: &'a ConditionalBatch) -> Vec<Call<'a>> {
        let steps = batch.steps.iter();
        steps.map(|step| self.step(batch, step)).collect()
    }

    fn step<'a>(&self, batch: &'a ConditionalBatch, step: &'a ConditionalStep) -> Call<'a> {
        match step {
            ConditionalStep::UpdateStatics { .. } | ConditionalStep::Update { .. } => {
                self.update(batch, step)
            }
            ConditionalStep::Insert { .. } => self.insert(batch, step, ""),
            ConditionalStep::InsertStaticsIfNotExists { .. }
            | ConditionalStep::InsertIfNotExists { .. } => {
                self.insert(batch, step, " IF NOT EXISTS")
            }
            ConditionalStep::Delete { .. } => self.delete(batch, step, ""),
            ConditionalStep::DeleteStatics { .. } => {
                self.delete(batch, step, &(names(batch.table.statics) + " "))
            }
            ConditionalStep::DeleteRows => self.delete_rows(batch),
        }
    }

    fn update<'a>(&self, batch: &'a ConditionalBatch, step: &'a ConditionalStep) -> Call<'a> {
        let set = equal(step.set().iter().map(|(name, _)| *name), ", ");
        let (key, key_params) = key(batch, step);
        let text = format!("UPDATE {} SET {set} WHERE {key}", self.table(batch.table));
        let params = values(step.set()).chain(key_params).collect();
        with_conditions(Call { text, params }, step.conditions())
    }

    fn insert<'a>(
        &self,
        batch: &'a ConditionalBatch,
        step: &'a ConditionalStep,
        suffix: &str,
    ) -> Call<'a> {
        let clustering = step.clustering().unwrap_or_default();
        let keys = batch.table.partition.iter().chain(batch.table.clustering);
        let keys = keys.take(batch.partition.len() + clustering.len());
        let mut columns: Vec<_> = keys.map(|column| quoted(column.name)).collect();
        columns.extend(step.set().iter().map(|(name, _)| quoted(name)));
        let table = self.table(batch.table);
        let marks = marks(columns.len());
        let text = format!(
            "INSERT INTO {table} ({}) VALUES ({marks}){suffix}",
            columns.join(", ")
        );
        let keys = batch.partition.iter().chain(clustering).map(Param::from);
        let params = keys.chain(values(step.set())).collect();
        Call { text, params }
    }

    fn delete<'a>(
        &self,
        batch: &'a ConditionalBatch,
        step: &'a ConditionalStep,
        columns: &str,
    ) -> Call<'a> {
        let (key, params) = key(batch, step);
        let text = format!(
            "DELETE {columns}FROM {} WHERE {key}",
            self.table(batch.table)
        );
        let params = params.collect();
        with_conditions(Call { text, params }, step.conditions())
    }

    /// Beside a delete of the statics, which is all there is to keep, the whole partition: one
    /// tombstone. Otherwise the range of all rows, since a partition's delete would win over the
    /// statics written by the same batch.
    fn delete_rows<'a>(&self, batch: &'a ConditionalBatch) -> Call<'a> {
        let partition = whole(batch.table.partition);
        let mut text = format!("DELETE FROM {} WHERE {partition}", self.table(batch.table));
        let mut params: Vec<_> = batch.partition.iter().map(Param::from).collect();
        let is_gone = |step| matches!(step, &ConditionalStep::DeleteStatics { .. });
        if let Some(first) = batch.table.clustering.first()
            && !batch.steps.iter().any(is_gone)
        {
            text += " AND ";
            text += &(quoted(first.name) + " >= ?");
            params.push(least(first));
        }
        Call { text, params }
    }
}

/// The least value of a column's type.
fn least(column: &Column) -> Param<'static> {
    match column.kind {
        ColumnType::BigInt => Param::BigInt(i64::MIN),
        ColumnType::Boolean => Param::False,
        ColumnType::Text => Param::EmptyText,
        ColumnType::Blob => Param::EmptyBlob,
    }
}

/// The `WHERE` of a step: the partition, and the row if it is about one.
fn key<'a>(
    batch: &'a ConditionalBatch,
    step: &'a ConditionalStep,
) -> (String, impl Iterator<Item = Param<'a>>) {
    let clustering = step.clustering().unwrap_or_default();
    let columns = batch.table.partition.iter().chain(batch.table.clustering);
    let columns = columns.take(batch.partition.len() + clustering.len());
    let text = equal(columns.map(|column| column.name), " AND ");
    (
        text,
        batch.partition.iter().chain(clustering).map(Param::from),
    )
}

fn with_conditions<'a>(mut call: Call<'a>, conditions: &'a Named) -> Call<'a> {
    if !conditions.is_empty() {
        call.text += " IF ";
        call.text += &equal(conditions.iter().map(|(name, _)| *name), " AND ");
        call.params.extend(values(conditions));
    }
    call
}

fn values(named: &Named) -> impl Iterator<Item = Param<'_>> {
    named.iter().map(|(_, value)| Param::from(value))
}

#[cfg(test)]
mod tests {
    use hanse_store::{Kind, Table};

    use super::*;

    static LOG: Table = Table {
        name: "log",
        kind: Kind::Cas,
        partition: &[Column::bigint("slot"), Column::bigint("segment")],
        clustering: &[Column::bigint("seq")],
        statics: &[
            Column::bigint("epoch"),
            Column::bigint("next"),
            Column::bigint("sealed"),
        ],
        values: &[Column::blob("body")],
    };

    fn texts(steps: Vec<ConditionalStep>) -> Vec<String> {
        let batch = ConditionalBatch {
            table: &LOG,
            partition: vec![1.into(), 2.into()],
            steps,
        };
        let calls = Cql::new("h").conditional(&batch);
        for call in &calls {
            assert_eq!(
                call.text.matches('?').count(),
                call.params.len(),
                "{}",
                call.text
            );
        }
        calls
            .into_iter()
            .map(|call| call.text.replace('"', ""))
            .collect()
    }

    #[test]
    fn an_append_is_a_conditional_update_and_an_insert() {
        let append = texts(vec![
            ConditionalStep::UpdateStatics {
                set: vec![("next", 8.into())],
                conditions: vec![("epoch", 1.into()), ("next", 7.into())],
            },
            ConditionalStep::Insert {
                clustering: vec![7.into()],
                set: vec![("body", vec![1].into())],
            },
        ]);
        assert_eq!(
            append,
            [
                "UPDATE h.log SET next = ? WHERE slot = ? AND segment = ? IF epoch = ? AND next = ?",
                "INSERT INTO h.log (slot, segment, seq, body) VALUES (?, ?, ?, ?)",
            ]
        );
    }

    #[test]
    fn a_head_is_created_without_a_row() {
        let create = texts(vec![ConditionalStep::InsertStaticsIfNotExists {
            set: vec![("epoch", 1.into()), ("next", 7.into())],
        }]);
        let insert = "INSERT INTO h.log (slot, segment, epoch, next) VALUES (?, ?, ?, ?)";
        assert_eq!(create, [format!("{insert} IF NOT EXISTS")]);
    }

    #[test]
    fn a_trim_deletes_the_head_by_condition_and_the_whole_partition() {
        let trim = texts(vec![
            ConditionalStep::DeleteStatics {
                conditions: vec![("sealed", 3.into())],
            },
            ConditionalStep::DeleteRows,
        ]);
        assert_eq!(
            trim,
            [
                "DELETE epoch, next, sealed FROM h.log WHERE slot = ? AND segment = ? IF sealed = ?",
                "DELETE FROM h.log WHERE slot = ? AND segment = ?",
            ]
        );
    }

    #[test]
    fn rows_that_go_while_statics_stay_are_deleted_as_a_range() {
        let steps = texts(vec![
            ConditionalStep::UpdateStatics {
                set: vec![("next", 0.into())],
                conditions: vec![("epoch", 1.into())],
            },
            ConditionalStep::DeleteRows,
        ]);
        let delete = "DELETE FROM h.log WHERE slot = ? AND segment = ? AND seq >= ?";
        assert_eq!(steps.last().map(String::as_str), Some(delete));
    }

    #[test]
    fn a_rows_condition_stands_behind_its_full_key() {
        let steps = texts(vec![
            ConditionalStep::Update {
                clustering: vec![7.into()],
                set: vec![("body", Value::Null)],
                conditions: vec![("body", vec![1].into())],
            },
            ConditionalStep::Delete {
                clustering: vec![8.into()],
                conditions: vec![("body", vec![2].into())],
            },
        ]);
        let key = "WHERE slot = ? AND segment = ? AND seq = ? IF body = ?";
        let update = format!("UPDATE h.log SET body = ? {key}");
        assert_eq!(steps, [update, format!("DELETE FROM h.log {key}")]);
    }
}
