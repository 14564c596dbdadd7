//! The slot log's statements, word for word as `docs/cql.md` has them, and what they answer.

use std::collections::BTreeMap;

use scylla::{
    client::session::Session,
    errors::ExecutionError,
    response::query_result::QueryResult,
    statement::{
        Consistency,
        batch::{Batch, BatchType},
        prepared::PreparedStatement,
    },
    value::{CqlValue, Row},
};

pub(crate) const APPEND_HEAD: &str = "UPDATE log SET next = ?, stamp_end = ?, batch_id = ? \
     WHERE slot = ? AND segment = ? IF epoch = ? AND next = ?";
pub(crate) const APPEND_ROW: &str = "INSERT INTO log \
     (slot, segment, seq, \"batch\", stamp_start, body) VALUES (?, ?, ?, ?, ?, ?)";
pub(crate) const TAKEOVER: &str =
    "UPDATE log SET epoch = ? WHERE slot = ? AND segment = ? IF epoch = ?";
pub(crate) const CREATE_HEAD: &str = "INSERT INTO log \
     (slot, segment, epoch, next, stamp_end) VALUES (?, ?, ?, ?, ?) IF NOT EXISTS";
pub(crate) const SEAL: &str = "UPDATE log SET sealed = ?, next = ? \
     WHERE slot = ? AND segment = ? IF epoch = ? AND next = ?";
pub(crate) const TRIM_HEAD: &str = "DELETE epoch, next, stamp_end, batch_id, sealed FROM log \
     WHERE slot = ? AND segment = ? IF sealed = ?";
pub(crate) const TRIM_ROWS: &str = "DELETE FROM log WHERE slot = ? AND segment = ?";
pub(crate) const READ_HEAD: &str = "SELECT DISTINCT epoch, next, stamp_end, batch_id, sealed \
     FROM log WHERE slot = ? AND segment = ?";
pub(crate) const READ_ROW: &str =
    "SELECT \"batch\" FROM log WHERE slot = ? AND segment = ? AND seq = ?";

/// A row of a result, by column name; nulls are left out.
pub(crate) type Columns = BTreeMap<String, CqlValue>;

/// What a conditional statement answered.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    Applied,
    /// The rows that came back, `[applied]` left out.
    Refused(Vec<Columns>),
    /// Time-out or broken link: it may have been applied, or may be yet.
    Unknown(String),
}

impl Answer {
    pub(crate) fn applied(&self) -> bool {
        *self == Self::Applied
    }

    /// The only row of a refusal.
    pub(crate) fn refusal(self) -> Columns {
        match self {
            Self::Refused(mut rows) if rows.len() == 1 => rows.remove(0),
            other => panic!("not refused with one row: {other:?}"),
        }
    }
}

/// Columns by name, for comparison with a refusal.
pub(crate) fn columns(integers: &[(&str, i64)]) -> Columns {
    integers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), CqlValue::BigInt(*value)))
        .collect()
}

/// A segment's head.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Head {
    pub(crate) epoch: Option<i64>,
    pub(crate) next: Option<i64>,
    pub(crate) stamp_end: Option<i64>,
    pub(crate) batch_id: Option<Vec<u8>>,
    pub(crate) sealed: Option<i64>,
}

/// A batch at its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Proposal {
    pub(crate) epoch: i64,
    pub(crate) seq: i64,
    pub(crate) stamp_end: i64,
    pub(crate) id: Vec<u8>,
}

impl Proposal {
    /// A batch whose id is this text.
    pub(crate) fn new(epoch: i64, seq: i64, id: &str) -> Self {
        Self {
            epoch,
            seq,
            stamp_end: 1_000 + 10 * seq,
            id: id.as_bytes().to_vec(),
        }
    }
}

/// The statements, prepared on a session.
pub(crate) struct Log {
    pub(crate) session: Session,
    append: Batch,
    takeover: PreparedStatement,
    create_head: PreparedStatement,
    seal: PreparedStatement,
    trim: Batch,
    read_head: PreparedStatement,
    read_row: PreparedStatement,
}

impl Log {
    pub(crate) async fn new(session: Session) -> anyhow::Result<Self> {
        let pair = async |first: &str, second: &str| -> anyhow::Result<Batch> {
            let statements = vec![
                session.prepare(first).await?.into(),
                session.prepare(second).await?.into(),
            ];
            Ok(Batch::new_with_statements(BatchType::Logged, statements))
        };
        Ok(Self {
            append: pair(APPEND_HEAD, APPEND_ROW).await?,
            takeover: session.prepare(TAKEOVER).await?,
            create_head: session.prepare(CREATE_HEAD).await?,
            seal: session.prepare(SEAL).await?,
            trim: pair(TRIM_HEAD, TRIM_ROWS).await?,
            read_head: session.prepare(READ_HEAD).await?,
            read_row: session.prepare(READ_ROW).await?,
            session,
        })
    }

    /// A log straight to the server.
    pub(crate) async fn direct() -> anyhow::Result<Self> {
        Self::new(crate::server::session().await?).await
    }

