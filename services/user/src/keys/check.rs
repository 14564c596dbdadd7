//! Whether uploaded keys are what they claim to be. Malformed ones are refused here, since every
//! other user's client, and other servers, would stumble over them.

use std::collections::BTreeMap;

use ruma::{
    DeviceId, OneTimeKeyAlgorithm, OwnedOneTimeKeyId, OwnedUserId, UserId,
    encryption::{DeviceKeys, OneTimeKey},
    serde::Raw,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ALGORITHMS_MAX, upload::KeysUpload};
use crate::TokenHash;

/// Largest identity keys of a device, in bytes.
const DEVICE_KEYS_BYTES_MAX: usize = 16 * 1024;
/// Largest one-time or fallback key, in bytes.
const KEY_BYTES_MAX: usize = 4 * 1024;
/// Longest algorithm or id of a key, in bytes.
const KEY_ID_BYTES_MAX: usize = 255;
/// Most bytes of all keys of one upload: they fit into a batch of the log.
const UPLOAD_BYTES_MAX: usize = 64 * 1024;

/// Keys that are not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    /// Not what the specification calls keys (`M_BAD_JSON`).
    #[error("{what} is malformed: {reason}")]
    Malformed {
        /// What.
        what: String,
        /// Why.
        reason: String,
    },
    /// Well-formed, and not what it is uploaded as (`M_INVALID_PARAM`).
    #[error("{what} is not valid: {reason}")]
    Invalid {
        /// What.
        what: String,
        /// Why.
        reason: &'static str,
    },
    /// They name another user, or another device (`M_INVALID_PARAM`).
    #[error("the keys belong to another user or device")]
    NotYours,
    /// Two fallback keys of one algorithm, or too many algorithms (`M_INVALID_PARAM`).
    #[error("{what}")]
    TooMany {
        /// What.
        what: &'static str,
    },
    /// Too many bytes (`M_TOO_LARGE`).
    #[error("{what} has {bytes} bytes, at most {bytes_max} are allowed")]
    TooLarge {
        /// What.
        what: String,
        /// Its size.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
}

/// Keys of one algorithm, by id.
pub(super) type Keys = BTreeMap<String, String>;

/// An upload that is what it claims to be, as JSON.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct CheckedKeys {
    pub(super) identity: Option<String>,
    pub(super) one_time: BTreeMap<String, Keys>,
    /// By algorithm: the key's id, and the key.
    pub(super) fallback: BTreeMap<String, (String, String)>,
}

impl CheckedKeys {
    pub(crate) fn of(
        user_id: &UserId,
        device_id: &DeviceId,
        upload: &KeysUpload,
    ) -> Result<Self, BadKeys> {
        let mut checked = Self::default();
        if let Some(keys) = &upload.device_keys {
            checked.identity = Some(device_keys(user_id, device_id, keys)?);
        }
        for (id, key) in &upload.one_time_keys {
            let (algorithm, key_id, json) = one_time_key(id, key)?;
            let of_algorithm = checked.one_time.entry(algorithm).or_default();
            of_algorithm.insert(key_id, json);
        }
        for (id, key) in &upload.fallback_keys {
            let (algorithm, key_id, json) = one_time_key(id, key)?;
            let others = checked.fallback.insert(algorithm, (key_id, json));
            if others.is_some() {
                let what = "there is one fallback key of each algorithm";
                return Err(BadKeys::TooMany { what });
            }
        }
        checked.bounded()
    }

    fn bounded(self) -> Result<Self, BadKeys> {
        let algorithms = self.one_time.len().max(self.fallback.len());
        if algorithms > ALGORITHMS_MAX {
            let what = "too many algorithms";
            return Err(BadKeys::TooMany { what });
        }
        let one_time = self.one_time.values().flatten();
        let one_time: usize = one_time.map(|(id, json)| id.len() + json.len()).sum();
        let fallback = self.fallback.values();
        let fallback: usize = fallback.map(|(id, json)| id.len() + json.len()).sum();
        check_bytes("the upload", one_time + fallback, UPLOAD_BYTES_MAX)?;
        Ok(self)
    }
}

