//! What the handlers reach, each part by its own type.

use std::{fmt, sync::Arc};

use axum::extract::FromRef;
use hanse_room::{RoomReader, Rooms, Typing};
use hanse_runtime::{
    Clock, Tasks,
    config::{Config, Registration, Server},
};
use hanse_user::Users;

use crate::{
    ApiParts, aliases::Aliases, body::BodyBytesMax, client::LongPollMax,
    content_rules::ContentRules, member_profiles::MemberProfiles, memberships::Memberships,
    public_rooms::PublicRooms, rates::Rates, room_view::RoomViews, sync_handler::Syncs,
    upgrades::Upgrades,
};

/// Everything behind one pointer, so that a request clones little. Handlers never see it: they take
/// `State` of a part.
#[derive(Clone)]
pub(crate) struct ApiState(Arc<State>);

struct State {
    users: Users,
    rooms: Rooms,
    syncs: Syncs,
    typing: Typing,
    rates: Rates,
    tasks: Tasks,
    clock: Arc<dyn Clock>,
    server: Arc<Server>,
    registration: Arc<Registration>,
    body_bytes_max: BodyBytesMax,
    long_poll_max: LongPollMax,
}

impl ApiState {
    pub(crate) fn new(parts: ApiParts) -> Self {
        let ApiParts {
            users,
            rooms,
            sync,
            typing,
            tasks,
            clock,
            config,
            admission: _,
        } = parts;
        let Config {
            server,
            registration,
            limits,
            rate_limits,
            ..
        } = &*config;
        Self(Arc::new(State {
            users,
            rooms,
            syncs: Syncs(sync),
            typing,
            rates: Rates::new(rate_limits, &clock),
            tasks,
            clock,
            server: Arc::new(server.clone()),
            registration: Arc::new(registration.clone()),
            body_bytes_max: BodyBytesMax(limits.body_bytes_max),
            long_poll_max: LongPollMax(limits.long_poll()),
        }))
    }
}

impl fmt::Debug for ApiState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiState").finish_non_exhaustive()
    }
}

macro_rules! parts {
    ($($part:ty = $field:ident),+ $(,)?) => {$(
        impl FromRef<ApiState> for $part {
            fn from_ref(state: &ApiState) -> Self {
                state.0.$field.clone()
            }
        }
    )+};
}

parts! {
    Users = users,
    Rooms = rooms,
    Syncs = syncs,
    Typing = typing,
    Rates = rates,
    Tasks = tasks,
    Arc<dyn Clock> = clock,
    Arc<Server> = server,
    Arc<Registration> = registration,
    BodyBytesMax = body_bytes_max,
    LongPollMax = long_poll_max,
}

impl FromRef<ApiState> for RoomReader {
    fn from_ref(state: &ApiState) -> Self {
        state.0.rooms.reader().clone()
    }
}

/// What spans several domains is put together for the request that needs it: pointers, all of it.
macro_rules! composed {
    ($($whole:ty { $($part:ident),+ })+) => {$(
        impl FromRef<ApiState> for $whole {
            fn from_ref(state: &ApiState) -> Self {
                Self { $($part: FromRef::from_ref(state)),+ }
            }
        }
    )+};
}

composed! {
    Aliases { users, reader }
    ContentRules { users, reader }
    MemberProfiles { users, rooms, tasks }
    Memberships { users, rooms, profiles, aliases }
    PublicRooms { reader }
    RoomViews { users, reader, syncs, clock }
    Upgrades { aliases, rooms, memberships, profiles, views }
}
