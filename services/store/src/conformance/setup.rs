//! The suite's tables, and what its cases share.

use std::{future::Future, pin::pin, sync::Arc, task::Poll};

use super::Subject;
use crate::{
    Column, ConditionalBatch, ConditionalStep, Consistency, Direction, Durability, Key, Kind,
    Mutation, Outcome, Page, Range, Row, Scan, StampedDelete, StampedPut, Store, StoreError, Table,
    Value,
};

/// The tables that a [`Subject`]'s store has.
pub const TABLES: &[&Table] = &[&STAMPED, &FLAT, &ORDERED, &LOG, &CAS_FLAT, &ONCE];

/// Stamped, with every type among its values.
pub(super) static STAMPED: Table = Table {
    name: "conformance_stamped",
    kind: Kind::Stamped,
    partition: &[Column::text("part")],
    clustering: &[Column::bigint("major"), Column::text("minor")],
    statics: &[],
    values: &[
        Column::bigint("number"),
        Column::boolean("flag"),
        Column::text("words"),
        Column::blob("bytes"),
    ],
};

/// Stamped, one row for each partition.
pub(super) static FLAT: Table = Table {
    name: "conformance_flat",
    kind: Kind::Stamped,
    partition: &[Column::text("part"), Column::bigint("number")],
    clustering: &[],
    statics: &[],
    values: &[Column::text("words")],
};

/// Every type among its key columns.
pub(super) static ORDERED: Table = Table {
    name: "conformance_ordered",
    kind: Kind::Stamped,
    partition: &[
        Column::text("part"),
        Column::blob("bytes"),
        Column::boolean("flag"),
    ],
    clustering: &[
        Column::bigint("c_number"),
        Column::boolean("c_flag"),
        Column::text("c_words"),
        Column::blob("c_bytes"),
    ],
    statics: &[],
    values: &[Column::bigint("at_place")],
};

/// Shaped like the slot log: a head in static columns, rows under it.
pub(super) static LOG: Table = Table {
    name: "conformance_log",
    kind: Kind::Cas,
    partition: &[Column::text("part"), Column::bigint("segment")],
    clustering: &[Column::bigint("seq")],
    statics: &[
        Column::bigint("epoch"),
        Column::bigint("next_seq"),
        Column::text("holder"),
        Column::bigint("sealed"),
    ],
    values: &[Column::blob("body"), Column::text("note")],
};

/// Conditional, one row for each partition, no statics.
pub(super) static CAS_FLAT: Table = Table {
    name: "conformance_cas_flat",
    kind: Kind::Cas,
    partition: &[Column::text("part")],
    clustering: &[],
    statics: &[],
    values: &[
        Column::bigint("version"),
        Column::text("words"),
        Column::boolean("flag"),
    ],
};

/// Rows that expire.
pub(super) static ONCE: Table = Table {
    name: "conformance_once",
    kind: Kind::Once,
    partition: &[Column::text("part")],
    clustering: &[Column::text("name")],
    statics: &[],
    values: &[Column::blob("bytes")],
};

