//! How the driver treats the two kinds of statements.

use std::{sync::Arc, time::Duration};

use scylla::{
    client::execution_profile::{ExecutionProfile, ExecutionProfileHandle},
    cluster::{ClusterState, NodeRef},
    policies::{
        load_balancing::{DefaultPolicy, FallbackPlan, LoadBalancingPolicy, RoutingInfo},
        retry::FallthroughRetryPolicy,
    },
    routing::Shard,
    statement::{Consistency, SerialConsistency},
};

use crate::retry::RepeatableRetries;

/// Reads and unconditional writes, all idempotent: any replica, and the driver may try others.
pub(crate) fn plain(timeout: Duration) -> ExecutionProfileHandle {
    ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .retry_policy(Arc::new(RepeatableRetries))
        .speculative_execution_policy(None)
        .request_timeout(Some(timeout))
        .build()
        .into_handle()
}

/// Conditional statements: one attempt. The driver's default retry policy spares serial statements by
/// their `consistency`, which for an `IF` is the commit's and not `serial_consistency`, and so does not
/// spare them at all.
pub(crate) fn conditional(timeout: Duration) -> ExecutionProfileHandle {
    ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .serial_consistency(Some(SerialConsistency::LocalSerial))
        .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
        .speculative_execution_policy(None)
        .load_balancing_policy(Arc::new(FixedOrder(DefaultPolicy::builder().build())))
        .request_timeout(Some(timeout))
        .build()
        .into_handle()
}

/// Sends every request for a partition to the same replica as long as that lives, so that Paxos
/// rounds of one partition have one coordinator and do not contend. The driver does this by itself
/// for single statements that Scylla marked as conditional, and never for batches.
#[derive(Debug)]
struct FixedOrder(Arc<dyn LoadBalancingPolicy>);

impl LoadBalancingPolicy for FixedOrder {
    fn pick<'a>(
        &'a self,
        request: &'a RoutingInfo,
        cluster: &'a ClusterState,
    ) -> Option<(NodeRef<'a>, Option<Shard>)> {
        // The plan outlives a marked copy of the request, so that only its first node is taken from
        // it; what a first node that is down falls back to may differ between requests.
        let mut marked = request.clone();
        marked.is_confirmed_lwt = true;
        let node = self
            .0
            .pick(&marked, cluster)
            .map(|(node, shard)| (node.host_id, shard))?;
        let (host, shard) = node;
        cluster.get_node_by_host_id(host).map(|node| (node, shard))
    }

    fn fallback<'a>(
        &'a self,
        request: &'a RoutingInfo,
        cluster: &'a ClusterState,
    ) -> FallbackPlan<'a> {
        self.0.fallback(request, cluster)
    }

    fn name(&self) -> String {
        "FixedOrder".to_owned()
    }
}
