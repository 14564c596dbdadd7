//! The last batch of an installation: from here on the room is there.

use std::collections::HashMap;

use hanse_event::{Verdict, auth_types_of, judge};
use hanse_log::Position;
use hanse_proto::{
    log::{Entry, Relay, entry::Kind},
    room::{Gap, LocalMembership, Membership, StateChange, StateInstalled, room_entry},
};
use ruma::{
    EventId, RoomId, UserId,
    events::{StateEventType, room::member::MembershipState},
};

use super::{Installed, job::Scope, piece::Writing};
use crate::{
    RoomError, Sent,
    entry::{Circumstances, Place, notice_of},
    hot::Hot,
    redact::Effect,
    rooms::Inner,
    stripped,
};

impl Inner {
    /// Judges the join by the state, and lets the room begin with both.
    pub(super) async fn commit(
        &self,
        scope: &Scope,
        writing: &Writing,
    ) -> Result<Installed, RoomError> {
        let cell = self.cells.cell(&scope.site.room_id);
        let mut guard = cell.lock().await;
        *guard = None;
        if self.reader.head(&scope.site.room_id).await?.is_some() {
            return Ok(Installed::Here);
        }
        let mut hot = self.hot_of_installed(scope, writing).await?;
        self.check_installed_join(scope, &hot).await?;
        let installed = self.installed_entry(scope, writing, &hot).await?;
        let join = self.joined_entry(scope, &mut hot);
        let ended = room_entry::Kind::Installation(scope.site.ended());
        let ended = scope.site.entry(self, ended);
        // The memory is not kept: it holds only what the join needed.
        let ticket = scope.site.submit(self, vec![installed, ended, join])?;
        drop(guard);
        let first = ticket.applied().await?;
        let sent = Sent {
            event_id: scope.join.event_id().to_owned(),
            position: Position::new(first.seq(), first.index() + 2),
        };
        let counts = writing.counts;
        Ok(Installed::Now { sent, counts })
    }

    /// Has the room, which all of us had left, begin anew with the join.
    pub(super) async fn commit_again(
        &self,
        scope: &Scope,
        writing: &Writing,
    ) -> Result<Installed, RoomError> {
        let room_id = &scope.site.room_id;
        let rejoined = self.rejoin(room_id, &scope.join, &writing.state).await?;
        Ok(rejoined.map_or(Installed::Here, |sent| Installed::Now {
            sent,
            counts: writing.counts,
        }))
    }

    /// The state that authorises the join, and that is shown to whoever is invited.
    async fn hot_of_installed(&self, scope: &Scope, writing: &Writing) -> Result<Hot, RoomError> {
        let (room_id, version) = (scope.site.room_id.clone(), &scope.staged.version);
        let mut hot = Hot::empty(room_id, scope.site.slot, scope.site.basis, version)?;
        hot.head.joined_members = writing.joined;
        hot.head.invited_members = writing.invited;
        hot.head.local_members = writing.local_joined;
        let authorising = auth_types_of(&scope.join, scope.rules).unwrap_or_default();
        let authorising = authorising
            .into_iter()
            .map(|(event_type, key)| (event_type.to_string(), key));
        let own = ("m.room.member".to_owned(), scope.join.sender().to_string());
        let shown = stripped::SHOWN.iter();
        let shown = shown.map(|event_type| ((*event_type).to_owned(), String::new()));
        for (event_type, state_key) in authorising.chain([own]).chain(shown) {
            let (room_id, end) = (&scope.site.room_id, Position::END);
            let value = self.reader.value(room_id, &event_type, &state_key, end);
            let body = match value.await? {
                Some(value) => self.reader.state_body(room_id, &value).await?,
                None => None,
            };
            hot.hold(event_type, state_key, body.map(|event| event.pdu));
        }
        Ok(hot)
    }