/// Names the columns of a condition or of an assignment.
pub(super) fn named<const N: usize>(
    columns: [(&'static str, Value); N],
) -> Vec<(&'static str, Value)> {
    Vec::from(columns)
}

/// A blob.
pub(super) fn blob(bytes: &[u8]) -> Value {
    Value::from(bytes.to_vec())
}

/// One case's place in the store: its own partitions.
pub(super) struct Place {
    pub(super) store: Arc<dyn Store>,
    pub(super) part: String,
    pub(super) now_ms: i64,
}

impl Place {
    pub(super) fn new(subject: &dyn Subject, case: &str) -> Self {
        Self {
            store: subject.store(),
            part: format!("{}{case}", subject.prefix()),
            now_ms: subject.now_ms(),
        }
    }

    /// A key of `STAMPED`.
    pub(super) fn key(&self, major: i64, minor: &str) -> Key {
        Key::new([self.part.as_str().into()], [major.into(), minor.into()])
    }

    /// A key of `FLAT`.
    pub(super) fn flat_key(&self, number: i64) -> Key {
        Key::partition([self.part.as_str().into(), number.into()])
    }

    /// A put of `FLAT`.
    pub(super) fn flat_put(&self, number: i64, words: &str, stamp: i64) -> StampedPut {
        StampedPut {
            table: &FLAT,
            key: self.flat_key(number),
            values: vec![words.into()],
            stamp,
            expires_at_ms: None,
        }
    }

    /// A delete of `FLAT`.
    pub(super) fn flat_delete(&self, number: i64, stamp: i64) -> Mutation {
        Mutation::Delete(StampedDelete {
            table: &FLAT,
            key: self.flat_key(number),
            stamp,
        })
    }

    /// The value of `FLAT`, if the row is there.
    pub(super) async fn flat(&self, number: i64) -> Option<String> {
        let row = self.get(&FLAT, &self.flat_key(number)).await?;
        row.values[0].as_str().map(str::to_owned)
    }

    /// A partition of `LOG`.
    pub(super) fn segment(&self, segment: i64) -> Vec<Value> {
        vec![self.part.as_str().into(), segment.into()]
    }

    pub(super) async fn apply(&self, mutations: impl IntoIterator<Item = Mutation>) {
        let mutations = mutations.into_iter().collect();
        self.store
            .apply(mutations, Durability::Synced)
            .await
            .unwrap();
    }

    pub(super) async fn put(&self, put: StampedPut) {
        self.apply([Mutation::Put(put)]).await;
    }

    pub(super) async fn get(&self, table: &'static Table, key: &Key) -> Option<Row> {
        self.store
            .get(table, key, Consistency::Quorum)
            .await
            .unwrap()
    }

    pub(super) async fn get_serial(&self, table: &'static Table, key: &Key) -> Option<Row> {
        self.store
            .get(table, key, Consistency::Serial)
            .await
            .unwrap()
    }

    /// The statics of a segment of `LOG`: epoch, next, holder, sealed.
    pub(super) async fn head(&self, segment: i64) -> Option<Vec<Value>> {
        let row = self
            .get_serial(&LOG, &Key::partition(self.segment(segment)))
            .await?;
        assert_eq!(row.clustering, [], "statics alone have no clustering key");
        assert_eq!(
            row.values,
            [Value::Null, Value::Null],
            "statics alone have no values"
        );
        Some(row.statics)
    }

    /// The body of a row of `LOG`.
    pub(super) async fn body(&self, segment: i64, seq: i64) -> Option<Value> {
        let key = Key::new(self.segment(segment), [seq.into()]);
        Some(self.get_serial(&LOG, &key).await?.values[0].clone())
    }

    pub(super) fn batch(&self, segment: i64, steps: Vec<ConditionalStep>) -> ConditionalBatch {
        ConditionalBatch {
            table: &LOG,
            partition: self.segment(segment),
            steps,
        }
    }

    /// Whether the batch was applied.
    pub(super) async fn decide(&self, batch: ConditionalBatch) -> bool {
        self.store.conditional(batch).await.unwrap() == Outcome::Applied
    }

    /// Whether the steps on a segment of `LOG` were applied.
    pub(super) async fn log(&self, segment: i64, steps: Vec<ConditionalStep>) -> bool {
        self.decide(self.batch(segment, steps)).await
    }

    /// Creates the head of a segment, at epoch 1 and position 0.
    pub(super) async fn open_segment(&self, segment: i64) {
        assert!(self.log(segment, vec![create_head(1, 0)]).await);
    }

    pub(super) async fn scan(&self, scan: Scan) -> Page {
        self.store.scan(scan).await.unwrap()
    }

    /// All rows of a range, read in pages.
    pub(super) async fn pages(
        &self,
        table: &'static Table,
        partition: Vec<Value>,
        range: Range,
        direction: Direction,
        limit: usize,
    ) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        let mut scan = Scan {
            table,
            partition,
            range,
            direction,
            limit,
        };
        loop {
            let page = self.scan(scan.clone()).await;
            assert!(page.rows.len() <= limit, "a page is longer than its limit");
            rows.extend(page.rows);
            if !page.more {
                return rows;
            }
            let last = rows.last().expect("a page with more behind it has a row");
            let (bound, exclusive) = match direction {
                Direction::Forward => (&mut scan.range.from, &mut scan.range.from_exclusive),
                Direction::Backward => (&mut scan.range.to, &mut scan.range.to_exclusive),
            };
            (*bound, *exclusive) = (last.clustering.clone(), true);
        }
    }
}

/// Creates the statics of a `LOG` segment.
pub(super) fn create_head(epoch: i64, next: i64) -> ConditionalStep {
    ConditionalStep::InsertStaticsIfNotExists {
        set: named([("epoch", epoch.into()), ("next_seq", next.into())]),
    }
}

/// The two steps of an append to a `LOG` segment.
pub(super) fn append(epoch: i64, next: i64, body: &[u8]) -> Vec<ConditionalStep> {
    vec![
        ConditionalStep::UpdateStatics {
            set: named([
                ("next_seq", (next + 1).into()),
                ("holder", "appender".into()),
            ]),
            conditions: named([("epoch", epoch.into()), ("next_seq", next.into())]),
        },
        insert(next, body),
    ]
}

/// A row of `LOG`, riding on other conditions.
pub(super) fn insert(seq: i64, body: &[u8]) -> ConditionalStep {
    ConditionalStep::Insert {
        clustering: vec![seq.into()],
        set: named([("body", blob(body))]),
    }
}

/// Runs futures side by side until all are done.
pub(super) async fn all<T>(futures: Vec<impl Future<Output = T> + Send>) -> Vec<T> {
    let mut waiting: Vec<_> = futures
        .into_iter()
        .map(|future| (Box::pin(future), None))
        .collect();
    std::future::poll_fn(|context| {
        for (future, done) in &mut waiting {
            if done.is_none()
                && let Poll::Ready(value) = pin!(future).as_mut().poll(context)
            {
                *done = Some(value);
            }
        }
        if waiting.iter().all(|(_, done)| done.is_some()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    waiting.into_iter().filter_map(|(_, done)| done).collect()
}

/// Asserts that a call was refused as a misuse.
pub(super) fn assert_misuse<T: std::fmt::Debug>(result: Result<T, StoreError>, what: &str) {
    match result {
        Err(StoreError::Misuse { .. }) => {}
        other => panic!("{what}: {other:?}"),
    }
}
