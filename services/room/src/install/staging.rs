//! Handing a state over, in portions.

use std::fmt;

use hanse_event::{Pdu, Received};
use hanse_store::{Direction, Durability, Mutation, Range, Scan, StampedPut, StoreError};
use ruma::{OwnedRoomId, RoomId, RoomVersionId};
use serde::{Deserialize, Serialize};

use super::INSTALLED_MAX;
use crate::{
    RECEIVED_MAX, RoomError, Rooms,
    rooms::Inner,
    tables::{STAGED_EVENTS, StagedRow, part_of},
};

/// How long what is staged waits to be installed.
pub(super) const STAGED_TTL_MS: i64 = 60 * 60 * 1_000;

/// A state that waits to be installed; for an hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// Where it waits.
    pub(crate) id: String,
    /// The room.
    pub room_id: OwnedRoomId,
    /// Its version.
    pub version: RoomVersionId,
    /// Events that wait, repeated ones counted as often.
    pub events: u32,
}

/// Stages a state. Whoever drops it leaves rows behind that expire, and nothing else.
pub struct Staging {
    rooms: Rooms,
    staged: Staged,
    expires_at_ms: i64,
}

impl fmt::Debug for Staging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Staging").field(&self.staged).finish()
    }
}

impl Rooms {
    /// Begins to stage the state of a room before a join.
    pub fn stage(&self, room_id: &RoomId, version: RoomVersionId) -> Staging {
        let staged = Staged {
            id: self.inner.random.alphanumeric(24),
            room_id: room_id.to_owned(),
            version,
            events: 0,
        };
        let expires_at_ms = self.inner.clock.now_ms() + STAGED_TTL_MS;
        Staging {
            rooms: self.clone(),
            staged,
            expires_at_ms,
        }
    }
}

impl Staging {
    /// Stages some events of the state, at most [`RECEIVED_MAX`].
    pub async fn add_state(&mut self, events: Vec<Received>) -> Result<(), RoomError> {
        self.add(events, true).await
    }

    /// Stages some events of the auth chains of the state and of the join, at most [`RECEIVED_MAX`].
    /// An event that is in both need be staged as state only.
    pub async fn add_auth_chain(&mut self, events: Vec<Received>) -> Result<(), RoomError> {
        self.add(events, false).await
    }

    /// Everything is staged.
    pub fn done(self) -> Staged {
        self.staged
    }

    async fn add(&mut self, events: Vec<Received>, in_state: bool) -> Result<(), RoomError> {
        let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
        if events.len() > RECEIVED_MAX || self.staged.events.saturating_add(count) > INSTALLED_MAX {
            let reason =
                format!("more than {RECEIVED_MAX} events at once, or {INSTALLED_MAX} in all");
            return Err(RoomError::TooLarge { reason });
        }
        if events
            .iter()
            .any(|event| event.pdu.room_id() != self.staged.room_id)
        {
            return Err(RoomError::bad_content("an event of another room"));
        }
        let numbers = self.staged.events..;
        let rows = numbers.zip(&events).map(|(number, event)| {
            let row = row_of(number, &event.pdu, in_state);
            Mutation::Put(StampedPut {
                table: &STAGED_EVENTS,
                key: StagedRow::key(&self.staged.id, number),
                values: row.values(),
                stamp: 0,
                expires_at_ms: Some(self.expires_at_ms),
            })
        });
        let store = &self.rooms.inner.store;
        // Lost with the machine it is staged again; nothing was said to anybody.
        store.apply(rows.collect(), Durability::Buffered).await?;
        self.staged.events += count;
        Ok(())
    }
}

fn row_of(number: u32, pdu: &Pdu, in_state: bool) -> StagedRow {
    let ids: Vec<&str> = pdu.auth_events().iter().map(|id| id.as_str()).collect();
    StagedRow {
        number,
        event_id: pdu.event_id().to_string(),
        auth_events: ids.join(" "),
        in_state,
        json: pdu.json().to_owned(),
    }
}

impl Inner {
    /// Staged events by number, at most `limit`: those of `first ..= last` in one partition.
    pub(super) async fn staged_range(
        &self,
        staged: &Staged,
        first: u32,
        last: u32,
    ) -> Result<Vec<StagedRow>, StoreError> {
        let mut rows = Vec::new();
        let mut range = Range::at_least(vec![i64::from(first).into()]);
        range = range.up_to(vec![i64::from(last).into()]);
        loop {
            let page = self.store.scan(Scan {
                table: &STAGED_EVENTS,
                partition: StagedRow::partition(&staged.id, part_of(first)),
                range: range.clone(),
                direction: Direction::Forward,
                limit: Scan::LIMIT_MAX.min((last - first) as usize + 1),
            });
            let page = page.await?;
            for row in &page.rows {
                rows.push(StagedRow::read(row)?);
            }
            let (true, Some(end)) = (page.more, page.rows.last()) else {
                return Ok(rows);
            };
            range.from.clone_from(&end.clustering);
            range.from_exclusive = true;
        }
    }
}
