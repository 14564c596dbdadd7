//! [Room upgrades](https://spec.matrix.org/v1.16/client-server-api/#room-upgrades).

use axum::extract::State;
use ruma::api::client::room::upgrade_room::v3 as upgrade_room;

use super::Endpoints;
use crate::{
    admission::Class, error::ApiError, exchange::Ruma, rates::Rates, session::Session,
    upgrades::Upgrades,
};

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes.add(Class::Write, "upgrade_room", upgrade)
}

/// `POST /_matrix/client/v3/rooms/{roomId}/upgrade` — members who may send `m.room.tombstone`.
async fn upgrade(
    State(upgrades): State<Upgrades>,
    State(rates): State<Rates>,
    session: Session,
    Ruma(request): Ruma<upgrade_room::Request>,
) -> Result<Ruma<upgrade_room::Response>, ApiError> {
    rates.room_creation(&session.user_id)?;
    let replacement = upgrades.upgrade(&session, request).await?;
    Ok(Ruma(upgrade_room::Response::new(replacement)))
}
