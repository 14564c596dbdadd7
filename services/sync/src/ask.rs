//! What a client asks for, read once.

use hanse_event::filter::EventFilter;
use ruma::{
    DeviceId, OwnedDeviceId, OwnedUserId, RoomId, UserId,
    api::client::{
        filter::{FilterDefinition, LazyLoadOptions, RoomEventFilter},
        sync::sync_events::v3::{Filter, Request, Response},
    },
};

use crate::{SyncError, token::SyncToken, worker::Inner};

/// Events of a timeline, unless the filter asks for fewer or more.
const TIMELINE_DEFAULT: usize = 10;
/// Most events of a timeline.
const TIMELINE_MAX: usize = 100;

/// A request, with its filter and its token.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) user_id: OwnedUserId,
    pub(crate) device_id: OwnedDeviceId,
    pub(crate) since: Option<SyncToken>,
    since_text: Option<String>,
    pub(crate) filter: FilterDefinition,
    pub(crate) full_state: bool,
    pub(crate) state_after: bool,
}

impl Ask {
    pub(crate) async fn of(
        inner: &Inner,
        user_id: &UserId,
        device_id: &DeviceId,
        request: Request,
    ) -> Result<Self, SyncError> {
        let since = request.since.as_deref();
        Ok(Self {
            user_id: user_id.to_owned(),
            device_id: device_id.to_owned(),
            since: since
                .map(|token| inner.token_key.read(token, user_id))
                .transpose()?,
            filter: filter(inner, user_id, request.filter).await?,
            full_state: request.full_state,
            state_after: request.use_state_after,
            since_text: request.since,
        })
    }

    /// Whether an answer without news is held back: not at the start, and not for a full state.
    pub(crate) fn waits(&self) -> bool {
        self.since.is_some() && !self.full_state
    }

    /// Nothing new, the same token: the answer of a process that drains.
    pub(crate) fn same_again(&self) -> Response {
        Response::new(self.since_text.clone().unwrap_or_default())
    }

    pub(crate) fn timeline_limit(&self) -> usize {
        let limit = self
            .filter
            .room
            .timeline
            .limit
            .map(|limit| u64::from(limit) as usize);
        limit.unwrap_or(TIMELINE_DEFAULT).min(TIMELINE_MAX)
    }

    /// Whether memberships are left out of the state, but those of who speaks.
    pub(crate) fn lazy(&self) -> bool {
        !matches!(
            self.filter.room.state.lazy_load_options,
            LazyLoadOptions::Disabled
        )
    }

    /// Whether they are repeated though the client was given them before.
    pub(crate) fn redundant_members(&self) -> bool {
        matches!(
            self.filter.room.state.lazy_load_options,
            LazyLoadOptions::Enabled {
                include_redundant_members: true
            }
        )
    }

    /// Whether the filter lets the room through at all.
    pub(crate) fn wants_room(&self, room_id: &RoomId) -> bool {
        let filter = &self.filter.room;
        let listed = filter
            .rooms
            .as_ref()
            .is_none_or(|rooms| rooms.iter().any(|id| id == room_id));
        listed && !filter.not_rooms.iter().any(|id| id == room_id)
    }

    /// Whether a kind of ephemeral event, or of the room's account data, gets through.
    pub(crate) fn wants(filter: &RoomEventFilter, room_id: &RoomId, event_type: &str) -> bool {
        let filter = EventFilter::new(filter);
        filter.matches_room(room_id) && filter.matches_type(event_type)
    }
}

async fn filter(
    inner: &Inner,
    user_id: &UserId,
    filter: Option<Filter>,
) -> Result<FilterDefinition, SyncError> {
    match filter {
        None => Ok(FilterDefinition::default()),
        Some(Filter::FilterDefinition(filter)) => Ok(filter),
        Some(Filter::FilterId(id)) => inner
            .users
            .filter(user_id, &id)
            .await?
            .ok_or(SyncError::UnknownFilter { id }),
        Some(_) => Err(SyncError::UnknownFilter { id: String::new() }),
    }
}
