//! What a process of a cluster has beside its store; a single process has none of it.

use std::sync::Arc;

use async_trait::async_trait;
use hanse_proto::log::Entry;

use crate::{AppendError, Bus, Position, Slot};

/// The connections of this process to the others.
#[derive(Clone)]
pub struct ClusterParts {
    /// Shows readers in other processes what was applied here, and the other way round.
    pub bus: Arc<dyn Bus>,
    /// Hands entries to slots that are served elsewhere.
    pub forward: Arc<dyn Forward>,
    /// Whether this process may serve slots at present.
    pub lease: Arc<dyn Lease>,
}

/// Reaches the owner of a slot that is not served here.
#[async_trait]
pub trait Forward: Send + Sync + 'static {
    /// Submits entries that a relay hands on, and waits until they are applied. May hand them over
    /// twice: the owner drops repeats by their source.
    async fn append(&self, target: Slot, entries: Vec<Entry>) -> Result<Position, AppendError>;
}

/// This process's lease. It only saves others the trouble: a process that goes on without one is
/// refused by the store.
pub trait Lease: Send + Sync + 'static {
    /// Whether nobody can believe yet that the lease has lapsed.
    fn is_held(&self) -> bool;
}
