//! [Device management](https://spec.matrix.org/v1.16/client-server-api/#device-management).

use axum::extract::State;
use hanse_user::Users;
use ruma::api::client::device::{
    delete_device::v3 as delete_device, delete_devices::v3 as delete_devices,
    get_device::v3 as get_device, get_devices::v3 as get_devices,
    update_device::v3 as update_device,
};

use super::Endpoints;
use crate::{admission::Class, error::ApiError, exchange::Ruma, session::Session, uia::Uia};

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes
        .add(Class::Read, "devices", devices)
        .add(Class::Read, "device", device)
        .add(Class::Write, "update_device", update)
        .add(Class::Write, "delete_device", delete)
        .add(Class::Write, "delete_devices", delete_several)
}

/// `GET /_matrix/client/v3/devices` — any user, their own.
async fn devices(
    State(users): State<Users>,
    session: Session,
    _: Ruma<get_devices::Request>,
) -> Result<Ruma<get_devices::Response>, ApiError> {
    let devices = users.devices(&session.user_id).await?;
    Ok(Ruma(get_devices::Response::new(devices)))
}

/// `GET /_matrix/client/v3/devices/{deviceId}` — any user, their own.
async fn device(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<get_device::Request>,
) -> Result<Ruma<get_device::Response>, ApiError> {
    let device = users.device(&session.user_id, &request.device_id).await?;
    let device = device.ok_or_else(|| ApiError::not_found("there is no such device"))?;
    Ok(Ruma(get_device::Response::new(device)))
}

/// `PUT /_matrix/client/v3/devices/{deviceId}` — any user, their own. Without a name nothing
/// changes.
async fn update(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<update_device::Request>,
) -> Result<Ruma<update_device::Response>, ApiError> {
    let (user_id, device_id) = (&session.user_id, &request.device_id);
    match request.display_name.as_deref() {
        Some(name) => users.rename_device(user_id, device_id, Some(name)).await?,
        None if users.device(user_id, device_id).await?.is_none() => {
            return Err(ApiError::not_found("there is no such device"));
        }
        None => {}
    }
    Ok(Ruma(update_device::Response::new()))
}

/// `DELETE /_matrix/client/v3/devices/{deviceId}` — any user, their own, with interactive
/// authentication.
async fn delete(
    State(users): State<Users>,
    uia: Uia,
    session: Session,
    Ruma(request): Ruma<delete_device::Request>,
) -> Result<Ruma<delete_device::Response>, ApiError> {
    uia.of_user(&session, request.auth.as_ref()).await?;
    users
        .delete_devices(&session.user_id, &[request.device_id])
        .await?;
    Ok(Ruma(delete_device::Response::new()))
}

/// `POST /_matrix/client/v3/delete_devices` — any user, their own, with interactive
/// authentication.
async fn delete_several(
    State(users): State<Users>,
    uia: Uia,
    session: Session,
    Ruma(request): Ruma<delete_devices::Request>,
) -> Result<Ruma<delete_devices::Response>, ApiError> {
    uia.of_user(&session, request.auth.as_ref()).await?;
    users
        .delete_devices(&session.user_id, &request.devices)
        .await?;
    Ok(Ruma(delete_devices::Response::new()))
}
