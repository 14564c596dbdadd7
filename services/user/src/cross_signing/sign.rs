//! Taking signatures ([spec]).
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#post_matrixclientv3keyssignaturesupload

use std::collections::BTreeSet;

use hanse_log::Position;
use hanse_proto::user::{self as proto, user_entry::Kind};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, DeviceId, OwnedUserId, SigningKeyAlgorithm, UserId,
    encryption::{DeviceKeys, KeyUsage},
};
use serde::{Deserialize, Serialize};

use super::{
    SIGNATURES_MAX, StoredKeys,
    key::{PublicKey, canonical, same, signature_in, signatures_in},
};
use crate::{
    Unavailable, Users,
    commands::command,
    tables::{
        device_keys::{self, DeviceKeysRow},
        key_signature::KeySignatureRow,
    },
    turn::Turn,
};

/// Bytes of keys in one command, unless one key alone is larger.
const COMMAND_BYTES_MAX: usize = 128 * 1024;
/// Keys in one command: their signatures fit into a batch of the log.
const COMMAND_KEYS_MAX: usize = 50;
/// Largest key that is looked at, in bytes.
const KEY_BYTES_MAX: usize = 64 * 1024;
/// Signatures of one key that are looked at.
const SIGNERS_MAX: usize = 100;

/// A key with signatures that are new.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignedKey {
    /// Whose key.
    pub user_id: OwnedUserId,
    /// A device, or the public part of a cross-signing key.
    pub key_id: String,
    /// The key, with the signatures.
    pub json: String,
}

/// Why the signatures of one key were not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum SignatureRefused {
    /// There is no such key (`M_NOT_FOUND`).
    #[error("there is no such key")]
    UnknownKey,
    /// The user has no key that could sign it (`M_NOT_FOUND`).
    #[error("the key that would sign this is not there")]
    NoSigningKey,
    /// What is signed is not the key that is there (`M_INVALID_SIGNATURE`).
    #[error("this is another key than the one that was uploaded")]
    OtherKey,
    /// A signature is missing or wrong (`M_INVALID_SIGNATURE`).
    #[error("there is no valid signature")]
    Signature,
    /// It is no JSON object, or too large (`M_INVALID_PARAM`).
    #[error("this is no key")]
    Malformed,
    /// The user signed too many keys (`M_TOO_LARGE`).
    #[error("a user has at most {SIGNATURES_MAX} signatures")]
    TooMany,
}

/// Takes what a user signed; gives what was refused, by place in `signed`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SignKeys {
    user_id: OwnedUserId,
    signed: Vec<SignedKey>,
}
command!(SignKeys, "user.sign_keys", of user_id,
    Users::sign_keys_here => Vec<(usize, SignatureRefused)>, Unavailable, repeats safely);

/// A signature that was verified: the id of the key that made it, and what it made.
type Made = (String, String);

impl Users {
    /// Takes signatures that a user made; gives those that were refused.
    pub async fn sign_keys(
        &self,
        user_id: &UserId,
        mut signed: Vec<SignedKey>,
    ) -> Result<Vec<(SignedKey, SignatureRefused)>, Unavailable> {
        let mut refused = Vec::new();
        // Signatures of one user stand together: what others are told of them is one entry.
        signed.sort_by(|one, other| one.user_id.cmp(&other.user_id));
        for signed in in_commands(signed) {
            let command = SignKeys {
                user_id: user_id.to_owned(),
                signed: signed.clone(),
            };
            for (at, why) in self.routed(command).await? {
                refused.extend(signed.get(at).cloned().map(|key| (key, why)));
            }
        }
        Ok(refused)
    }

    async fn sign_keys_here(
        &self,
        sign: &SignKeys,
    ) -> Result<Vec<(usize, SignatureRefused)>, Unavailable> {
        let turn = self.user_turn(&sign.user_id).await?;
        let signer = Signer {
            user_id: &sign.user_id,
            keys: self.cross_signing_keys(&sign.user_id).await?,
        };
        let (mut refused, mut made) = (Vec::new(), Vec::new());
        for (at, signed) in sign.signed.iter().enumerate() {
            match self.made(&signer, signed).await? {
                Ok(of_key) => made.extend(of_key.into_iter().map(|made| (at, made))),
                Err(why) => refused.push((at, why)),
            }
        }
        refused.extend(self.commit_signatures(&turn, sign, made).await?);
        Ok(refused)
    }

