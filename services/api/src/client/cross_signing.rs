//! [Cross-signing](https://spec.matrix.org/v1.16/client-server-api/#cross-signing).

use std::collections::BTreeMap;

use axum::extract::State;
use hanse_user::{CrossSigningKeys, SignatureRefused, SignedKey, UploadCrossSigningError, Users};
use ruma::{
    OwnedUserId,
    api::client::keys::{
        upload_signatures::v3 as upload_signatures, upload_signing_keys::v3 as upload_signing_keys,
    },
};
use serde_json::json;

use super::Endpoints;
use crate::{admission::Class, error::ApiError, exchange::Ruma, session::Session, uia::Uia};

/// Keys of one upload of signatures.
const SIGNED_KEYS_MAX: usize = 1_000;

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes
        .add(Class::Write, "device_signing_upload", upload_keys)
        .add(Class::Write, "signatures_upload", sign)
}

/// `POST /_matrix/client/v3/keys/device_signing/upload` — any user, their own, with interactive
/// authentication where other keys are there already.
async fn upload_keys(
    State(users): State<Users>,
    uia: Uia,
    session: Session,
    Ruma(request): Ruma<upload_signing_keys::Request>,
) -> Result<Ruma<upload_signing_keys::Response>, ApiError> {
    let keys = CrossSigningKeys {
        master: request.master_key,
        self_signing: request.self_signing_key,
        user_signing: request.user_signing_key,
    };
    let user_id = &session.user_id;
    match users.upload_cross_signing(user_id, &keys, false).await {
        Err(UploadCrossSigningError::Unauthenticated) => {
            uia.of_user(&session, request.auth.as_ref()).await?;
            users.upload_cross_signing(user_id, &keys, true).await?;
        }
        done => done?,
    }
    Ok(Ruma(upload_signing_keys::Response::new()))
}

/// `POST /_matrix/client/v3/keys/signatures/upload` — any user, what they signed themselves.
async fn sign(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<upload_signatures::Request>,
) -> Result<Ruma<upload_signatures::Response>, ApiError> {
    let mut signed = Vec::new();
    for (user_id, keys) in request.signed_keys {
        signed.extend(keys.iter().map(|(key_id, json)| SignedKey {
            user_id: user_id.clone(),
            key_id: key_id.to_owned(),
            json: json.get().to_owned(),
        }));
    }
    if signed.len() > SIGNED_KEYS_MAX {
        let text = format!("a request has at most {SIGNED_KEYS_MAX} keys");
        return Err(ApiError::too_large(text));
    }
    let refused = users.sign_keys(&session.user_id, signed).await?;
    let mut response = upload_signatures::Response::new();
    response.failures = failures(refused)?;
    Ok(Ruma(response))
}

type Failures = BTreeMap<OwnedUserId, BTreeMap<String, upload_signatures::Failure>>;

fn failures(refused: Vec<(SignedKey, SignatureRefused)>) -> Result<Failures, ApiError> {
    let mut failures = Failures::new();
    for (key, why) in refused {
        let failure = json!({ "errcode": errcode(why), "error": why.to_string() });
        let failure =
            serde_json::from_value(failure).map_err(|error| ApiError::internal(&error))?;
        let of_user = failures.entry(key.user_id).or_default();
        of_user.insert(key.key_id, failure);
    }
    Ok(failures)
}

fn errcode(why: SignatureRefused) -> &'static str {
    match why {
        SignatureRefused::UnknownKey | SignatureRefused::NoSigningKey => "M_NOT_FOUND",
        SignatureRefused::OtherKey | SignatureRefused::Signature => "M_INVALID_SIGNATURE",
        SignatureRefused::Malformed => "M_INVALID_PARAM",
        SignatureRefused::TooMany => "M_TOO_LARGE",
    }
}
