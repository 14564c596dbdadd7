//! Taking away what nobody went on with: from time to time the owner of a slot looks at the rooms of
//! which an installation has written something and that are still not here.
//!
//! Invariant: a room is swept a page at a time, each under the room's lock and on what is applied; an
//! installation that comes meanwhile has the room after that page.

use std::{sync::Arc, time::Duration};

use hanse_log::Slot;
use hanse_runtime::Tasks;
use hanse_store::{Direction, Range, StoreError};
use ruma::{OwnedRoomId, RoomId};

use super::{site::Site, staging::STAGED_TTL_MS, sweep::Sweep};
use crate::{
    RoomError, Rooms,
    rooms::Inner,
    tables::{InstallationRow, ROOM_INSTALLATIONS},
};

/// How often the slots are looked through.
const PERIOD: Duration = Duration::from_mins(10);
/// An installation that began longer ago is nobody's: what was staged for it has expired.
const ABANDONED_MS: i64 = STAGED_TTL_MS;
/// Rooms that are listed at once.
const PAGE: usize = 100;

/// What is to be done with a room.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Abandoned,
    /// It is here: there is nothing to take away, ever.
    Here,
    /// An installation has ended, or began anew.
    Otherwise,
}

impl Rooms {
    /// Takes away what installations left that nobody went on with, in the slots that are served here;
    /// from here on until the process drains. One room at a time.
    pub fn collect_installations(&self, tasks: &Tasks) {
        let (inner, soft) = (Arc::clone(&self.inner), tasks.soft().clone());
        tasks.spawn("room-installations", async move {
            soft.run_until_cancelled(inner.collect_on()).await;
        });
    }
}

impl Inner {
    async fn collect_on(&self) {
        loop {
            for slot in self.logs.served() {
                if let Err(error) = self.collect_slot(slot).await {
                    tracing::warn!(slot = slot.0, %error, "abandoned installations are not looked for");
                }
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    async fn collect_slot(&self, slot: Slot) -> Result<(), StoreError> {
        let mut range = Range::all();
        // Once it is served elsewhere it is the next owner's to look through.
        while self.logs.serves(slot) {
            let partition = InstallationRow::partition(slot.0);
            let (table, forward) = (&ROOM_INSTALLATIONS, Direction::Forward);
            let page = self.reader.page(table, partition, range, forward, PAGE);
            let page = page.await?;
            for row in &page.rows {
                let row = InstallationRow::read(row)?;
                let room_id = OwnedRoomId::try_from(row.room_id.as_str());
                if let (true, Ok(room_id)) = (self.is_over(&row), room_id) {
                    self.collect(slot, room_id).await;
                }
            }
            let (true, Some(last)) = (page.more, page.rows.last()) else {
                break;
            };
            range = Range::after(last.clustering.clone());
        }
        Ok(())
    }

    async fn collect(&self, slot: Slot, room_id: OwnedRoomId) {
        if let Err(error) = self.sweep_abandoned(slot, &room_id).await
            && self.logs.serves(slot)
        {
            tracing::warn!(room.id = %room_id, %error, "an abandoned installation stays");
        }
    }

    /// Takes away everything of a room, unless it is here or somebody installs it.
    async fn sweep_abandoned(&self, slot: Slot, room_id: &RoomId) -> Result<(), RoomError> {
        let claim = self.installs.claim_sweep(room_id, self.clock.monotonic());
        let Some(claim) = claim else { return Ok(()) };
        let site = Site {
            basis: self.logs.basis(slot)?,
            slot,
            room_id: room_id.to_owned(),
        };
        let mut sweep = Sweep::whole();
        loop {
            let Some(_turn) = claim.turn().await else {
                return Ok(());
            };
            // Whatever else may let a room begin holds its lock.
            let cell = self.cells.cell(&site.room_id);
            let _room = cell.lock().await;
            self.logs.barrier(slot).await?;
            match self.found(&site).await? {
                Found::Abandoned => {}
                Found::Here => return site.write_ended(self).await,
                Found::Otherwise => return Ok(()),
            }
            if sweep.next_page(self, &site).await? {
                tracing::info!(room.id = %site.room_id, "an abandoned installation is swept");
                metrics::counter!("hanse_room_installations_swept_total").increment(1);
                return Ok(());
            }
        }
    }

    async fn found(&self, site: &Site) -> Result<Found, StoreError> {
        if self.reader.head(&site.room_id).await?.is_some() {
            return Ok(Found::Here);
        }
        let key = InstallationRow::key(site.slot.0, site.room_id.as_str());
        let row = self.reader.get(&ROOM_INSTALLATIONS, &key).await?;
        let row = row.as_ref().map(InstallationRow::read).transpose()?;
        let is_over = row.is_some_and(|row| self.is_over(&row));
        Ok(if is_over {
            Found::Abandoned
        } else {
            Found::Otherwise
        })
    }

    /// Whether nobody can go on with an installation any more.
    fn is_over(&self, row: &InstallationRow) -> bool {
        self.clock.now_ms().saturating_sub(row.began_at_ms) >= ABANDONED_MS
    }
}
