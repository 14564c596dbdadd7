//! The lock that a process holds while it changes the schema.
//!
//! A row that is there by a conditional insert and goes away by itself: by the server's clock, when
//! its holder has died. Its table cannot be created under a lock; on Cassandra it therefore has a
//! number that is the same whoever creates it.

use std::time::Duration;

use hanse_store::{Column, Kind, StoreError, Table, Value};

use crate::{
    bind::{Call, Param},
    dialect::texts,
    engine::Engine,
    error::{conditional, unavailable},
    row, schema,
};

/// How long the lock holds without being renewed. Longer than one change of the schema may take.
const LEASE: Duration = Duration::from_secs(90);

/// One row, named [`NAME`]. Written by this file alone.
pub(crate) static LOCK: Table = Table {
    name: "schema_lock",
    kind: Kind::Cas,
    partition: &[Column::text("name")],
    clustering: &[],
    statics: &[],
    values: &[Column::text("holder")],
};

const NAME: &str = "schema";

/// A process that wants to hold the lock.
pub(crate) struct SchemaLock<'a> {
    engine: &'a Engine,
    table: String,
    name: Value,
    holder: Value,
}

impl<'a> SchemaLock<'a> {
    /// Makes the lock's table if need be; takes nothing yet.
    pub(crate) async fn open(engine: &'a Engine) -> Result<Self, StoreError> {
        let session = engine.session.get_session();
        let numbered = engine.dialect.same_everywhere(&engine.keyspace, LOCK.name);
        let create = engine.cql.create_table(&LOCK) + &numbered;
        schema::run(session, create).await.map_err(unavailable)?;
        schema::agree(engine).await?;
        // The server makes a name that nobody else has.
        let name = texts(session, "SELECT CAST(now() AS text) FROM system.local").await;
        let holder = name.map_err(unavailable)?.pop().unwrap_or_default();
        Ok(Self {
            engine,
            table: engine.cql.table(&LOCK),
            name: NAME.into(),
            holder: holder.into(),
        })
    }

    /// Whether somebody holds the lock; also true while its table is being created.
    pub(crate) async fn is_held(engine: &Engine) -> Result<bool, StoreError> {
        let statement = match engine.plain(engine.cql.get(&LOCK)).await {
            Ok(statement) => statement,
            Err(error) => match conditional(&LOCK, error) {
                StoreError::Misuse { .. } => return Ok(true),
                error => return Err(error),
            },
        };
        let session = engine.session.get_session();
        let read = session.execute_unpaged(&statement, (NAME,)).await;
        let rows = read.map_err(unavailable)?.into_rows_result();
        Ok(rows.map_err(unavailable)?.rows_num() > 0)
    }

    /// Takes the lock. False: somebody else may have it.
    pub(crate) async fn take(&self) -> Result<bool, StoreError> {
        let text = format!(
            "INSERT INTO {} (name, holder) VALUES (?, ?) IF NOT EXISTS USING TTL ?",
            self.table
        );
        let params = vec![(&self.name).into(), (&self.holder).into(), lease()];
        self.hold(Call { text, params }).await
    }

    /// Holds the lock for another lease. False: it was lost.
    pub(crate) async fn renew(&self) -> Result<bool, StoreError> {
        let text = format!(
            "UPDATE {} USING TTL ? SET holder = ? WHERE name = ? IF holder = ?",
            self.table
        );
        let (name, holder) = ((&self.name).into(), (&self.holder).into());
        let params = vec![lease(), holder, name, holder];
        self.hold(Call { text, params }).await
    }

    /// Gives the lock back. If that fails it goes away by itself.
    pub(crate) async fn release(&self) {
        let text = format!("DELETE FROM {} WHERE name = ? IF holder = ?", self.table);
        let params = vec![(&self.name).into(), (&self.holder).into()];
        if let Err(error) = self.hold(Call { text, params }).await {
            tracing::warn!(%error, "the schema lock was not given back and will expire");
        }
    }

    /// Whether the statement was applied, or the lock is ours from an attempt whose answer was lost.
    async fn hold(&self, call: Call<'_>) -> Result<bool, StoreError> {
        let result = match self.engine.run_conditional(&[call]).await {
            Ok(result) => result.into_rows_result().map_err(unavailable)?,
            Err(error) => match conditional(&LOCK, error) {
                StoreError::Unknown { .. } | StoreError::Unavailable { .. } => return Ok(false),
                error => return Err(error),
            },
        };
        let rows = row::named(&LOCK, &result)?;
        let told = rows.iter().flatten();
        Ok(told.into_iter().any(|(column, value)| {
            let value = value.as_ref();
            match column.as_str() {
                "[applied]" => value == Some(&Value::Boolean(true)),
                "holder" => value == Some(&self.holder),
                _ => false,
            }
        }))
    }
}

fn lease<'a>() -> Param<'a> {
    Param::Int(LEASE.as_secs() as i32)
}
