//! A room that was joined through another server: the state before the join, as a whole
//! ([docs](../../../docs/event-graphs.md)).
//!
//! Whoever joined hands the state's events and their auth chains over in portions ([`Staging`]), in
//! whatever order, and then has the room's owner install them ([`Rooms::install`]). The owner puts them
//! into order, judges each by its own auth events, and writes them in entries of bounded size. Nobody
//! is shown any of it until the last batch, which has the join in it and gives the room its head.
//!
//! The owner works in steps of two seconds, one for each command: whatever the size of the state, no
//! deadline passes, and when whoever joins goes away, the work ends. What nobody goes on with is taken
//! away after an hour ([`Rooms::collect_installations`]).
//!
//! A room that is here, and that all of us had left, begins anew with such a join: what is not known of
//! its state becomes outliers, and the join takes the place of all of the room's ends.
//!
//! Invariant: of the state only ids are in memory, and the bodies of what is being written.
//! Invariant: other rooms of the slot wait for a few bounded batches at most.

mod claims;
mod collect;
mod commit;
mod job;
mod order;
mod piece;
mod site;
mod staging;
mod sweep;

use std::time::Duration;

use hanse_event::{Pdu, room_version};
use hanse_log::AppendError;
use ruma::{
    RoomVersionId,
    events::{TimelineEventType, room::member::MembershipState},
};
use serde::{Deserialize, Serialize};

pub use self::staging::{Staged, Staging};
pub(crate) use self::{claims::Installs, job::Job};
use crate::{
    RoomError, Rooms, Sent,
    commands::{InstallState, SignedEvent},
    entry::is_local,
    rooms::{DECISIONS_MAX, Inner},
};

/// Most events of a state and behind it.
pub const INSTALLED_MAX: u32 = 500_000;
/// How long the owner works before it says how far it is.
const STEP: Duration = Duration::from_secs(2);
/// Steps before whoever waits gives up.
const STEPS_MAX: usize = 1_000;

/// What became of an installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Installed {
    /// The room is there, and the user in it.
    Now {
        /// The join.
        sent: Sent,
        /// How much came with it.
        counts: InstalledCounts,
    },
    /// The same join had been installed before.
    Before {
        /// The join.
        sent: Sent,
    },
    /// One of us is in the room already, so that its state is not taken from elsewhere: the join is to
    /// be received as any event.
    Here,
}

/// What a room was installed from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledCounts {
    /// Events of the state.
    pub state: u32,
    /// Events behind them that are no part of it.
    pub behind: u32,
    /// Events that their own auth events do not allow: kept, and no part of the state.
    pub rejected: u32,
    /// Events behind which others are missing, which cannot be judged: not kept.
    pub left_out: u32,
}

/// How far a step came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// To be gone on with.
    More,
    Done(Installed),
}

impl Rooms {
    /// Installs a staged state and the join that follows it; returns when the room is there for
    /// everybody to see. `join`: the event as the other servers have it. Repeated, it goes on where it
    /// was.
    ///
    /// The caller sees to it that one join of a room is under way at a time.
    pub async fn install(&self, staged: &Staged, join: Pdu) -> Result<Installed, RoomError> {
        let command = InstallState {
            room_id: staged.room_id.clone(),
            staged: staged.clone(),
            join: SignedEvent(join),
        };
        for _ in 0..STEPS_MAX {
            if let Step::Done(installed) = self.routed(command.clone()).await? {
                return Ok(installed);
            }
        }
        let reason = "the room's state takes too long to install".to_owned();
        Err(RoomError::TooLarge { reason })
    }
}

impl Inner {
    /// Works on an installation for a while.
    pub(crate) async fn install_step(&self, command: &InstallState) -> Result<Step, RoomError> {
        self.check_join(command)?;
        for _ in 0..DECISIONS_MAX {
            match self.install_once(command).await {
                Err(RoomError::Append(AppendError::Stale)) => {}
                done => return done,
            }
        }
        Err(AppendError::Stale.into())
    }

    async fn install_once(&self, command: &InstallState) -> Result<Step, RoomError> {
        let slot = self.logs.slot_of(command.room_id.as_str());
        let basis = self.logs.basis(slot)?;
        if let Some(done) = self.installed_before(command).await? {
            return Ok(Step::Done(done));
        }
        let cell = self.installs.claim(&command.staged, self.clock.monotonic());
        let cell = cell.ok_or(AppendError::Overloaded { slot })?;
        let mut held = cell.lock().await;
        // Out of the cell while it works: one that is dropped in the middle of a piece is begun anew.
        let begun = held.take().filter(|job| job.scope.site.basis == basis);
        let mut job = if let Some(begun) = begun {
            begun
        } else {
            self.logs.barrier(slot).await?;
            Job::new(self, command, basis).await?
        };
        let until = self.clock.monotonic() + STEP;
        loop {
            match job.advance(self).await {
                Ok(Step::More) if self.clock.monotonic() < until => {}
                Ok(Step::More) => {
                    *held = Some(job);
                    return Ok(Step::More);
                }
                ended => {
                    self.installs.end(&command.staged.room_id);
                    return ended;
                }
            }
        }
    }

    /// What a room that is here already says to the command.
    async fn installed_before(
        &self,
        command: &InstallState,
    ) -> Result<Option<Installed>, RoomError> {
        let Some(head) = self.reader.head(&command.room_id).await? else {
            return Ok(None);
        };
        if head.head.room_version != command.staged.version.as_str() {
            return Err(RoomError::bad_content("a room of another version"));
        }
        let join = &command.join.0;
        let known = self.reader.event(&command.room_id, join.event_id()).await?;
        let before = known.map(|event| Installed::Before {
            sent: Sent {
                event_id: join.event_id().to_owned(),
                position: event.position,
            },
        });
        Ok(before.or((head.head.local_members > 0).then_some(Installed::Here)))
    }

    /// What can be said of the join without its room.
    fn check_join(&self, command: &InstallState) -> Result<(), RoomError> {
        let join = &command.join.0;
        let is_join = *join.event_type() == TimelineEventType::RoomMember
            && join.membership() == Some(MembershipState::Join)
            && join.state_key() == Some(join.sender().as_str())
            && is_local(join.sender(), &self.server_name)
            && join.room_id() == command.room_id;
        if !is_join {
            return Err(RoomError::bad_content("not a join of one of our users"));
        }
        room_version::rules(&command.staged.version)?;
        Ok(())
    }
}

/// The version that a room's create event names.
pub(crate) fn version_of(create: &Pdu) -> Result<RoomVersionId, RoomError> {
    #[derive(Deserialize)]
    struct Content {
        room_version: Option<RoomVersionId>,
    }
    let content: Content = create.content_as().map_err(RoomError::bad_content)?;
    Ok(content.room_version.unwrap_or(RoomVersionId::V1))
}
