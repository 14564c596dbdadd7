//! The store: the verbs, each handed to its own file.

use async_trait::async_trait;
use hanse_store::{
    ConditionalBatch, Consistency, Durability, Key, Mutation, Outcome, Page, Row, Scan, Store,
    StoreError, Table,
};
use scylla::{
    client::{
        caching_session::CachingSession, execution_profile::ExecutionProfileHandle,
        session_builder::SessionBuilder,
    },
    errors::ExecutionError,
    response::query_result::QueryResult,
    statement::{Statement, batch::Batch, batch::BatchType, prepared::PreparedStatement},
};

use crate::{
    Clock, ConnectError, Dialect, ScyllaConfig, bind::Call, connect, cql::Cql, error, profile,
    refusal, schema,
};

/// A store on a CQL cluster. Cheap to share, safe to use from any task.
pub struct ScyllaStore {
    pub(crate) session: CachingSession,
    pub(crate) cql: Cql,
    pub(crate) clock: Clock,
    keyspace: String,
    dialect: Dialect,
    plain: ExecutionProfileHandle,
    conditional: ExecutionProfileHandle,
}

impl ScyllaStore {
    /// Connects and checks that the cluster can serve: one data centre, conditional writes.
    pub async fn connect(config: ScyllaConfig) -> Result<Self, ConnectError> {
        Self::connect_with(config, |builder| builder).await
    }

    /// The same, with the driver's session built as the caller likes (TLS, address translation).
    pub async fn connect_with(
        config: ScyllaConfig,
        customize: impl FnOnce(SessionBuilder) -> SessionBuilder,
    ) -> Result<Self, ConnectError> {
        let (session, dialect) = connect::connect(&config, customize).await?;
        Ok(Self {
            session,
            dialect,
            cql: Cql::new(&config.keyspace),
            plain: profile::plain(config.request_timeout),
            conditional: profile::conditional(config.request_timeout),
            keyspace: config.keyspace,
            clock: config.clock,
        })
    }

    /// What the server turned out to be.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// A statement that may be repeated, prepared.
    pub(crate) async fn plain(&self, text: String) -> Result<PreparedStatement, ExecutionError> {
        let mut statement = Statement::new(text);
        statement.set_is_idempotent(true);
        statement.set_execution_profile_handle(Some(self.plain.clone()));
        Ok(self.session.add_prepared_statement(&statement).await?)
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

    /// Runs the calls of a conditional batch.
    async fn run_conditional(&self, calls: &[Call<'_>]) -> Result<QueryResult, ExecutionError> {
        let profile = Some(self.conditional.clone());
        if let [call] = calls {
            let mut statement = Statement::new(call.text.clone());
            statement.set_execution_profile_handle(profile);
            let statement = self.session.add_prepared_statement(&statement).await?;
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
            batch.append_statement(self.session.add_prepared_statement(&statement).await?);
        }
        let values: Vec<_> = calls.iter().map(|call| &call.params).collect();
        self.session.get_session().batch(&batch, values).await
    }
}

#[async_trait]
impl Store for ScyllaStore {
    async fn create_tables(&self, tables: &[&'static Table]) -> Result<(), StoreError> {
        let session = self.session.get_session();
        schema::create_tables(session, &self.cql, &self.keyspace, tables).await
    }

    async fn get(
        &self,
        table: &'static Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Row>, StoreError> {
        table.check_get(key, consistency)?;
        if table.asks_for_statics(key) {
            self.read_statics(table, key, consistency).await
        } else {
            self.read_row(table, key, consistency).await
        }
    }

    async fn scan(&self, scan: Scan) -> Result<Page, StoreError> {
        scan.check()?;
        self.read_range(&scan).await
    }

    async fn apply(
        &self,
        mutations: Vec<Mutation>,
        _durability: Durability,
    ) -> Result<(), StoreError> {
        Mutation::check_total(&mutations)?;
        mutations.iter().try_for_each(Mutation::check)?;
        self.write(&mutations).await
    }

    async fn conditional(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError> {
        batch.check()?;
        let calls = self.cql.conditional(&batch);
        let result = self.run_conditional(&calls).await;
        let result = result.map_err(|error| error::conditional(batch.table, error))?;
        let rows = result
            .into_rows_result()
            .map_err(|error| StoreError::Unknown {
                table: batch.table.name,
                source: Box::new(error),
            })?;
        refusal::outcome(&batch, &rows)
    }

    /// Nothing to do: what a quorum acknowledged is as durable as its replicas make it.
    async fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
