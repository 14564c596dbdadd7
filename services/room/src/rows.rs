//! From a room's entry to the rows of the archives. Values come from the entry alone, so that
//! replay writes the same.

use hanse_log::{Position, Rows};
use hanse_proto::room::{
    AliasOfRoom, Event, EventStatus, Membership, Published, Receipt, Redacted, Relation, RoomEntry,
    StateChange, room_entry::Kind,
};

use crate::tables::{
    BucketKind, BucketRow, ChangeRow, EVENTS, EventIdRow, EventRow, HeadRow, PUBLISHED_ROOMS,
    PublishedRow, ROOM_ALIASES, ROOM_BUCKETS, ROOM_EVENTS, ROOM_HEADS, ROOM_RECEIPTS,
    ROOM_RELATIONS, ROOM_STATE, ROOM_STATE_CHANGES, ROOM_STATE_VERSIONS, ROOM_TOPOLOGY,
    ROOM_TRANSACTIONS, ReceiptRow, RelationRow, RoomAliasRow, StateRow, TopologyRow,
    TransactionKey, USER_ROOMS, UserRoomRow, device_change_rows,
};

/// Adds the rows of one entry.
pub fn room_rows(entry: &RoomEntry, position: Position, rows: &mut Rows) {
    let room_id = entry.room_id.as_str();
    match &entry.kind {
        Some(Kind::Event(event)) => event_rows(room_id, event, position, rows),
        Some(Kind::Receipt(receipt)) => receipt_row(room_id, receipt, position, rows),
        Some(Kind::Published(published)) => published_row(room_id, *published, position, rows),
        Some(Kind::Alias(alias)) => alias_row(room_id, alias, position, rows),
        Some(Kind::MemberDevicesChanged(changed)) => device_change_rows(changed, position, rows),
        // Written by a newer version: its rows are that version's to write.
        None => {}
    }
}

fn event_rows(room_id: &str, event: &Event, position: Position, rows: &mut Rows) {
    let known = EventIdRow {
        room_id: room_id.to_owned(),
        bucket: event.bucket,
        position,
        status: event.status,
    };
    rows.put(&EVENTS, EventIdRow::key(&event.event_id), known.values());
    if event.status() != EventStatus::Accepted {
        return;
    }
    timeline_rows(room_id, event, position, rows);
    if let Some(state) = &event.state {
        state_rows(room_id, event, state, position, rows);
    }
    if let Some(relation) = &event.relation {
        relation_row(room_id, event, relation, position, rows);
    }
    if let Some(redacted) = &event.redacted {
        redacted_row(room_id, redacted, rows);
    }
    if let Some(transaction) = &event.transaction {
        let key = TransactionKey::of(transaction).key(room_id);
        let values = vec![event.event_id.as_str().into()];
        rows.put_until(&ROOM_TRANSACTIONS, key, values, transaction.expires_at_ms);
    }
}

fn timeline_rows(room_id: &str, event: &Event, position: Position, rows: &mut Rows) {
    let state = event.state.as_ref();
    let row = EventRow {
        position,
        event_id: event.event_id.clone(),
        json: event.json.clone(),
        depth: event.depth,
        previous_event_id: state.and_then(|state| present(&state.previous_event_id)),
        transaction: event
            .transaction
            .as_ref()
            .map(|t| (t.device_id.clone(), t.txn_id.clone())),
    };
    rows.put(
        &ROOM_EVENTS,
        EventRow::key(room_id, event.bucket, position),
        row.values(),
    );
    let place = TopologyRow {
        depth: event.depth,
        position,
        bucket: event.bucket,
    };
    let values = vec![place.bucket.into()];
    rows.put(
        &ROOM_TOPOLOGY,
        place.key(room_id, event.depth_bucket),
        values,
    );
    if let Some(head) = &event.head {
        rows.put(
            &ROOM_HEADS,
            HeadRow::key(room_id),
            HeadRow::values(position, head),
        );
    }
    if event.opens_bucket {
        bucket_row(room_id, BucketKind::Arrival, event.bucket, position, rows);
    }
    if event.opens_depth_bucket {
        bucket_row(
            room_id,
            BucketKind::Depth,
            event.depth_bucket,
            position,
            rows,
        );
    }
}

