//! The rows of cross-signing.

use hanse_log::Position;
use hanse_proto::user::{CrossSigningKey, KeySignatures};

use super::UserRows;
use crate::tables::{
    cross_signing_key::{self, CROSS_SIGNING_KEYS},
    key_signature::{self, KEY_SIGNATURES},
    signature_feed::{self, SIGNATURE_FEED},
};

impl UserRows<'_> {
    /// The user's own devices are told of each; others of those that come with a `DeviceChanged`.
    pub(super) fn cross_signing_key(&mut self, changed: &CrossSigningKey) {
        let key = cross_signing_key::key(self.user_id, &changed.usage);
        if changed.json.is_empty() {
            self.rows.delete(&CROSS_SIGNING_KEYS, key);
        } else {
            let values = cross_signing_key::values(&changed.json, self.position);
            self.rows.put(&CROSS_SIGNING_KEYS, key, values);
        }
        self.device_changed();
    }

    pub(super) fn key_signatures(&mut self, signed: &KeySignatures) {
        for signature in &signed.signatures {
            let of = (signature.user_id.as_str(), signature.key_id.as_str());
            let key = key_signature::key(self.user_id, of, &signature.signing_key_id);
            if signature.signature.is_empty() {
                self.rows.delete(&KEY_SIGNATURES, key);
            } else {
                let values = key_signature::values(&signature.signature, self.position);
                self.rows.put(&KEY_SIGNATURES, key, values);
            }
        }
        if signed.previous_position != 0 {
            let previous = Position::from_packed(signed.previous_position);
            let key = signature_feed::key(self.user_id, previous);
            self.rows.delete(&SIGNATURE_FEED, key);
        }
        let made = signed
            .signatures
            .iter()
            .find(|made| !made.signature.is_empty());
        if let Some(other) = made.filter(|made| made.user_id != self.user_id) {
            let key = signature_feed::key(self.user_id, self.position);
            let values = signature_feed::values(&other.user_id);
            self.rows.put(&SIGNATURE_FEED, key, values);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use hanse_proto::user::{KeySignature, user_entry::Kind};

    use super::*;

    /// One of each kind, each of which writes something.
    pub(in super::super) fn kinds() -> Vec<Kind> {
        let signature = |signature: &str| KeySignature {
            user_id: "@c:b".to_owned(),
            key_id: "k".to_owned(),
            signing_key_id: "ed25519:s".to_owned(),
            signature: signature.to_owned(),
        };
        vec![
            Kind::CrossSigningKey(CrossSigningKey {
                usage: "master".to_owned(),
                json: "{}".to_owned(),
            }),
            Kind::CrossSigningKey(CrossSigningKey {
                usage: "master".to_owned(),
                json: String::new(),
            }),
            Kind::KeySignatures(KeySignatures {
                signatures: vec![signature("s"), signature("")],
                previous_position: 3,
            }),
        ]
    }
}
