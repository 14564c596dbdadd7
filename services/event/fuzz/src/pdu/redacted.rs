//! Redaction, as the specification lists it room version by room version.

use serde_json::{Map, Value};

/// What is left of an event. `None`: the specification does not say.
pub(super) fn redacted(event: &Value, version: usize) -> Option<Value> {
    let event = event.as_object()?;
    let mut kept = [
        "event_id",
        "type",
        "room_id",
        "sender",
        "state_key",
        "content",
        "hashes",
        "signatures",
        "depth",
        "prev_events",
        "auth_events",
        "origin_server_ts",
    ]
    .to_vec();
    if version <= 10 {
        kept.extend(["prev_state", "origin", "membership"]);
    }
    let mut pruned = only(event, &kept);
    let content = event.get("content")?.as_object()?;
    let content = redacted_content(event.get("type")?.as_str()?, content, version)?;
    pruned.insert("content".to_owned(), content.into());
    Some(pruned.into())
}

fn redacted_content(
    event_type: &str,
    content: &Map<String, Value>,
    version: usize,
) -> Option<Map<String, Value>> {
    let kept: &[&str] = match event_type {
        "m.room.member" if version >= 9 => &["membership", "join_authorised_via_users_server"],
        "m.room.member" => &["membership"],
        "m.room.create" if version >= 11 => return Some(content.clone()),
        "m.room.create" => &["creator"],
        "m.room.join_rules" if version >= 8 => &["join_rule", "allow"],
        "m.room.join_rules" => &["join_rule"],
        "m.room.power_levels" if version >= 11 => &[
            "ban",
            "events",
            "events_default",
            "invite",
            "kick",
            "redact",
            "state_default",
            "users",
            "users_default",
        ],
        "m.room.power_levels" => &[
            "ban",
            "events",
            "events_default",
            "kick",
            "redact",
            "state_default",
            "users",
            "users_default",
        ],
        "m.room.aliases" if version <= 5 => &["aliases"],
        "m.room.history_visibility" => &["history_visibility"],
        "m.room.redaction" if version >= 11 => &["redacts"],
        _ => &[],
    };
    let mut pruned = only(content, kept);
    if event_type == "m.room.member"
        && version >= 11
        && let Some(invite) = content.get("third_party_invite")
    {
        // Of an invite without what is signed, nothing says whether its shell stays.
        let signed = only(invite.as_object()?, &["signed"]);
        if signed.is_empty() {
            return None;
        }
        pruned.insert("third_party_invite".to_owned(), signed.into());
    }
    Some(pruned)
}

fn only(object: &Map<String, Value>, keys: &[&str]) -> Map<String, Value> {
    let kept = object
        .iter()
        .filter(|(key, _)| keys.contains(&key.as_str()));
    kept.map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
