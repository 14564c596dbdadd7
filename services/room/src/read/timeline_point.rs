//! Where clients go on reading a room's timeline, in the order in which they read.
//!
//! `/sync` gives events as they arrive. Who goes on from there reads in the same order: an event that
//! arrived late, from a fork far back, stands in the order of history behind events that the client was
//! never given.

use std::{fmt, str::FromStr};

use hanse_log::Position;
use hanse_store::{Direction, StoreError};
use ruma::RoomId;

use super::{RoomReader, TimelineEvent, history::HistoryPoint, history::NotAHistoryToken};

/// A place between two events of a room's timeline.
///
/// As a token: that of a [`HistoryPoint`], or `a{position}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimelinePoint {
    /// In the order of history.
    History(HistoryPoint),
    /// In the order of arrival: just before the event at this position.
    Arrival(Position),
}

impl TimelinePoint {
    /// The position of the event that follows, in either order.
    pub fn position(self) -> Position {
        match self {
            Self::History(point) => point.position,
            Self::Arrival(position) => position,
        }
    }
}

impl fmt::Display for TimelinePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::History(point) => point.fmt(f),
            Self::Arrival(position) => write!(f, "a{}", position.packed()),
        }
    }
}

impl FromStr for TimelinePoint {
    type Err = NotAHistoryToken;

    fn from_str(token: &str) -> Result<Self, NotAHistoryToken> {
        let Some(position) = token.strip_prefix('a') else {
            return token.parse().map(Self::History);
        };
        let position = position.parse().map_err(|_| NotAHistoryToken)?;
        Ok(Self::Arrival(Position::from_packed(position)))
    }
}

/// A page of a timeline.
#[derive(Clone, Debug, Default)]
pub struct TimelinePage {
    /// The events, in the direction of reading.
    pub events: Vec<TimelineEvent>,
    /// Where to read on; `None`: nothing is left in this direction.
    pub next: Option<TimelinePoint>,
}

impl RoomReader {
    /// The same place in the order of history.
    pub async fn in_history(
        &self,
        room_id: &RoomId,
        point: TimelinePoint,
    ) -> Result<HistoryPoint, StoreError> {
        match point {
            TimelinePoint::History(point) => Ok(point),
            TimelinePoint::Arrival(next) => self.history_point_at(room_id, before(next)).await,
        }
    }

    /// At most `limit` events from a point on, at positions up to `up_to`. Backward in the order of the
    /// point, forward in that of history.
    pub async fn timeline(
        &self,
        room_id: &RoomId,
        from: TimelinePoint,
        direction: Direction,
        up_to: Position,
        limit: usize,
    ) -> Result<TimelinePage, StoreError> {
        if let (TimelinePoint::Arrival(next), Direction::Backward) = (from, direction) {
            let up_to = up_to.min(before(next));
            return self.arrived_before(room_id, up_to, limit).await;
        }
        let from = self.in_history(room_id, from).await?;
        let page = self.history(room_id, from, direction, up_to, limit).await?;
        Ok(TimelinePage {
            events: page.events,
            next: page.next.map(TimelinePoint::History),
        })
    }

    async fn arrived_before(
        &self,
        room_id: &RoomId,
        up_to: Position,
        limit: usize,
    ) -> Result<TimelinePage, StoreError> {
        let all = Position::from_packed(i64::MIN);
        let mut arrivals = self.arrivals(room_id, all, up_to, limit).await?;
        let oldest = arrivals.events.first().map(|event| event.position);
        arrivals.events.reverse();
        Ok(TimelinePage {
            events: arrivals.events,
            next: oldest
                .filter(|_| arrivals.limited)
                .map(TimelinePoint::Arrival),
        })
    }
}

fn before(position: Position) -> Position {
    Position::from_packed(position.packed().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_as_they_were_written() {
        let position = Position::from_packed(-7);
        let history = HistoryPoint { depth: 3, position };
        for point in [
            TimelinePoint::Arrival(position),
            TimelinePoint::History(history),
        ] {
            assert_eq!(point.to_string().parse(), Ok(point));
        }
        for token in ["", "a", "ax", "t", "t1", "s1", "a1_2"] {
            assert_eq!(
                token.parse::<TimelinePoint>(),
                Err(NotAHistoryToken),
                "{token}"
            );
        }
    }
}
