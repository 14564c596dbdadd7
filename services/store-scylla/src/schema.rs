//! Creating tables, and adding columns that a newer version brings. Nothing is ever removed or
//! changed here (migrations expand first and contract by hand).
//!
//! Any number of processes may start at once: one at a time changes the schema, under a lock, and
//! the others wait until nothing is missing any more.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use hanse_store::{Column, StoreError, Table};
use scylla::{client::session::Session, errors::ExecutionError, statement::Statement};
use tokio::time::{Instant, sleep};

use crate::{
    cql::{Cql, described},
    engine::Engine,
    error::{repeatable, unavailable},
    lock::{LOCK, SchemaLock},
};

/// Schema changes take seconds on a cold node, and wait for each other.
const TIMEOUT: Duration = Duration::from_mins(1);
/// How long a process waits for others to change the schema.
const WAIT_MAX: Duration = Duration::from_mins(10);
/// Between two looks at whether they are done.
const WAIT_POLL: Duration = Duration::from_millis(250);
/// How often a change that failed is tried.
const ROUNDS_MAX: u32 = 5;

/// The columns of each table of the keyspace: name to type and kind.
type Found = HashMap<String, HashMap<String, (String, String)>>;

/// A statement that changes the schema, and the table that it is about.
type Change = (&'static Table, String);

/// Others have been changing the schema for too long.
#[derive(Debug, thiserror::Error)]
#[error("another process has held the schema's lock for {WAIT_MAX:?}")]
struct Locked;

/// The lock went to somebody else before everything was done, again and again.
#[derive(Debug, thiserror::Error)]
#[error("the schema's lock was lost {ROUNDS_MAX} times")]
struct Lost;

/// Creates the tables and columns that do not exist yet. When it returns, every node that can be
/// reached has them.
pub(crate) async fn create_tables(
    engine: &Engine,
    tables: &[&'static Table],
) -> Result<(), StoreError> {
    check_all(tables)?;
    if is_done(engine, tables).await? {
        return Ok(());
    }
    let lock = SchemaLock::open(engine).await?;
    let mut last = None;
    for _ in 0..ROUNDS_MAX {
        if !take_or_find_done(engine, &lock, tables).await? {
            return Ok(());
        }
        last = change(engine, &lock, tables).await.err();
        lock.release().await;
        if let Some(error) = &last {
            tracing::warn!(%error, "a change of the schema failed");
        }
    }
    if is_done(engine, tables).await? {
        return Ok(());
    }
    Err(last.unwrap_or_else(|| unavailable(Lost)))
}

/// Whether nothing is missing. What another process is creating stands in the servers' own tables
/// before it can be used: it is there when that process gave the lock back, not before.
async fn is_done(engine: &Engine, tables: &[&'static Table]) -> Result<bool, StoreError> {
    let found = found(engine).await?;
    if !changes(engine, tables, &found)?.is_empty() {
        return Ok(false);
    }
    if found.contains_key(LOCK.name) && SchemaLock::is_held(engine).await? {
        return Ok(false);
    }
    agree(engine).await.map(|()| true)
}

/// Returns true with the lock taken, or false when nothing is missing any more.
async fn take_or_find_done(
    engine: &Engine,
    lock: &SchemaLock<'_>,
    tables: &[&'static Table],
) -> Result<bool, StoreError> {
    let begun = Instant::now();
    while begun.elapsed() < WAIT_MAX {
        if is_done(engine, tables).await? {
            return Ok(false);
        }
        if !SchemaLock::is_held(engine).await? && lock.take().await? {
            return Ok(true);
        }
        tracing::debug!("waiting for another process that changes the schema");
        sleep(WAIT_POLL).await;
    }
    Err(unavailable(Locked))
}

/// Makes the changes, one after the other, for as long as the lock is held.
async fn change(
    engine: &Engine,
    lock: &SchemaLock<'_>,
    tables: &[&'static Table],
) -> Result<(), StoreError> {
    // Looked for again: whoever held the lock before may have made some of them.
    agree(engine).await?;
    let found = found(engine).await?;
    for (table, statement) in changes(engine, tables, &found)? {
        if !lock.renew().await? {
            return Ok(());
        }
        tracing::info!(table = table.name, statement, "changing the schema");
        let done = run(engine.session.get_session(), statement).await;
        done.map_err(|error| repeatable(table, error))?;
        agree(engine).await?;
    }
    Ok(())
}

/// Runs a statement that changes the schema.
pub(crate) async fn run(session: &Session, text: String) -> Result<(), ExecutionError> {
    let mut statement = Statement::new(text);
    statement.set_request_timeout(Some(TIMEOUT));
    session.query_unpaged(statement, ()).await.map(drop)
}

/// Returns when all nodes that can be reached have the same schema.
pub(crate) async fn agree(engine: &Engine) -> Result<(), StoreError> {
    let session = engine.session.get_session();
    let agreed = session.await_schema_agreement().await;
    agreed.map(drop).map_err(unavailable)
}

fn check_all(tables: &[&'static Table]) -> Result<(), StoreError> {
    let mut names = HashSet::new();
    for table in tables {
        table.check()?;
        if !names.insert(table.name) {
            return Err(table.misuse("two tables have the same name"));
        }
    }
    Ok(())
}

/// The statements that make what is missing.
fn changes(
    engine: &Engine,
    tables: &[&'static Table],
    found: &Found,
) -> Result<Vec<Change>, StoreError> {
    let mut changes = Vec::new();
    for table in tables {
        let statements = match found.get(table.name) {
            None => vec![engine.cql.create_table(table)],
            Some(columns) => missing(&engine.cql, table, columns)?,
        };
        changes.extend(statements.into_iter().map(|text| (*table, text)));
    }
    Ok(changes)
}

/// The statements that add what the table lacks; an error if it has something else in the place.
fn missing(
    cql: &Cql,
    table: &'static Table,
    found: &HashMap<String, (String, String)>,
) -> Result<Vec<String>, StoreError> {
    let mut statements = Vec::new();
    for column in table.columns() {
        let (kind, place) = described(table, column);
        match found.get(column.name) {
            Some((found_kind, found_place)) if (kind, place) == (found_kind, found_place) => {}
            None if matches!(place, "static" | "regular") => {
                statements.push(cql.add_column(table, column));
            }
            other => return Err(differs(table, column, other)),
        }
    }
    Ok(statements)
}

fn differs(table: &Table, column: &Column, found: Option<&(String, String)>) -> StoreError {
    let found = found.map_or_else(
        || "does not exist".to_owned(),
        |(kind, place)| format!("is a {place} column of type {kind}"),
    );
    table.misuse(format!("in the cluster, column {} {found}", column.name))
}

async fn found(engine: &Engine) -> Result<Found, StoreError> {
    let query = format!(
        "SELECT table_name, column_name, type, kind FROM system_schema.columns \
         WHERE keyspace_name = '{}'",
        engine.keyspace
    );
    let session = engine.session.get_session();
    let result = session
        .query_unpaged(query, ())
        .await
        .map_err(unavailable)?;
    let result = result.into_rows_result().map_err(unavailable)?;
    let rows = result
        .rows::<(String, String, String, String)>()
        .map_err(unavailable)?;
    let mut found = Found::new();
    for row in rows {
        let (table, column, kind, place) = row.map_err(unavailable)?;
        found
            .entry(table)
            .or_default()
            .insert(column, (kind, place));
    }
    Ok(found)
}
