//! An event's rows: where it stands, its state, and itself.

use hanse_log::{Position, Rows};
use hanse_proto::room::{Backfilled, Event, EventStatus};

use super::{
    Value, event_state_rows, gaps::gap_rows, redacted_row, relation_row, state_rows, timeline_rows,
};
use crate::tables::{
    EVENTS, EarlyRedactionRow, EventIdRow, HIDDEN_EVENTS, HiddenEventRow, ROOM_EARLY_REDACTIONS,
    ROOM_TRANSACTIONS, TransactionKey,
};

/// Where an event stands.
struct Standing {
    /// In the timeline; of an event that is not shown, where it was decided.
    position: Position,
    /// Where it arrived, if elsewhere.
    arrived: Option<Position>,
}

pub(super) fn event_rows(room_id: &str, event: &Event, position: Position, rows: &mut Rows) {
    let arrived = arrived_before(event);
    placed_rows(room_id, event, &Standing { position, arrived }, rows);
}

pub(super) fn backfilled_rows(
    room_id: &str,
    backfilled: &Backfilled,
    decided: Position,
    rows: &mut Rows,
) {
    let Some(event) = &backfilled.event else {
        return;
    };
    if event.status() != EventStatus::Accepted {
        return event_rows(room_id, event, decided, rows);
    }
    let standing = Standing {
        position: Position::from_packed(backfilled.position),
        arrived: arrived_before(event).or(Some(decided)),
    };
    placed_rows(room_id, event, &standing, rows);
}

fn arrived_before(event: &Event) -> Option<Position> {
    let arrived = event.changed.map(|changed| changed.arrived_position);
    arrived
        .filter(|packed| *packed != 0)
        .map(Position::from_packed)
}

fn placed_rows(room_id: &str, event: &Event, standing: &Standing, rows: &mut Rows) {
    let position = standing.position;
    let known = EventIdRow {
        room_id: room_id.to_owned(),
        bucket: event.bucket,
        position,
        status: event.status,
        arrived: standing.arrived,
    };
    rows.put(&EVENTS, EventIdRow::key(&event.event_id), known.values());
    if let Some(state) = &event.event_state {
        event_state_rows(room_id, &event.event_id, state, rows);
    }
    gap_rows(room_id, event, position, rows);
    if event.status() != EventStatus::Accepted {
        return hidden_row(event, rows);
    }
    if event.changed.is_some() {
        // Its body stands in the timeline from now on, where redactions find it.
        rows.delete(&HIDDEN_EVENTS, HiddenEventRow::key(&event.event_id));
    }
    timeline_rows(room_id, event, position, rows);
    if let Some(state) = &event.state {
        state_rows(room_id, Value::of_event(event), state, position, rows);
    }
    if let Some(relation) = &event.relation {
        relation_row(room_id, event, relation, position, rows);
    }
    if let Some(redacted) = &event.redacted {
        redacted_row(room_id, redacted, rows);
    }
    if !event.awaited_target.is_empty() {
        let bucket = event.bucket;
        let row = EarlyRedactionRow { position, bucket };
        let key = row.key(room_id, &event.awaited_target);
        rows.put(&ROOM_EARLY_REDACTIONS, key, row.values());
    }
    if let Some(transaction) = &event.transaction {
        let key = TransactionKey::of(transaction).key(room_id);
        let values = vec![event.event_id.as_str().into()];
        rows.put_until(&ROOM_TRANSACTIONS, key, values, transaction.expires_at_ms);
    }
}

fn hidden_row(event: &Event, rows: &mut Rows) {
    let row = HiddenEventRow {
        json: event.json.clone(),
        reason: event.reason.clone(),
    };
    rows.put(
        &HIDDEN_EVENTS,
        HiddenEventRow::key(&event.event_id),
        row.values(),
    );
}
