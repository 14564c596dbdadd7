//! Taking a slot's log: finding its open segment and raising the epoch there.

use hanse_store::Outcome;

use crate::{
    OpenError, Slot,
    sabotage::{Sabotage, Saboteur},
    settle::{Settled, settle},
    statements::{Head, SlotRow, Statements},
};

/// How often a takeover follows the log further before it is given up for now.
const TAKEOVERS_MAX: usize = 8;

/// Takes a slot's log over under an epoch that the slot's row gave us alone.
pub(crate) struct Takeover<'a> {
    pub(crate) statements: &'a Statements,
    pub(crate) slot: Slot,
    pub(crate) epoch: i64,
    pub(crate) saboteur: Saboteur,
}

impl Takeover<'_> {
    /// Raises the epoch of the open segment, and of its successor where a former owner died between
    /// creating and sealing. The head that is returned can no longer move except by us.
    pub(crate) async fn run(&self, row: &SlotRow) -> Result<(i64, Head), OpenError> {
        for _ in 0..TAKEOVERS_MAX {
            let (segment, head) = self.open_segment(row).await?;
            if !self.raise(segment, &head).await? {
                continue;
            }
            // The head may have moved between the read and the takeover; from here on it cannot.
            let Some(head) = self.statements.head(self.slot, segment).await? else {
                continue;
            };
            if head.epoch != self.epoch || head.sealed.is_some() {
                continue;
            }
            if self.finish_succession(segment, &head).await? {
                return Ok((segment, head));
            }
        }
        Err(self.contended())
    }

    /// `false`: look again. An epoch above ours is a newer owner's, and the end.
    async fn raise(&self, segment: i64, head: &Head) -> Result<bool, OpenError> {
        if head.epoch > self.epoch && !self.saboteur.does(Sabotage::NewerOwnerOverruled) {
            return Err(self.contended());
        }
        if head.epoch == self.epoch {
            return Ok(true);
        }
        let raised = settle(
            || {
                self.statements
                    .take_over(self.slot, segment, head.epoch, self.epoch)
            },
            || async {
                let now = self.statements.head(self.slot, segment).await?;
                Ok(now.is_some_and(|now| now.epoch == self.epoch))
            },
        );
        match raised.await {
            Settled::Landed => Ok(true),
            Settled::Refused => Ok(false),
            Settled::NotWritten(error) => Err(error.into()),
            Settled::InDoubt => Err(self.contended()),
        }
    }

    /// A successor that was created but never linked: finish the succession under our epoch.
    /// `false`: look again.
    ///
    /// The successor may have been created long ago, or late by a former owner, before batches that
    /// this segment has by now: its head is set to continue this one before anything links to it.
    /// An epoch above ours says that a newer owner did so already: then it is not ours to touch.
    async fn finish_succession(&self, segment: i64, head: &Head) -> Result<bool, OpenError> {
        let Some(successor) = self.statements.head(self.slot, segment + 1).await? else {
            return Ok(true);
        };
        if successor.epoch > head.epoch {
            return Err(self.contended());
        }
        let statements = self.statements;
        let outcome = if self.saboteur.does(Sabotage::SuccessorNotCorrected) {
            Outcome::Applied
        } else {
            statements
                .correct_segment(self.slot, segment + 1, &successor, head)
                .await?
        };
        if outcome == Outcome::Applied {
            self.statements.seal(self.slot, segment, head).await?;
        }
        Ok(false)
    }

    /// Walks the seals from the segment of the checkpoint, which is never trimmed.
    async fn open_segment(&self, row: &SlotRow) -> Result<(i64, Head), OpenError> {
        let mut segment = row.segment;
        loop {
            match self.statements.head(self.slot, segment).await? {
                Some(Head {
                    sealed: Some(successor),
                    ..
                }) => segment = successor,
                Some(head) => return Ok((segment, head)),
                None if segment == 0 && row.checkpoint == 0 => self.create_first().await?,
                None => {
                    return Err(OpenError::Corrupt {
                        slot: self.slot,
                        seq: row.checkpoint,
                        reason: format!("segment {segment} has no head"),
                    });
                }
            }
        }
    }

    async fn create_first(&self) -> Result<(), OpenError> {
        let first = Head {
            epoch: 0,
            next: 1,
            stamp_end: 0,
            sealed: None,
            bytes: 0,
        };
        let created = self.statements.create_segment(self.slot, 0, &first).await;
        Ok(created.map(drop)?)
    }

    fn contended(&self) -> OpenError {
        OpenError::Contended { slot: self.slot }
    }
}
