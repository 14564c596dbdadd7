//! Redaction ([spec]): taking out of an event what its room version lets be taken out.
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#redactions

use ruma::{
    CanonicalJsonObject,
    canonical_json::{CanonicalJsonFieldError, redact_in_place},
    room_version_rules::RoomVersionRules,
};

use crate::{
    client::bare_event,
    pdu::{Pdu, PduError},
};

/// Why an event was not redacted.
#[derive(Debug, thiserror::Error)]
pub enum RedactError {
    /// Until room version 10 a redacted create event no longer says the room's version.
    #[error("the create event of a room cannot be redacted")]
    CreateEvent,
    /// The event's JSON cannot be read.
    #[error("event that cannot be read")]
    Unreadable(#[from] PduError),
    /// A field is missing or of the wrong kind.
    #[error("event that cannot be redacted")]
    Field(#[from] CanonicalJsonFieldError),
}

/// The event in its redacted form, under the same id. `because`: the redaction, which clients find
/// in `unsigned.redacted_because`.
pub fn redact(
    pdu: &Pdu,
    rules: &RoomVersionRules,
    because: Option<&Pdu>,
) -> Result<Pdu, RedactError> {
    if pdu.type_name() == "m.room.create" {
        return Err(RedactError::CreateEvent);
    }
    let read = |json: &str| serde_json::from_str::<CanonicalJsonObject>(json);
    let mut event = read(pdu.json()).map_err(PduError::from)?;
    redact_in_place(&mut event, &rules.redaction, None)?;
    if let Some(because) = because {
        let because = read(bare_event(because).get()).map_err(PduError::from)?;
        let unsigned = CanonicalJsonObject::from([("redacted_because".into(), because.into())]);
        event.insert("unsigned".to_owned(), unsigned.into());
    }
    let json = serde_json::to_string(&event).map_err(PduError::from)?;
    Ok(Pdu::from_stored(pdu.event_id().to_owned(), json)?)
}

#[cfg(test)]
mod tests;
