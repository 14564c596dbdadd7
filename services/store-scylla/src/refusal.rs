//! What a conditional batch answered.

use hanse_store::{ConditionalBatch, ConditionalStep, Outcome, StoreError, Value};
use scylla::response::query_result::QueryRowsResult;

use crate::row::{self, Named as Told};

/// Reads the outcome. `[applied]` and the old values are found by name: which columns come back, and
/// in which order, differs between statements, servers and outcomes.
pub(crate) fn outcome(
    batch: &ConditionalBatch,
    result: &QueryRowsResult,
) -> Result<Outcome, StoreError> {
    let rows = row::named(batch.table, result)?;
    match rows.first().and_then(|row| value(row, "[applied]")) {
        Some(Value::Boolean(true)) => Ok(Outcome::Applied),
        Some(Value::Boolean(false)) => {
            let told = batch
                .steps
                .iter()
                .flat_map(|step| current(batch, step, &rows));
            Ok(Outcome::Refused {
                current: told.collect(),
            })
        }
        _ => Err(StoreError::Corrupt {
            table: batch.table.name,
            reason: "a conditional batch answered without [applied]".to_owned(),
        }),
    }
}

/// The stored values of the columns that a step compares, as far as the rows tell them.
fn current(
    batch: &ConditionalBatch,
    step: &ConditionalStep,
    rows: &[Told],
) -> Vec<(&'static str, Value)> {
    let named = match step {
        ConditionalStep::InsertStaticsIfNotExists { set }
        | ConditionalStep::InsertIfNotExists { set, .. } => set.as_slice(),
        _ => step.conditions(),
    };
    let Some(row) = rows.iter().find(|row| is_about(batch, step, row)) else {
        return Vec::new();
    };
    let told = |name: &'static str| value(row, name).map(|value| (name, value.clone()));
    named.iter().filter_map(|(name, _)| told(name)).collect()
}

/// Whether a row that came back is the one that the step names. Rows of a single statement do not
/// tell their keys, and statics stand in every row.
fn is_about(batch: &ConditionalBatch, step: &ConditionalStep, row: &Told) -> bool {
    let clustering = step.clustering().unwrap_or_default();
    let mut pairs = batch.table.clustering.iter().zip(clustering);
    pairs.all(|(column, wanted)| value(row, column.name).is_none_or(|told| told == wanted))
}

fn value<'a>(row: &'a Told, name: &str) -> Option<&'a Value> {
    let named = row.iter().find(|(column, _)| column == name);
    named.and_then(|(_, value)| value.as_ref())
}
