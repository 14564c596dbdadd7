//! The timeline in order of arrival: what incremental sync reads.

use std::ops::ControlFlow;

use hanse_log::Position;
use hanse_store::{Direction, Range, StoreError};
use ruma::RoomId;

use super::{RoomReader, TimelineEvent, timeline_event};
use crate::tables::{BucketKind, BucketRow, EventRow, ROOM_BUCKETS, ROOM_EVENTS};

/// A stretch of the timeline.
#[derive(Clone, Debug, Default)]
pub struct Arrivals {
    /// The newest events of the stretch, oldest first.
    pub events: Vec<TimelineEvent>,
    /// Whether the stretch holds older events that are left out.
    pub limited: bool,
}

impl RoomReader {
    /// The newest `limit` events in `(after, up_to]`, oldest first.
    pub async fn arrivals(
        &self,
        room_id: &RoomId,
        after: Position,
        up_to: Position,
        limit: usize,
    ) -> Result<Arrivals, StoreError> {
        let mut events = Vec::new();
        let mut limited = false;
        self.walk_back(room_id, after, up_to, limit + 1, |event| {
            if events.len() == limit {
                limited = true;
                return ControlFlow::Break(());
            }
            events.push(event);
            ControlFlow::Continue(())
        })
        .await?;
        events.reverse();
        Ok(Arrivals { events, limited })
    }

    /// Hands out events of `(after, up_to]`, newest first, until `visit` has enough. `page`: how
    /// many are read at once.
    pub async fn walk_back(
        &self,
        room_id: &RoomId,
        after: Position,
        up_to: Position,
        page: usize,
        mut visit: impl FnMut(TimelineEvent) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        for bucket in self.arrival_buckets_back(room_id, after, up_to).await? {
            let mut range =
                Range::after(vec![after.packed().into()]).up_to(vec![up_to.packed().into()]);
            loop {
                let partition = EventRow::partition(room_id.as_str(), bucket);
                let read = self
                    .page(
                        &ROOM_EVENTS,
                        partition,
                        range.clone(),
                        Direction::Backward,
                        page,
                    )
                    .await?;
                for row in &read.rows {
                    if visit(timeline_event(row)?).is_break() {
                        return Ok(());
                    }
                }
                let (true, Some(last)) = (read.more, read.rows.last()) else {
                    break;
                };
                range.to.clone_from(&last.clustering);
                range.to_exclusive = true;
            }
        }
        Ok(())
    }

    /// The buckets that may hold events of `(after, up_to]`, newest first.
    pub(crate) async fn arrival_buckets_back(
        &self,
        room_id: &RoomId,
        after: Position,
        up_to: Position,
    ) -> Result<Vec<i64>, StoreError> {
        const PAGE: usize = 16;
        let mut range = Range::all();
        let mut buckets = Vec::new();
        loop {
            let partition = BucketRow::partition(room_id.as_str(), BucketKind::Arrival);
            let read = self
                .page(
                    &ROOM_BUCKETS,
                    partition,
                    range.clone(),
                    Direction::Backward,
                    PAGE,
                )
                .await?;
            for row in &read.rows {
                let bucket = BucketRow::read(row)?;
                if bucket.first_position <= up_to.packed() {
                    buckets.push(bucket.bucket);
                }
                if bucket.first_position <= after.packed() {
                    return Ok(buckets);
                }
            }
            let (true, Some(last)) = (read.more, read.rows.last()) else {
                return Ok(buckets);
            };
            range = Range::before(last.clustering.clone());
        }
    }
}
