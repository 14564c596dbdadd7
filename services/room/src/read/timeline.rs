//! The timeline in order of arrival: what incremental sync reads.

use std::{collections::VecDeque, ops::ControlFlow};

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
        let mut buckets = BucketsBack::new(room_id, after, up_to);
        while let Some(bucket) = buckets.next(self).await? {
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
        let mut back = BucketsBack::new(room_id, after, up_to);
        let mut buckets = Vec::new();
        while let Some(bucket) = back.next(self).await? {
            buckets.push(bucket);
        }
        Ok(buckets)
    }
}

/// Buckets that are listed at once.
const LISTED_AT_ONCE: usize = 16;

/// The buckets that may hold events of `(after, up_to]`, newest first, listed as they are asked for:
/// whoever has enough after a few does not read how many there are.
struct BucketsBack<'a> {
    room_id: &'a RoomId,
    after: Position,
    up_to: Position,
    listed: VecDeque<i64>,
    /// Where to list on; none: all that may hold any are listed.
    rest: Option<Range>,
}

impl<'a> BucketsBack<'a> {
    fn new(room_id: &'a RoomId, after: Position, up_to: Position) -> Self {
        Self {
            room_id,
            after,
            up_to,
            listed: VecDeque::new(),
            rest: Some(Range::all()),
        }
    }

    async fn next(&mut self, reader: &RoomReader) -> Result<Option<i64>, StoreError> {
        loop {
            if let Some(bucket) = self.listed.pop_front() {
                return Ok(Some(bucket));
            }
            let Some(range) = self.rest.take() else {
                return Ok(None);
            };
            self.list(reader, range).await?;
        }
    }

    /// Lists some more.
    async fn list(&mut self, reader: &RoomReader, range: Range) -> Result<(), StoreError> {
        let partition = BucketRow::partition(self.room_id.as_str(), BucketKind::Arrival);
        let (newest_first, limit) = (Direction::Backward, LISTED_AT_ONCE);
        let read = reader.page(&ROOM_BUCKETS, partition, range, newest_first, limit);
        let read = read.await?;
        for row in &read.rows {
            let bucket = BucketRow::read(row)?;
            if bucket.first_position <= self.up_to.packed() {
                self.listed.push_back(bucket.bucket);
            }
            if bucket.first_position <= self.after.packed() {
                return Ok(());
            }
        }
        let last = read.rows.last().filter(|_| read.more);
        self.rest = last.map(|last| Range::before(last.clustering.clone()));
        Ok(())
    }
}