    /// The signatures of a key that are right.
    async fn made(
        &self,
        signer: &Signer<'_>,
        key: &SignedKey,
    ) -> Result<Result<Vec<Made>, SignatureRefused>, Unavailable> {
        let object = canonical(&key.json).filter(|_| key.json.len() <= KEY_BYTES_MAX);
        let Some(object) = object else {
            return Ok(Err(SignatureRefused::Malformed));
        };
        if key.user_id != signer.user_id {
            let theirs = self.cross_signing_keys(&key.user_id).await?;
            return Ok(signer.on_other(&theirs, &key.key_id, &object));
        }
        if signer.keys.name(&KeyUsage::Master).as_ref() == Some(&key.key_id) {
            return self.on_own_master(signer, &object).await;
        }
        let device_id = key.key_id.as_str().into();
        match self.device_keys_json(signer.user_id, device_id).await? {
            Some(stored) => Ok(signer.on_device(&stored, &object)),
            None => Ok(Err(SignatureRefused::UnknownKey)),
        }
    }

    /// One's own devices sign the master key.
    async fn on_own_master(
        &self,
        signer: &Signer<'_>,
        object: &CanonicalJsonObject,
    ) -> Result<Result<Vec<Made>, SignatureRefused>, Unavailable> {
        let stored = signer.keys.json(&KeyUsage::Master).unwrap_or_default();
        if !is(stored, object) {
            return Ok(Err(SignatureRefused::OtherKey));
        }
        let mut made = Vec::new();
        let signatures = signatures_in(object, signer.user_id).into_iter().flatten();
        for (key_id, signature) in signatures.take(SIGNERS_MAX) {
            let CanonicalJsonValue::String(signature) = signature else {
                return Ok(Err(SignatureRefused::Signature));
            };
            let key = self.device_key(signer.user_id, key_id).await?;
            if !key.is_some_and(|key| key.signed(object, signature)) {
                return Ok(Err(SignatureRefused::Signature));
            }
            made.push((key_id.clone(), signature.clone()));
        }
        Ok(if made.is_empty() {
            Err(SignatureRefused::Signature)
        } else {
            Ok(made)
        })
    }

    /// The key of a user's device, by its id.
    async fn device_key(
        &self,
        user_id: &UserId,
        key_id: &str,
    ) -> Result<Option<PublicKey>, Unavailable> {
        let algorithm = SigningKeyAlgorithm::Ed25519;
        let device_id = key_id.strip_prefix(&format!("{algorithm}:"));
        let Some(device_id) = device_id else {
            return Ok(None);
        };
        let stored = self.device_keys_json(user_id, device_id.into()).await?;
        let stored = stored.and_then(|json| serde_json::from_str::<DeviceKeys>(&json).ok());
        Ok(stored.and_then(|device| {
            let mut keys = device.keys.iter();
            let (_, encoded) = keys.find(|(id, _)| id.as_str() == key_id)?;
            PublicKey::parse(encoded)
        }))
    }

    async fn device_keys_json(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<Option<String>, Unavailable> {
        let key = device_keys::key(user_id.as_str(), device_id.as_str());
        let row: Option<DeviceKeysRow> = self.archive().get(key).await?;
        Ok(row.map(|row| row.json))
    }

    /// Writes the signatures that are new, in one batch; those of users past the bound are refused.
    async fn commit_signatures(
        &self,
        turn: &Turn,
        sign: &SignKeys,
        made: Vec<(usize, Made)>,
    ) -> Result<Vec<(usize, SignatureRefused)>, Unavailable> {
        let (mut kinds, mut refused) = (Vec::new(), Vec::new());
        let own = &sign.user_id;
        let of = |(at, _): &(usize, Made)| sign.signed.get(*at).map(|signed| &signed.user_id);
        for of_user in made.chunk_by(|one, other| of(one) == of(other)) {
            let Some(signed_user) = of_user.first().and_then(of) else {
                continue;
            };
            let before = self.signatures_on(own, signed_user).await?;
            let signatures = fresh(sign, of_user, &before);
            if signatures.is_empty() {
                continue;
            }
            if before.is_empty() && self.has_signed_enough(own).await? {
                refused.extend(
                    of_user
                        .iter()
                        .map(|(at, _)| (*at, SignatureRefused::TooMany)),
                );
                continue;
            }
            if signed_user == own {
                kinds.push(Kind::DeviceChanged(told(&signatures)));
            }
            let newest = before.iter().map(|row| row.position).max();
            let previous = newest.filter(|_| signed_user != own);
            kinds.push(Kind::KeySignatures(proto::KeySignatures {
                signatures,
                previous_position: previous.map_or(0, Position::packed),
            }));
        }
        if !kinds.is_empty() {
            self.commit_user(turn, kinds).await?;
        }
        Ok(refused)
    }

    async fn has_signed_enough(&self, user_id: &UserId) -> Result<bool, Unavailable> {
        let partition = [user_id.as_str().into()];
        let rows: Vec<KeySignatureRow> = self
            .archive()
            .range(partition, hanse_store::Range::all(), SIGNATURES_MAX)
            .await?;
        Ok(rows.len() >= SIGNATURES_MAX)
    }
}

/// Whose signatures they are.
struct Signer<'a> {
    user_id: &'a UserId,
    keys: StoredKeys,
}

