//! What is answered, as messages and as the errors that the callers know.

use std::{sync::Arc, time::Duration};

use hanse_log::{AppendError, Position, Slot};
use hanse_proto::cluster::{
    AppendResponse, Applied, HandOverResponse, HandedOver, NotServed, NotYet, Overloaded,
    StoreFailed, TooLarge, append_response::Answer as AppendAnswer,
    hand_over_response::Answer as HandOverAnswer,
};
use hanse_store::StoreError;
use tonic::{Code, Status};

use super::begun::never_begun;
use crate::HandOverError;

/// Why a call got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No member of this id lives, as seen here. Nothing was sent.
    #[error("{member} is not a member")]
    NotAMember {
        /// Its id.
        member: String,
    },
    /// No connection came about. Nothing was sent.
    #[error("no connection: {reason}")]
    NotSent {
        /// What went wrong, for people.
        reason: String,
    },
    /// The process has too many calls at once, and did nothing.
    #[error("the process has too many calls")]
    Full,
    /// The process refused, and did nothing.
    #[error("refused: {reason}")]
    Refused {
        /// Why, for people.
        reason: String,
    },
    /// No answer came, or none that this version knows: whether it was done is not known.
    #[error("no answer: {reason}")]
    NoAnswer {
        /// What went wrong, for people.
        reason: String,
    },
}

impl CallError {
    pub(super) fn not_a_member(member: &str) -> Self {
        let member = member.to_owned();
        Self::NotAMember { member }
    }

    /// What a status means for whoever called.
    pub(super) fn of(status: &Status) -> Self {
        let reason = format!("{:?}: {}", status.code(), status.message());
        if never_begun(status) {
            return Self::NotSent { reason };
        }
        match status.code() {
            Code::ResourceExhausted => Self::Full,
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Unauthenticated => Self::Refused { reason },
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => Self::NoAnswer { reason },
        }
    }

    /// An answer of a later version.
    pub(super) fn not_understood() -> Self {
        let reason = "the answer is of another version".to_owned();
        Self::NoAnswer { reason }
    }

    /// As a label.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::NotAMember { .. } => "not_a_member",
            Self::NotSent { .. } => "not_sent",
            Self::Full => "full",
            Self::Refused { .. } => "refused",
            Self::NoAnswer { .. } => "no_answer",
        }
    }
}

/// What an owner says to an append.
#[derive(Debug)]
pub(super) enum Appended {
    /// It was taken, or refused for good.
    Decided(Result<Position, AppendError>),
    /// Not there; perhaps at this process.
    Elsewhere(Option<String>),
}

/// As a message. `owner`: who serves the slot as far as is known here, where that matters.
pub(super) fn append_response(
    appended: Result<Position, AppendError>,
    owner: String,
) -> AppendResponse {
    let answer = match appended {
        Ok(position) => AppendAnswer::Applied(Applied {
            position: position.packed(),
        }),
        // What a relay brings is not decided on anything: its slot was lost, if it is void.
        Err(AppendError::SlotLost { .. } | AppendError::NotServed { .. } | AppendError::Stale) => {
            AppendAnswer::NotServed(NotServed { owner })
        }
        Err(AppendError::Overloaded { .. }) => AppendAnswer::Overloaded(Overloaded {}),
        Err(AppendError::TooLarge { bytes, bytes_max }) => AppendAnswer::TooLarge(TooLarge {
            bytes: bytes as u64,
            bytes_max: bytes_max as u64,
        }),
        Err(AppendError::Store(error)) => AppendAnswer::StoreFailed(StoreFailed {
            reason: error.to_string(),
            full: matches!(*error, StoreError::Full),
        }),
    };
    AppendResponse {
        answer: Some(answer),
    }
}

/// `None`: of a later version.
pub(super) fn appended(slot: Slot, response: AppendResponse) -> Option<Appended> {
    let refused = |error| Appended::Decided(Err(error));
    Some(match response.answer? {
        AppendAnswer::Applied(applied) => {
            Appended::Decided(Ok(Position::from_packed(applied.position)))
        }
        AppendAnswer::NotServed(not_served) => {
            Appended::Elsewhere(Some(not_served.owner).filter(|owner| !owner.is_empty()))
        }
        AppendAnswer::Overloaded(Overloaded {}) => refused(AppendError::Overloaded { slot }),
        AppendAnswer::TooLarge(too_large) => refused(AppendError::TooLarge {
            bytes: too_large.bytes as usize,
            bytes_max: too_large.bytes_max as usize,
        }),
        AppendAnswer::StoreFailed(failed) => {
            let error = if failed.full {
                StoreError::Full
            } else {
                StoreError::Unavailable {
                    source: failed.reason.into(),
                }
            };
            refused(AppendError::Store(Arc::new(error)))
        }
    })
}

