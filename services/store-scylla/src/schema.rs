//! Creating tables, and adding columns that a newer version brings. Nothing is ever removed or
//! changed here (migrations expand first and contract by hand).

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use hanse_store::{Column, StoreError, Table};
use scylla::{client::session::Session, errors::ExecutionError, statement::Statement};

use crate::{
    cql::{Cql, described},
    error::{repeatable, unavailable},
};

/// Schema changes take seconds on a cold node, and wait for each other.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The columns of each table of the keyspace: name to type and kind.
type Found = HashMap<String, HashMap<String, (String, String)>>;

/// Creates the tables and columns that do not exist yet. One process at a time may do this: Cassandra
/// before 5.1 can tear a table in two when two of them create it at once.
pub(crate) async fn create_tables(
    session: &Session,
    cql: &Cql,
    keyspace: &str,
    tables: &[&'static Table],
) -> Result<(), StoreError> {
    check_all(tables)?;
    let found = found(session, keyspace).await?;
    for table in tables {
        let statements = match found.get(table.name) {
            None => vec![cql.create_table(table)],
            Some(columns) => missing(cql, table, columns)?,
        };
        for statement in statements {
            let done = run(session, statement).await;
            done.map_err(|error| repeatable(table, error))?;
        }
    }
    Ok(())
}

/// Runs a statement that changes the schema.
pub(crate) async fn run(session: &Session, text: String) -> Result<(), ExecutionError> {
    let mut statement = Statement::new(text);
    statement.set_request_timeout(Some(TIMEOUT));
    session.query_unpaged(statement, ()).await.map(drop)
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

async fn found(session: &Session, keyspace: &str) -> Result<Found, StoreError> {
    let query = format!(
        "SELECT table_name, column_name, type, kind FROM system_schema.columns \
         WHERE keyspace_name = '{keyspace}'"
    );
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
