//! What the driver's errors mean.

use std::sync::Arc;

use hanse_store::{StoreError, Table};
use scylla::{
    errors::{DbError, ExecutionError, RequestAttemptError, WriteType},
    statement::Consistency,
};

/// What is known of a statement that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It was not executed; the same may work later.
    NotNow,
    /// It was not executed, and never will be as it stands.
    NotEver,
    /// It may have been executed, or may be yet.
    Unknown,
}

/// The error of a conditional statement. It is unknown unless the error says that the server did
/// nothing: what we do not recognise may have happened.
pub(crate) fn conditional(table: &'static Table, error: ExecutionError) -> StoreError {
    match fate(&error) {
        Fate::Unknown => StoreError::Unknown {
            table: table.name,
            source: Box::new(error),
        },
        known => decided(known, table, error),
    }
}

/// The error of a read, or of a write that is harmless to repeat: there is nothing to settle, and what
/// timed out can be tried again.
pub(crate) fn repeatable(table: &'static Table, error: ExecutionError) -> StoreError {
    decided(fate(&error), table, error)
}

/// Whether a Paxos round was given up because others kept getting in between.
pub(crate) fn lost_to_contention(error: &ExecutionError) -> bool {
    let ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, _)) = error else {
        return false;
    };
    match error {
        DbError::WriteTimeout { write_type, .. } => *write_type == WriteType::Cas,
        DbError::ReadTimeout { consistency, .. } => *consistency == Consistency::LocalSerial,
        _ => false,
    }
}

/// An error of the connection or of the server's own tables.
pub(crate) fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Unavailable {
        source: Box::new(error),
    }
}

/// The error of a query that several callers share, for one of them.
pub(crate) fn shared(error: Arc<StoreError>) -> StoreError {
    match &*error {
        StoreError::Misuse { table, reason } => StoreError::Misuse {
            table,
            reason: reason.clone(),
        },
        StoreError::Corrupt { table, reason } => StoreError::Corrupt {
            table,
            reason: reason.clone(),
        },
        // Reads have no other errors than these and `Unavailable`.
        _ => unavailable(error),
    }
}

fn decided(fate: Fate, table: &'static Table, error: ExecutionError) -> StoreError {
    match fate {
        Fate::NotEver => table.misuse(error.to_string()),
        Fate::NotNow | Fate::Unknown => unavailable(error),
    }
}

fn fate(error: &ExecutionError) -> Fate {
    match error {
        ExecutionError::BadQuery(_) => Fate::NotEver,
        // Nothing was sent: no node to send to, or no statement to execute yet.
        ExecutionError::EmptyPlan | ExecutionError::ConnectionPoolError(_) => Fate::NotNow,
        ExecutionError::PrepareError(error) => fate_of_preparing(error),
        ExecutionError::LastAttemptError(error) => fate_of_attempt(error),
        _ => Fate::Unknown,
    }
}

/// Preparing executes nothing; only a refusal of the statement itself is final.
fn fate_of_preparing(error: &scylla::errors::PrepareError) -> Fate {
    use scylla::errors::PrepareError;
    match error {
        PrepareError::AllAttemptsFailed { first_attempt }
            if fate_of_attempt(first_attempt) == Fate::NotEver =>
        {
            Fate::NotEver
        }
        _ => Fate::NotNow,
    }
}

fn fate_of_attempt(error: &RequestAttemptError) -> Fate {
    match error {
        RequestAttemptError::SerializationError(_)
        | RequestAttemptError::CqlRequestSerialization(_) => Fate::NotEver,
        RequestAttemptError::UnableToAllocStreamId
        | RequestAttemptError::RepreparedIdChanged { .. }
        | RequestAttemptError::RepreparedIdMissingInBatch => Fate::NotNow,
        RequestAttemptError::DbError(error, _) => fate_of_refusal(error),
        _ => Fate::Unknown,
    }
}

/// Servers answer these before they execute. All others may come from the middle of a Paxos round:
/// time-outs and failures of its writes and reads, and `Unavailable`, too, which Cassandra also says
/// when too few replicas are left to commit what was already accepted.
fn fate_of_refusal(error: &DbError) -> Fate {
    match error {
        DbError::SyntaxError
        | DbError::Invalid
        | DbError::Unauthorized
        | DbError::ConfigError
        | DbError::AlreadyExists { .. } => Fate::NotEver,
        DbError::IsBootstrapping | DbError::AuthenticationError | DbError::Unprepared { .. } => {
            Fate::NotNow
        }
        _ => Fate::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hanse_store::{Column, Kind};

    static TABLE: Table = Table {
        name: "heads",
        kind: Kind::Cas,
        partition: &[Column::bigint("slot")],
        clustering: &[],
        statics: &[],
        values: &[],
    };

    fn answered(error: DbError) -> ExecutionError {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, String::new()))
    }

    fn write_timeout(write_type: WriteType) -> DbError {
        DbError::WriteTimeout {
            consistency: Consistency::LocalQuorum,
            received: 0,
            required: 2,
            write_type,
        }
    }

    fn read_timeout() -> DbError {
        DbError::ReadTimeout {
            consistency: Consistency::LocalSerial,
            received: 1,
            required: 2,
            data_present: false,
        }
    }

    fn too_few_replicas() -> DbError {
        DbError::Unavailable {
            consistency: Consistency::LocalQuorum,
            required: 2,
            alive: 1,
        }
    }

    #[test]
    fn whatever_may_have_happened_to_a_conditional_write_is_unknown() {
        let timeout = ExecutionError::RequestTimeout(std::time::Duration::from_secs(1));
        let errors = [
            timeout,
            answered(write_timeout(WriteType::Cas)),
            answered(write_timeout(WriteType::Simple)),
            answered(read_timeout()),
            answered(too_few_replicas()),
            answered(DbError::Overloaded),
            answered(DbError::ServerError),
            answered(DbError::Other(0x1700)),
        ];
        for error in errors {
            let text = error.to_string();
            let mapped = conditional(&TABLE, error);
            assert!(matches!(mapped, StoreError::Unknown { .. }), "{text}");
            assert!(!mapped.retryable());
        }
    }

    #[test]
    fn what_was_not_begun_can_be_tried_again() {
        for error in [
            answered(DbError::IsBootstrapping),
            ExecutionError::EmptyPlan,
        ] {
            assert!(conditional(&TABLE, error).retryable());
        }
    }

    #[test]
    fn reads_and_repeatable_writes_have_no_unknown_outcome() {
        for error in [
            read_timeout(),
            write_timeout(WriteType::Simple),
            too_few_replicas(),
        ] {
            assert!(repeatable(&TABLE, answered(error)).retryable());
        }
    }

    #[test]
    fn a_statement_that_the_server_rejects_is_our_fault() {
        for map in [conditional, repeatable] {
            let mapped = map(&TABLE, answered(DbError::Invalid));
            assert!(matches!(mapped, StoreError::Misuse { .. }));
        }
    }
}
