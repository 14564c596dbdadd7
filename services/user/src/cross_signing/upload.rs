//! Uploading cross-signing keys ([spec]).
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#post_matrixclientv3keysdevice_signingupload

use std::collections::BTreeMap;

use hanse_proto::user::{self as proto, user_entry::Kind};
use ruma::{
    OwnedUserId, UserId,
    encryption::{CrossSigningKey, KeyUsage},
    serde::Raw,
};
use serde::{Deserialize, Serialize};

use super::{
    StoredKeys,
    key::{PublicKey, canonical, checked, signature_in},
};
use crate::{
    BadKeys, Unavailable, Users,
    commands::command,
    error::{from_unavailable, refusals},
    turn::Turn,
};

/// What a user uploads.
#[derive(Clone, Debug, Default)]
pub struct CrossSigningKeys {
    /// Signs the other two; others sign it.
    pub master: Option<Raw<CrossSigningKey>>,
    /// Signs the user's own devices.
    pub self_signing: Option<Raw<CrossSigningKey>>,
    /// Signs the master keys of others.
    pub user_signing: Option<Raw<CrossSigningKey>>,
}

/// Why keys were not taken.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum UploadCrossSigningError {
    /// They are not what they should be. They are checked where they come in: this does not travel.
    #[error(transparent)]
    #[serde(skip)]
    Bad(#[from] BadKeys),
    /// Keys that are there would be replaced: the user has to authenticate.
    #[error("the user has other cross-signing keys already")]
    Unauthenticated,
    /// There is no master key, neither here nor in the upload (`M_MISSING_PARAM`).
    #[error("there is no master key")]
    NoMasterKey,
    /// The master key did not sign it (`M_INVALID_SIGNATURE`).
    #[error("the {usage} key is not signed by the master key")]
    Signature {
        /// Which.
        usage: String,
    },
    /// A device has the name of the key (`M_INVALID_PARAM`).
    #[error("a device is called like the {usage} key")]
    NameTaken {
        /// Which.
        usage: String,
    },
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

from_unavailable!(UploadCrossSigningError);
refusals!(UploadCrossSigningError);

/// Takes a user's cross-signing keys.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UploadCrossSigning {
    user_id: OwnedUserId,
    /// JSON, by usage.
    keys: BTreeMap<String, String>,
    authenticated: bool,
}
command!(UploadCrossSigning, "user.upload_cross_signing", of user_id,
    Users::upload_cross_signing_here => (), UploadCrossSigningError, repeats safely);

impl Users {
    /// Takes a user's cross-signing keys. Unless the user has `authenticated` for it, they must be
    /// the first ones, or those that are there.
    pub async fn upload_cross_signing(
        &self,
        user_id: &UserId,
        upload: &CrossSigningKeys,
        authenticated: bool,
    ) -> Result<(), UploadCrossSigningError> {
        let parts = [
            (KeyUsage::Master, &upload.master),
            (KeyUsage::SelfSigning, &upload.self_signing),
            (KeyUsage::UserSigning, &upload.user_signing),
        ];
        let mut keys = BTreeMap::new();
        for (usage, key) in parts {
            if let Some(key) = key {
                let json = checked(user_id, &usage, key.json().get())?;
                keys.insert(usage.to_string(), json);
            }
        }
        let upload = UploadCrossSigning {
            user_id: user_id.to_owned(),
            keys,
            authenticated,
        };
        self.routed(upload).await
    }

    async fn upload_cross_signing_here(
        &self,
        upload: &UploadCrossSigning,
    ) -> Result<(), UploadCrossSigningError> {
        let user_id = &upload.user_id;
        let turn = self.user_turn(user_id).await?;
        let before = self.cross_signing_keys(user_id).await?;
        let fresh = fresh(&before, &upload.keys);
        if fresh.is_empty() {
            // Without any key it is for the master key to be there.
            let master = before.json(&KeyUsage::Master);
            return master.map(drop).ok_or(UploadCrossSigningError::NoMasterKey);
        }
        if before.json(&KeyUsage::Master).is_some() && !upload.authenticated {
            return Err(UploadCrossSigningError::Unauthenticated);
        }
        check_signatures(user_id, &before, &fresh)?;
        self.check_names(user_id, &fresh).await?;
        self.commit_user(&turn, entries(&before, &fresh)).await?;
        self.remove_void_signatures(&turn, user_id).await?;
        Ok(())
    }

