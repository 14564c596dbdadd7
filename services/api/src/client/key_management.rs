//! [Key management](https://spec.matrix.org/v1.16/client-server-api/#key-management-api) of
//! end-to-end encryption.

use std::collections::BTreeMap;

use axum::extract::State;
use futures::{StreamExt, TryStreamExt, stream};
use hanse_user::{KeysUpload, Users};
use ruma::{
    OwnedUserId, ServerName,
    api::client::keys::{
        claim_keys::v3 as claim_keys, get_key_changes::v3 as get_key_changes,
        get_keys::v3 as get_keys, upload_keys::v3 as upload_keys,
    },
};

use super::Endpoints;
use crate::{
    admission::Class, error::ApiError, exchange::Ruma, session::Session, sync_handler::Syncs,
};

/// Users of one query.
const USERS_QUERIED_MAX: usize = 10_000;
/// Devices of one claim.
const DEVICES_CLAIMED_MAX: usize = 10_000;
/// Users read, or decided on, at once.
const USERS_AT_ONCE: usize = 8;

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes
        .add(Class::Write, "keys_upload", upload)
        .add(Class::Read, "keys_query", query)
        .add(Class::Write, "keys_claim", claim)
        .add(Class::Read, "keys_changes", changes)
}

/// `POST /_matrix/client/v3/keys/upload` — any device, its own.
async fn upload(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<upload_keys::Request>,
) -> Result<Ruma<upload_keys::Response>, ApiError> {
    let upload = KeysUpload {
        device_keys: request.device_keys,
        one_time_keys: request.one_time_keys,
        fallback_keys: request.fallback_keys,
    };
    let counts = users
        .upload_keys(&session.user_id, &session.device_id, &upload)
        .await?;
    let counts = counts.into_iter();
    let counts = counts.map(|(algorithm, count)| (algorithm, count.try_into().unwrap_or_default()));
    Ok(Ruma(upload_keys::Response::new(counts.collect())))
}

/// `POST /_matrix/client/v3/keys/query` — any user. Users of other servers are left out until
/// there is federation.
async fn query(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<get_keys::Request>,
) -> Result<Ruma<get_keys::Response>, ApiError> {
    if request.device_keys.len() > USERS_QUERIED_MAX {
        return Err(too_many("users", USERS_QUERIED_MAX));
    }
    let wanted = request.device_keys.into_iter();
    let wanted = wanted.filter(|(user_id, _)| users.is_local(user_id));
    let asker = &session.user_id;
    let found = stream::iter(wanted.map(async |(user_id, device_ids)| {
        let keys = users.keys_of(&user_id, &device_ids, asker).await?;
        Ok::<_, ApiError>((user_id, keys))
    }));
    let found: Vec<_> = found.buffer_unordered(USERS_AT_ONCE).try_collect().await?;
    let mut response = get_keys::Response::new();
    for (user_id, keys) in found {
        let of = |key: Option<_>| key.map(|key| (user_id.clone(), key));
        response.master_keys.extend(of(keys.master));
        response.self_signing_keys.extend(of(keys.self_signing));
        response.user_signing_keys.extend(of(keys.user_signing));
        response.device_keys.insert(user_id, keys.device_keys);
    }
    Ok(Ruma(response))
}

/// `POST /_matrix/client/v3/keys/claim` — any user. Users of other servers are left out until
/// there is federation.
async fn claim(
    State(users): State<Users>,
    _: Session,
    Ruma(request): Ruma<claim_keys::Request>,
) -> Result<Ruma<claim_keys::Response>, ApiError> {
    let wanted = request.one_time_keys;
    let devices: usize = wanted.values().map(BTreeMap::len).sum();
    if devices > DEVICES_CLAIMED_MAX {
        return Err(too_many("devices", DEVICES_CLAIMED_MAX));
    }
    let wanted = wanted.into_iter();
    let wanted = wanted.filter(|(user_id, _)| users.is_local(user_id));
    let claimed = stream::iter(wanted.map(async |(user_id, devices)| {
        let keys = users.claim_keys(&user_id, &devices).await;
        (user_id, keys.map_err(ApiError::from))
    }));
    let claimed = claimed.buffer_unordered(USERS_AT_ONCE).collect().await;
    told(claimed, users.server_name()).map(Ruma)
}

/// Claimed keys are gone for everybody else: they are told even where the keys of other users could
/// not be had. Clients try those again which `failures` stands for, as with a server that is away.
fn told(
    claimed: Vec<(OwnedUserId, Result<claim_keys::OneTimeKeys, ApiError>)>,
    server_name: &ServerName,
) -> Result<claim_keys::Response, ApiError> {
    let mut response = claim_keys::Response::new(BTreeMap::new());
    let mut failed = None;
    for (user_id, keys) in claimed {
        match keys {
            Ok(keys) if keys.is_empty() => {}
            Ok(keys) => response.one_time_keys.extend([(user_id, keys)]),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if response.one_time_keys.is_empty() => Err(error),
        Some(error) => {
            let failure = (server_name.to_string(), error.to_json());
            response.failures.extend([failure]);
            Ok(response)
        }
        None => Ok(response),
    }
}

/// `GET /_matrix/client/v3/keys/changes` — any user.
async fn changes(
    State(syncs): State<Syncs>,
    session: Session,
    Ruma(request): Ruma<get_key_changes::Request>,
) -> Result<Ruma<get_key_changes::Response>, ApiError> {
    let lists = syncs
        .device_lists(&session.user_id, &request.from, &request.to)
        .await?;
    Ok(Ruma(get_key_changes::Response::new(
        lists.changed,
        lists.left,
    )))
}

fn too_many(what: &str, max: usize) -> ApiError {
    ApiError::too_large(format!("a request names at most {max} {what}"))
}

#[cfg(test)]
mod tests {
    use ruma::{owned_device_id, owned_user_id, serde::Raw, server_name};
    use serde_json::json;

    use super::*;

    fn keys() -> claim_keys::OneTimeKeys {
        let key = Raw::from_json_string("{}".to_owned()).unwrap();
        let key = BTreeMap::from([("signed_curve25519:A".try_into().unwrap(), key)]);
        BTreeMap::from([(owned_device_id!("PHONE"), key)])
    }

    /// Sabotage: give the first error up (`?`), as if no key had been handed out.
    #[test]
    fn keys_that_were_handed_out_are_told_whatever_else_failed() {
        let alice = owned_user_id!("@alice:here");
        let away = || Err(ApiError::unavailable("no owner"));
        let claimed = vec![
            (owned_user_id!("@bob:here"), away()),
            (alice.clone(), Ok(keys())),
            (owned_user_id!("@carol:here"), away()),
        ];
        let response = told(claimed, server_name!("here")).unwrap();
        assert_eq!(
            response.one_time_keys.into_keys().collect::<Vec<_>>(),
            [alice]
        );
        let failure = json!({ "errcode": "M_UNKNOWN", "error": "no owner" });
        assert_eq!(
            response.failures,
            BTreeMap::from([("here".to_owned(), failure)])
        );
    }

    #[test]
    fn a_claim_of_which_nothing_came_fails() {
        let bob = owned_user_id!("@bob:here");
        let none = vec![(bob.clone(), Ok(BTreeMap::new()))];
        let response = told(none, server_name!("here")).unwrap();
        assert!(response.failures.is_empty() && response.one_time_keys.is_empty());
        let away = vec![(bob, Err(ApiError::unavailable("no owner")))];
        told(away, server_name!("here")).unwrap_err();
    }
}