/// As a message; a status where the keeper gave no answer.
pub(super) fn hand_over_response(
    handed: Result<(), HandOverError>,
) -> Result<HandOverResponse, Status> {
    let answer = match handed {
        Ok(()) => HandOverAnswer::HandedOver(HandedOver {}),
        Err(HandOverError::NotYet { wait }) => HandOverAnswer::NotYet(NotYet {
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        }),
        Err(HandOverError::NotServed) => HandOverAnswer::NotServed(NotServed::default()),
        Err(HandOverError::Unreachable { reason }) => return Err(Status::unavailable(reason)),
    };
    Ok(HandOverResponse {
        answer: Some(answer),
    })
}

/// What an owner that was asked for a slot said.
pub(super) fn handed_over(
    response: Result<HandOverResponse, CallError>,
) -> Result<(), HandOverError> {
    let unreachable = |error: CallError| HandOverError::Unreachable {
        reason: error.to_string(),
    };
    match response.map_err(unreachable)?.answer {
        Some(HandOverAnswer::HandedOver(HandedOver {})) => Ok(()),
        Some(HandOverAnswer::NotYet(NotYet { wait_ms })) => Err(HandOverError::NotYet {
            wait: Duration::from_millis(wait_ms),
        }),
        Some(HandOverAnswer::NotServed(_)) => Err(HandOverError::NotServed),
        None => Err(unreachable(CallError::not_understood())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Slot = Slot(7);

    fn through(result: Result<Position, AppendError>) -> Appended {
        appended(SLOT, append_response(result, "p-2".to_owned())).unwrap()
    }

    fn refusal(error: AppendError) -> AppendError {
        match through(Err(error)) {
            Appended::Decided(Err(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    /// Red if a refusal becomes another on its way.
    #[test]
    fn what_an_owner_says_arrives() {
        let position = Position::new(3, 2);
        assert!(matches!(through(Ok(position)), Appended::Decided(Ok(p)) if p == position));
        let (lost, not_served) = (
            AppendError::SlotLost { slot: SLOT },
            AppendError::NotServed { slot: SLOT },
        );
        for gone in [lost, not_served, AppendError::Stale] {
            let answer = through(Err(gone));
            assert!(matches!(answer, Appended::Elsewhere(Some(owner)) if owner == "p-2"));
        }
        assert!(matches!(
            refusal(AppendError::Overloaded { slot: Slot(1) }),
            AppendError::Overloaded { slot: SLOT }
        ));
        let too_large = AppendError::TooLarge {
            bytes: 3,
            bytes_max: 2,
        };
        assert!(matches!(
            refusal(too_large),
            AppendError::TooLarge {
                bytes: 3,
                bytes_max: 2
            }
        ));
        let store = |error| refusal(AppendError::Store(Arc::new(error)));
        assert!(matches!(store(StoreError::Full), AppendError::Store(e)
            if matches!(*e, StoreError::Full)));
        let source = "down".into();
        assert!(
            matches!(store(StoreError::Unavailable { source }), AppendError::Store(e)
            if e.retryable())
        );
        let nobody = append_response(Err(AppendError::Stale), String::new());
        let nobody = appended(SLOT, nobody);
        assert!(matches!(nobody, Some(Appended::Elsewhere(None))));
        assert!(appended(SLOT, AppendResponse::default()).is_none());
    }

    /// Red if an answer to a request for a slot becomes another, or silence a refusal.
    #[test]
    fn what_a_keeper_says_arrives() {
        let wait = Duration::from_millis(1_234);
        for said in [
            Ok(()),
            Err(HandOverError::NotYet { wait }),
            Err(HandOverError::NotServed),
        ] {
            let response = hand_over_response(said.clone()).unwrap();
            assert_eq!(handed_over(Ok(response)), said);
        }
        let reason = "drains".to_owned();
        let silence = hand_over_response(Err(HandOverError::Unreachable { reason }));
        let silence = CallError::of(&silence.unwrap_err());
        assert!(matches!(silence, CallError::NoAnswer { .. }));
        for silent in [Err(silence), Ok(HandOverResponse::default())] {
            let said = handed_over(silent);
            assert!(matches!(said, Err(HandOverError::Unreachable { .. })));
        }
    }
}
