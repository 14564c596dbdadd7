//! A join of a room that is here, and that all of us had left: the room begins anew with it, as it does
//! for whoever joins it first.
//!
//! What was the room's end then is no end any more: nobody told us since what follows it, and states as
//! old as that have no say in what the room is today. Its history stays, with a gap before the join.

use std::ops::ControlFlow;

use hanse_event::{Pdu, Verdict};
use hanse_log::AppendError;
use ruma::RoomId;

use super::{Coming, Fate, forked::Before};
use crate::{RoomError, Sent, StateIds, hot::Hot, rooms::Inner, written::Submitted};

impl Inner {
    /// Places the join on the state before it, which came along; what we know ourselves of all that it
    /// follows counts for more. Every event of the state is here, as an outlier if not otherwise.
    /// `None`: one of us is in the room.
    pub(crate) async fn rejoin(
        &self,
        room_id: &RoomId,
        join: &Pdu,
        state: &StateIds,
    ) -> Result<Option<Sent>, RoomError> {
        let cell = self.cells.cell(room_id);
        let mut held = cell.lock().await;
        // Out of the cell while it is changed, and not put back unless all was submitted.
        let mut hot = self.loaded(room_id, &mut held).await?;
        if hot.head.local_members > 0 {
            *held = Some(hot);
            return Ok(None);
        }
        let mut coming = match self.coming(&mut hot, join).await? {
            ControlFlow::Continue(coming) => coming,
            ControlFlow::Break(fate) => return Err(not_now(&fate)),
        };
        coming.begins_anew = true;
        let Submitted { ticket, whole } = self.place_anew(&mut hot, coming, state).await?;
        *held = Some(hot).filter(|_| whole);
        drop(held);
        let position = ticket.applied().await?;
        if !whole {
            return Err(AppendError::Stale.into());
        }
        let event_id = join.event_id().to_owned();
        Ok(Some(Sent { event_id, position }))
    }

    async fn place_anew(
        &self,
        hot: &mut Hot,
        mut coming: Coming<'_>,
        state: &StateIds,
    ) -> Result<Submitted, RoomError> {
        self.settle(hot).await?;
        let join = coming.pdu;
        coming.fills = self
            .reader
            .gaps_without(&hot.room_id, join.event_id())
            .await?;
        let (chains, missing) = self.chains_of(hot, join.prev_events()).await?;
        let before = if missing.is_empty() {
            let known = chains.into_iter().map(Before::of).collect();
            self.before(hot, known).await?
        } else {
            self.given(hot, state).await?
        };
        match self.verdict(hot, &coming, &before, false).await? {
            Verdict::Accepted(_) => {}
            Verdict::SoftFailed(failed) => return Err(failed.reason.into()),
            Verdict::Rejected(rejected) => return Err(rejected.reason.into()),
        }
        let gap = self.gap(missing).await?;
        let decision = self.take_forked(hot, &coming, &before).await?;
        self.submit(hot, decision.with(&coming, gap).written).await
    }
}

fn not_now(fate: &Fate) -> RoomError {
    match fate {
        Fate::Missing { .. } => RoomError::bad_content("what authorises the join did not come"),
        // It landed meanwhile: the next look finds it.
        _ => AppendError::Stale.into(),
    }
}