impl Signer<'_> {
    /// The self-signing key signs one's own devices.
    fn on_device(
        &self,
        stored: &str,
        object: &CanonicalJsonObject,
    ) -> Result<Vec<Made>, SignatureRefused> {
        self.made_by(&KeyUsage::SelfSigning, stored, object)
    }

    /// The user-signing key signs the master keys of others.
    fn on_other(
        &self,
        theirs: &StoredKeys,
        key_id: &str,
        object: &CanonicalJsonObject,
    ) -> Result<Vec<Made>, SignatureRefused> {
        let named = theirs.name(&KeyUsage::Master);
        let stored = theirs.json(&KeyUsage::Master);
        let stored = stored.filter(|_| named.as_deref() == Some(key_id));
        let stored = stored.ok_or(SignatureRefused::UnknownKey)?;
        self.made_by(&KeyUsage::UserSigning, stored, object)
    }

    fn made_by(
        &self,
        usage: &KeyUsage,
        stored: &str,
        object: &CanonicalJsonObject,
    ) -> Result<Vec<Made>, SignatureRefused> {
        let key = self
            .keys
            .public(usage)
            .ok_or(SignatureRefused::NoSigningKey)?;
        if !is(stored, object) {
            return Err(SignatureRefused::OtherKey);
        }
        let signature = signature_in(object, self.user_id, &key.id());
        let signature = signature.filter(|signature| key.signed(object, signature));
        let signature = signature.ok_or(SignatureRefused::Signature)?;
        Ok(vec![(key.id(), signature.to_owned())])
    }
}

/// Whether an object is the key that is stored.
fn is(stored: &str, object: &CanonicalJsonObject) -> bool {
    canonical(stored).is_some_and(|stored| same(&stored, object))
}

fn fresh(
    sign: &SignKeys,
    made: &[(usize, Made)],
    before: &[KeySignatureRow],
) -> Vec<proto::KeySignature> {
    let mut fresh = Vec::new();
    for (at, (signing_key_id, signature)) in made {
        let Some(signed) = sign.signed.get(*at) else {
            continue;
        };
        let known = before.iter().any(|row| {
            row.key_id == signed.key_id
                && row.signing_key_id == *signing_key_id
                && row.signature == *signature
        });
        if !known {
            fresh.push(proto::KeySignature {
                user_id: signed.user_id.to_string(),
                key_id: signed.key_id.clone(),
                signing_key_id: signing_key_id.clone(),
                signature: signature.clone(),
            });
        }
    }
    fresh
}

/// What others are told of: devices, and the master key by its name.
fn told(signatures: &[proto::KeySignature]) -> proto::DeviceChanged {
    let device_ids: BTreeSet<_> = signatures.iter().map(|made| made.key_id.clone()).collect();
    proto::DeviceChanged {
        device_ids: device_ids.into_iter().collect(),
    }
}

/// Keys by command. How they are split does not matter: each is decided on its own.
fn in_commands(signed: Vec<SignedKey>) -> Vec<Vec<SignedKey>> {
    let (mut commands, mut open, mut open_bytes) = (Vec::new(), Vec::new(), 0);
    for key in signed {
        let full =
            open_bytes + key.json.len() > COMMAND_BYTES_MAX || open.len() >= COMMAND_KEYS_MAX;
        if full && !open.is_empty() {
            commands.push(std::mem::take(&mut open));
            open_bytes = 0;
        }
        open_bytes += key.json.len();
        open.push(key);
    }
    if !open.is_empty() {
        commands.push(open);
    }
    commands
}