    async fn check_installed_join(&self, scope: &Scope, hot: &Hot) -> Result<(), RoomError> {
        let mut auth_events = HashMap::new();
        for id in scope.auth_events(&scope.join) {
            let judged = scope.graph(self).judged(&id).await?;
            auth_events.extend(judged.map(|judged| (id, judged)));
        }
        let fetch = |id: &EventId| auth_events.get(id).cloned();
        let state = |event_type: &StateEventType, state_key: &str| {
            hot.state(&event_type.to_string(), state_key).cloned()
        };
        match judge(scope.join.clone(), scope.rules, fetch, state, state) {
            Verdict::Accepted(_) => Ok(()),
            Verdict::SoftFailed(failed) => Err(failed.reason.into()),
            Verdict::Rejected(rejected) => Err(rejected.reason.into()),
        }
    }

    fn joined_entry(&self, scope: &Scope, hot: &mut Hot) -> Entry {
        let place = Place {
            state: hot.state_change(&scope.join, &self.server_name),
            forward_extremities: vec![scope.join.event_id().to_string()],
            event_state: None,
            opens_depth_bucket: true,
        };
        let circumstances = Circumstances {
            now_ms: self.clock.now_ms(),
            server_name: &self.server_name,
            transaction: None,
            effect: Effect::Nothing,
        };
        let mut entry = hot.accept_at(&scope.join, place, circumstances);
        if let Some(Kind::Room(room)) = &mut entry.kind
            && let Some(room_entry::Kind::Event(event)) = &mut room.kind
        {
            // Of the history before it nothing came along: it may be backfilled.
            let missing = scope.join.prev_events().iter().map(ToString::to_string);
            event.gap = Some(Gap {
                missing: missing.collect(),
            });
        }
        entry
    }

    /// That the state is whole, with the memberships of our users.
    async fn installed_entry(
        &self,
        scope: &Scope,
        writing: &Writing,
        hot: &Hot,
    ) -> Result<Entry, RoomError> {
        let (mut local_memberships, mut relays) = (Vec::new(), Vec::new());
        for pdu in &writing.locals {
            let (Some(user), Some(membership)) = (pdu.state_key(), pdu.membership()) else {
                continue;
            };
            if self.is_held(scope, user, pdu.event_id()).await? {
                continue;
            }
            let is_shown = matches!(membership, MembershipState::Invite | MembershipState::Knock);
            local_memberships.push(LocalMembership {
                user_id: user.to_owned(),
                membership: membership.to_string(),
                event_id: pdu.event_id().to_string(),
                stripped_state: if is_shown {
                    stripped::of(hot, pdu)
                } else {
                    String::new()
                },
            });
            relays.extend(notice(&scope.site.room_id, user, &membership));
        }
        let counts = writing.counts;
        let installed = StateInstalled {
            first_position: writing.first_position().packed(),
            state_events: counts.state.into(),
            auth_events: counts.behind.into(),
            local_memberships,
        };
        let kind = room_entry::Kind::StateInstalled(installed);
        let mut entry = scope.site.entry(self, kind);
        entry.relays = relays;
        Ok(entry)
    }

    /// Whether a user's membership is known to be this event: an invitation that came by itself.
    async fn is_held(
        &self,
        scope: &Scope,
        user: &str,
        event_id: &EventId,
    ) -> Result<bool, RoomError> {
        let Ok(user) = UserId::parse(user) else {
            return Ok(false);
        };
        let held = self.reader.user_room(&user, &scope.site.room_id).await?;
        Ok(held.is_some_and(|held| held.event_id == event_id))
    }
}

/// Tells a user's own slot of a membership that is news. That somebody once left is none.
fn notice(room_id: &RoomId, user: &str, membership: &MembershipState) -> Option<Relay> {
    if matches!(membership, MembershipState::Leave | MembershipState::Ban) {
        return None;
    }
    let state = StateChange {
        state_key: user.to_owned(),
        membership: Some(Membership {
            membership: membership.to_string(),
            local: true,
            ..Membership::default()
        }),
        ..StateChange::default()
    };
    notice_of(room_id, &state)
}
