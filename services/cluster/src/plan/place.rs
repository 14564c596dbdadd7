//! How one slot stands with this process.

use std::time::Duration;

use hanse_log::SlotOwner;

use crate::View;

/// A slot that was served for so long was not taken in vain.
const STEADY: Duration = Duration::from_secs(10);

/// How a slot stands with this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// No concern of ours, as far as is known.
    Elsewhere,
    /// Its row, as read last. Kept only if we should have the slot.
    Known(SlotOwner),
    Taking,
    Served {
        since: Duration,
    },
    /// Served, but the row names another.
    Fenced,
    Asking(SlotOwner),
    Releasing,
}

/// Whether the slot's row is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    No,
    Due(Duration),
    Running,
}

#[derive(Debug)]
pub(super) struct Place {
    pub(super) stand: Stand,
    pub(super) look: Look,
    /// How often in a row it was tried in vain.
    pub(super) tries: u32,
    /// Not asked for before.
    pub(super) ask_at: Duration,
}

impl Place {
    pub(super) fn is_served(&self) -> bool {
        matches!(self.stand, Stand::Served { .. } | Stand::Fenced)
    }

    /// Not while it is on its way from one to another.
    pub(super) fn may_be_looked_at(&self) -> bool {
        let stand = &self.stand;
        matches!(
            stand,
            Stand::Elsewhere | Stand::Known(_) | Stand::Served { .. }
        )
    }

    pub(super) fn tries_when_lost(&self, now: Duration) -> u32 {
        match self.stand {
            Stand::Served { since } if now.saturating_sub(since) < STEADY => self.tries + 1,
            _ => 0,
        }
    }

    /// One who lapsed is not waited for.
    pub(super) fn expect_no_answer(&mut self, view: &View) {
        if let Stand::Asking(row) = &self.stand
            && !view.live.contains_key(&row.owner)
        {
            self.stand = Stand::Known(row.clone());
        }
    }

    /// Under other members: what we should have is looked at again, and what we serve, if we may
    /// have lost it while our own lease had lapsed.
    pub(super) fn reconsider(&mut self, mine: bool, regained: bool, due: Duration) {
        let concerns = match self.stand {
            Stand::Elsewhere | Stand::Known(_) => mine,
            Stand::Served { .. } => regained,
            _ => false,
        };
        if concerns && self.look == Look::No {
            self.look = Look::Due(due);
        }
        if matches!(self.stand, Stand::Known(_)) && !mine && self.look == Look::No {
            self.look = Look::Due(due);
        }
    }
}
