//! The server under test, sessions to it, and the one keyspace of a run.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use hanse_store::{Store, conformance::TABLES};
use hanse_store_scylla::{ScyllaConfig, ScyllaStore};
use scylla::{
    client::{
        PoolSize,
        execution_profile::{ExecutionProfile, ExecutionProfileHandle},
        session::Session,
        session_builder::SessionBuilder,
    },
    policies::{
        load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy},
        retry::FallthroughRetryPolicy,
    },
    statement::{Consistency, SerialConsistency},
};
use tokio::sync::OnceCell;

use crate::tables;

/// The server's address, from `HANSE_TEST_CQL`.
pub(crate) fn address() -> SocketAddr {
    let address = std::env::var("HANSE_TEST_CQL")
        .expect("HANSE_TEST_CQL must name the CQL server: see deploy/cql/start.sh");
    address
        .parse()
        .expect("HANSE_TEST_CQL must read address:port")
}

/// Copies of each row, from `HANSE_TEST_CQL_REPLICATION`: 3 for a cluster of three.
pub(crate) fn replication() -> u8 {
    let factor = std::env::var("HANSE_TEST_CQL_REPLICATION").ok();
    factor.map_or(1, |factor| {
        factor
            .parse()
            .expect("HANSE_TEST_CQL_REPLICATION must be a number")
    })
}

/// Every node: three with three copies, which `deploy/cql/start.sh` puts side by side.
pub(crate) fn nodes() -> Vec<SocketAddr> {
    let SocketAddr::V4(first) = address() else {
        panic!("the test server has IPv4 addresses");
    };
    let [a, b, c, d] = first.ip().octets();
    let nodes = if replication() == 3 { 3 } else { 1 };
    let numbered = (0..nodes).map(|number| [a, b, c, d + number]);
    numbered
        .map(|octets| SocketAddr::from((octets, first.port())))
        .collect()
}

/// The run's keyspace: DDL takes seconds on a cold node, so that all tests share it.
pub(crate) fn keyspace() -> String {
    format!("hanse_test_{}", std::process::id())
}

/// A slot of the caller's own, so that tests do not meet in the shared tables.
pub(crate) fn fresh_slot() -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The profile of conditional statements: `LOCAL_QUORUM` to commit, `LOCAL_SERIAL` to decide, never
/// retried and never speculated on by the driver.
pub(crate) fn conditional_profile(timeout: Duration) -> ExecutionProfileHandle {
    ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .serial_consistency(Some(SerialConsistency::LocalSerial))
        .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
        .speculative_execution_policy(None)
        .request_timeout(Some(timeout))
        .build()
        .into_handle()
}

/// A session straight to the server.
pub(crate) async fn session() -> anyhow::Result<Session> {
    session_with(
        SessionBuilder::new().known_node_addr(address()),
        Duration::from_secs(10),
    )
    .await
}

/// A session by way of a [`crate::proxy::Proxy`], whose every address it stands for.
pub(crate) async fn session_through(
    proxy: SocketAddr,
    timeout: Duration,
) -> anyhow::Result<Session> {
    let builder = SessionBuilder::new().known_node_addr(proxy);
    session_with(routed_through(builder, proxy), timeout).await
}

/// A session whose every statement is executed by one node.
pub(crate) async fn session_to_one_node(node: SocketAddr) -> anyhow::Result<Session> {
    let profile = ExecutionProfile::builder()
        .load_balancing_policy(SingleTargetLoadBalancingPolicy::new(
            NodeIdentifier::NodeAddress(node),
            None,
        ))
        .consistency(Consistency::One)
        .build();
    let builder = SessionBuilder::new().known_node_addr(node);
    let builder = builder.default_execution_profile_handle(profile.into_handle());
    Ok(builder.build().await?)
}

