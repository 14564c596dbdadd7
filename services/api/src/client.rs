//! The endpoints, a file for each family of the specification.

use std::sync::Arc;

use axum::Router;

use crate::{guard::Guards, routes::Routes, state::ApiState};

mod account_data;
mod account_management;
mod account_registration;
mod cross_signing;
mod dehydrated_devices;
mod devices;
mod filters;
mod jump_to_date;
mod key_backups;
mod key_management;
mod profiles;
mod push_rules;
mod receipts;
mod relations;
mod reporting;
mod room_aliases;
mod room_creation;
mod room_directory;
mod room_events;
mod room_history;
mod room_membership;
mod room_state;
mod room_tagging;
mod room_upgrades;
mod send_to_device;
mod server_administration;
mod server_discovery;
mod sessions;
mod syncing;
mod threads;
mod typing;
mod user_directory;

pub(crate) use self::syncing::LongPollMax;

type Endpoints = Routes<ApiState>;

/// Every endpoint of the client-server API.
pub(crate) fn router(guards: Arc<Guards>) -> Router<ApiState> {
    let families = [
        server_discovery::add,
        sessions::add,
        account_registration::add,
        account_management::add,
        devices::add,
        dehydrated_devices::add,
        key_management::add,
        cross_signing::add,
        key_backups::add,
        send_to_device::add,
        profiles::add,
        account_data::add,
        room_tagging::add,
        filters::add,
        push_rules::add,
        room_creation::add,
        room_membership::add,
        room_events::add,
        room_state::add,
        room_history::add,
        jump_to_date::add,
        relations::add,
        threads::add,
        room_aliases::add,
        room_directory::add,
        room_upgrades::add,
        receipts::add,
        typing::add,
        reporting::add,
        user_directory::add,
        server_administration::add,
        syncing::add,
    ];
    let routes = families
        .iter()
        .fold(Routes::new(guards), |routes, add| add(routes));
    routes.into_router()
}
