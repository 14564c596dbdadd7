//! Who owns a slot: its row in table `slots`, changed by compare-and-set only.

use std::sync::Arc;

use crate::{
    OpenError, Slot,
    settle::{Settled, settle},
    slots::Inner,
    statements::SlotRow,
};

/// Who stands in a slot's row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotOwner {
    /// The process; empty if the slot was handed to whoever wants it.
    pub owner: String,
    /// Counts the changes of the owner.
    pub epoch: i64,
}

/// Enters this process into the slot's row, if the row still is as observed. The row is ours with
/// the epoch that is returned, and so is the right to take the log over.
pub(crate) async fn claim(
    inner: &Arc<Inner>,
    slot: Slot,
    observed: &SlotOwner,
) -> Result<SlotRow, OpenError> {
    let statements = &inner.statements;
    let epoch = observed.epoch + 1;
    let is_ours = || async {
        let row = statements.slot_row(slot).await?;
        Ok(row.is_some_and(|row| row.epoch == epoch && row.owner == inner.owner))
    };
    let claimed = settle(
        || statements.claim(slot, observed.epoch, &inner.owner),
        is_ours,
    );
    match claimed.await {
        Settled::Landed => {}
        Settled::NotWritten(error) => return Err(error.into()),
        Settled::Refused | Settled::InDoubt => return Err(OpenError::Contended { slot }),
    }
    // Only now: nobody but the owner of this epoch moves the checkpoint any more, nor trims beyond.
    let row = statements.slot_row(slot).await?.unwrap_or_default();
    if row.epoch == epoch {
        Ok(row)
    } else {
        Err(OpenError::Contended { slot })
    }
}

/// Hands the slot on. A failure only means that others wait until our lease has lapsed.
pub(crate) async fn hand_on(inner: &Arc<Inner>, slot: Slot, epoch: i64, successor: &str) {
    let statements = &inner.statements;
    let is_ours = || async {
        let row = statements.slot_row(slot).await?;
        Ok(row.is_none_or(|row| row.epoch != epoch || row.owner == successor))
    };
    let handed = settle(|| statements.hand_on(slot, epoch, successor), is_ours).await;
    if !matches!(handed, Settled::Landed) {
        tracing::warn!(slot = slot.0, ?handed, "the slot was not handed on");
    }
}
