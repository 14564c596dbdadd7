//! What the driver may send again by itself: reads, and writes that are harmless to repeat.
//!
//! Conditional statements have another policy, which never does
//! ([`scylla::policies::retry::FallthroughRetryPolicy`]).

use scylla::{
    errors::{DbError, RequestAttemptError},
    policies::retry::{RequestInfo, RetryDecision, RetryPolicy, RetrySession},
};

/// How often one statement is sent again. The request's time-out bounds all attempts together.
const RETRIES_MAX: u32 = 2;

/// The node had forgotten the statement, and again after the driver had prepared it once more: another
/// process prepared the same one at the same time.
const UNPREPARED: &str = "unprepared";

/// Sends a statement again where another attempt may do better: at another node, since what went
/// wrong is mostly the first one's.
#[derive(Debug)]
pub(crate) struct RepeatableRetries;

#[derive(Debug, Default)]
struct Attempts {
    retries: u32,
}

impl RetryPolicy for RepeatableRetries {
    fn new_session(&self) -> Box<dyn RetrySession> {
        Box::new(Attempts::default())
    }
}

impl RetrySession for Attempts {
    fn decide_should_retry(&mut self, request: RequestInfo<'_>) -> RetryDecision {
        self.decide(request.is_idempotent, request.error)
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}

impl Attempts {
    fn decide(&mut self, is_idempotent: bool, error: &RequestAttemptError) -> RetryDecision {
        let Some(reason) = reason(error) else {
            return RetryDecision::DontRetry;
        };
        if !is_idempotent || self.retries == RETRIES_MAX {
            return RetryDecision::DontRetry;
        }
        self.retries += 1;
        metrics::counter!("hanse_store_retries_total", "reason" => reason).increment(1);
        if reason == UNPREPARED {
            // The node is well; there may be no other.
            return RetryDecision::RetrySameTarget(None);
        }
        RetryDecision::RetryNextTarget(None)
    }
}

/// Why another attempt may do better; none if it will not. A node that is overloaded is not among
/// them: it is the caller who waits, and then asks again or gives up.
fn reason(error: &RequestAttemptError) -> Option<&'static str> {
    let RequestAttemptError::DbError(error, _) = error else {
        return match error {
            RequestAttemptError::BrokenConnectionError(_) => Some("connection"),
            RequestAttemptError::UnableToAllocStreamId => Some("crowded"),
            _ => None,
        };
    };
    match error {
        DbError::IsBootstrapping => Some("bootstrapping"),
        DbError::ServerError => Some("server"),
        DbError::Unavailable { .. } => Some("unavailable"),
        DbError::ReadTimeout { .. } | DbError::WriteTimeout { .. } => Some("timeout"),
        DbError::ReadFailure { .. } | DbError::WriteFailure { .. } => Some("failure"),
        DbError::Unprepared { .. } => Some(UNPREPARED),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use scylla::{errors::WriteType, statement::Consistency};

    use super::*;

    fn refused(error: DbError) -> RequestAttemptError {
        RequestAttemptError::DbError(error, String::new())
    }

    fn timeout() -> RequestAttemptError {
        refused(DbError::WriteTimeout {
            consistency: Consistency::LocalQuorum,
            received: 1,
            required: 2,
            write_type: WriteType::UnloggedBatch,
        })
    }

    #[test]
    fn what_is_repeatable_goes_to_other_nodes_so_often() {
        let mut attempts = Attempts::default();
        for _ in 0..RETRIES_MAX {
            let decided = attempts.decide(true, &timeout());
            assert_eq!(decided, RetryDecision::RetryNextTarget(None));
        }
        assert_eq!(attempts.decide(true, &timeout()), RetryDecision::DontRetry);
    }

    #[test]
    fn a_forgotten_statement_is_prepared_again_at_the_same_node() {
        let forgotten = refused(DbError::Unprepared {
            statement_id: b"id".as_slice().into(),
        });
        let decided = Attempts::default().decide(true, &forgotten);
        assert_eq!(decided, RetryDecision::RetrySameTarget(None));
    }

    #[test]
    fn what_is_not_repeatable_is_never_sent_again() {
        let decided = Attempts::default().decide(false, &timeout());
        assert_eq!(decided, RetryDecision::DontRetry);
    }

    #[test]
    fn refusals_and_overload_are_not_answered_by_more_load() {
        for error in [DbError::Invalid, DbError::SyntaxError, DbError::Overloaded] {
            let decided = Attempts::default().decide(true, &refused(error));
            assert_eq!(decided, RetryDecision::DontRetry);
        }
    }
}
