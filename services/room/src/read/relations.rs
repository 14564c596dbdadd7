//! Events that relate to an event.

use hanse_log::Position;
use hanse_store::{Direction, Range, StoreError};
use ruma::{EventId, RoomId};

use super::{RoomReader, TimelineEvent};
use crate::tables::{ROOM_RELATIONS, RelationRow};

/// An event that relates to another.
#[derive(Clone, Debug)]
pub struct Related {
    /// The relation's type, as the event said when it was sent.
    pub rel_type: String,
    /// The relating event; pruned if it was redacted.
    pub event: TimelineEvent,
}

impl RoomReader {
    /// The events that relate to `target`, in order of arrival, in `(after, before)`; at most
    /// `limit`.
    pub async fn related(
        &self,
        room_id: &RoomId,
        target: &EventId,
        after: Position,
        before: Position,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Related>, StoreError> {
        let partition = RelationRow::partition(room_id.as_str(), target.as_str());
        let mut range = Range::after(vec![after.packed().into()]);
        range.to = vec![before.packed().into()];
        range.to_exclusive = true;
        let page = self
            .page(&ROOM_RELATIONS, partition, range, direction, limit)
            .await?;
        let mut related = Vec::with_capacity(page.rows.len());
        for row in &page.rows {
            let RelationRow {
                position,
                rel_type,
                bucket,
                ..
            } = RelationRow::read(row)?;
            let event = self.event_at(room_id, bucket, position).await?;
            related.extend(event.map(|event| Related { rel_type, event }));
        }
        Ok(related)
    }
}