/// Sends the driver to a proxy of its own wherever it means one of the [`nodes`].
pub(crate) fn routed_through_all(
    builder: SessionBuilder,
    proxies: &[SocketAddr],
) -> SessionBuilder {
    // The driver asks every node at the port of its contact point, the first proxy's.
    let port = proxies[0].port();
    let announced = nodes().into_iter().map(|node| (node.ip(), port).into());
    let route: HashMap<SocketAddr, SocketAddr> = announced.zip(proxies.iter().copied()).collect();
    builder.address_translator(Arc::new(route))
}

/// Sends the driver to the proxy wherever it means the server.
pub(crate) fn routed_through(builder: SessionBuilder, proxy: SocketAddr) -> SessionBuilder {
    // The driver asks every node at the port of its contact point.
    let announced = SocketAddr::new(address().ip(), proxy.port());
    let route = HashMap::from([(announced, proxy)]);
    builder.address_translator(Arc::new(route))
}

async fn session_with(builder: SessionBuilder, timeout: Duration) -> anyhow::Result<Session> {
    create_schema().await?;
    let one = std::num::NonZeroUsize::MIN;
    builder
        .pool_size(PoolSize::PerHost(one))
        .fetch_schema_metadata(false)
        .use_keyspace(keyspace(), false)
        .default_execution_profile_handle(conditional_profile(timeout))
        .build()
        .await
        .context("connecting to the CQL server")
}

/// The table of the slot log, as `docs/cql.md` has it.
const CREATE_LOG: &str = "CREATE TABLE log (
    slot bigint, segment bigint,
    epoch bigint static, next bigint static, stamp_end bigint static, batch_id blob static,
    sealed bigint static,
    seq bigint,
    \"batch\" blob, stamp_start bigint, body blob,
    PRIMARY KEY ((slot, segment), seq))";

/// Creates the keyspace and the log's table, once a run.
async fn create_schema() -> anyhow::Result<()> {
    static DONE: OnceCell<()> = OnceCell::const_new();
    DONE.get_or_try_init(|| async {
        let session = SessionBuilder::new()
            .known_node_addr(address())
            .default_execution_profile_handle(conditional_profile(Duration::from_secs(30)))
            .build()
            .await?;
        let keyspace = keyspace();
        let create = format!(
            "CREATE KEYSPACE {keyspace} WITH replication = \
             {{'class': 'NetworkTopologyStrategy', 'replication_factor': {}}}",
            replication()
        );
        session.query_unpaged(create, ()).await?;
        session.use_keyspace(keyspace, false).await?;
        session.query_unpaged(CREATE_LOG, ()).await?;
        anyhow::Ok(())
    })
    .await
    .copied()
}

/// The wall clock, in Unix milliseconds.
#[expect(
    clippy::disallowed_methods,
    reason = "rows expire by the server's clock, which a test cannot set"
)]
pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let since = since.expect("a time after 1970").as_millis();
    i64::try_from(since).expect("a time before the year 292 million")
}

/// The settings of a store on the server, in a keyspace of the run.
pub(crate) fn store_config() -> ScyllaConfig {
    ScyllaConfig {
        keyspace: format!("hanse_store_{}", std::process::id()),
        replication_factor: replication(),
        ..ScyllaConfig::new(vec![address().to_string()], Arc::new(now_ms))
    }
}

/// A store straight to the server.
pub(crate) async fn store() -> Arc<ScyllaStore> {
    let store = ScyllaStore::connect(store_config()).await;
    Arc::new(store.expect("a CQL server at HANSE_TEST_CQL"))
}

/// Creates the keyspace and the tables of all of the store's tests, once a run.
pub(crate) async fn store_tables() {
    static DONE: OnceCell<()> = OnceCell::const_new();
    DONE.get_or_init(|| async {
        let all = [TABLES, &[&tables::LOG, &tables::NOTES]].concat();
        let created = store().await.create_tables(&all).await;
        created.expect("tables that can be created");
    })
    .await;
}
