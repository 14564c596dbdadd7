//! Reads.

use std::{ops::ControlFlow, time::Duration};

use hanse_store::{Consistency, Key, Page, Row, Scan, StoreError, Table, Value};
use scylla::{
    errors::ExecutionError,
    response::{
        PagingState,
        query_result::{QueryResult, QueryRowsResult},
    },
    statement,
};

use crate::{
    bind::Param,
    cql::read_columns,
    engine::Engine,
    error::{lost_to_contention, repeatable, unavailable},
    row,
};

/// Rows fetched at a time: with rows of a megabyte, what one answer may weigh.
const FETCH_ROWS_MAX: usize = 128;
/// A page ends after this many bytes of rows, whatever its limit.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A serial read is a Paxos round, which can lose to those of writers until the server gives up. It is
/// harmless to repeat, so that callers need not know.
const SERIAL_ATTEMPTS_MAX: u32 = 5;
/// Before the second attempt; twice as much before the third, and so on.
const SERIAL_PAUSE: Duration = Duration::from_millis(20);

fn level(consistency: Consistency) -> statement::Consistency {
    match consistency {
        Consistency::Quorum => statement::Consistency::LocalQuorum,
        Consistency::Serial => statement::Consistency::LocalSerial,
    }
}

impl Engine {
    /// One row by its full key.
    pub(crate) async fn read_row(
        &self,
        table: &'static Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Row>, StoreError> {
        let params = key
            .partition
            .iter()
            .chain(&key.clustering)
            .map(Param::from)
            .collect();
        let found = self
            .fetch_one(table, self.cql.get(table), params, consistency)
            .await?;
        let rows = row::values(table, &read_columns(table, false), &found)?;
        Ok(rows.into_iter().next().map(|values| {
            let (statics, values) = split(values, table.statics.len());
            Row {
                clustering: key.clustering.clone(),
                statics,
                values: only(values, table.values.len()),
            }
        }))
    }

    /// A partition's statics; none if all of them are null.
    pub(crate) async fn read_statics(
        &self,
        table: &'static Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Row>, StoreError> {
        let params = key.partition.iter().map(Param::from).collect();
        let found = self
            .fetch_one(table, self.cql.get_statics(table), params, consistency)
            .await?;
        let columns: Vec<_> = table.statics.iter().collect();
        let mut rows = row::values(table, &columns, &found)?.into_iter();
        let statics = rows.find(|statics| statics.iter().any(|value| *value != Value::Null));
        Ok(statics.map(|statics| Row {
            clustering: Vec::new(),
            statics,
            values: vec![Value::Null; table.values.len()],
        }))
    }

    async fn fetch_one(
        &self,
        table: &'static Table,
        text: String,
        params: Vec<Param<'_>>,
        consistency: Consistency,
    ) -> Result<QueryRowsResult, StoreError> {
        let mut attempt = 1;
        loop {
            let pass = self.gate.pass("get", table).await?;
            let fetched = self.fetch(&text, &params, consistency).await;
            drop(pass);
            match fetched {
                Err(error) if attempt < SERIAL_ATTEMPTS_MAX && lost_to_contention(&error) => {}
                Err(error) => return Err(repeatable(table, error)),
                Ok(result) => return result.into_rows_result().map_err(unavailable),
            }
            tokio::time::sleep(SERIAL_PAUSE * attempt).await;
            attempt += 1;
        }
    }

    async fn fetch(
        &self,
        text: &str,
        params: &Vec<Param<'_>>,
        consistency: Consistency,
    ) -> Result<QueryResult, ExecutionError> {
        let mut statement = self.plain(text.to_owned()).await?;
        statement.set_consistency(level(consistency));
        let session = self.session.get_session();
        session.execute_unpaged(&statement, params).await
    }

    /// A page of a range of one partition, fetched in pieces.
    pub(crate) async fn read_range(&self, scan: &Scan) -> Result<Page, StoreError> {
        let mut page = Page {
            rows: Vec::new(),
            more: false,
        };
        if is_empty(scan) {
            return Ok(page);
        }
        let mut bytes = 0;
        let mut state = PagingState::start();
        loop {
            let pass = self.gate.pass("scan", scan.table).await?;
            let fetched = self.fetch_rows(scan, state).await;
            drop(pass);
            let (rows, next) = fetched.map_err(|error| repeatable(scan.table, error))?;
            let rows = rows.map_err(unavailable)?;
            bytes += rows.rows_bytes_size();
            let columns = read_columns(scan.table, true);
            let values = row::values(scan.table, &columns, &rows)?;
            page.rows.extend(
                values
                    .into_iter()
                    .filter_map(|values| with_key(scan.table, values)),
            );
            let ControlFlow::Continue(next) = next else {
                break;
            };
            if page.rows.len() > scan.limit || bytes > PAGE_BYTES_MAX {
                page.more = true;
                break;
            }
            state = next;
        }
        page.more |= page.rows.len() > scan.limit;
        page.rows.truncate(scan.limit);
        Ok(page)
    }

    async fn fetch_rows(&self, scan: &Scan, state: PagingState) -> Result<Fetched, ExecutionError> {
        let call = self.cql.scan(scan);
        let mut statement = self.plain(call.text).await?;
        let fetch = FETCH_ROWS_MAX.min(scan.limit + 1);
        statement.set_page_size(i32::try_from(fetch).unwrap_or(i32::MAX));
        let session = self.session.get_session();
        let (result, next) = session
            .execute_single_page(&statement, call.params, state)
            .await?;
        Ok((result.into_rows_result(), next.into_paging_control_flow()))
    }
}

type Fetched = (
    Result<QueryRowsResult, scylla::errors::IntoRowsResultError>,
    ControlFlow<(), PagingState>,
);

/// Whether the bounds leave nothing, which CQL servers call an error if it is plain enough.
fn is_empty(scan: &Scan) -> bool {
    let (from, to) = (&scan.range.from, &scan.range.to);
    let shared = from.len().min(to.len());
    match from.iter().take(shared).cmp(to.iter().take(shared)) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal if shared == 0 => false,
        // The shorter prefix excludes every row that starts with it, the longer one's included.
        std::cmp::Ordering::Equal => {
            scan.range.from_exclusive && from.len() <= to.len()
                || scan.range.to_exclusive && to.len() <= from.len()
        }
    }
}

/// A row of a scan; none if it stands for a partition that has only statics.
fn with_key(table: &'static Table, values: Vec<Value>) -> Option<Row> {
    let (clustering, rest) = split(values, table.clustering.len());
    if clustering.contains(&Value::Null) {
        return None;
    }
    let (statics, values) = split(rest, table.statics.len());
    Some(Row {
        clustering,
        statics,
        values: only(values, table.values.len()),
    })
}

fn split(mut values: Vec<Value>, at: usize) -> (Vec<Value>, Vec<Value>) {
    let rest = values.split_off(at.min(values.len()));
    (values, rest)
}

/// Leaves out the key column that stands in for a table without any other.
fn only(mut values: Vec<Value>, count: usize) -> Vec<Value> {
    values.truncate(count);
    values
}