fn device_keys(
    user_id: &UserId,
    device_id: &DeviceId,
    keys: &Raw<DeviceKeys>,
) -> Result<String, BadKeys> {
    let json = keys.json().get();
    check_bytes("device_keys", json.len(), DEVICE_KEYS_BYTES_MAX)?;
    let parsed = keys
        .deserialize()
        .map_err(|error| malformed("device_keys", &error))?;
    if parsed.user_id != user_id || parsed.device_id != device_id {
        return Err(BadKeys::NotYours);
    }
    let other = parsed.keys.keys().find(|id| id.key_name() != device_id);
    if let Some(id) = other {
        return Err(malformed(id.as_str(), &"its name is not the device's id"));
    }
    Ok(json.to_owned())
}

/// Algorithm, id and JSON of a key.
fn one_time_key(
    id: &OwnedOneTimeKeyId,
    key: &Raw<OneTimeKey>,
) -> Result<(String, String, String), BadKeys> {
    let (algorithm, key_id) = (id.algorithm(), id.key_name().as_str());
    check_bytes("a key's id", id.as_str().len(), KEY_ID_BYTES_MAX)?;
    let json = key.json().get();
    check_bytes(id.as_str(), json.len(), KEY_BYTES_MAX)?;
    if key_id.is_empty() {
        return Err(malformed(id.as_str(), &"a key has a name"));
    }
    if algorithm == OneTimeKeyAlgorithm::SignedCurve25519 {
        signed(json).map_err(|error| malformed(id.as_str(), &error))?;
    } else if !json.starts_with(['{', '"']) {
        return Err(malformed(id.as_str(), &"a key is a string or an object"));
    }
    Ok((algorithm.to_string(), key_id.to_owned(), json.to_owned()))
}

/// The shape of a signed key; the signatures are its readers' to check.
fn signed(json: &str) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "that it reads is all that matters")]
    struct Signed {
        key: String,
        signatures: BTreeMap<OwnedUserId, BTreeMap<String, String>>,
        #[serde(default)]
        fallback: bool,
    }
    serde_json::from_str::<Signed>(json).map(drop)
}

fn check_bytes(what: &str, bytes: usize, bytes_max: usize) -> Result<(), BadKeys> {
    if bytes <= bytes_max {
        return Ok(());
    }
    let what = what.to_owned();
    Err(BadKeys::TooLarge {
        what,
        bytes,
        bytes_max,
    })
}

fn malformed(what: &str, reason: &dyn std::fmt::Display) -> BadKeys {
    BadKeys::Malformed {
        what: what.chars().take(KEY_ID_BYTES_MAX).collect(),
        reason: reason.to_string(),
    }
}

/// A key without what may differ between two uploads of the same key.
pub(super) fn essence(json: &str) -> Value {
    let mut value: Value = serde_json::from_str(json).unwrap_or_default();
    if let Some(object) = value.as_object_mut() {
        object.remove("signatures");
        object.remove("unsigned");
    }
    value
}

/// The hash of a key's essence.
pub(super) fn essence_hash(json: &str) -> TokenHash {
    let sorted = match essence(json) {
        Value::Object(fields) => {
            let fields: BTreeMap<_, _> = fields.into_iter().collect();
            serde_json::to_string(&fields)
        }
        other => serde_json::to_string(&other),
    };
    TokenHash::of(&sorted.unwrap_or_default())
}

/// Whether a device's identity changed: the keys themselves, not what is said of them.
pub(super) fn same_identity(one: &str, other: &str) -> bool {
    #[derive(PartialEq, Deserialize)]
    struct Identity {
        keys: BTreeMap<String, String>,
    }
    let read = |json: &str| serde_json::from_str::<Identity>(json).ok();
    read(one) == read(other)
}

#[cfg(test)]
mod tests {
    use ruma::{device_id, user_id};
    use serde_json::json;

    use super::*;

