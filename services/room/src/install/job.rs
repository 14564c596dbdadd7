//! One installation, from what is staged to the room.

use hanse_event::{Pdu, room_version};
use hanse_log::Basis;
use ruma::{OwnedEventId, room_version_rules::RoomVersionRules};

use super::{Staged, Step, order::Closure, piece::Writing, site::Site, sweep::Sweep};
use crate::{RoomError, commands::InstallState, graph::Graph, hot::implied_create, rooms::Inner};

/// Staged events that are looked at in one go.
const READ_MAX: u32 = 128;

/// What is installed where.
pub(crate) struct Scope {
    pub(super) site: Site,
    pub(super) rules: &'static RoomVersionRules,
    pub(super) staged: Staged,
    pub(super) join: Pdu,
    /// The room is here, and all of us had left it.
    pub(super) is_here: bool,
}

/// An installation under way. Lost with its process, it is begun anew by the next step.
pub(crate) struct Job {
    pub(crate) scope: Scope,
    closure: Closure,
    /// The next staged event to be looked at.
    next: u32,
    /// Set once all of them were.
    writing: Option<Writing>,
    /// Whether an earlier installation has left something that was not swept yet.
    leftovers: bool,
    sweep: Option<Sweep>,
    /// What it fails with, once everything that it wrote is swept.
    failed: Option<RoomError>,
}

impl Job {
    pub(super) async fn new(
        inner: &Inner,
        command: &InstallState,
        basis: Basis,
    ) -> Result<Self, RoomError> {
        let staged = command.staged.clone();
        let head = inner.reader.head(&staged.room_id).await?;
        let leftovers = head.is_none() && inner.has_leftovers(&staged.room_id).await?;
        Ok(Self {
            scope: Scope {
                site: Site {
                    basis,
                    slot: inner.logs.slot_of(staged.room_id.as_str()),
                    room_id: staged.room_id.clone(),
                },
                rules: room_version::rules(&staged.version)?,
                join: command.join.0.clone(),
                staged,
                is_here: head.is_some(),
            },
            closure: Closure::default(),
            next: 0,
            writing: None,
            leftovers,
            sweep: None,
            failed: None,
        })
    }

    /// Does the next bit of it. Of what comes to nothing nothing is left.
    pub(super) async fn advance(&mut self, inner: &Inner) -> Result<Step, RoomError> {
        if self.sweep.is_some() {
            return self.sweep_on(inner).await;
        }
        match self.work(inner).await {
            Err(error) if is_final(&error) => self.give_up(error).await,
            worked => worked,
        }
    }

    async fn work(&mut self, inner: &Inner) -> Result<Step, RoomError> {
        let Some(writing) = &mut self.writing else {
            self.read(inner).await?;
            return Ok(Step::More);
        };
        if !writing.is_done() {
            writing.next_piece(inner, &self.scope).await?;
        } else if self.leftovers {
            self.sweep = Some(Sweep::before(writing.first_position()));
        } else {
            let installed = if self.scope.is_here {
                inner.commit_again(&self.scope, writing).await
            } else {
                inner.commit(&self.scope, writing).await
            };
            return installed.map(Step::Done);
        }
        Ok(Step::More)
    }

    /// Looks at some staged events, to know the order of all.
    async fn read(&mut self, inner: &Inner) -> Result<(), RoomError> {
        let Scope { staged, rules, .. } = &self.scope;
        if self.next == staged.events {
            let turns = std::mem::take(&mut self.closure).turns();
            self.writing = Some(Writing::new(turns));
            return Ok(());
        }
        let last = self.next.saturating_add(READ_MAX - 1);
        let rows = inner
            .staged_range(staged, self.next, last.min(staged.events - 1))
            .await?;
        let create = implied_create(&staged.room_id, rules);
        let before = self.next;
        for row in &rows {
            if row.number != self.next {
                break;
            }
            let named = row.auth_events.split(' ').filter(|id| !id.is_empty());
            let create = create.iter().map(|id| id.as_str());
            let create = create.filter(|id| *id != row.event_id);
            let turn = (row.number, row.in_state);
            self.closure.add(turn, &row.event_id, named.chain(create));
            self.next += 1;
        }
        if self.next == before {
            return Err(RoomError::bad_content("what was staged is gone"));
        }
        Ok(())
    }

    async fn give_up(&mut self, error: RoomError) -> Result<Step, RoomError> {
        if let Some(writing) = &mut self.writing {
            writing.settle().await?;
        }
        if self.scope.is_here {
            // What was written are outliers of the room.
            return Err(error);
        }
        self.sweep = Some(Sweep::whole());
        self.failed = Some(error);
        Ok(Step::More)
    }

    async fn sweep_on(&mut self, inner: &Inner) -> Result<Step, RoomError> {
        if let Some(sweep) = &mut self.sweep
            && !sweep.next_page(inner, &self.scope.site).await?
        {
            return Ok(Step::More);
        }
        self.sweep = None;
        self.leftovers = false;
        self.failed.take().map_or(Ok(Step::More), Err)
    }
}

impl Scope {
    pub(super) fn graph<'a>(&'a self, inner: &'a Inner) -> Graph<'a> {
        Graph {
            reader: &inner.reader,
            room_id: &self.site.room_id,
            rules: self.rules,
            bodies: &inner.bodies,
            forks: &inner.forks,
            coming: None,
        }
    }

    /// Everything that an event stands behind directly.
    pub(super) fn auth_events(&self, pdu: &Pdu) -> Vec<OwnedEventId> {
        let create = implied_create(&self.site.room_id, self.rules);
        let create = create.filter(|id| id != pdu.event_id());
        let mut ids = pdu.auth_events().to_vec();
        ids.extend(create.filter(|id| !pdu.auth_events().contains(id)));
        ids
    }
}

/// Whether trying again would come to the same.
fn is_final(error: &RoomError) -> bool {
    !matches!(error, RoomError::Append(_) | RoomError::Store(_))
}
