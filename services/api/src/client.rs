//! The endpoints, a file for each family of the specification.

use std::sync::Arc;

use axum::Router;

use crate::{guard::Guards, routes::Routes, state::ApiState};

mod account_data;
mod account_management;
mod account_registration;
mod devices;
mod filters;
mod profiles;
mod push_rules;
mod room_tagging;
mod server_discovery;
mod sessions;

type Endpoints = Routes<ApiState>;

/// Every endpoint of the client-server API.
pub(crate) fn router(guards: Arc<Guards>) -> Router<ApiState> {
    let families = [
        server_discovery::add,
        sessions::add,
        account_registration::add,
        account_management::add,
        devices::add,
        profiles::add,
        account_data::add,
        room_tagging::add,
        filters::add,
        push_rules::add,
    ];
    let routes = families
        .iter()
        .fold(Routes::new(guards), |routes, add| add(routes));
    routes.into_router()
}
