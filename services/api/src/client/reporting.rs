//! [Reporting content](https://spec.matrix.org/v1.16/client-server-api/#reporting-content): reports
//! go to the log of the server, for whoever runs it.

use axum::extract::State;
use ruma::api::client::room::report_content::v3 as report_content;

use super::Endpoints;
use crate::{
    admission::Class, error::ApiError, exchange::Ruma, room_view::RoomViews, session::Session,
};

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes.add(Class::Write, "report", report)
}

/// `POST /_matrix/client/v3/rooms/{roomId}/report/{eventId}` — members who may see the event.
async fn report(
    State(views): State<RoomViews>,
    session: Session,
    Ruma(request): Ruma<report_content::Request>,
) -> Result<Ruma<report_content::Response>, ApiError> {
    let view = views.open(&session, &request.room_id).await?;
    view.joined()?;
    view.event(&request.event_id).await?;
    tracing::info!(
        room.id = %request.room_id,
        event.id = %request.event_id,
        user.id = %session.user_id,
        "an event was reported"
    );
    Ok(Ruma(report_content::Response::new()))
}
