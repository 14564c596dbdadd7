//! Account data in answers: the user's own, and that of rooms.

use std::collections::BTreeMap;

use hanse_user::AccountDatum;
use ruma::{
    OwnedRoomId,
    events::{AnyGlobalAccountDataEvent, AnyRoomAccountDataEvent},
    serde::Raw,
};
use serde_json::{json, value::to_raw_value};

use crate::{SyncError, ask::Ask, worker::Inner};

const PUSH_RULES: &str = "m.push_rules";

/// Separates global data from that of rooms.
pub(crate) fn split(
    data: Vec<AccountDatum>,
) -> (Vec<AccountDatum>, BTreeMap<OwnedRoomId, Vec<AccountDatum>>) {
    let mut global = Vec::new();
    let mut by_room: BTreeMap<OwnedRoomId, Vec<AccountDatum>> = BTreeMap::new();
    for datum in data {
        match datum.room_id.clone() {
            Some(room_id) => by_room.entry(room_id).or_default().push(datum),
            None => global.push(datum),
        }
    }
    (global, by_room)
}

/// The global data that the filter lets through; the push rules are always there at the start.
pub(crate) async fn global_events(
    inner: &Inner,
    ask: &Ask,
    data: Vec<AccountDatum>,
) -> Result<Vec<Raw<AnyGlobalAccountDataEvent>>, SyncError> {
    let rules_set = data.iter().any(|datum| datum.data_type == PUSH_RULES);
    let mut events: Vec<_> = data
        .iter()
        .filter(|datum| datum.data_type != PUSH_RULES && wants(ask, &datum.data_type))
        .filter_map(event)
        .collect();
    if (ask.since.is_none() || rules_set) && wants(ask, PUSH_RULES) {
        let rules = inner.users.push_rules(&ask.user_id).await?;
        let content = json!({ "type": PUSH_RULES, "content": { "global": rules.ruleset } });
        events.extend(to_raw_value(&content).ok().map(Raw::from_json));
    }
    Ok(events)
}

/// A room's data that the filter lets through.
pub(crate) fn room_events(ask: &Ask, data: &[AccountDatum]) -> Vec<Raw<AnyRoomAccountDataEvent>> {
    let filter = &ask.filter.room.account_data;
    data.iter()
        .filter(|datum| {
            let room_id = datum.room_id.as_deref();
            room_id.is_some_and(|room_id| Ask::wants(filter, room_id, &datum.data_type))
        })
        .filter_map(event)
        .collect()
}

fn event<T>(datum: &AccountDatum) -> Option<Raw<T>> {
    let event = json!({ "type": datum.data_type, "content": datum.content });
    to_raw_value(&event).ok().map(Raw::from_json)
}

fn wants(ask: &Ask, data_type: &str) -> bool {
    let filter = &ask.filter.account_data;
    let matches = |pattern: &String| match pattern.strip_suffix('*') {
        Some(prefix) => data_type.starts_with(prefix),
        None => data_type == pattern,
    };
    filter
        .types
        .as_ref()
        .is_none_or(|types| types.iter().any(matches))
        && !filter.not_types.iter().any(matches)
}
