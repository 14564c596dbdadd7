//! [Send-to-device messaging](https://spec.matrix.org/v1.16/client-server-api/#send-to-device-messaging).

use axum::extract::State;
use hanse_user::{ToDeviceMessages, Users};
use ruma::api::client::to_device::send_event_to_device::v3 as send_event_to_device;

use super::Endpoints;
use crate::{admission::Class, error::ApiError, exchange::Ruma, session::Session};

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes.add(Class::Write, "send_to_device", send)
}

/// `PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}` — any user.
async fn send(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<send_event_to_device::Request>,
) -> Result<Ruma<send_event_to_device::Response>, ApiError> {
    let messages = ToDeviceMessages {
        event_type: request.event_type.to_string(),
        txn_id: request.txn_id.to_string(),
        messages: request.messages,
    };
    users
        .send_to_device((&session.user_id, &session.device_id), &messages)
        .await?;
    Ok(Ruma(send_event_to_device::Response::new()))
}
