//! What relates to an event ([spec]), listed.
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#forming-relationships-between-events

use hanse_log::Position;
use hanse_room::{HistoryPoint, Related};
use hanse_store::Direction;
use ruma::EventId;

use super::RoomView;
use crate::error::ApiError;

impl RoomView {
    /// Related events that the user may see and that still relate, in `(after, before)`; and the
    /// last place that was looked at, if there may be more behind it.
    pub(crate) async fn related(
        &self,
        target: &EventId,
        after: Position,
        before: Position,
        direction: Direction,
        limit: usize,
    ) -> Result<(Vec<Related>, Option<HistoryPoint>), ApiError> {
        let found = self
            .reader()
            .related(self.room_id(), target, after, before, direction, limit);
        let mut found = found.await?;
        let last = found.last().filter(|_| found.len() == limit);
        let last = last.map(|last| last.event.history_point());
        found.retain(|related| !related.event.is_redacted() && self.sees(&related.event));
        Ok((found, last))
    }
}
