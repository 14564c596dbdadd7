//! The statements on table `members`.

use std::sync::Arc;

use hanse_store::{
    ConditionalBatch, ConditionalStep, Direction, Outcome, Range, Scan, Store, StoreError, Value,
};

use crate::{Member, member::MemberRow, tables::MEMBERS};

/// The one partition.
const PART: i64 = 0;
/// Rows of one page.
const PAGE: usize = 256;
/// Most rows that are read; more processes than a cluster has.
const ROWS_MAX: usize = 4_096;

#[derive(Clone)]
pub(crate) struct MemberRows {
    store: Arc<dyn Store>,
}

impl MemberRows {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Every row, also of those who lapsed.
    pub(crate) async fn all(&self) -> Result<Vec<MemberRow>, StoreError> {
        let mut rows: Vec<MemberRow> = Vec::new();
        let mut range = Range::all();
        loop {
            let scan = Scan {
                table: &MEMBERS,
                partition: vec![PART.into()],
                range,
                direction: Direction::Forward,
                limit: PAGE,
            };
            let page = self.store.scan(scan).await?;
            rows.extend(page.rows.iter().filter_map(MemberRow::read));
            match page.rows.last() {
                Some(last) if page.more && rows.len() < ROWS_MAX => {
                    range = Range::after(last.clustering.clone());
                }
                _ => return Ok(rows),
            }
        }
    }

    /// Enters a member, unless there is a row of its name.
    pub(crate) async fn enter(&self, row: &MemberRow) -> Result<Outcome, StoreError> {
        let step = ConditionalStep::InsertIfNotExists {
            clustering: clustering(&row.member),
            set: row.columns(),
        };
        self.step(step).await
    }

    /// Shows a new counter. The row is known by when its process started, not by the counter before:
    /// a renewal in doubt needs no settling.
    pub(crate) async fn renew(&self, row: &MemberRow) -> Result<Outcome, StoreError> {
        let step = ConditionalStep::Update {
            clustering: clustering(&row.member),
            set: vec![
                ("renewals", row.renewals.into()),
                ("draining", Value::Boolean(row.member.draining)),
            ],
            conditions: vec![("started_at_ms", row.member.started_at_ms.into())],
        };
        self.step(step).await
    }

    /// Removes the row of a member that departs.
    pub(crate) async fn leave(&self, member: &Member) -> Result<Outcome, StoreError> {
        let step = ConditionalStep::Delete {
            clustering: clustering(member),
            conditions: vec![("started_at_ms", member.started_at_ms.into())],
        };
        self.step(step).await
    }

    /// Removes the row of a member that lapsed, unless it was renewed.
    pub(crate) async fn remove(&self, row: &MemberRow) -> Result<Outcome, StoreError> {
        let step = ConditionalStep::Delete {
            clustering: clustering(&row.member),
            conditions: vec![
                ("renewals", row.renewals.into()),
                ("started_at_ms", row.member.started_at_ms.into()),
            ],
        };
        self.step(step).await
    }

    async fn step(&self, step: ConditionalStep) -> Result<Outcome, StoreError> {
        let batch = ConditionalBatch {
            table: &MEMBERS,
            partition: vec![PART.into()],
            steps: vec![step],
        };
        self.store.conditional(batch).await
    }
}

fn clustering(member: &Member) -> Vec<Value> {
    vec![member.id.as_str().into()]
}

#[cfg(test)]
mod tests {
    use hanse_store_embedded::{EmbeddedStore, Options};
    use tempfile::TempDir;

    use super::*;

    fn row(id: &str, started_at_ms: i64, renewals: i64) -> MemberRow {
        let member = Member {
            id: id.to_owned(),
            address: "127.0.0.1:1".to_owned(),
            started_at_ms,
            ..Member::default()
        };
        MemberRow { member, renewals }
    }

    fn is_refused(outcome: &Outcome) -> bool {
        matches!(outcome, Outcome::Refused { .. })
    }

    /// Red if a row can be taken by another of its name, a renewal after the end brings it back, or
    /// one who was renewed just now is removed.
    #[tokio::test]
    async fn a_row_is_its_processs_alone() {
        let dir = TempDir::new().unwrap();
        let store = EmbeddedStore::open(dir.path(), Options::new(Arc::new(|| 0))).unwrap();
        store.create_tables(&[&MEMBERS]).await.unwrap();
        let rows = MemberRows::new(store);
        assert!(is_refused(&rows.renew(&row("a", 1, 1)).await.unwrap()));
        rows.enter(&row("a", 1, 2)).await.unwrap();
        assert!(is_refused(&rows.enter(&row("a", 2, 1)).await.unwrap()));
        assert!(is_refused(&rows.renew(&row("a", 2, 1)).await.unwrap()));
        assert!(is_refused(
            &rows.leave(&row("a", 2, 1).member).await.unwrap()
        ));
        // Whatever became of the third.
        let renewed = rows.renew(&row("a", 1, 4)).await.unwrap();
        assert_eq!(renewed, Outcome::Applied);
        assert!(is_refused(&rows.remove(&row("a", 1, 2)).await.unwrap()));
        assert_eq!(rows.all().await.unwrap(), [row("a", 1, 4)]);
        for i in 0..PAGE as i64 {
            rows.enter(&row(&format!("b{i}"), i, 0)).await.unwrap();
        }
        assert_eq!(rows.all().await.unwrap().len(), PAGE + 1);
        rows.remove(&row("b7", 7, 0)).await.unwrap();
        rows.leave(&row("a", 1, 9).member).await.unwrap();
        assert_eq!(rows.all().await.unwrap().len(), PAGE - 1);
        assert!(is_refused(&rows.renew(&row("a", 1, 10)).await.unwrap()));
    }
}
