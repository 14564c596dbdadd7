//! From a room's entry to the rows of the archives. Values come from the entry alone, so that
//! replay writes the same.

mod gaps;
mod installed;
mod placed;

use hanse_log::{Position, Rows};
use hanse_proto::room::{
    AliasOfRoom, Event, EventState, Membership, Published, Receipt, Redacted, Relation, RoomEntry,
    StateChange, StateNodePart, StateResolved, StateValue, room_entry::Kind,
};

use crate::tables::{
    BY_ID, BucketKind, BucketRow, ChangeRow, EventRow, EventStateRow, HeadRow, NodeName,
    PUBLISHED_ROOMS, PublishedRow, ROOM_ALIASES, ROOM_BUCKETS, ROOM_EVENT_STATES, ROOM_EVENTS,
    ROOM_HEADS, ROOM_RECEIPTS, ROOM_RELATIONS, ROOM_STATE, ROOM_STATE_CHANGES, ROOM_STATE_NODES,
    ROOM_STATE_VERSIONS, ROOM_TOPOLOGY, ReceiptRow, RelationRow, RoomAliasRow, StateNodeRow,
    StateRow, TopologyRow, USER_ROOMS, UserRoomRow, device_change_rows, lowest_position_of,
};

/// Adds the rows of one entry.
pub fn room_rows(entry: &RoomEntry, position: Position, rows: &mut Rows) {
    let room_id = entry.room_id.as_str();
    match &entry.kind {
        Some(Kind::Event(event)) => placed::event_rows(room_id, event, position, rows),
        Some(Kind::Backfilled(event)) => placed::backfilled_rows(room_id, event, position, rows),
        Some(Kind::Receipt(receipt)) => receipt_row(room_id, receipt, position, rows),
        Some(Kind::Published(published)) => published_row(room_id, *published, position, rows),
        Some(Kind::Alias(alias)) => alias_row(room_id, alias, position, rows),
        Some(Kind::MemberDevicesChanged(changed)) => device_change_rows(changed, position, rows),
        Some(Kind::StateResolved(resolved)) => resolved_rows(room_id, resolved, position, rows),
        Some(Kind::StateInstalling(event)) => {
            installed::installing_rows(room_id, event, position, rows);
        }
        Some(Kind::StateInstalled(state)) => {
            installed::installed_rows(room_id, state, position, rows);
        }
        Some(Kind::StateSwept(swept)) => installed::swept_rows(room_id, swept, rows),
        Some(Kind::OutOfBandMembership(member)) => {
            installed::out_of_band_rows(room_id, member, position, rows);
        }
        Some(Kind::StateNodePart(part)) => node_part_rows(room_id, part, rows),
        Some(Kind::Installation(installation)) => {
            installed::installation_row(room_id, *installation, rows);
        }
        // Written by a newer version: its rows are that version's to write.
        None => {}
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
        let first = lowest_position_of(event.bucket).unwrap_or(position);
        bucket_row(room_id, BucketKind::Arrival, event.bucket, first, rows);
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

/// The event that holds a key of the current state.
#[derive(Clone, Copy)]
struct Value<'a> {
    /// Empty: none does.
    event_id: &'a str,
    /// The arrival bucket in which it stands at the same position; or [`BY_ID`].
    body_bucket: i64,
    /// The arrival bucket under which the change is listed.
    listed_in: i64,
}

impl<'a> Value<'a> {
    fn of_event(event: &'a Event) -> Self {
        Self {
            event_id: &event.event_id,
            body_bucket: event.bucket,
            listed_in: event.bucket,
        }
    }

    fn of_resolved(resolved: &'a StateResolved) -> Self {
        Self {
            event_id: &resolved.event_id,
            body_bucket: BY_ID,
            listed_in: resolved.bucket,
        }
    }
}

fn state_rows(
    room_id: &str,
    value: Value<'_>,
    state: &StateChange,
    position: Position,
    rows: &mut Rows,
) {
    let current = StateRow {
        event_type: state.event_type.clone(),
        state_key: state.state_key.clone(),
        position,
        bucket: value.body_bucket,
        event_id: value.event_id.to_owned(),
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
        event_id: value.event_id.to_owned(),
        previous_event_id: present(&state.previous_event_id),
    };
    rows.put(
        &ROOM_STATE_CHANGES,
        change.key(room_id, value.listed_in),
        change.values(),
    );
    if let Some(member) = state.membership.as_ref().filter(|member| member.local) {
        let row = user_room(room_id, value, state, member, position);
        let key = UserRoomRow::key(&state.state_key, room_id);
        rows.put(&USER_ROOMS, key, row.values());
    }
}

/// A local user's membership as a change leaves it.
fn user_room(
    room_id: &str,
    value: Value<'_>,
    state: &StateChange,
    member: &Membership,
    position: Position,
) -> UserRoomRow {
    // A membership that resolution took away is a leave; the event that held it is named.
    let event_id = present(value.event_id).unwrap_or_else(|| state.previous_event_id.clone());
    UserRoomRow {
        room_id: room_id.to_owned(),
        membership: member.membership.clone(),
        position,
        bucket: value.body_bucket,
        event_id,
        stripped_state: present(&member.stripped_state),
        previous: present(&member.previous),
    }
}

/// The local user whose membership an entry changes, and the row that it writes.
pub(crate) fn local_membership(
    entry: &RoomEntry,
    position: Position,
) -> Option<(&str, UserRoomRow)> {
    let (value, state) = match entry.kind.as_ref()? {
        Kind::Event(event) => (Value::of_event(event), event.state.as_ref()?),
        Kind::StateResolved(resolved) => (Value::of_resolved(resolved), resolved.change.as_ref()?),
        _ => return None,
    };
    let member = state.membership.as_ref().filter(|member| member.local)?;
    let row = user_room(&entry.room_id, value, state, member, position);
    Some((state.state_key.as_str(), row))
}

fn resolved_rows(room_id: &str, resolved: &StateResolved, position: Position, rows: &mut Rows) {
    if let Some(change) = &resolved.change {
        let value = Value::of_resolved(resolved);
        state_rows(room_id, value, change, position, rows);
    }
    if let Some(head) = &resolved.head {
        rows.put(
            &ROOM_HEADS,
            HeadRow::key(room_id),
            HeadRow::values(position, head),
        );
    }
}

fn event_state_rows(room_id: &str, event_id: &str, state: &EventState, rows: &mut Rows) {
    let introduces = state.introduces.as_ref();
    let row = EventStateRow {
        base: Position::from_packed(state.base_position),
        node: present(&state.node),
        parent: introduces.and_then(|node| present(&node.parent)),
        replaced: present(&state.replaced),
        apart: introduces.and_then(|node| present(&node.apart)),
    };
    rows.put(
        &ROOM_EVENT_STATES,
        EventStateRow::key(event_id),
        row.values(),
    );
    let values = introduces.map_or(&[][..], |node| &node.values);
    let apart = None;
    node_rows(room_id, &NodeName { event_id, apart }, values, rows);
}

fn node_part_rows(room_id: &str, part: &StateNodePart, rows: &mut Rows) {
    let name = NodeName {
        event_id: &part.event_id,
        apart: Some(&part.apart),
    };
    node_rows(room_id, &name, &part.values, rows);
}

fn node_rows(room_id: &str, name: &NodeName<'_>, values: &[StateValue], rows: &mut Rows) {
    for value in values {
        let row = StateNodeRow {
            event_type: value.event_type.clone(),
            state_key: value.state_key.clone(),
            event_id: present(&value.event_id),
        };
        rows.put(&ROOM_STATE_NODES, row.key(room_id, name), row.values());
    }
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