fn bucket_row(room_id: &str, kind: BucketKind, bucket: i64, first: Position, rows: &mut Rows) {
    let row = BucketRow {
        bucket,
        first_position: first.packed(),
    };
    rows.put(
        &ROOM_BUCKETS,
        row.key(room_id, kind),
        vec![row.first_position.into()],
    );
}

fn state_rows(
    room_id: &str,
    event: &Event,
    state: &StateChange,
    position: Position,
    rows: &mut Rows,
) {
    let current = StateRow {
        event_type: state.event_type.clone(),
        state_key: state.state_key.clone(),
        position,
        bucket: event.bucket,
        event_id: event.event_id.clone(),
        membership: state
            .membership
            .as_ref()
            .map(|member| member.membership.clone()),
    };
    rows.put(
        &ROOM_STATE_VERSIONS,
        current.version_key(room_id),
        current.version_values(),
    );
    let key = StateRow::key(room_id, &state.event_type, &state.state_key);
    rows.put(&ROOM_STATE, key, current.values());
    let change = ChangeRow {
        position,
        event_type: state.event_type.clone(),
        state_key: state.state_key.clone(),
        event_id: event.event_id.clone(),
        previous_event_id: present(&state.previous_event_id),
    };
    rows.put(
        &ROOM_STATE_CHANGES,
        change.key(room_id, event.bucket),
        change.values(),
    );
    if let Some(member) = state.membership.as_ref().filter(|member| member.local) {
        user_room_row(room_id, event, &state.state_key, member, position, rows);
    }
}

fn user_room_row(
    room_id: &str,
    event: &Event,
    user_id: &str,
    member: &Membership,
    position: Position,
    rows: &mut Rows,
) {
    let row = UserRoomRow {
        room_id: room_id.to_owned(),
        membership: member.membership.clone(),
        position,
        bucket: event.bucket,
        event_id: event.event_id.clone(),
        stripped_state: present(&member.stripped_state),
        previous: present(&member.previous),
    };
    rows.put(
        &USER_ROOMS,
        UserRoomRow::key(user_id, room_id),
        row.values(),
    );
}

fn relation_row(
    room_id: &str,
    event: &Event,
    relation: &Relation,
    position: Position,
    rows: &mut Rows,
) {
    let row = RelationRow {
        position,
        rel_type: relation.rel_type.clone(),
        bucket: event.bucket,
        depth: event.depth,
    };
    rows.put(
        &ROOM_RELATIONS,
        row.key(room_id, &relation.event_id),
        row.values(),
    );
}

/// The target's row again, with the pruned body.
fn redacted_row(room_id: &str, redacted: &Redacted, rows: &mut Rows) {
    let position = Position::from_packed(redacted.position);
    let row = EventRow {
        position,
        event_id: redacted.event_id.clone(),
        json: redacted.json.clone(),
        depth: redacted.depth,
        previous_event_id: present(&redacted.previous_event_id),
        transaction: None,
    };
    rows.put(
        &ROOM_EVENTS,
        EventRow::key(room_id, redacted.bucket, position),
        row.values(),
    );
}

fn receipt_row(room_id: &str, receipt: &Receipt, position: Position, rows: &mut Rows) {
    let row = ReceiptRow {
        user_id: receipt.user_id.clone(),
        receipt_type: receipt.receipt_type.clone(),
        thread_id: receipt.thread_id.clone(),
        position,
        event_id: receipt.event_id.clone(),
        ts_ms: receipt.ts_ms,
        event_position: Position::from_packed(receipt.event_position),
    };
    rows.put(&ROOM_RECEIPTS, row.key(room_id), row.values());
}

fn published_row(room_id: &str, published: Published, position: Position, rows: &mut Rows) {
    let key = PublishedRow::key(room_id);
    if published.public {
        rows.put(&PUBLISHED_ROOMS, key, vec![position.packed().into()]);
    } else {
        rows.delete(&PUBLISHED_ROOMS, key);
    }
}

fn alias_row(room_id: &str, alias: &AliasOfRoom, position: Position, rows: &mut Rows) {
    let key = RoomAliasRow::key(room_id, &alias.alias);
    if alias.removed {
        rows.delete(&ROOM_ALIASES, key);
    } else {
        rows.put(&ROOM_ALIASES, key, vec![position.packed().into()]);
    }
}

fn present(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
