//! Rows of states that are installed as a whole, and of memberships in rooms that we are not in.

use hanse_log::{Position, Rows};
use hanse_proto::room::{
    EventStatus, Installation, LocalMembership, OutOfBandMembership, StateChange, StateInstalled,
    StateInstalling, StateSwept,
};

use super::present;
use crate::tables::{
    BY_ID, EVENTS, EventIdRow, EventRow, HIDDEN_EVENTS, HiddenEventRow, InstallationRow,
    ROOM_EVENTS, ROOM_INSTALLATIONS, ROOM_STATE, ROOM_STATE_VERSIONS, StateRow, USER_ROOMS,
    UserRoomRow,
};

/// The event, its body on a shelf, and the value of the state that it is. No change is listed: the
/// state before the join is where the room begins here.
pub(super) fn installing_rows(
    room_id: &str,
    event: &StateInstalling,
    position: Position,
    rows: &mut Rows,
) {
    let place = EventIdRow {
        room_id: room_id.to_owned(),
        bucket: event.shelf,
        position,
        status: event.status,
        arrived: None,
    };
    rows.put(&EVENTS, EventIdRow::key(&event.event_id), place.values());
    let body = EventRow {
        position,
        event_id: event.event_id.clone(),
        json: event.json.clone(),
        depth: event.depth,
        previous_event_id: None,
        transaction: None,
    };
    rows.put(
        &ROOM_EVENTS,
        EventRow::key(room_id, event.shelf, position),
        body.values(),
    );
    if let Some(state) = &event.state {
        value_rows(room_id, event, state, position, rows);
    }
}

fn value_rows(
    room_id: &str,
    event: &StateInstalling,
    state: &StateChange,
    position: Position,
    rows: &mut Rows,
) {
    let member = state.membership.as_ref();
    let value = StateRow {
        event_type: state.event_type.clone(),
        state_key: state.state_key.clone(),
        position,
        bucket: event.shelf,
        event_id: event.event_id.clone(),
        membership: member.map(|member| member.membership.clone()),
    };
    rows.put(
        &ROOM_STATE_VERSIONS,
        value.version_key(room_id),
        value.version_values(),
    );
    let key = StateRow::key(room_id, &state.event_type, &state.state_key);
    rows.put(&ROOM_STATE, key, value.values());
}

/// Memberships of our users that came with the state.
pub(super) fn installed_rows(
    room_id: &str,
    installed: &StateInstalled,
    position: Position,
    rows: &mut Rows,
) {
    for member in &installed.local_memberships {
        let LocalMembership {
            user_id,
            membership,
            event_id,
            stripped_state,
        } = member;
        let row = UserRoomRow {
            room_id: room_id.to_owned(),
            membership: membership.clone(),
            position,
            bucket: BY_ID,
            event_id: event_id.clone(),
            stripped_state: present(stripped_state),
            previous: None,
        };
        rows.put(
            &USER_ROOMS,
            UserRoomRow::key(user_id, room_id),
            row.values(),
        );
    }
}

pub(super) fn swept_rows(room_id: &str, swept: &StateSwept, rows: &mut Rows) {
    for event in &swept.events {
        let position = Position::from_packed(event.position);
        let body = EventRow::key(room_id, event.shelf, position);
        rows.delete(&ROOM_EVENTS, body);
        if event.out_of_band {
            kept_aside_row(room_id, &event.event_id, position, rows);
        } else if event.forgotten {
            rows.delete(&EVENTS, EventIdRow::key(&event.event_id));
        }
    }
    for value in &swept.values {
        let version = StateRow {
            event_type: value.event_type.clone(),
            state_key: value.state_key.clone(),
            position: Position::from_packed(value.position),
            bucket: BY_ID,
            event_id: String::new(),
            membership: None,
        };
        rows.delete(&ROOM_STATE_VERSIONS, version.version_key(room_id));
        if !value.replaced {
            let key = StateRow::key(room_id, &value.event_type, &value.state_key);
            rows.delete(&ROOM_STATE, key);
        }
    }
}

/// That there is something to take away if nobody goes on with it.
pub(super) fn installation_row(room_id: &str, installation: Installation, rows: &mut Rows) {
    let key = InstallationRow::key(installation.slot, room_id);
    if installation.ended {
        rows.delete(&ROOM_INSTALLATIONS, key);
    } else {
        let values = InstallationRow::values(installation.began_at_ms);
        rows.put(&ROOM_INSTALLATIONS, key, values);
    }
}

/// An event whose body is in `hidden_events`.
fn kept_aside_row(room_id: &str, event_id: &str, position: Position, rows: &mut Rows) {
    let place = EventIdRow {
        room_id: room_id.to_owned(),
        bucket: BY_ID,
        position,
        status: EventStatus::Outlier.into(),
        arrived: None,
    };
    rows.put(&EVENTS, EventIdRow::key(event_id), place.values());
}

/// The event, kept aside, and the user's membership. The room's own state is not ours to know.
pub(super) fn out_of_band_rows(
    room_id: &str,
    member: &OutOfBandMembership,
    position: Position,
    rows: &mut Rows,
) {
    kept_aside_row(room_id, &member.event_id, position, rows);
    let body = HiddenEventRow {
        json: member.json.clone(),
        reason: String::new(),
    };
    rows.put(
        &HIDDEN_EVENTS,
        HiddenEventRow::key(&member.event_id),
        body.values(),
    );
    let row = UserRoomRow {
        room_id: room_id.to_owned(),
        membership: member.membership.clone(),
        position,
        bucket: BY_ID,
        event_id: member.event_id.clone(),
        stripped_state: present(&member.stripped_state),
        previous: present(&member.previous),
    };
    let key = UserRoomRow::key(&member.user_id, room_id);
    rows.put(&USER_ROOMS, key, row.values());
}