    /// Devices and cross-signing keys share their names.
    async fn check_names(
        &self,
        user_id: &UserId,
        fresh: &BTreeMap<KeyUsage, &str>,
    ) -> Result<(), UploadCrossSigningError> {
        for (usage, json) in fresh {
            let Some(key) = PublicKey::of_stored(json) else {
                continue;
            };
            let device_id = key.name.as_str().into();
            if self.device_row(user_id, device_id).await?.is_some() {
                let usage = usage.to_string();
                return Err(UploadCrossSigningError::NameTaken { usage });
            }
        }
        Ok(())
    }

    /// Removes what keys signed that are not the user's any more.
    async fn remove_void_signatures(
        &self,
        turn: &Turn,
        user_id: &UserId,
    ) -> Result<(), Unavailable> {
        let keys = self.cross_signing_keys(user_id).await?;
        let (self_signing, user_signing) = (
            keys.key_id(&KeyUsage::SelfSigning),
            keys.key_id(&KeyUsage::UserSigning),
        );
        let master = keys.name(&KeyUsage::Master);
        self.remove_signatures(turn, user_id, |row| {
            let signer = Some(&row.signing_key_id);
            if row.signed_user_id != *user_id.as_str() {
                return signer != user_signing.as_ref();
            }
            // Devices sign the master key, the self-signing key signs devices.
            signer != self_signing.as_ref() && Some(&row.key_id) != master.as_ref()
        })
        .await
    }
}

/// The keys that differ from those that are there.
fn fresh<'a>(
    before: &StoredKeys,
    keys: &'a BTreeMap<String, String>,
) -> BTreeMap<KeyUsage, &'a str> {
    let keys = keys
        .iter()
        .map(|(usage, json)| (KeyUsage::from(usage.as_str()), json.as_str()));
    keys.filter(|(usage, json)| before.public(usage) != PublicKey::of_stored(json))
        .collect()
}

fn check_signatures(
    user_id: &UserId,
    before: &StoredKeys,
    fresh: &BTreeMap<KeyUsage, &str>,
) -> Result<(), UploadCrossSigningError> {
    let master = match fresh.get(&KeyUsage::Master) {
        Some(json) => PublicKey::of_stored(json),
        None => before.public(&KeyUsage::Master),
    };
    let master = master.ok_or(UploadCrossSigningError::NoMasterKey)?;
    for (usage, json) in fresh
        .iter()
        .filter(|(usage, _)| **usage != KeyUsage::Master)
    {
        let object = canonical(json).unwrap_or_default();
        let signature = signature_in(&object, user_id, &master.id());
        if !signature.is_some_and(|signature| master.signed(&object, signature)) {
            let usage = usage.to_string();
            return Err(UploadCrossSigningError::Signature { usage });
        }
    }
    Ok(())
}

/// The new keys; and those go that another master key signed. Others are told, unless only the
/// user-signing key changed, which only its user sees.
fn entries(before: &StoredKeys, fresh: &BTreeMap<KeyUsage, &str>) -> Vec<Kind> {
    let key = |usage: &KeyUsage, json: &str| {
        Kind::CrossSigningKey(proto::CrossSigningKey {
            usage: usage.to_string(),
            json: json.to_owned(),
        })
    };
    let mut kinds: Vec<_> = fresh.iter().map(|(usage, json)| key(usage, json)).collect();
    if fresh.contains_key(&KeyUsage::Master) {
        let void = [KeyUsage::SelfSigning, KeyUsage::UserSigning].into_iter();
        let void = void.filter(|usage| !fresh.contains_key(usage) && before.json(usage).is_some());
        kinds.extend(void.map(|usage| key(&usage, "")));
    }
    if fresh.keys().any(|usage| *usage != KeyUsage::UserSigning) {
        let device_ids = Vec::new();
        kinds.push(Kind::DeviceChanged(proto::DeviceChanged { device_ids }));
    }
    kinds
}
