//! The rows of the gaps that an event leaves before it, and of those that it fills.

use hanse_log::{Position, Rows};
use hanse_proto::room::Event;

use crate::tables::{GapRow, MissingEventRow, ROOM_GAPS, ROOM_MISSING_EVENTS};

pub(super) fn gap_rows(room_id: &str, event: &Event, position: Position, rows: &mut Rows) {
    let (at, event_id) = ((event.depth, position), event.event_id.as_str());
    for missing in event.gap.iter().flat_map(|gap| &gap.missing) {
        let values = GapRow::values(event_id);
        rows.put(&ROOM_GAPS, GapRow::key(room_id, at, missing), values);
        let values = MissingEventRow::values(event_id);
        let key = MissingEventRow::key(room_id, at, missing);
        rows.put(&ROOM_MISSING_EVENTS, key, values);
    }
    for filled in &event.fills {
        let at = (filled.depth, Position::from_packed(filled.position));
        rows.delete(&ROOM_GAPS, GapRow::key(room_id, at, event_id));
        let key = MissingEventRow::key(room_id, at, event_id);
        rows.delete(&ROOM_MISSING_EVENTS, key);
    }
}
