//! Events from elsewhere: the checks on receipt up to the auth rules ([spec]), in its order.
//!
//! [spec]: https://spec.matrix.org/v1.16/server-server-api/#checks-performed-on-receipt-of-a-pdu

use std::collections::BTreeSet;

use ruma::{
    CanonicalJsonObject, OwnedServerName,
    canonical_json::{CanonicalJsonFieldError, redact_in_place},
    room_version_rules::RoomVersionRules,
    signatures::{
        PublicKeyMap, VerificationError, Verified, required_server_signatures_to_verify_event,
        verify_event,
    },
};

use super::{FormatError, Pdu, PduError, format};
use crate::{
    limits::PDU_BYTES_MAX,
    strict_json::{Limits, StrictJsonError, canonical_object},
};

/// Why an event from elsewhere is dropped. None of these reaches the room.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// Not canonical JSON, too deep or too long.
    #[error("unreadable event")]
    Json(#[from] StrictJsonError),
    /// The canonical form is longer than an event may be.
    #[error("event has {bytes} bytes where at most 65536 are allowed")]
    TooLarge {
        /// Bytes of its canonical form.
        bytes: usize,
    },
    /// A field is missing, of the wrong kind or too long.
    #[error("event of the wrong format")]
    Format(#[from] FormatError),
    /// A field could not be read, an id foremost.
    #[error("event that cannot be read")]
    Fields(#[from] PduError),
    /// A signature that the room version asks for is missing or wrong.
    #[error("event without the signatures it needs")]
    Signature(#[from] VerificationError),
    /// The event could not be redacted, its content hash being wrong.
    #[error("event that cannot be redacted")]
    Redact(#[from] CanonicalJsonFieldError),
}

/// An event of the right format whose signatures and hash nobody has looked at.
#[derive(Debug)]
pub struct Unverified<'r> {
    object: CanonicalJsonObject,
    rules: &'r RoomVersionRules,
}

/// Whether an event arrived whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integrity {
    /// Its content hash fits.
    Intact,
    /// It does not: the event goes on in its redacted form.
    Redacted,
}

/// An event with the signatures it needs, ready for the auth rules.
#[derive(Debug, Clone)]
pub struct Received {
    /// The event; redacted if its content hash was wrong.
    pub pdu: Pdu,
    /// Whether the content hash was right.
    pub integrity: Integrity,
}

impl Pdu {
    /// Reads an event from a peer: canonical JSON, format, size. `unsigned` is dropped, since
    /// neither hash nor signature covers it.
    pub fn receive<'r>(
        json: &[u8],
        rules: &'r RoomVersionRules,
    ) -> Result<Unverified<'r>, ReceiveError> {
        let mut object = canonical_object(json, Limits::PDU)?;
        object.remove("unsigned");
        format::check(&object, rules)?;
        let bytes = serde_json::to_string(&object)
            .map_err(PduError::from)?
            .len();
        if bytes > PDU_BYTES_MAX {
            return Err(ReceiveError::TooLarge { bytes });
        }
        Ok(Unverified { object, rules })
    }
}

impl Unverified<'_> {
    /// The servers whose keys [`Unverified::verify`] needs.
    pub fn signing_servers(&self) -> Result<BTreeSet<OwnedServerName>, ReceiveError> {
        Ok(required_server_signatures_to_verify_event(
            &self.object,
            &self.rules.signatures,
        )?)
    }

    /// Checks signatures, then the content hash; a wrong hash redacts.
    ///
    /// `keys`: of each signing server the keys that were valid at the event's time; whether to
    /// hold keys to their validity is the room version's (`enforce_key_validity`).
    pub fn verify(mut self, keys: &PublicKeyMap) -> Result<Received, ReceiveError> {
        let integrity = match verify_event(keys, &self.object, self.rules)? {
            Verified::All => Integrity::Intact,
            Verified::Signatures => {
                redact_in_place(&mut self.object, &self.rules.redaction, None)?;
                Integrity::Redacted
            }
        };
        Ok(Received {
            pdu: Pdu::from_object(&self.object, self.rules)?,
            integrity,
        })
    }
}
