//! [Server discovery], [API versions] and [capabilities].
//!
//! [Server discovery]: https://spec.matrix.org/v1.16/client-server-api/#server-discovery
//! [API versions]: https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientversions
//! [capabilities]: https://spec.matrix.org/v1.16/client-server-api/#capabilities-negotiation

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use hanse_event::room_version;
use hanse_runtime::config::Server;
use ruma::api::{
    client::discovery::{
        discover_homeserver::{self, HomeserverInfo},
        get_capabilities::v3::{
            self as get_capabilities, Capabilities, RoomVersionStability, RoomVersionsCapability,
        },
        get_supported_versions,
    },
    federation::discovery::discover_homeserver as discover_server,
};
use serde_json::{Value as JsonValue, json};

use super::Endpoints;
use crate::{admission::Class, error::ApiError, exchange::Ruma, session::Session};

/// What is true: media are still to come, the rest of these is there.
const VERSIONS: [&str; 12] = [
    "r0.5.0", "r0.6.0", "r0.6.1", "v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8",
    "v1.9",
];

/// Proposals that are served under unstable paths.
const UNSTABLE_FEATURES: [&str; 1] = ["org.matrix.msc3814"];

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes
        .add(Class::Read, "versions", versions)
        .add(Class::Read, "well_known_client", well_known_client)
        .add(Class::Read, "well_known_server", well_known_server)
        .add(Class::Read, "capabilities", capabilities)
}

/// `GET /_matrix/client/versions` — everybody.
async fn versions(
    _: Ruma<get_supported_versions::Request>,
) -> Ruma<get_supported_versions::Response> {
    let versions = VERSIONS.map(ToOwned::to_owned).to_vec();
    let mut response = get_supported_versions::Response::new(versions);
    let unstable = UNSTABLE_FEATURES.map(|feature| (feature.to_owned(), true));
    response.unstable_features.extend(unstable);
    Ruma(response)
}

/// `GET /.well-known/matrix/client` — everybody; 404 where no URL is configured.
async fn well_known_client(
    State(server): State<Arc<Server>>,
    _: Ruma<discover_homeserver::Request>,
) -> Result<Ruma<discover_homeserver::Response>, ApiError> {
    let base_url = server.public_base_url.clone();
    let base_url = base_url.ok_or_else(|| ApiError::not_found("no base URL is configured"))?;
    Ok(Ruma(discover_homeserver::Response::new(
        HomeserverInfo::new(base_url),
    )))
}

/// `GET /.well-known/matrix/server` — everybody; 404 where nothing is delegated.
async fn well_known_server(
    State(server): State<Arc<Server>>,
    _: Ruma<discover_server::Request>,
) -> Result<Ruma<discover_server::Response>, ApiError> {
    let delegated = server.delegated_server.clone();
    let delegated = delegated.ok_or_else(|| ApiError::not_found("nothing is delegated"))?;
    Ok(Ruma(discover_server::Response::new(delegated)))
}

/// `GET /_matrix/client/v3/capabilities` — any user.
async fn capabilities(
    _: Session,
    _: Ruma<get_capabilities::Request>,
) -> Result<Json<JsonValue>, ApiError> {
    let available: BTreeMap<_, _> = room_version::SUPPORTED
        .into_iter()
        .map(|id| (id, RoomVersionStability::Stable))
        .collect();
    let mut capabilities = Capabilities::new();
    capabilities.room_versions = RoomVersionsCapability::new(room_version::DEFAULT, available);
    capabilities.thirdparty_id_changes.enabled = false;
    capabilities.get_login_token.enabled = true;
    let named = serde_json::to_value(&capabilities).and_then(serde_json::from_value);
    let mut named: BTreeMap<String, JsonValue> = named.map_err(|e| ApiError::internal(&e))?;
    // ruma leaves out what counts as enabled when it is absent. Clients look for it all the same.
    for name in ["m.change_password", "m.set_displayname", "m.set_avatar_url"] {
        named.insert(name.to_owned(), json!({ "enabled": true }));
    }
    Ok(Json(json!({ "capabilities": named })))
}
