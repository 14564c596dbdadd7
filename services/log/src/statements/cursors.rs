//! The statements on table `cursors`.

use hanse_store::{
    ConditionalBatch, ConditionalStep, Consistency, Direction, Key, Outcome, Range, Row, Scan,
    StoreError, Value,
};

use super::{Statements, bigint};
use crate::{LogPoint, Position, Slot, tables::CURSORS};

fn point(row: &Row) -> Option<LogPoint> {
    let segment = bigint(row, false, 0)?;
    let position = bigint(row, false, 1)?;
    Some(LogPoint {
        segment,
        seq: Position::from_packed(position).seq(),
    })
}

impl Statements {
    /// Up to where a consumer has come.
    pub(crate) async fn cursor(
        &self,
        slot: Slot,
        consumer: &str,
    ) -> Result<Option<LogPoint>, StoreError> {
        let key = Key::new(vec![i64::from(slot.0).into()], vec![consumer.into()]);
        let row = self.store.get(&CURSORS, &key, Consistency::Serial).await?;
        Ok(row.as_ref().and_then(point))
    }

    /// Moves a consumer's cursor from where the caller believes it to be.
    pub(crate) async fn move_cursor(
        &self,
        slot: Slot,
        consumer: &str,
        from: Option<LogPoint>,
        to: LogPoint,
    ) -> Result<Outcome, StoreError> {
        let clustering = vec![consumer.into()];
        let position = |point: LogPoint| Value::from(Position::end_of(point.seq).packed());
        let set = vec![("segment", to.segment.into()), ("position", position(to))];
        let step = match from {
            None => ConditionalStep::InsertIfNotExists { clustering, set },
            Some(from) => {
                let conditions = vec![("position", position(from))];
                ConditionalStep::Update {
                    clustering,
                    set,
                    conditions,
                }
            }
        };
        let partition = vec![i64::from(slot.0).into()];
        let batch = ConditionalBatch {
            table: &CURSORS,
            partition,
            steps: vec![step],
        };
        self.store.conditional(batch).await
    }

    /// Every consumer's cursor. May lag, which is harmless: cursors never go back.
    pub(crate) async fn cursors(&self, slot: Slot) -> Result<Vec<(String, LogPoint)>, StoreError> {
        let scan = Scan {
            table: &CURSORS,
            partition: vec![i64::from(slot.0).into()],
            range: Range::all(),
            direction: Direction::Forward,
            limit: Scan::LIMIT_MAX,
        };
        let rows = self.rows(scan).await?;
        let named = |row: &Row| {
            let name = row.clustering.first().and_then(Value::as_str)?;
            Some((name.to_owned(), point(row)?))
        };
        Ok(rows.iter().filter_map(named).collect())
    }
}
