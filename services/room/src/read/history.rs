//! The timeline in the order of history, `(depth, position)`: what `/messages` and `/context` read.

use std::{fmt, str::FromStr};

use hanse_log::Position;
use hanse_store::{Direction, Range, StoreError, Value};
use ruma::RoomId;

use super::{RoomReader, TimelineEvent};
use crate::tables::{BucketKind, BucketRow, ROOM_BUCKETS, ROOM_TOPOLOGY, TopologyRow};

/// A place between two events of a room's history: just before the event at `(depth, position)`.
///
/// As a token: `t{depth}_{position}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistoryPoint {
    /// The depth of the event that follows.
    pub depth: i64,
    /// Its position.
    pub position: Position,
}

impl HistoryPoint {
    /// Before every event.
    pub const START: Self = Self {
        depth: i64::MIN,
        position: Position::START,
    };
    /// After every event.
    pub const END: Self = Self {
        depth: i64::MAX,
        position: Position::END,
    };

    /// Just after the event that this point is before.
    #[must_use]
    pub fn next(self) -> Self {
        let position = Position::from_packed(self.position.packed().saturating_add(1));
        Self {
            depth: self.depth,
            position,
        }
    }
}

impl fmt::Display for HistoryPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}_{}", self.depth, self.position.packed())
    }
}

/// The token is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a history token")]
pub struct NotAHistoryToken;

impl FromStr for HistoryPoint {
    type Err = NotAHistoryToken;

    fn from_str(token: &str) -> Result<Self, NotAHistoryToken> {
        let (depth, position) = token
            .strip_prefix('t')
            .and_then(|t| t.split_once('_'))
            .ok_or(NotAHistoryToken)?;
        let depth = depth.parse().map_err(|_| NotAHistoryToken)?;
        let packed = position.parse().map_err(|_| NotAHistoryToken)?;
        Ok(Self {
            depth,
            position: Position::from_packed(packed),
        })
    }
}

/// A page of history.
#[derive(Clone, Debug, Default)]
pub struct HistoryPage {
    /// The events, in the direction of reading.
    pub events: Vec<TimelineEvent>,
    /// Where to read on; `None`: nothing is left in this direction.
    pub next: Option<HistoryPoint>,
}

impl RoomReader {
    /// The place after everything that had arrived by `position`: where a sync token stands in
    /// the room's history.
    pub async fn history_point_at(
        &self,
        room_id: &RoomId,
        position: Position,
    ) -> Result<HistoryPoint, StoreError> {
        let newest = self
            .arrivals(room_id, Position::from_packed(i64::MIN), position, 1)
            .await?;
        let last = newest.events.last();
        Ok(last.map_or(HistoryPoint::START, |event| event.history_point().next()))
    }

    /// At most `limit` events from a point on, forward or backward, at positions up to `up_to`.
    pub async fn history(
        &self,
        room_id: &RoomId,
        from: HistoryPoint,
        direction: Direction,
        up_to: Position,
        limit: usize,
    ) -> Result<HistoryPage, StoreError> {
        let mut places = Vec::new();
        for bucket in self.depth_buckets(room_id, from.depth, direction).await? {
            let wanted = limit + 1 - places.len();
            self.places(room_id, bucket, from, direction, up_to, wanted, &mut places)
                .await?;
            if places.len() > limit {
                break;
            }
        }
        let more = places.len() > limit;
        places.truncate(limit);
        let mut events = Vec::with_capacity(places.len());
        for place in &places {
            events.extend(self.event_at(room_id, place.bucket, place.position).await?);
        }
        let next = places.last().filter(|_| more).map(|last| {
            let at = HistoryPoint {
                depth: last.depth,
                position: last.position,
            };
            if direction == Direction::Forward {
                at.next()
            } else {
                at
            }
        });
        Ok(HistoryPage { events, next })
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one loop of `history`, split for its length"
    )]
    async fn places(
        &self,
        room_id: &RoomId,
        bucket: i64,
        from: HistoryPoint,
        direction: Direction,
        up_to: Position,
        wanted: usize,
        places: &mut Vec<TopologyRow>,
    ) -> Result<(), StoreError> {
        let until = places.len() + wanted;
        let edge = vec![Value::from(from.depth), Value::from(from.position.packed())];
        let mut range = match direction {
            Direction::Forward => Range::at_least(edge),
            Direction::Backward => Range::before(edge),
        };
        loop {
            let partition = TopologyRow::partition(room_id.as_str(), bucket);
            let page = self
                .page(&ROOM_TOPOLOGY, partition, range.clone(), direction, wanted)
                .await?;
            for row in &page.rows {
                let place = TopologyRow::read(row)?;
                if place.position <= up_to && places.len() < until {
                    places.push(place);
                }
            }
            let (true, Some(last)) = (page.more, page.rows.last()) else {
                return Ok(());
            };
            if places.len() >= until {
                return Ok(());
            }
            range = match direction {
                Direction::Forward => Range::after(last.clustering.clone()),
                Direction::Backward => Range::before(last.clustering.clone()),
            };
        }
    }

    /// The depth buckets from a depth on, in the direction of reading.
    async fn depth_buckets(
        &self,
        room_id: &RoomId,
        depth: i64,
        direction: Direction,
    ) -> Result<Vec<i64>, StoreError> {
        let bucket = vec![Value::from(depth >> crate::DEPTH_BUCKET_BITS)];
        let range = match direction {
            Direction::Forward => Range::at_least(bucket),
            Direction::Backward => Range::at_most(bucket),
        };
        let partition = BucketRow::partition(room_id.as_str(), BucketKind::Depth);
        let rows = self.all(&ROOM_BUCKETS, partition, range).await?;
        let buckets: Result<Vec<i64>, _> = rows
            .iter()
            .map(|row| BucketRow::read(row).map(|row| row.bucket))
            .collect();
        let mut buckets = buckets?;
        if direction == Direction::Backward {
            buckets.reverse();
        }
        Ok(buckets)
    }
}