    pub(crate) async fn append(&self, slot: i64, segment: i64, batch: &Proposal) -> Answer {
        let Proposal {
            epoch,
            seq,
            stamp_end,
            id,
        } = batch;
        let body = vec![b'.'; 1024];
        let head = (seq + 1, stamp_end, id, slot, segment, epoch, seq);
        let row = (slot, segment, seq, id, stamp_end - 9, body);
        answer(self.session.batch(&self.append, (head, row)).await)
    }

    pub(crate) async fn takeover(&self, slot: i64, segment: i64, epoch: i64) -> Answer {
        let values = (epoch + 1, slot, segment, epoch);
        answer(self.session.execute_unpaged(&self.takeover, values).await)
    }

    pub(crate) async fn create_head(
        &self,
        slot: i64,
        segment: i64,
        (epoch, next, stamp_end): (i64, i64, i64),
    ) -> Answer {
        let values = (slot, segment, epoch, next, stamp_end);
        answer(
            self.session
                .execute_unpaged(&self.create_head, values)
                .await,
        )
    }

    pub(crate) async fn seal(&self, slot: i64, segment: i64, epoch: i64, next: i64) -> Answer {
        let values = (segment + 1, -1_i64, slot, segment, epoch, next);
        answer(self.session.execute_unpaged(&self.seal, values).await)
    }

    pub(crate) async fn trim(&self, slot: i64, segment: i64) -> Answer {
        let values = ((slot, segment, segment + 1), (slot, segment));
        answer(self.session.batch(&self.trim, values).await)
    }

    pub(crate) async fn head(&self, slot: i64, segment: i64) -> anyhow::Result<Option<Head>> {
        type Statics = (
            Option<i64>,
            Option<i64>,
            Option<i64>,
            Option<Vec<u8>>,
            Option<i64>,
        );
        let mut read = self.read_head.clone();
        read.set_consistency(Consistency::LocalSerial);
        let rows = self
            .session
            .execute_unpaged(&read, (slot, segment))
            .await?
            .into_rows_result()?;
        let head = rows.maybe_first_row::<Statics>()?;
        Ok(head.map(|(epoch, next, stamp_end, batch_id, sealed)| Head {
            epoch,
            next,
            stamp_end,
            batch_id,
            sealed,
        }))
    }

    /// The id of the batch at a position.
    pub(crate) async fn row(
        &self,
        (slot, segment): (i64, i64),
        seq: i64,
        consistency: Consistency,
    ) -> anyhow::Result<Option<Vec<u8>>> {
        let mut read = self.read_row.clone();
        read.set_consistency(consistency);
        let rows = self
            .session
            .execute_unpaged(&read, (slot, segment, seq))
            .await?;
        Ok(rows
            .into_rows_result()?
            .maybe_first_row::<(Vec<u8>,)>()?
            .map(|(id,)| id))
    }

    /// The positions of a segment with the ids of their batches, in order.
    pub(crate) async fn rows(
        &self,
        slot: i64,
        segment: i64,
    ) -> anyhow::Result<Vec<(i64, Vec<u8>)>> {
        let text = "SELECT seq, \"batch\" FROM log WHERE slot = ? AND segment = ? AND seq >= ?";
        let read = self.session.prepare(text).await?;
        let rows = self
            .session
            .execute_unpaged(&read, (slot, segment, i64::MIN))
            .await?;
        Ok(rows.into_rows_result()?.rows()?.collect::<Result<_, _>>()?)
    }
}

/// Runs a conditional statement that is not one of the log's.
pub(crate) async fn run(session: &Session, text: &str) -> Answer {
    answer(session.query_unpaged(text, ()).await)
}

fn answer(result: Result<QueryResult, ExecutionError>) -> Answer {
    match result {
        Ok(result) => read_answer(result),
        Err(error) => Answer::Unknown(error.to_string()),
    }
}

/// Reads `[applied]` by its name: its place differs between statements and servers.
fn read_answer(result: QueryResult) -> Answer {
    let rows = result
        .into_rows_result()
        .expect("a conditional statement answers with rows");
    let names: Vec<String> = rows
        .column_specs()
        .iter()
        .map(|c| c.name().to_owned())
        .collect();
    let mut found: Vec<Columns> = Vec::new();
    for row in rows.rows::<Row>().expect("rows of any type") {
        let values = row.expect("a row that reads").columns;
        let pairs = names.iter().cloned().zip(values);
        found.push(
            pairs
                .filter_map(|(name, value)| Some((name, value?)))
                .collect(),
        );
    }
    let applied: Vec<_> = found
        .iter_mut()
        .map(|row| row.remove("[applied]"))
        .collect();
    match applied.first() {
        Some(Some(CqlValue::Boolean(true))) => Answer::Applied,
        Some(Some(CqlValue::Boolean(false))) => Answer::Refused(found),
        other => panic!("no [applied]: {other:?}"),
    }
}
