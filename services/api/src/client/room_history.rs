//! [Syncing back](https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv3roomsroomidmessages)
//! and [event context](https://spec.matrix.org/v1.16/client-server-api/#event-context).

use axum::extract::State;
use hanse_event::filter::EventFilter;
use hanse_room::{HistoryPoint, Lens, TimelineEvent, TimelinePage, TimelinePoint};
use hanse_store::Direction;
use ruma::{
    UInt,
    api::client::{
        context::get_context::v3 as get_context,
        filter::{LazyLoadOptions, RoomEventFilter},
        message::get_message_events::v3 as get_message_events,
    },
};

use super::Endpoints;
use crate::{
    admission::Class,
    error::ApiError,
    exchange::Ruma,
    room_view::{RoomView, RoomViews},
    session::Session,
};

/// Most events of one answer.
const EVENTS_MAX: usize = 1_000;

/// Events read at once, and how often one request reads: what is found by then is answered, with a
/// token to go on from.
const PAGE: usize = 100;
const PAGES_MAX: usize = 20;

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes
        .add(Class::Read, "messages", messages)
        .add(Class::Read, "context", context)
}

/// `GET /_matrix/client/v3/rooms/{roomId}/messages` — who is or was in the room.
async fn messages(
    State(views): State<RoomViews>,
    session: Session,
    Ruma(request): Ruma<get_message_events::Request>,
) -> Result<Ruma<get_message_events::Response>, ApiError> {
    let view = views.open(&session, &request.room_id).await?;
    let direction = direction_of(request.dir);
    let from = match &request.from {
        Some(token) => view.timeline_point(token).await?,
        None => TimelinePoint::History(start(&view, direction).await?),
    };
    let to = match &request.to {
        Some(token) => Some(view.timeline_point(token).await?),
        None => None,
    };
    let limit = bounded(request.limit).max(1);
    let walk = Walk {
        view: &view,
        direction,
        to,
        filter: &request.filter,
    };
    let stretch = walk.run(from, limit).await?;
    let mut response = get_message_events::Response::new();
    response.start = request.from.clone().unwrap_or_else(|| from.to_string());
    response.end = stretch.next.map(|point| point.to_string());
    response.chunk = view.present_all(&stretch.events).await?;
    response.state = lazy_state(&view, &request.filter, &stretch.events).await?;
    Ok(Ruma(response))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}` — who may see the event.
async fn context(
    State(views): State<RoomViews>,
    session: Session,
    Ruma(request): Ruma<get_context::Request>,
) -> Result<Ruma<get_context::Response>, ApiError> {
    let view = views.open(&session, &request.room_id).await?;
    let event = view.event(&request.event_id).await?;
    let (here, limit) = (event.history_point(), bounded(request.limit));
    let walk = |direction| Walk {
        view: &view,
        direction,
        to: None,
        filter: &request.filter,
    };
    let (backward, forward) = (walk(Direction::Backward), walk(Direction::Forward));
    let before = backward.run(TimelinePoint::History(here), limit / 2);
    let before = before.await?;
    let after = forward.run(TimelinePoint::History(here.next()), limit - limit / 2);
    let after = after.await?;
    let mut response = get_context::Response::new();
    response.start = Some(oldest(&before, here).to_string());
    response.end = Some(newest(&after, here).to_string());
    response.state = context_state(&view, &request.filter, &event, &before, &after).await?;
    response.event = Some(view.present(&event).await?);
    response.events_before = view.present_all(&before.events).await?;
    response.events_after = view.present_all(&after.events).await?;
    Ok(Ruma(response))
}

fn direction_of(direction: ruma::api::Direction) -> Direction {
    match direction {
        ruma::api::Direction::Forward => Direction::Forward,
        ruma::api::Direction::Backward => Direction::Backward,
    }
}

fn bounded(limit: UInt) -> usize {
    usize::try_from(u64::from(limit))
        .unwrap_or(EVENTS_MAX)
        .min(EVENTS_MAX)
}

/// Where reading begins that names no token.
async fn start(view: &RoomView, direction: Direction) -> Result<HistoryPoint, ApiError> {
    match direction {
        Direction::Forward => Ok(HistoryPoint::START),
        Direction::Backward => Ok(view
            .reader()
            .history_point_at(view.room_id(), view.horizon())
            .await?),
    }
}

/// A walk through a room's history.
struct Walk<'a> {
    view: &'a RoomView,
    direction: Direction,
    /// Where it stops at the latest.
    to: Option<TimelinePoint>,
    filter: &'a RoomEventFilter,
}

/// What a walk found.
struct Stretch {
    events: Vec<TimelineEvent>,
    /// Where it goes on; `None` at the end.
    next: Option<TimelinePoint>,
}

impl Walk<'_> {
    /// Collects up to `limit` events that the user may see and the filter lets through.
    async fn run(&self, from: TimelinePoint, limit: usize) -> Result<Stretch, ApiError> {
        let filter = EventFilter::new(self.filter);
        let mut stretch = Stretch {
            events: Vec::new(),
            next: Some(from),
        };
        // The first page is as large as the answer; who filters much out is read for in larger ones.
        let mut wanted = limit.min(PAGE);
        for _ in 0..PAGES_MAX {
            let Some(at) = stretch.next.filter(|_| stretch.events.len() < limit) else {
                break;
            };
            let (reader, room_id) = (self.view.reader(), self.view.room_id());
            let up_to = self.view.horizon();
            let page = reader
                .timeline(room_id, at, self.direction, up_to, wanted)
                .await?;
            let lens = self.view.lens_on(&page.events).await?;
            let by_arrival = self.is_by_arrival(at);
            self.take(&mut stretch, page, (&filter, &lens), (limit, by_arrival));
            wanted = PAGE;
        }
        Ok(stretch)
    }

    fn take(
        &self,
        stretch: &mut Stretch,
        page: TimelinePage,
        (filter, lens): (&EventFilter<'_>, &Lens),
        (limit, by_arrival): (usize, bool),
    ) {
        let mut events = page.events.into_iter().peekable();
        while let Some(event) = events.next() {
            let point = event.history_point();
            if self.is_past(point, by_arrival) {
                stretch.next = None;
                return;
            }
            if self.view.sees_through(lens, &event) && filter.matches(&event.pdu) {
                stretch.events.push(event);
            }
            if stretch.events.len() == limit && events.peek().is_some() {
                stretch.next = Some(self.behind(point, by_arrival));
                return;
            }
        }
        stretch.next = page.next;
    }

    /// Whether it goes on as the events arrived. Forward it goes through history.
    fn is_by_arrival(&self, at: TimelinePoint) -> bool {
        matches!(at, TimelinePoint::Arrival(_)) && self.direction == Direction::Backward
    }

    /// The place after an event, in the direction of the walk.
    fn behind(&self, point: HistoryPoint, by_arrival: bool) -> TimelinePoint {
        match self.direction {
            Direction::Forward => TimelinePoint::History(point.next()),
            Direction::Backward if by_arrival => TimelinePoint::Arrival(point.position),
            Direction::Backward => TimelinePoint::History(point),
        }
    }

    fn is_past(&self, point: HistoryPoint, by_arrival: bool) -> bool {
        let Some(to) = self.to else { return false };
        match (to, self.direction) {
            (TimelinePoint::History(to), Direction::Forward) => point >= to,
            (TimelinePoint::History(to), Direction::Backward) if !by_arrival => point < to,
            (to, Direction::Backward) => point.position < to.position(),
            (to, Direction::Forward) => point.position >= to.position(),
        }
    }
}

/// The place before everything that was found going back.
fn oldest(before: &Stretch, here: HistoryPoint) -> TimelinePoint {
    let last = before.events.last().map(TimelineEvent::history_point);
    let last = TimelinePoint::History(last.unwrap_or(here));
    before.next.unwrap_or(last)
}

/// The place after everything that was found going forward.
fn newest(after: &Stretch, here: HistoryPoint) -> TimelinePoint {
    let last = after.events.last().map(TimelineEvent::history_point);
    let last = TimelinePoint::History(last.unwrap_or(here).next());
    after.next.unwrap_or(last)
}

/// The senders' memberships, where the client loads members lazily.
async fn lazy_state(
    view: &RoomView,
    filter: &RoomEventFilter,
    events: &[TimelineEvent],
) -> Result<Vec<ruma::serde::Raw<ruma::events::AnyStateEvent>>, ApiError> {
    if matches!(filter.lazy_load_options, LazyLoadOptions::Disabled) {
        return Ok(Vec::new());
    }
    let senders = events.iter().map(|event| event.pdu.sender()).collect();
    let members = view.members_of(view.horizon(), senders).await?;
    Ok(members
        .iter()
        .map(|member| view.present_state(member))
        .collect())
}

/// The state at the last event that is shown.
async fn context_state(
    view: &RoomView,
    filter: &RoomEventFilter,
    event: &TimelineEvent,
    before: &Stretch,
    after: &Stretch,
) -> Result<Vec<ruma::serde::Raw<ruma::events::AnyStateEvent>>, ApiError> {
    let at = after
        .events
        .last()
        .map_or(event.position, |last| last.position);
    let state = if matches!(filter.lazy_load_options, LazyLoadOptions::Disabled) {
        view.state(at).await?
    } else {
        let shown = before.events.iter().chain([event]).chain(&after.events);
        view.state_with_members_of(at, shown.map(|event| event.pdu.sender()).collect())
            .await?
    };
    Ok(state
        .iter()
        .map(|event| view.present_state(event))
        .collect())
}
