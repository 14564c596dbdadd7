//! [Jumping to a point in the timeline](https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event).

use axum::extract::State;
use hanse_log::Position;
use hanse_room::{HistoryPoint, TimelineEvent};
use hanse_store::Direction;
use ruma::{
    MilliSecondsSinceUnixEpoch, api::client::room::get_event_by_timestamp::v1 as by_timestamp,
};

use super::Endpoints;
use crate::{
    admission::Class,
    error::ApiError,
    exchange::Ruma,
    room_view::{RoomView, RoomViews, not_there},
    session::Session,
};

/// Events looked at around the place that the search ends at.
const AROUND_MAX: usize = 200;

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes.add(Class::Read, "timestamp_to_event", nearest)
}

/// `GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event` — who is or was in the room.
async fn nearest(
    State(views): State<RoomViews>,
    session: Session,
    Ruma(request): Ruma<by_timestamp::Request>,
) -> Result<Ruma<by_timestamp::Response>, ApiError> {
    let view = views.open(&session, &request.room_id).await?;
    let depth = first_depth_at(&view, request.ts).await?;
    let direction = match request.dir {
        ruma::api::Direction::Forward => Direction::Forward,
        ruma::api::Direction::Backward => Direction::Backward,
    };
    let found = visible_from(&view, depth, direction, request.ts).await?;
    let found = found.ok_or_else(|| ApiError::not_found("there is no event on that side"))?;
    let response = by_timestamp::Response::new(
        found.pdu.event_id().to_owned(),
        found.pdu.origin_server_ts(),
    );
    Ok(Ruma(response))
}

/// The smallest depth at which the time is reached: time grows with depth, nearly always.
async fn first_depth_at(view: &RoomView, ts: MilliSecondsSinceUnixEpoch) -> Result<i64, ApiError> {
    let head = view
        .reader()
        .head(view.room_id())
        .await?
        .ok_or_else(not_there)?;
    let (mut low, mut high) = (0, head.head.depth.saturating_add(1));
    while low < high {
        let middle = low + (high - low) / 2;
        let event = first_from(view, middle, Direction::Forward, 1).await?;
        match event.first() {
            Some(event) if event.pdu.origin_server_ts() < ts => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The nearest event on the wanted side of a depth that the user may see.
async fn visible_from(
    view: &RoomView,
    depth: i64,
    direction: Direction,
    ts: MilliSecondsSinceUnixEpoch,
) -> Result<Option<TimelineEvent>, ApiError> {
    // Going back, events of the very time count, too: they stand behind the place.
    let start = match direction {
        Direction::Forward => depth,
        Direction::Backward => depth.saturating_add(1),
    };
    let events = first_from(view, start, direction, AROUND_MAX).await?;
    let fits = |event: &TimelineEvent| match direction {
        Direction::Forward => event.pdu.origin_server_ts() >= ts,
        Direction::Backward => event.pdu.origin_server_ts() <= ts,
    };
    Ok(events
        .into_iter()
        .find(|event| fits(event) && view.sees(event)))
}

async fn first_from(
    view: &RoomView,
    depth: i64,
    direction: Direction,
    limit: usize,
) -> Result<Vec<TimelineEvent>, ApiError> {
    let point = HistoryPoint {
        depth,
        position: Position::from_packed(i64::MIN),
    };
    let (reader, up_to) = (view.reader(), view.horizon());
    Ok(reader
        .history(view.room_id(), point, direction, up_to, limit)
        .await?
        .events)
}
