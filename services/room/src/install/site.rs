//! A room of whose state something is written, or taken away, while it is not here.

use hanse_log::{Basis, Slot, Ticket};
use hanse_proto::{
    log::Entry,
    room::{Installation, room_entry},
};
use ruma::OwnedRoomId;

use crate::{RoomError, entry::room_entry_of, rooms::Inner};

/// A room that is not here, and what may be submitted of it.
pub(crate) struct Site {
    /// Of the slot, when it was looked at first: whoever served the slot since may have written.
    pub(crate) basis: Basis,
    pub(super) slot: Slot,
    pub(super) room_id: OwnedRoomId,
}

impl Site {
    pub(super) fn entry(&self, inner: &Inner, kind: room_entry::Kind) -> Entry {
        room_entry_of(&self.room_id, inner.clock.now_ms(), Vec::new(), kind)
    }

    pub(super) fn submit(&self, inner: &Inner, entries: Vec<Entry>) -> Result<Ticket, RoomError> {
        Ok(inner.logs.submit(self.slot, Some(self.basis), entries)?)
    }

    /// Returns when it is applied.
    pub(super) async fn write(
        &self,
        inner: &Inner,
        kind: room_entry::Kind,
    ) -> Result<(), RoomError> {
        let ticket = self.submit(inner, vec![self.entry(inner, kind)])?;
        ticket.applied().await?;
        Ok(())
    }

    /// Says so when it is applied: nothing is left, or what is left is the room's.
    pub(super) async fn write_ended(&self, inner: &Inner) -> Result<(), RoomError> {
        let ended = room_entry::Kind::Installation(self.ended());
        self.write(inner, ended).await
    }

    /// That from now on something may be left.
    pub(super) fn began(&self, now_ms: i64) -> Installation {
        Installation {
            slot: self.slot.0,
            began_at_ms: now_ms,
            ended: false,
        }
    }

    /// That nothing is left to be taken away.
    pub(super) fn ended(&self) -> Installation {
        Installation {
            slot: self.slot.0,
            ended: true,
            ..Installation::default()
        }
    }
}
