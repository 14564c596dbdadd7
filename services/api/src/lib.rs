//! The client-server API over HTTP: authentication, limits, routing, and one small handler per
//! endpoint on ruma's request types.
//!
//! Deliberately absent: rules of the domain (they are in `hanse-user` and `hanse-room`), the
//! listener (`hanse-runtime`), and the answer to `/sync` ([`SyncHandler`] is plugged in).
//!
//! Invariant: a handler extracts, calls and presents; it decides nothing.
//! Invariant: a handler without a session of [`session`] cannot act for a user.
//! Invariant: every error has the specification's form, and one place says which.
//! Invariant: no path is written here that ruma knows.

mod admission;
mod aliases;
mod body;
mod client;
mod content_rules;
mod cors;
mod error;
mod exchange;
mod guard;
mod member_profiles;
mod memberships;
mod public_rooms;
mod rates;
mod room_keys_body;
mod room_view;
mod routes;
mod session;
mod state;
mod sync_handler;
mod uia;
mod upgrades;

use std::sync::Arc;

use axum::Router;
use hanse_room::{Rooms, Typing};
use hanse_runtime::{Clock, Tasks, config::Config};
use hanse_user::Users;

pub use self::{
    admission::{AdmissionLimits, Class, ClassLimits},
    error::ApiError,
    sync_handler::{SyncAnswer, SyncHandler},
};
use self::{guard::Guards, state::ApiState};

/// What the client-server API is built from.
pub struct ApiParts {
    /// Users and names.
    pub users: Users,
    /// Rooms.
    pub rooms: Rooms,
    /// Answers `/sync`.
    pub sync: Arc<dyn SyncHandler>,
    /// Who types.
    pub typing: Typing,
    /// What goes on after its request.
    pub tasks: Tasks,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The settings.
    pub config: Arc<Config>,
    /// How many requests of each class run at once.
    pub admission: AdmissionLimits,
}

/// The whole client-server API.
pub fn router(parts: ApiParts) -> Router {
    let guards = Arc::new(Guards::new(&parts.admission));
    client::router(guards).with_state(ApiState::new(parts))
}
