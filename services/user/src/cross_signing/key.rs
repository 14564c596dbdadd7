//! Whether cross-signing keys are what they claim to be, and whether signatures are right.

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, SigningKeyAlgorithm, UserId,
    encryption::{CrossSigningKey, KeyUsage},
    serde::Base64,
    signatures::{to_canonical_json_string_for_signing, verify_canonical_json_bytes},
};

use crate::BadKeys;

/// Largest key, in bytes of JSON.
const KEY_BYTES_MAX: usize = 16 * 1024;
/// Bytes of an ed25519 key.
const PUBLIC_BYTES: usize = 32;
/// Longest signature that is looked at: base64, with padding.
const SIGNATURE_CHARS_MAX: usize = 88;

/// The public part of an ed25519 key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicKey {
    /// The key in unpadded base64.
    pub(super) name: String,
    bytes: Vec<u8>,
}

impl PublicKey {
    pub(super) fn parse(encoded: &str) -> Option<Self> {
        let bytes = Base64::<ruma::serde::base64::Standard>::parse(encoded).ok()?;
        let bytes: Vec<u8> = bytes.into_inner();
        (bytes.len() == PUBLIC_BYTES).then(|| Self {
            name: encoded.to_owned(),
            bytes,
        })
    }

    /// The only key of a cross-signing key, which is named after itself.
    fn of(parsed: &CrossSigningKey) -> Option<Self> {
        let mut keys = parsed.keys.iter();
        let (id, encoded) = keys.next().filter(|_| parsed.keys.len() == 1)?;
        let named =
            id.algorithm() == SigningKeyAlgorithm::Ed25519 && id.key_name().as_str() == encoded;
        named.then(|| Self::parse(encoded)).flatten()
    }

    /// Of JSON that was checked when it came in.
    pub(super) fn of_stored(json: &str) -> Option<Self> {
        let parsed: CrossSigningKey = serde_json::from_str(json).ok()?;
        Self::of(&parsed)
    }

    pub(super) fn id(&self) -> String {
        format!("{}:{}", SigningKeyAlgorithm::Ed25519, self.name)
    }

    /// Whether the key made a signature of an object.
    pub(super) fn signed(&self, object: &CanonicalJsonObject, signature: &str) -> bool {
        if signature.len() > SIGNATURE_CHARS_MAX {
            return false;
        }
        let Ok(signature) = Base64::<ruma::serde::base64::Standard>::parse(signature) else {
            return false;
        };
        let Ok(text) = to_canonical_json_string_for_signing(object) else {
            return false;
        };
        let algorithm = SigningKeyAlgorithm::Ed25519;
        let signature: &[u8] = signature.as_bytes();
        verify_canonical_json_bytes(&algorithm, &self.bytes, signature, text.as_bytes()).is_ok()
    }
}

/// A key as it is stored: without what others say of it.
pub(super) fn checked(user_id: &UserId, usage: &KeyUsage, json: &str) -> Result<String, BadKeys> {
    let what = format!("the {usage} key");
    if json.len() > KEY_BYTES_MAX {
        return Err(BadKeys::TooLarge {
            what,
            bytes: json.len(),
            bytes_max: KEY_BYTES_MAX,
        });
    }
    let malformed = |reason: String| BadKeys::Malformed {
        what: what.clone(),
        reason,
    };
    let parsed: CrossSigningKey =
        serde_json::from_str(json).map_err(|error| malformed(error.to_string()))?;
    if parsed.user_id != user_id {
        return Err(BadKeys::NotYours);
    }
    if !parsed.usage.contains(usage) {
        return Err(BadKeys::Invalid {
            what,
            reason: "its usage is another",
        });
    }
    if PublicKey::of(&parsed).is_none() {
        return Err(BadKeys::Invalid {
            what,
            reason: "it has one ed25519 key, named after itself",
        });
    }
    let mut object = canonical(json).ok_or_else(|| malformed("no canonical JSON".to_owned()))?;
    object.remove("unsigned");
    if let Some(CanonicalJsonValue::Object(signatures)) = object.get_mut("signatures") {
        signatures.retain(|signer, _| *signer == *user_id.as_str());
    }
    Ok(CanonicalJsonValue::Object(object).to_string())
}

