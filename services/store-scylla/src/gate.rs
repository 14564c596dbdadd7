//! The gate that every statement passes: it counts them, and bounds how many are under way.

use std::time::Duration;

use hanse_store::{StoreError, Table};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::unavailable;

/// Statements of one store that are under way at once. The driver and the servers queue what is
/// beyond their own bounds without end; here it waits, and then fails as `Unavailable`.
const STATEMENTS_MAX: usize = 1_024;

/// Nothing was sent: as many statements as may be are under way, and none ended in time.
#[derive(Debug, thiserror::Error)]
#[error("{STATEMENTS_MAX} statements are under way, and none ended within {waited:?}")]
struct Crowded {
    waited: Duration,
}

/// Counts statements and bounds them.
#[derive(Debug)]
pub(crate) struct Gate {
    free: Semaphore,
    wait: Duration,
}

impl Gate {
    pub(crate) fn new(wait: Duration) -> Self {
        Self {
            free: Semaphore::new(STATEMENTS_MAX),
            wait,
        }
    }

    /// Lets one statement through; it is under way until the permit is dropped.
    pub(crate) async fn pass(
        &self,
        verb: &'static str,
        table: &'static Table,
    ) -> Result<SemaphorePermit<'_>, StoreError> {
        let permit = match self.free.try_acquire() {
            Ok(permit) => permit,
            Err(_) => self.wait().await?,
        };
        let labels = [("verb", verb), ("table", table.name)];
        metrics::counter!("hanse_store_statements_total", &labels).increment(1);
        Ok(permit)
    }

    async fn wait(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        metrics::counter!("hanse_store_crowded_total").increment(1);
        let acquired = tokio::time::timeout(self.wait, self.free.acquire()).await;
        let waited = self.wait;
        acquired
            .map_err(|_| unavailable(Crowded { waited }))?
            .map_err(unavailable)
    }
}

#[cfg(test)]
mod tests {
    use hanse_store::{Column, Kind};

    use super::*;

    static TABLE: Table = Table {
        name: "crowded",
        kind: Kind::Stamped,
        partition: &[Column::bigint("id")],
        clustering: &[],
        statics: &[],
        values: &[],
    };

    #[tokio::test(start_paused = true)]
    async fn what_is_beyond_the_bound_waits_and_then_fails() -> Result<(), StoreError> {
        let gate = Gate::new(Duration::from_secs(1));
        let mut passes = Vec::new();
        for _ in 0..STATEMENTS_MAX {
            passes.push(gate.pass("get", &TABLE).await?);
        }
        let refused = gate.pass("get", &TABLE).await;
        assert!(refused.is_err_and(|error| error.retryable()));
        passes.pop();
        gate.pass("get", &TABLE).await.map(drop)
    }
}