    fn upload(value: &Value) -> KeysUpload {
        let part = |name: &str| value.get(name).cloned().unwrap_or_else(|| json!({}));
        let device_keys = value.get("device_keys");
        KeysUpload {
            device_keys: device_keys.map(|keys| Raw::new(keys).unwrap().cast_unchecked()),
            one_time_keys: serde_json::from_value(part("one_time_keys")).unwrap(),
            fallback_keys: serde_json::from_value(part("fallback_keys")).unwrap(),
        }
    }

    fn check(value: &Value) -> Result<CheckedKeys, BadKeys> {
        CheckedKeys::of(user_id!("@a:b"), device_id!("D"), &upload(value))
    }

    fn device(user_id: &str, device_id: &str, key_id: &str) -> Value {
        json!({ "device_keys": {
            "user_id": user_id, "device_id": device_id, "algorithms": ["m.olm"],
            "keys": { key_id: "k" }, "signatures": {},
        }})
    }

    #[test]
    fn device_keys_are_ones_own() {
        assert!(check(&device("@a:b", "D", "ed25519:D")).is_ok());
        for (user, of) in [("@c:b", "D"), ("@a:b", "E")] {
            let refused = check(&device(user, of, &format!("ed25519:{of}")));
            assert_eq!(refused.unwrap_err(), BadKeys::NotYours);
        }
    }

    /// GHSA-fh66-fcv5-jjfr: malformed device keys broke federation.
    #[test]
    fn ghsa_fh66_fcv5_jjfr_malformed_device_keys_are_refused() {
        let whole = device("@a:b", "D", "ed25519:D")["device_keys"].clone();
        for (field, value) in [
            ("keys", json!(5)),
            ("keys", json!({ "no-colon": "k" })),
            ("keys", json!({ "ed25519:D": 5 })),
            ("keys", json!({ "ed25519:E": "k" })),
            ("algorithms", json!("m.olm")),
            ("algorithms", json!([5])),
            ("signatures", json!({ "no user": {} })),
            ("signatures", json!([])),
            ("user_id", json!(null)),
        ] {
            let mut keys = whole.clone();
            keys[field] = value.clone();
            let refused = check(&json!({ "device_keys": keys }));
            let Err(BadKeys::Malformed { .. }) = refused else {
                panic!("{field} {value}: {refused:?}");
            };
        }
        let large = json!({ "device_keys": { "user_id": "x".repeat(DEVICE_KEYS_BYTES_MAX) } });
        assert!(matches!(check(&large), Err(BadKeys::TooLarge { .. })));
    }

    #[test]
    fn one_time_keys_have_their_shape() {
        let signed =
            |value: Value| check(&json!({ "one_time_keys": { "signed_curve25519:A": value } }));
        let good = json!({ "key": "k", "signatures": { "@a:b": { "ed25519:D": "s" } } });
        assert!(signed(good).is_ok());
        for bad in [
            json!("k"),
            json!({ "key": 5, "signatures": {} }),
            json!({ "key": "k" }),
            json!({ "key": "k", "signatures": { "@a:b": "s" } }),
        ] {
            let refused = signed(bad.clone());
            assert!(
                matches!(refused, Err(BadKeys::Malformed { .. })),
                "{bad}: {refused:?}"
            );
        }
        assert!(check(&json!({ "one_time_keys": { "other:A": "k" } })).is_ok());
        assert!(check(&json!({ "one_time_keys": { "other:A": 5 } })).is_err());
    }

    #[test]
    fn an_algorithm_has_one_fallback_key() {
        let two = json!({ "fallback_keys": { "x:A": "k", "x:B": "k" } });
        assert!(matches!(check(&two), Err(BadKeys::TooMany { .. })));
        let both = json!({ "fallback_keys": { "x:A": "k", "y:A": "k" } });
        assert_eq!(check(&both).unwrap().fallback.len(), 2);
    }

    #[test]
    fn signatures_are_not_the_key() {
        let one = r#"{"key": "k", "signatures": {"@a:b": {"x:D": "1"}}}"#;
        let two = r#"{"signatures": {"@a:b": {"x:D": "2"}}, "key": "k"}"#;
        assert_eq!(essence(one), essence(two));
        assert_eq!(essence_hash(one), essence_hash(two));
        assert_ne!(essence_hash(one), essence_hash(r#"{"key": "l"}"#));
    }
}
