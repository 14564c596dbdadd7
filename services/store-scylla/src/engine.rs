//! What runs statements: the session, with the profile of each kind of statement.

use std::{collections::HashSet, sync::Arc};

use futures::FutureExt;
use hanse_store::{ConditionalBatch, Outcome, StoreError};
use parking_lot::RwLock;
use scylla::{
    client::{caching_session::CachingSession, execution_profile::ExecutionProfileHandle},
    errors::{ExecutionError, PrepareError},
    response::query_result::QueryResult,
    statement::{Statement, batch::Batch, batch::BatchType, prepared::PreparedStatement},
};

use crate::{
    Clock, Dialect, ScyllaConfig, bind::Call, cql::Cql, error, gate::Gate, profile, refusal,
    turns::Turns,
};

/// A session and its statements.
pub(crate) struct Engine {
    pub(crate) session: Arc<CachingSession>,
    pub(crate) cql: Cql,
    pub(crate) clock: Clock,
    pub(crate) gate: Gate,
    pub(crate) keyspace: String,
    pub(crate) dialect: Dialect,
    plain: ExecutionProfileHandle,
    conditional: ExecutionProfileHandle,
    /// Texts that were prepared before; as many as the tables' statements have.
    prepared: RwLock<HashSet<String>>,
    /// Texts that are prepared for the first time.
    preparing: Turns,
}

impl Engine {
    pub(crate) fn new(session: CachingSession, dialect: Dialect, config: ScyllaConfig) -> Self {
        Self {
            session: Arc::new(session),
            dialect,
            cql: Cql::new(&config.keyspace),
            gate: Gate::new(config.request_timeout),
            plain: profile::plain(config.request_timeout),
            conditional: profile::conditional(config.request_timeout),
            keyspace: config.keyspace,
            clock: config.clock,
            prepared: RwLock::default(),
            preparing: Turns::default(),
        }
    }

    /// Prepares a text that is new, one after the other. Sixteen tasks that prepared the same ones at
    /// the same time were told by Cassandra 5.0.6 that a statement was not prepared.
    async fn prepare(&self, statement: &Statement) -> Result<PreparedStatement, PrepareError> {
        if self.prepared.read().contains(&statement.contents) {
            return self.session.add_prepared_statement(statement).await;
        }
        let (session, new) = (Arc::clone(&self.session), statement.clone());
        let prepare = || async move { drop(session.add_prepared_statement(&new).await) }.boxed();
        self.preparing.take(&statement.contents, prepare).await;
        // At hand now, but for an error, with this statement's own settings.
        let prepared = self.session.add_prepared_statement(statement).await?;
        self.prepared.write().insert(statement.contents.clone());
        Ok(prepared)
    }

    /// A statement that may be repeated, prepared.
    pub(crate) async fn plain(&self, text: String) -> Result<PreparedStatement, ExecutionError> {
        let mut statement = Statement::new(text);
        statement.set_is_idempotent(true);
        statement.set_execution_profile_handle(Some(self.plain.clone()));
        Ok(self.prepare(&statement).await?)
    }

    /// Runs unconditional calls on one partition: as they are in one mutation, in order of none.
    pub(crate) async fn run_plain(&self, calls: &[Call<'_>]) -> Result<(), ExecutionError> {
        if let [call] = calls {
            let statement = self.plain(call.text.clone()).await?;
            let session = self.session.get_session();
            return session
                .execute_unpaged(&statement, &call.params)
                .await
                .map(drop);
        }
        let mut batch = Batch::new(BatchType::Unlogged);
        batch.set_is_idempotent(true);
        batch.set_execution_profile_handle(Some(self.plain.clone()));
        self.run_batch(batch, calls).await.map(drop)
    }

    /// Decides a conditional batch.
    pub(crate) async fn decide(&self, batch: &ConditionalBatch) -> Result<Outcome, StoreError> {
        let calls = self.cql.conditional(batch);
        let pass = self.gate.pass("conditional", batch.table).await?;
        let result = self.run_conditional(&calls).await;
        drop(pass);
        let result = result.map_err(|error| error::conditional(batch.table, error))?;
        let rows = result
            .into_rows_result()
            .map_err(|error| StoreError::Unknown {
                table: batch.table.name,
                source: Box::new(error),
            })?;
        refusal::outcome(batch, &rows)
    }

    /// Runs conditional calls on one partition, once.
    pub(crate) async fn run_conditional(
        &self,
        calls: &[Call<'_>],
    ) -> Result<QueryResult, ExecutionError> {
        let profile = Some(self.conditional.clone());
        if let [call] = calls {
            let mut statement = Statement::new(call.text.clone());
            statement.set_execution_profile_handle(profile);
            let statement = self.prepare(&statement).await?;
            let session = self.session.get_session();
            return session.execute_unpaged(&statement, &call.params).await;
        }
        let mut batch = Batch::new(BatchType::Logged);
        batch.set_execution_profile_handle(profile);
        self.run_batch(batch, calls).await
    }

    async fn run_batch(
        &self,
        mut batch: Batch,
        calls: &[Call<'_>],
    ) -> Result<QueryResult, ExecutionError> {
        for call in calls {
            let statement = Statement::new(call.text.clone());
            batch.append_statement(self.prepare(&statement).await?);
        }
        let values: Vec<_> = calls.iter().map(|call| &call.params).collect();
        self.session.get_session().batch(&batch, values).await
    }
}
