//! How a conditional write is brought to a decision although its outcome may not be known (law 3).

use std::{future::Future, time::Duration};

use hanse_store::{Outcome, StoreError};

/// How often one write is proposed before it is left undecided.
const PROPOSALS_MAX: u32 = 8;
/// The first pause before it is proposed again; each is twice the one before.
const PAUSE: Duration = Duration::from_millis(10);

/// What became of a conditional write.
#[derive(Debug)]
pub(crate) enum Settled {
    /// It is in the store.
    Landed,
    /// Somebody else's write is in its place, or will be.
    Refused,
    /// Certainly not written.
    NotWritten(StoreError),
    /// Not found out: it may have landed, or may yet.
    InDoubt,
}

/// Proposes the same write again until its place is decided. Refused after a doubt, `is_ours` tells
/// by a serial read whose write stands there.
pub(crate) async fn settle<P, O>(propose: impl Fn() -> P, is_ours: impl Fn() -> O) -> Settled
where
    P: Future<Output = Result<Outcome, StoreError>>,
    O: Future<Output = Result<bool, StoreError>>,
{
    let mut in_doubt = false;
    for attempt in 0..PROPOSALS_MAX {
        match propose().await {
            Ok(Outcome::Applied) => return Settled::Landed,
            Ok(Outcome::Refused { .. }) if !in_doubt => return Settled::Refused,
            Ok(Outcome::Refused { .. }) => match is_ours().await {
                Ok(true) => return Settled::Landed,
                Ok(false) => return Settled::Refused,
                Err(error) => tracing::warn!(%error, "cannot tell whose write it is"),
            },
            Err(error @ StoreError::Unknown { .. }) => {
                tracing::warn!(%error, "a conditional write is in doubt");
                metrics::counter!("hanse_log_unknown_total").increment(1);
                in_doubt = true;
            }
            Err(error) if !in_doubt => return Settled::NotWritten(error),
            Err(error) => tracing::warn!(%error, "still in doubt"),
        }
        tokio::time::sleep(PAUSE * 2_u32.pow(attempt)).await;
    }
    Settled::InDoubt
}
