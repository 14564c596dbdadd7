//! [Dehydrated devices](https://github.com/matrix-org/matrix-spec-proposals/pull/3814) (MSC3814), under
//! their unstable paths.

use axum::extract::State;
use hanse_log::Position;
use hanse_user::{DehydratedDevice, KeysUpload, Users};
use ruma::api::client::dehydrated_device::{
    delete_dehydrated_device::unstable as delete_device,
    get_dehydrated_device::unstable as get_device, get_events::unstable as get_events,
    put_dehydrated_device::unstable as put_device,
};

use super::Endpoints;
use crate::{admission::Class, error::ApiError, exchange::Ruma, session::Session};

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes
        .add_unstable(Class::Read, "dehydrated_device", device)
        .add_unstable(Class::Write, "put_dehydrated_device", put)
        .add_unstable(Class::Write, "delete_dehydrated_device", delete)
        .add_unstable(Class::Read, "dehydrated_device_events", events)
}

/// `GET /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device` — any user, their own.
async fn device(
    State(users): State<Users>,
    session: Session,
    _: Ruma<get_device::Request>,
) -> Result<Ruma<get_device::Response>, ApiError> {
    let DehydratedDevice {
        device_id,
        device_data,
    } = users.dehydrated_device(&session.user_id).await?;
    Ok(Ruma(get_device::Response::new(device_id, device_data)))
}

/// `PUT /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device` — any user, in place of the
/// one they have.
async fn put(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<put_device::Request>,
) -> Result<Ruma<put_device::Response>, ApiError> {
    let checked = request.device_data.deserialize();
    checked.map_err(|error| ApiError::bad_json(error.to_string()))?;
    let device = DehydratedDevice {
        device_id: request.device_id,
        device_data: request.device_data,
    };
    let keys = KeysUpload {
        device_keys: Some(request.device_keys),
        one_time_keys: request.one_time_keys,
        fallback_keys: request.fallback_keys,
    };
    let name = request.initial_device_display_name;
    users
        .put_dehydrated_device(&session.user_id, &device, name, &keys)
        .await?;
    Ok(Ruma(put_device::Response::new(device.device_id)))
}

/// `DELETE /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device` — any user, their own.
async fn delete(
    State(users): State<Users>,
    session: Session,
    _: Ruma<delete_device::Request>,
) -> Result<Ruma<delete_device::Response>, ApiError> {
    let device_id = users.remove_dehydrated_device(&session.user_id).await?;
    Ok(Ruma(delete_device::Response::new(device_id)))
}

/// `POST /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{device_id}/events` — any user,
/// their own. Clients read until a page is empty, so that every page says where the next one begins.
async fn events(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<get_events::Request>,
) -> Result<Ruma<get_events::Response>, ApiError> {
    let after = match &request.next_batch {
        Some(token) => position(token)?,
        None => Position::START,
    };
    let page = users
        .dehydrated_messages(&session.user_id, &request.device_id, after)
        .await?;
    let last = page.last.unwrap_or(after);
    let mut response = get_events::Response::new(page.events);
    response.next_batch = Some(last.packed().to_string());
    Ok(Ruma(response))
}

fn position(token: &str) -> Result<Position, ApiError> {
    let packed = token.parse().ok().filter(|packed: &i64| *packed >= 0);
    let packed = packed.ok_or_else(|| ApiError::invalid_param("next_batch is not from here"))?;
    Ok(Position::from_packed(packed))
}
