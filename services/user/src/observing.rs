//! Forgetting what other processes made void.
//!
//! In a cluster every process follows the log, and forgets tokens and accounts as their entries come:
//! mostly within milliseconds, within some three seconds while the bus is down (heads are polled).
//! Whoever had something made void elsewhere waits until it was followed up to there.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hanse_cluster::Elsewhere;
use hanse_log::{AppliedBatch, Follower, Slot};
use tokio::sync::watch;

use crate::{
    sessions::{TokenCache, Voids},
    users::Inner,
};

/// How long is waited for what another process made void; past it, everything is forgotten.
const OBSERVED_WITHIN: Duration = Duration::from_secs(1);
/// Pause after the log could not be read.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Up to where the log was followed.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    up_to: BTreeMap<Slot, i64>,
    /// Nothing is followed any more.
    ended: bool,
}

impl Observed {
    fn covers(&self, elsewhere: &Elsewhere) -> bool {
        let seq = self.up_to.get(&elsewhere.slot);
        seq.is_some_and(|seq| *seq >= elsewhere.applied.seq)
    }
}

impl Inner {
    /// Follows the log from here on, when others may write what is remembered here.
    pub(crate) fn start_observing(&self) {
        if self.router.is_clustered() {
            // Nothing is remembered yet: whatever is, was read after this.
            let follower = self.logs.follow();
            let positions = follower.positions();
            let up_to = positions.map(|(slot, at)| (slot, at.seq())).collect();
            self.observed.send_modify(|observed| observed.up_to = up_to);
            let observing = observe(follower, Arc::clone(&self.cache), self.observed.clone());
            let soft = self.tasks.soft().clone();
            self.tasks.spawn("user-observe", async move {
                soft.run_until_cancelled(observing).await;
            });
        }
    }

    /// Returns when whatever another process made void up to there is forgotten here.
    pub(crate) async fn observed(&self, elsewhere: Elsewhere) {
        let mut observed = self.observed.subscribe();
        let covers = observed.wait_for(|observed| observed.ended || observed.covers(&elsewhere));
        let waited = tokio::time::timeout(OBSERVED_WITHIN, covers).await;
        let followed = matches!(waited, Ok(Ok(observed)) if !observed.ended);
        if !followed {
            metrics::counter!("hanse_user_forgotten_all_total").increment(1);
            self.cache.forget_all();
        }
    }
}

/// Ends with the process's followers.
async fn observe(
    mut follower: Follower,
    cache: Arc<TokenCache>,
    observed: watch::Sender<Observed>,
) {
    loop {
        match follower.next().await {
            Ok(Some(batch)) => take(&cache, &observed, &batch),
            Ok(None) => break,
            Err(error) => {
                // What was trimmed unseen may have made anything void.
                cache.forget_all();
                tracing::warn!(%error, "following the log failed");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
    observed.send_modify(|observed| observed.ended = true);
}

fn take(cache: &TokenCache, observed: &watch::Sender<Observed>, batch: &AppliedBatch) {
    cache.void(&Voids::of(&batch.entries));
    observed.send_modify(|observed| {
        observed.up_to.insert(batch.slot, batch.point.seq);
    });
}
