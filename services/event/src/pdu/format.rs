//! The format of a PDU ([spec]): which fields it has, of which kind and size.
//!
//! ruma has this check too, but as sentences, and one byte below the specification's limit.
//!
//! [spec]: https://spec.matrix.org/v1.16/server-server-api/#checks-performed-on-receipt-of-a-pdu

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue,
    room_version_rules::{EventsReferenceFormatVersion, RoomVersionRules},
};

use crate::limits::{AUTH_EVENTS_MAX, FIELD_BYTES_MAX, PREV_EVENTS_MAX};

/// A field of an event that breaks the PDU format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The field is missing.
    #[error("`{field}` is missing")]
    Missing {
        /// Its name.
        field: &'static str,
    },
    /// The field has the wrong JSON type or value.
    #[error("`{field}` must be {expected}")]
    Wrong {
        /// Its name.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// An id, a type or a state key is too long.
    #[error("`{field}` has {bytes} bytes where at most 255 are allowed")]
    FieldTooLong {
        /// Its name.
        field: &'static str,
        /// Its bytes.
        bytes: usize,
    },
    /// Too many references.
    #[error("`{field}` has {count} entries where at most {max} are allowed")]
    TooMany {
        /// Its name.
        field: &'static str,
        /// Its entries.
        count: usize,
        /// Most that is allowed.
        max: usize,
    },
    /// From room version 12 on the create event is implied and must not be listed.
    #[error("`auth_events` names the create event")]
    CreateInAuthEvents,
}

/// Checks everything but the event's whole size.
pub(crate) fn check(
    event: &CanonicalJsonObject,
    rules: &RoomVersionRules,
) -> Result<(), FormatError> {
    let format = &rules.event_format;
    let event_type = required_string(event, "type")?;
    required_string(event, "sender")?;
    if event_type != "m.room.create" || format.require_room_create_room_id {
        required_string(event, "room_id")?;
    }
    if format.require_event_id {
        required_string(event, "event_id")?;
    }
    optional_string(event, "state_key")?;
    check_object(event, "content")?;
    check_integer(event, "depth")?;
    check_integer(event, "origin_server_ts")?;
    check_references(event, "prev_events", PREV_EVENTS_MAX, rules)?;
    check_references(event, "auth_events", AUTH_EVENTS_MAX, rules)?;
    check_create_is_not_listed(event, rules)
}

/// Ids, types and state keys have at most 255 bytes.
pub(crate) fn check_field_bytes(field: &'static str, value: &str) -> Result<(), FormatError> {
    let bytes = value.len();
    if bytes > FIELD_BYTES_MAX {
        return Err(FormatError::FieldTooLong { field, bytes });
    }
    Ok(())
}

fn optional_string<'a>(
    event: &'a CanonicalJsonObject,
    field: &'static str,
) -> Result<Option<&'a str>, FormatError> {
    let Some(value) = event.get(field) else {
        return Ok(None);
    };
    let wrong = FormatError::Wrong {
        field,
        expected: "a string",
    };
    let text = value.as_str().ok_or(wrong)?;
    check_field_bytes(field, text)?;
    Ok(Some(text))
}

fn required_string<'a>(
    event: &'a CanonicalJsonObject,
    field: &'static str,
) -> Result<&'a str, FormatError> {
    optional_string(event, field)?.ok_or(FormatError::Missing { field })
}

fn check_object(event: &CanonicalJsonObject, field: &'static str) -> Result<(), FormatError> {
    match event.get(field) {
        Some(CanonicalJsonValue::Object(_)) => Ok(()),
        Some(_) => Err(FormatError::Wrong {
            field,
            expected: "an object",
        }),
        None => Err(FormatError::Missing { field }),
    }
}

fn check_integer(event: &CanonicalJsonObject, field: &'static str) -> Result<(), FormatError> {
    match event.get(field) {
        Some(CanonicalJsonValue::Integer(value)) if i64::from(*value) >= 0 => Ok(()),
        Some(_) => Err(FormatError::Wrong {
            field,
            expected: "an integer that is not negative",
        }),
        None => Err(FormatError::Missing { field }),
    }
}

fn check_references(
    event: &CanonicalJsonObject,
    field: &'static str,
    max: usize,
    rules: &RoomVersionRules,
) -> Result<(), FormatError> {
    let value = event.get(field).ok_or(FormatError::Missing { field })?;
    let wrong = FormatError::Wrong {
        field,
        expected: "an array of references to events",
    };
    let entries = value.as_array().ok_or(wrong)?;
    let count = entries.len();
    if count > max {
        return Err(FormatError::TooMany { field, count, max });
    }
    for entry in entries {
        check_field_bytes(field, reference_id(entry, rules).ok_or(wrong)?)?;
    }
    Ok(())
}

/// The id in a reference of the room version's shape.
fn reference_id<'a>(entry: &'a CanonicalJsonValue, rules: &RoomVersionRules) -> Option<&'a str> {
    if rules.events_reference_format == EventsReferenceFormatVersion::V1 {
        return entry.as_array()?.first()?.as_str();
    }
    entry.as_str()
}

fn check_create_is_not_listed(
    event: &CanonicalJsonObject,
    rules: &RoomVersionRules,
) -> Result<(), FormatError> {
    let room_id = event.get("room_id").and_then(|id| id.as_str());
    let Some(create) = room_id.and_then(|id| id.strip_prefix('!')) else {
        return Ok(());
    };
    let auth_events = event
        .get("auth_events")
        .and_then(|ids| ids.as_array())
        .unwrap_or_default();
    let is_create = |id: &CanonicalJsonValue| {
        id.as_str()
            .and_then(|id| id.strip_prefix('$'))
            .is_some_and(|id| id == create)
    };
    if !rules.event_format.allow_room_create_in_auth_events && auth_events.iter().any(is_create) {
        return Err(FormatError::CreateInAuthEvents);
    }
    Ok(())
}
