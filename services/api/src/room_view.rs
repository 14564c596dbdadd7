//! A room as one user may see it: who may read it at all, up to where, and in what form.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use hanse_event::power;
use hanse_log::Position;
use hanse_room::{HistoryPoint, Lens, RoomReader, StateAt, TimelineEvent, TimelinePoint};
use hanse_runtime::Clock;
use hanse_user::Users;
use ruma::{
    EventId, OwnedDeviceId, OwnedRoomId, OwnedUserId, RoomId, RoomVersionId, UserId,
    api::error::ErrorKind,
    events::room::{member::MembershipState, power_levels::RoomPowerLevels},
};

mod present;
mod relations;

use crate::{error::ApiError, session::Session, sync_handler::Syncs};

/// Opens views of rooms.
#[derive(Clone, Debug)]
pub(crate) struct RoomViews {
    pub(crate) users: Users,
    pub(crate) reader: RoomReader,
    pub(crate) syncs: Syncs,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A room, seen by a user who may read it, at least in part.
pub(crate) struct RoomView {
    views: RoomViews,
    room_id: OwnedRoomId,
    user_id: OwnedUserId,
    device_id: OwnedDeviceId,
    lens: Lens,
    /// The last position that the user may follow: the room's end, or where they left.
    horizon: Position,
}

impl RoomViews {
    /// The view of who is in the room, was in it, or may look into it from outside; 403 for
    /// everybody else, whether or not there is such a room.
    pub(crate) async fn open(
        &self,
        session: &Session,
        room_id: &RoomId,
    ) -> Result<RoomView, ApiError> {
        let lens = self
            .reader
            .lens(room_id, &session.user_id, Position::END)
            .await?;
        let horizon = if lens.membership() == MembershipState::Join || lens.world_readable() {
            Some(Position::END)
        } else {
            self.end_of_stay(&session.user_id, room_id).await?
        };
        Ok(RoomView {
            views: self.clone(),
            room_id: room_id.to_owned(),
            user_id: session.user_id.clone(),
            device_id: session.device_id.clone(),
            lens,
            horizon: horizon.ok_or_else(not_there)?,
        })
    }

    /// Where the user's last stay in the room ended, unless they forgot the room since.
    async fn end_of_stay(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
    ) -> Result<Option<Position>, ApiError> {
        let own = "m.room.member";
        let versions = self
            .reader
            .state_versions(room_id, own, user_id.as_str(), Position::END);
        let versions = versions.await?;
        let is_join = |state: &StateAt| state.membership.as_deref() == Some("join");
        let joined = |(_, state): &(Position, Option<StateAt>)| state.as_ref().is_some_and(is_join);
        let last = versions.iter().rposition(joined);
        let end = last
            .and_then(|last| versions.get(last + 1))
            .map(|(position, _)| *position);
        let Some(end) = end else { return Ok(None) };
        let forgotten = self.users.forgotten_room(user_id, room_id).await?;
        Ok(Some(end).filter(|end| !forgotten.is_some_and(|room| room.covers(*end))))
    }
}

/// 403 for who may not see a room.
pub(crate) fn not_there() -> ApiError {
    ApiError::forbidden("you are not in this room")
}

impl RoomView {
    /// The room.
    pub(crate) fn room_id(&self) -> &RoomId {
        &self.room_id
    }

    /// Who looks.
    pub(crate) fn user_id(&self) -> &UserId {
        &self.user_id
    }

    /// Up to where they may look.
    pub(crate) fn horizon(&self) -> Position {
        self.horizon
    }

    /// Reads the room.
    pub(crate) fn reader(&self) -> &RoomReader {
        &self.views.reader
    }

    /// Whether the user is in the room now.
    pub(crate) fn is_joined(&self) -> bool {
        self.lens.membership() == MembershipState::Join
    }

    /// Whether anybody may read the room.
    pub(crate) fn is_world_readable(&self) -> bool {
        self.lens.world_readable()
    }

    /// 403 unless the user is in the room now.
    pub(crate) fn joined(&self) -> Result<(), ApiError> {
        if self.is_joined() {
            Ok(())
        } else {
            Err(not_there())
        }
    }

    /// What decides on which of these events the user may see, those that were backfilled, too.
    pub(crate) async fn lens_on(
        &self,
        events: &[TimelineEvent],
    ) -> Result<Cow<'_, Lens>, ApiError> {
        if events.iter().all(|event| event.position > Position::START) {
            return Ok(Cow::Borrowed(&self.lens));
        }
        let mut lens = self.lens.clone();
        self.reader()
            .look_back(&self.room_id, &mut lens, events)
            .await?;
        Ok(Cow::Owned(lens))
    }

    /// Whether the user may see an event through a lens on it.
    pub(crate) fn sees_through(&self, lens: &Lens, event: &TimelineEvent) -> bool {
        event.position <= self.horizon && lens.sees(event)
    }

