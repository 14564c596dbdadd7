//! [Relations](https://spec.matrix.org/v1.16/client-server-api/#relationships-api).

use axum::extract::State;
use hanse_log::Position;
use hanse_room::{HistoryPoint, Related};
use hanse_store::Direction;
use ruma::{
    EventId, UInt,
    api::client::relations::{
        get_relating_events::v1 as all, get_relating_events_with_rel_type::v1 as by_relation,
        get_relating_events_with_rel_type_and_event_type::v1 as by_type,
    },
    events::AnyMessageLikeEvent,
    serde::Raw,
};

use super::Endpoints;
use crate::{
    admission::Class,
    error::ApiError,
    exchange::Ruma,
    room_view::{RoomView, RoomViews},
    session::Session,
};

/// Events of an answer that names no limit, and most of any.
const EVENTS_DEFAULT: usize = 50;
const EVENTS_MAX: usize = 500;

/// How often one request reads on when nothing fits.
const PAGES_MAX: usize = 10;

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes
        .add(Class::Read, "relations", relating)
        .add(Class::Read, "relations", relating_by_relation)
        .add(Class::Read, "relations", relating_by_type)
}

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}` — who may see the event.
async fn relating(
    State(views): State<RoomViews>,
    session: Session,
    Ruma(request): Ruma<all::Request>,
) -> Result<Ruma<all::Response>, ApiError> {
    let view = views.open(&session, &request.room_id).await?;
    let wanted = Wanted {
        relation: None,
        event_type: None,
    };
    let range = Range::of(&view, request.from, request.to, request.dir, request.limit).await?;
    let found = find(&view, &request.event_id, &wanted, range).await?;
    let mut response = all::Response::new(found.chunk);
    response.next_batch = found.next_batch;
    Ok(Ruma(response))
}

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}` — who may see the event.
async fn relating_by_relation(
    State(views): State<RoomViews>,
    session: Session,
    Ruma(request): Ruma<by_relation::Request>,
) -> Result<Ruma<by_relation::Response>, ApiError> {
    let view = views.open(&session, &request.room_id).await?;
    let wanted = Wanted {
        relation: Some(request.rel_type.to_string()),
        event_type: None,
    };
    let range = Range::of(&view, request.from, request.to, request.dir, request.limit).await?;
    let found = find(&view, &request.event_id, &wanted, range).await?;
    let mut response = by_relation::Response::new(found.chunk);
    response.next_batch = found.next_batch;
    Ok(Ruma(response))
}

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}` — who may see
/// the event.
async fn relating_by_type(
    State(views): State<RoomViews>,
    session: Session,
    Ruma(request): Ruma<by_type::Request>,
) -> Result<Ruma<by_type::Response>, ApiError> {
    let view = views.open(&session, &request.room_id).await?;
    let wanted = Wanted {
        relation: Some(request.rel_type.to_string()),
        event_type: Some(request.event_type.to_string()),
    };
    let range = Range::of(&view, request.from, request.to, request.dir, request.limit).await?;
    let found = find(&view, &request.event_id, &wanted, range).await?;
    let mut response = by_type::Response::new(found.chunk);
    response.next_batch = found.next_batch;
    Ok(Ruma(response))
}

/// Which related events.
struct Wanted {
    relation: Option<String>,
    event_type: Option<String>,
}

impl Wanted {
    fn fits(&self, related: &Related) -> bool {
        let relation = self
            .relation
            .as_ref()
            .is_none_or(|wanted| *wanted == related.rel_type);
        let event_type = self.event_type.as_deref();
        relation && event_type.is_none_or(|wanted| wanted == related.event.pdu.type_name())
    }
}

/// Where to look, in positions, both ends excluded.
struct Range {
    after: Position,
    before: Position,
    direction: Direction,
    limit: usize,
}

impl Range {
    async fn of(
        view: &RoomView,
        from: Option<String>,
        to: Option<String>,
        dir: ruma::api::Direction,
        limit: Option<UInt>,
    ) -> Result<Self, ApiError> {
        let forward = dir == ruma::api::Direction::Forward;
        let (lower, upper) = if forward { (from, to) } else { (to, from) };
        let after = match lower {
            Some(token) => just_before(view.history_point(&token).await?),
            None => Position::from_packed(i64::MIN),
        };
        let before = match upper {
            Some(token) => view.history_point(&token).await?.position,
            None => Position::END,
        };
        let limit = limit.and_then(|limit| usize::try_from(u64::from(limit)).ok());
        Ok(Self {
            after,
            before,
            direction: if forward {
                Direction::Forward
            } else {
                Direction::Backward
            },
            limit: limit.unwrap_or(EVENTS_DEFAULT).clamp(1, EVENTS_MAX),
        })
    }

    fn go_on_from(&mut self, last: Position) {
        match self.direction {
            Direction::Forward => self.after = last,
            Direction::Backward => self.before = last,
        }
    }
}

/// A history point stands before the event at its position, which belongs to what follows.
fn just_before(point: HistoryPoint) -> Position {
    Position::from_packed(point.position.packed().saturating_sub(1))
}

struct Found {
    chunk: Vec<Raw<AnyMessageLikeEvent>>,
    next_batch: Option<String>,
}

async fn find(
    view: &RoomView,
    event_id: &EventId,
    wanted: &Wanted,
    mut range: Range,
) -> Result<Found, ApiError> {
    view.event(event_id).await?;
    let (mut found, mut last) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let limit = range.limit - found.len();
        let Range {
            after,
            before,
            direction,
            ..
        } = range;
        let (related, read_to) = view
            .related(event_id, after, before, direction, limit)
            .await?;
        found.extend(related.into_iter().filter(|related| wanted.fits(related)));
        last = read_to;
        let Some(point) = last.filter(|_| found.len() < range.limit) else {
            break;
        };
        range.go_on_from(point.position);
    }
    let next = last.map(|point| match range.direction {
        Direction::Forward => point.next(),
        Direction::Backward => point,
    });
    let mut chunk = Vec::with_capacity(found.len());
    for related in &found {
        chunk.push(view.present(&related.event).await?.cast_unchecked());
    }
    Ok(Found {
        chunk,
        next_batch: next.map(|point| point.to_string()),
    })
}
