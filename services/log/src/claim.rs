//! Who owns a slot: its row in table `slots`, changed by compare-and-set only.

use std::sync::Arc;

use hanse_store::StoreError;

use crate::{
    OpenError, Slot,
    sabotage::Sabotage,
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
    // Refused after a doubt, the row may still be ours; or its owner of this very epoch has handed it
    // to us meanwhile, which looks the same. Whoever wants it claims the next epoch.
    let claimed = settle(
        || statements.claim(slot, observed.epoch, &inner.owner),
        || async {
            let by_name = inner.saboteur.does(Sabotage::ClaimIsOursByName);
            Ok(by_name && is_named(inner, slot, epoch).await?)
        },
    );
    match claimed.await {
        Settled::Landed => {}
        Settled::Refused if inner.saboteur.does(Sabotage::ClaimRefusedIsOurs) => {
            let row = statements.slot_row(slot).await?.unwrap_or_default();
            return Ok(SlotRow { epoch, ..row });
        }
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

/// Whether the row names this process under the epoch: true of a claim of ours that landed, and of a
/// hand-over to us, too.
async fn is_named(inner: &Inner, slot: Slot, epoch: i64) -> Result<bool, StoreError> {
    let row = inner.statements.slot_row(slot).await?;
    Ok(row.is_some_and(|row| row.epoch == epoch && row.owner == inner.owner))
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