pub(super) fn canonical(json: &str) -> Option<CanonicalJsonObject> {
    serde_json::from_str(json).ok()
}

/// What a user's key says of an object.
pub(super) fn signature_in<'a>(
    object: &'a CanonicalJsonObject,
    user_id: &UserId,
    key_id: &str,
) -> Option<&'a str> {
    match signatures_in(object, user_id)?.get(key_id)? {
        CanonicalJsonValue::String(signature) => Some(signature),
        _ => None,
    }
}

/// What all of a user's keys say of an object, by key id.
pub(super) fn signatures_in<'a>(
    object: &'a CanonicalJsonObject,
    user_id: &UserId,
) -> Option<&'a CanonicalJsonObject> {
    let CanonicalJsonValue::Object(signatures) = object.get("signatures")? else {
        return None;
    };
    match signatures.get(user_id.as_str())? {
        CanonicalJsonValue::Object(of_user) => Some(of_user),
        _ => None,
    }
}

/// Whether two objects are the same but for what is said of them.
pub(super) fn same(one: &CanonicalJsonObject, other: &CanonicalJsonObject) -> bool {
    let text = |object| to_canonical_json_string_for_signing(object).ok();
    text(one).is_some() && text(one) == text(other)
}

#[cfg(test)]
mod tests {
    use ruma::user_id;
    use serde_json::{Value, json};

    use super::*;

    const PUBLIC: &str = "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI";

    fn key(changes: &Value) -> Value {
        let mut key = json!({
            "user_id": "@a:b", "usage": ["master"],
            "keys": { format!("ed25519:{PUBLIC}"): PUBLIC },
        });
        for (name, value) in changes.as_object().unwrap() {
            key[name] = value.clone();
        }
        key
    }

    fn check(changes: &Value) -> Result<String, BadKeys> {
        let json = key(changes).to_string();
        checked(user_id!("@a:b"), &KeyUsage::Master, &json)
    }

    #[test]
    fn a_key_is_named_after_itself_and_is_ones_own() {
        assert!(check(&json!({})).is_ok());
        for bad in [
            json!({ "user_id": "@c:b" }),
            json!({ "usage": ["self_signing"] }),
            json!({ "usage": "master" }),
            json!({ "keys": {} }),
            json!({ "keys": { "ed25519:other": PUBLIC } }),
            json!({ "keys": { "ed25519:AAAA": "AAAA" } }),
            json!({ "keys": { format!("curve25519:{PUBLIC}"): PUBLIC } }),
            json!({ "keys": { format!("ed25519:{PUBLIC}"): 5 } }),
            json!({ "signatures": [] }),
        ] {
            assert!(check(&bad).is_err(), "{bad}");
        }
    }

    /// What others sign is theirs to upload, and theirs to see.
    #[test]
    fn only_ones_own_signatures_are_kept() {
        let signatures = json!({ "@a:b": { "ed25519:D": "s" }, "@c:b": { "ed25519:E": "t" } });
        let kept = check(&json!({ "signatures": signatures, "unsigned": { "n": 1 } })).unwrap();
        let kept: Value = serde_json::from_str(&kept).unwrap();
        let own = json!({ "@a:b": { "ed25519:D": "s" } });
        assert_eq!(kept, key(&json!({ "signatures": own })));
    }

    /// The specification's appendix "Cryptographic Test Vectors": the signature of the empty object.
    #[test]
    fn a_signature_counts_for_what_was_signed() {
        let key = PublicKey::parse(PUBLIC).unwrap();
        let signature = "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ";
        let empty = canonical("{}").unwrap();
        assert!(key.signed(&empty, signature));
        let beside = canonical(r#"{"signatures": {"x": 1}, "unsigned": 1}"#).unwrap();
        assert!(key.signed(&beside, signature));
        assert!(!key.signed(&canonical(r#"{"n": 1}"#).unwrap(), signature));
        assert!(!key.signed(&empty, "AAAA"));
        assert!(!key.signed(&empty, "no base64"));
    }
}
