//! Which rooms are being installed in this process, and of which is taken away what installations left.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use ruma::{OwnedRoomId, RoomId};
use tokio::sync::MutexGuard;

use super::{Job, Staged};

/// Installations under way in one process.
const JOBS_MAX: usize = 4;
/// After so long without a step an installation may be given up for another.
const IDLE: Duration = Duration::from_mins(1);

/// The rooms of which something is written or taken away in this process: one thing at a time of each.
#[derive(Default)]
pub(crate) struct Installs {
    rooms: Mutex<HashMap<OwnedRoomId, Held>>,
}

pub(super) type JobCell = Arc<tokio::sync::Mutex<Option<Job>>>;

struct Held {
    job: JobCell,
    /// What is installed; `None`: the room is swept, until an installation wants it.
    staged: Option<String>,
    used_at: Duration,
}

impl Held {
    fn new(now: Duration) -> Self {
        Self {
            job: JobCell::default(),
            staged: None,
            used_at: now,
        }
    }

    fn is_given_up(&self, now: Duration) -> bool {
        let is_idle = now.saturating_sub(self.used_at) >= IDLE;
        // A step may take long.
        self.staged.is_some() && is_idle && self.job.try_lock().is_ok()
    }
}

impl Installs {
    /// Whether a room cannot begin in another way at present.
    pub(crate) fn is_under_way(&self, room_id: &RoomId) -> bool {
        self.rooms.lock().contains_key(room_id)
    }

    /// The cell of an installation, if there is room for one more. A sweep of the room ends with its
    /// page: until then it has the cell.
    pub(super) fn claim(&self, staged: &Staged, now: Duration) -> Option<JobCell> {
        let mut rooms = self.rooms.lock();
        let held = rooms.get_mut(&staged.room_id);
        if let Some(held) = held.filter(|held| held.staged.as_ref() == Some(&staged.id)) {
            held.used_at = now;
            return Some(Arc::clone(&held.job));
        }
        rooms.retain(|_, held| !held.is_given_up(now));
        let jobs = rooms.values().filter(|held| held.staged.is_some());
        if jobs.count() >= JOBS_MAX {
            return None;
        }
        let held = rooms.entry(staged.room_id.clone());
        let held = held.or_insert_with(|| Held::new(now));
        if held.staged.is_some() {
            return None;
        }
        held.staged = Some(staged.id.clone());
        held.used_at = now;
        Some(Arc::clone(&held.job))
    }

    /// Claims a room to sweep it, unless it is installed, or swept already.
    pub(super) fn claim_sweep(&self, room_id: &RoomId, now: Duration) -> Option<SweepClaim<'_>> {
        let mut rooms = self.rooms.lock();
        rooms.retain(|_, held| !held.is_given_up(now));
        if rooms.contains_key(room_id) {
            return None;
        }
        let held = Held::new(now);
        let claim = SweepClaim {
            installs: self,
            room_id: room_id.to_owned(),
            cell: Arc::clone(&held.job),
        };
        rooms.insert(room_id.to_owned(), held);
        Some(claim)
    }

    pub(super) fn end(&self, room_id: &RoomId) {
        self.rooms.lock().remove(room_id);
    }
}

/// A room that is swept, until an installation wants it.
pub(super) struct SweepClaim<'a> {
    installs: &'a Installs,
    room_id: OwnedRoomId,
    cell: JobCell,
}

impl SweepClaim<'_> {
    /// Keeps installations of the room waiting while it is held; `None`: one wants the room.
    pub(super) async fn turn(&self) -> Option<MutexGuard<'_, Option<Job>>> {
        let turn = self.cell.lock().await;
        self.is_held().then_some(turn)
    }

    fn is_held(&self) -> bool {
        let rooms = self.installs.rooms.lock();
        let held = rooms.get(&self.room_id);
        held.is_some_and(|held| held.staged.is_none() && Arc::ptr_eq(&held.job, &self.cell))
    }
}

impl Drop for SweepClaim<'_> {
    fn drop(&mut self) {
        if self.is_held() {
            self.installs.end(&self.room_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use ruma::RoomVersionId;

    use super::*;

    fn staged() -> Staged {
        Staged {
            id: "one".to_owned(),
            room_id: OwnedRoomId::try_from("!r:a.test").unwrap(),
            version: RoomVersionId::V11,
            events: 1,
        }
    }

    /// Sabotage: give an installation up by the time alone.
    #[tokio::test]
    async fn a_step_that_takes_long_is_not_given_up() {
        let (installs, staged) = (Installs::default(), staged());
        let cell = installs.claim(&staged, Duration::ZERO).unwrap();
        let step = cell.lock().await;
        assert!(installs.claim_sweep(&staged.room_id, IDLE).is_none());
        drop(step);
        let soon = Duration::from_secs(59);
        assert!(installs.claim_sweep(&staged.room_id, soon).is_none());
        assert!(installs.claim_sweep(&staged.room_id, IDLE).is_some());
    }

    /// Sabotage: give the installation a cell of its own; let the sweep go on, or end the installation
    /// with it.
    #[tokio::test]
    async fn an_installation_has_the_room_after_the_turn_of_a_sweep() {
        let (installs, staged, now) = (Installs::default(), staged(), Duration::ZERO);
        let sweep = installs.claim_sweep(&staged.room_id, now).unwrap();
        assert!(installs.claim_sweep(&staged.room_id, now).is_none());
        let turn = sweep.turn().await.unwrap();
        let cell = installs.claim(&staged, now).unwrap();
        assert!(cell.try_lock().is_err(), "a page is under way");
        drop(turn);
        assert!(sweep.turn().await.is_none());
        drop(sweep);
        assert!(installs.is_under_way(&staged.room_id));
        installs.end(&staged.room_id);
        assert!(!installs.is_under_way(&staged.room_id));
    }

    #[tokio::test]
    async fn a_sweep_ends_with_its_claim() {
        let (installs, staged) = (Installs::default(), staged());
        let sweep = installs.claim_sweep(&staged.room_id, Duration::ZERO);
        assert!(sweep.is_some() && installs.is_under_way(&staged.room_id));
        drop(sweep);
        assert!(!installs.is_under_way(&staged.room_id));
    }
}
