//! [Querying threads in a room](https://spec.matrix.org/v1.16/client-server-api/#querying-threads-in-a-room).

use axum::extract::State;
use hanse_log::Position;
use hanse_room::{HistoryPoint, TimelineEvent};
use hanse_store::Direction;
use ruma::{
    EventId, OwnedEventId, UInt,
    api::client::threads::get_threads::v1::{self as get_threads, IncludeThreads},
};
use serde::Deserialize;

use super::Endpoints;
use crate::{
    admission::Class,
    error::ApiError,
    exchange::Ruma,
    room_view::{RoomView, RoomViews},
    session::Session,
};

/// Threads of an answer that names no limit, and most of any.
const THREADS_DEFAULT: usize = 20;
const THREADS_MAX: usize = 100;

/// Events read at once in search of replies, and how often one request reads.
const PAGE: usize = 100;
const PAGES_MAX: usize = 20;

/// Replies looked at to learn whether the user took part.
const REPLIES_MAX: usize = 500;

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes.add(Class::Read, "threads", list)
}

/// `GET /_matrix/client/v1/rooms/{roomId}/threads` — who is or was in the room.
async fn list(
    State(views): State<RoomViews>,
    session: Session,
    Ruma(request): Ruma<get_threads::Request>,
) -> Result<Ruma<get_threads::Response>, ApiError> {
    let view = views.open(&session, &request.room_id).await?;
    let from = match &request.from {
        Some(token) => view.history_point(token).await?,
        None => HistoryPoint::END,
    };
    let participated = request.include == IncludeThreads::Participated;
    let search = Search {
        view: &view,
        participated,
        limit: limit_of(request.limit),
    };
    let (roots, next) = search.run(from).await?;
    let mut response = get_threads::Response::new(view.present_all(&roots).await?);
    response.next_batch = next.map(|point| point.to_string());
    Ok(Ruma(response))
}

fn limit_of(limit: Option<UInt>) -> usize {
    let limit = limit.and_then(|limit| usize::try_from(u64::from(limit)).ok());
    limit.unwrap_or(THREADS_DEFAULT).clamp(1, THREADS_MAX)
}

/// A walk back through the room: whoever is replied to by the newest reply of its thread is the
/// root of the thread that comes next.
struct Search<'a> {
    view: &'a RoomView,
    participated: bool,
    limit: usize,
}

impl Search<'_> {
    async fn run(
        &self,
        from: HistoryPoint,
    ) -> Result<(Vec<TimelineEvent>, Option<HistoryPoint>), ApiError> {
        let (mut roots, mut next) = (Vec::new(), Some(from));
        for _ in 0..PAGES_MAX {
            let Some(at) = next else { break };
            let (reader, room_id) = (self.view.reader(), self.view.room_id());
            let up_to = self.view.horizon();
            let page = reader
                .history(room_id, at, Direction::Backward, up_to, PAGE)
                .await?;
            for event in &page.events {
                roots.extend(self.root_of_newest(event).await?);
                if roots.len() == self.limit {
                    return Ok((roots, Some(event.history_point())));
                }
            }
            next = page.next;
        }
        Ok((roots, next))
    }

    /// The root of the thread whose newest reply this event is.
    async fn root_of_newest(
        &self,
        event: &TimelineEvent,
    ) -> Result<Option<TimelineEvent>, ApiError> {
        let Some(root) = thread_of(event).filter(|_| self.view.sees(event)) else {
            return Ok(None);
        };
        let replies = self.view.related(
            &root,
            Position::START,
            Position::END,
            Direction::Backward,
            REPLIES_MAX,
        );
        let (mut replies, _) = replies.await?;
        replies.retain(|reply| reply.rel_type == "m.thread");
        let newest = replies.first().map(|reply| reply.event.pdu.event_id());
        if newest != Some(event.pdu.event_id()) {
            return Ok(None);
        }
        let root = self.view.event(&root).await.ok();
        Ok(root.filter(|root| {
            let by_user = |event: &TimelineEvent| event.pdu.sender() == self.view.user_id();
            !self.participated || by_user(root) || replies.iter().any(|reply| by_user(&reply.event))
        }))
    }
}

fn thread_of(event: &TimelineEvent) -> Option<OwnedEventId> {
    #[derive(Deserialize)]
    struct Content {
        #[serde(rename = "m.relates_to")]
        relates_to: RelatesTo,
    }
    #[derive(Deserialize)]
    struct RelatesTo {
        rel_type: String,
        event_id: String,
    }
    let relates_to = event.pdu.content_as::<Content>().ok()?.relates_to;
    let in_thread = relates_to.rel_type == "m.thread";
    in_thread
        .then(|| EventId::parse(&relates_to.event_id).ok())
        .flatten()
}