    /// Whether the user may see an event that was not backfilled.
    pub(crate) fn sees(&self, event: &TimelineEvent) -> bool {
        self.sees_through(&self.lens, event)
    }

    /// An event that the user may see, or 404.
    pub(crate) async fn event(&self, event_id: &EventId) -> Result<TimelineEvent, ApiError> {
        let event = self.reader().event(&self.room_id, event_id).await?;
        let lens = self.lens_on(event.as_slice()).await?;
        let visible = event.filter(|event| self.sees_through(&lens, event));
        visible.ok_or_else(|| ApiError::not_found("there is no such event"))
    }

    /// All state as of a position: everything, memberships last.
    pub(crate) async fn state(&self, at: Position) -> Result<Vec<TimelineEvent>, ApiError> {
        let mut state = self.reader().plain_state(&self.room_id, at).await?;
        state.extend(self.reader().members(&self.room_id, at).await?);
        self.bodies(&state).await
    }

    /// All state but the memberships, of which only those of some users: for lazy loading.
    pub(crate) async fn state_with_members_of(
        &self,
        at: Position,
        users: BTreeSet<&UserId>,
    ) -> Result<Vec<TimelineEvent>, ApiError> {
        let state = self.reader().plain_state(&self.room_id, at).await?;
        let mut events = self.bodies(&state).await?;
        events.extend(self.members_of(at, users).await?);
        Ok(events)
    }

    /// The memberships of some users as of a position.
    pub(crate) async fn members_of(
        &self,
        at: Position,
        users: BTreeSet<&UserId>,
    ) -> Result<Vec<TimelineEvent>, ApiError> {
        let mut events = Vec::with_capacity(users.len());
        for user in users {
            let member =
                self.reader()
                    .state_event(&self.room_id, "m.room.member", user.as_str(), at);
            events.extend(member.await?);
        }
        Ok(events)
    }

    /// The events that state values name.
    pub(crate) async fn bodies(&self, state: &[StateAt]) -> Result<Vec<TimelineEvent>, ApiError> {
        let mut events = Vec::with_capacity(state.len());
        for one in state {
            events.extend(self.reader().state_body(&self.room_id, one).await?);
        }
        Ok(events)
    }

    /// Where a token of `/messages` or `/sync` stands in the room's timeline.
    pub(crate) async fn timeline_point(&self, token: &str) -> Result<TimelinePoint, ApiError> {
        if let Ok(point) = token.parse() {
            return Ok(point);
        }
        let seen = self.position(token).await?;
        let next = Position::from_packed(seen.packed().saturating_add(1));
        Ok(TimelinePoint::Arrival(next))
    }

    /// Where it stands in the order of history.
    pub(crate) async fn history_point(&self, token: &str) -> Result<HistoryPoint, ApiError> {
        let point = self.timeline_point(token).await?;
        Ok(self.reader().in_history(&self.room_id, point).await?)
    }

    /// The last position that a token of `/messages` or `/sync` includes.
    pub(crate) async fn included(&self, token: &str) -> Result<Position, ApiError> {
        let next = self.timeline_point(token).await?.position();
        Ok(Position::from_packed(next.packed().saturating_sub(1)))
    }

    /// Up to where a token of `/sync` has seen the room; 400 where it is none.
    async fn position(&self, token: &str) -> Result<Position, ApiError> {
        let position = self
            .views
            .syncs
            .position_in(token, &self.user_id, &self.room_id)
            .await?;
        let position = position.map(|position| self.within_horizon(position));
        position.ok_or_else(|| ApiError::invalid_param("this is not a token of this server"))
    }

    /// A token does not name the slot of rooms that were left before it: it stands where the user's
    /// stay ended.
    fn within_horizon(&self, position: Position) -> Position {
        if position == Position::START && !self.is_joined() {
            return self.horizon;
        }
        position.min(self.horizon)
    }

    /// The version of the room, and its power levels as they are now.
    pub(crate) async fn power_levels(&self) -> Result<(RoomVersionId, RoomPowerLevels), ApiError> {
        let (reader, room_id, now) = (self.reader(), &self.room_id, Position::END);
        let head = reader.head(room_id).await?.ok_or_else(not_there)?;
        let version = RoomVersionId::try_from(head.head.room_version.as_str())
            .map_err(|error| ApiError::internal(&error))?;
        let rules = hanse_event::room_version::rules(&version)
            .map_err(|error| ApiError::internal(&error))?;
        let create = reader
            .state_event(room_id, "m.room.create", "", now)
            .await?;
        let create = create.ok_or_else(not_there)?;
        let levels = reader
            .state_event(room_id, "m.room.power_levels", "", now)
            .await?;
        let levels =
            power::power_levels(&create.pdu, levels.as_ref().map(|event| &event.pdu), rules);
        let levels = levels
            .map_err(|error| ApiError::bad_request(ErrorKind::BadState, error.to_string()))?;
        Ok((version, levels))
    }
}
