//! [Server administration](https://spec.matrix.org/v1.16/client-server-api/#server-administration).

use axum::extract::State;
use hanse_user::Users;
use ruma::api::client::admin::get_user_info::v3::{
    self as get_user_info, ConnectionInfo, DeviceInfo, SessionInfo,
};

use super::Endpoints;
use crate::{admission::Class, error::ApiError, exchange::Ruma, session::AdminSession};

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes.add(Class::Read, "whois", who_is)
}

/// `GET /_matrix/client/v3/admin/whois/{userId}` — administrators.
async fn who_is(
    State(users): State<Users>,
    _: AdminSession,
    Ruma(request): Ruma<get_user_info::Request>,
) -> Result<Ruma<get_user_info::Response>, ApiError> {
    let known = users.account(&request.user_id).await?;
    known.ok_or_else(|| ApiError::not_found("there is no such user"))?;
    let devices = users
        .devices(&request.user_id)
        .await?
        .into_iter()
        .map(|device| {
            let mut connection = ConnectionInfo::new();
            connection.ip = device.last_seen_ip;
            connection.last_seen = device.last_seen_ts;
            let mut session = SessionInfo::new();
            session.connections = vec![connection];
            let mut info = DeviceInfo::new();
            info.sessions = vec![session];
            (device.device_id.to_string(), info)
        });
    let mut response = get_user_info::Response::new();
    response.user_id = Some(request.user_id);
    response.devices = devices.collect();
    Ok(Ruma(response))
}
