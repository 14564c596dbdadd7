//! Small sabotages of the log, each a slip that somebody could make: `cargo xtask simulate
//! --mutations` shows that the simulation catches every one of them.
//!
//! Left out, because they break nothing: a refusal after a doubt that is taken for another owner's
//! (the slot is given up and taken again), writing on without a lease (the store refuses a former
//! owner), heartbeats or `heads` missing alone (the other tells the same, a little later).
//!
//! Invariant: without feature `sabotage`, [`Saboteur::does`] is `false` at compile time.

use std::sync::atomic::{AtomicBool, Ordering};

use hanse_store::{Outcome, StoreError};

use crate::settle::{Settled, settle};

macro_rules! sabotages {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// What the log does wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(not(feature = "sabotage"), expect(unreachable_pub, reason = "public with the feature only"))]
        pub enum Sabotage {
            $($(#[doc = $doc])+ $name,)+
        }

        #[cfg(feature = "sabotage")]
        impl Sabotage {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];
        }
    };
}

sabotages! {
    /// An append does not ask for the epoch.
    AppendWithoutEpoch,
    /// An append does not ask for its position.
    AppendWithoutNext,
    /// An append in doubt is settled by a read: what is not there was not written.
    DoubtSettledByRead,
    /// An append that is refused after a doubt is taken for ours.
    RefusedAfterDoubtIsOurs,
    /// An append that is refused after a doubt is taken for not written.
    RefusedAfterDoubtIsNothing,
    /// The answer is given as soon as a batch is in the log.
    AnswerBeforeApply,
    /// A batch's first stamp is the last one of the batch before.
    StampReused,
    /// Stamps follow the clock alone.
    StampFromClockAlone,
    /// A decision counts although what it was based on is void.
    StaleDecisionsCount,
    /// After a batch that was not written, what was decided on top of it still counts.
    VoidKeepsDecisions,
    /// What was handed over by a relay counts as taken although its batch was not written.
    VoidKeepsRelayed,
    /// Relayed repeats are not recognised.
    RelayRepeatsTaken,
    /// A successor's head does not carry the stamps on.
    SuccessorWithoutStamps,
    /// A successor is used whatever became of the seal.
    SealNotSettled,
    /// Batches are shown before their rows are written.
    PublishBeforeApplied,
    /// Rows that could not be written count as written.
    FailedRowsShown,
    /// The checkpoint moves before the archives are durable.
    CheckpointBeforeSync,
    /// A slot's head is written before the archives are durable.
    HeadBeforeSync,
    /// A checkpoint does not ask for the one that it replaces.
    CheckpointWithoutLast,
    /// A slot's row is taken for ours although the claim was refused.
    ClaimRefusedIsOurs,
    /// A claim that is refused after a doubt is ours if the slot's row names us under its epoch.
    ClaimIsOursByName,
    /// A newer owner's epoch is not respected.
    NewerOwnerOverruled,
    /// A successor that is found is linked as it is.
    SuccessorNotCorrected,
    /// A replay leaves out the first batch after the checkpoint.
    ReplaySkipsOne,
    /// A replay shows batches before their rows are written.
    ReplayShowsFirst,
    /// Of what takes several pages, the first is read.
    FirstPageOnly,
    /// A segment is trimmed without having been read back.
    TrimUnread,
    /// A segment is trimmed although a consumer needs it.
    TrimPastCursor,
    /// A segment is trimmed as soon as it is sealed.
    TrimPastCheckpoint,
    /// The head of the first segment is trimmed, too.
    TrimFirstHead,
    /// An owner neither sends heartbeats nor writes `heads`.
    SilentOwner,
    /// A follower takes whatever comes next.
    GapIgnored,
    /// What is kept of the newest batches may have gaps.
    RecentWithGaps,
    /// A consumer's position moves before its work is done.
    CursorBeforeWork,
}

/// Who commits a sabotage, if anybody does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Saboteur {
    #[cfg(feature = "sabotage")]
    pub(crate) sabotage: Option<Sabotage>,
}

impl Saboteur {
    #[cfg(feature = "sabotage")]
    pub(crate) fn does(self, sabotage: Sabotage) -> bool {
        self.sabotage == Some(sabotage)
    }

    #[cfg(not(feature = "sabotage"))]
    #[expect(
        clippy::unused_self,
        reason = "the same call with and without the feature"
    )]
    pub(crate) const fn does(self, _: Sabotage) -> bool {
        false
    }

    /// The first stamp of a batch: above the last one of the batch before, whatever the clock says.
    pub(crate) fn first_stamp(self, last: i64, now_us: i64) -> i64 {
        if self.does(Sabotage::StampReused) {
            last.max(now_us)
        } else if self.does(Sabotage::StampFromClockAlone) {
            now_us
        } else {
            (last + 1).max(now_us)
        }
    }

    /// [`settle`] for an append.
    pub(crate) async fn settle<P, O>(
        self,
        propose: impl Fn() -> P,
        is_ours: impl Fn() -> O,
    ) -> Settled
    where
        P: Future<Output = Result<Outcome, StoreError>>,
        O: Future<Output = Result<bool, StoreError>>,
    {
        if self.does(Sabotage::DoubtSettledByRead) {
            settle_by_read(propose, is_ours).await
        } else if self.does(Sabotage::RefusedAfterDoubtIsOurs) {
            settle(propose, || async { Ok(true) }).await
        } else if self.does(Sabotage::RefusedAfterDoubtIsNothing) {
            settle_for_nothing(propose).await
        } else {
            settle(propose, is_ours).await
        }
    }
}

async fn settle_by_read<P, O>(propose: impl Fn() -> P, is_ours: impl Fn() -> O) -> Settled
where
    P: Future<Output = Result<Outcome, StoreError>>,
    O: Future<Output = Result<bool, StoreError>>,
{
    match propose().await {
        Ok(Outcome::Applied) => Settled::Landed,
        Ok(Outcome::Refused { .. }) => Settled::Refused,
        Err(error @ StoreError::Unknown { .. }) => match is_ours().await {
            Ok(true) => Settled::Landed,
            Ok(false) => Settled::NotWritten(error),
            Err(_) => Settled::InDoubt,
        },
        Err(error) => Settled::NotWritten(error),
    }
}

async fn settle_for_nothing<P>(propose: impl Fn() -> P) -> Settled
where
    P: Future<Output = Result<Outcome, StoreError>>,
{
    let doubted = AtomicBool::new(false);
    let is_ours = || async {
        doubted.store(true, Ordering::Relaxed);
        Ok(false)
    };
    match settle(propose, is_ours).await {
        Settled::Refused if doubted.into_inner() => Settled::NotWritten(StoreError::Unavailable {
            source: "refused".into(),
        }),
        settled => settled,
    }
}
