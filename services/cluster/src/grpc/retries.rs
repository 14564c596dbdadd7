//! One budget for whatever is tried again.

use std::time::Duration;

use tower::retry::budget::{Budget, TpsBudget};

/// Further tries: at most this share of what was tried in the last [`BUDGET_OVER`] …
const FURTHER_TRIES_SHARE: f32 = 0.1;
/// … and this many a second besides, for a process that calls little.
const FURTHER_TRIES_PER_SECOND: u32 = 1;
const BUDGET_OVER: Duration = Duration::from_secs(10);

/// Bounds how often calls of one kind are made again.
#[derive(Debug)]
pub(crate) struct Retries {
    what: &'static str,
    budget: TpsBudget,
}

impl Retries {
    /// Of calls that the metrics name so.
    pub(crate) fn of(what: &'static str) -> Self {
        Self {
            what,
            budget: TpsBudget::new(BUDGET_OVER, FURTHER_TRIES_PER_SECOND, FURTHER_TRIES_SHARE),
        }
    }

    /// A first try.
    pub(crate) fn first(&self) {
        self.budget.deposit();
    }

    /// Whether something may be tried again.
    pub(crate) fn again(&self) -> bool {
        let what = self.what;
        let allowed = self.budget.withdraw();
        if allowed {
            metrics::counter!("hanse_cluster_second_tries_total", "what" => what).increment(1);
        } else {
            metrics::counter!("hanse_cluster_retry_budget_spent_total", "what" => what)
                .increment(1);
        }
        allowed
    }
}
