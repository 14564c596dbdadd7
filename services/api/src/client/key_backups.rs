//! [Server-side key backups](https://spec.matrix.org/v1.16/client-server-api/#server-side-key-backups).

use std::collections::BTreeMap;

use axum::{extract::State, response::Response};
use hanse_user::{BackedUpKey, BackupError, BackupState, BackupVersion, Users};
use ruma::{
    OwnedRoomId, UInt,
    api::client::backup::{
        KeyBackupData, add_backup_keys::v3 as add_keys,
        add_backup_keys_for_room::v3 as add_keys_of_room,
        add_backup_keys_for_session::v3 as add_key, create_backup_version::v3 as create_version,
        delete_backup_keys::v3 as delete_keys,
        delete_backup_keys_for_room::v3 as delete_keys_of_room,
        delete_backup_keys_for_session::v3 as delete_key,
        delete_backup_version::v3 as delete_version, get_backup_info::v3 as get_version,
        get_backup_keys::v3 as get_keys, get_backup_keys_for_room::v3 as get_keys_of_room,
        get_backup_keys_for_session::v3 as get_key, get_latest_backup_info::v3 as get_newest,
        update_backup_version::v3 as update_version,
    },
    serde::Raw,
};

use super::Endpoints;
use crate::{
    admission::Class, error::ApiError, exchange::Ruma, room_keys_body::RoomKeysBody,
    session::Session,
};

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes
        .add(Class::Write, "create_backup_version", create)
        .add(Class::Read, "backup_version", newest)
        .add(Class::Read, "backup_version_info", version_info)
        .add(Class::Write, "update_backup_version", update)
        .add(Class::Write, "delete_backup_version", delete_of_version)
        .add(Class::Write, "add_backup_keys", put)
        .add(Class::Write, "add_backup_keys_for_room", put_room)
        .add(Class::Write, "add_backup_keys_for_session", put_session)
        .add(Class::Read, "backup_keys", keys)
        .add(Class::Read, "backup_keys_for_room", keys_of_room)
        .add(Class::Read, "backup_keys_for_session", key_of_session)
        .add(Class::Write, "delete_backup_keys", delete_all)
        .add(Class::Write, "delete_backup_keys_for_room", delete_room)
        .add(
            Class::Write,
            "delete_backup_keys_for_session",
            delete_session,
        )
}

/// `POST /_matrix/client/v3/room_keys/version` — any user, their own.
async fn create(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<create_version::Request>,
) -> Result<Ruma<create_version::Response>, ApiError> {
    let version = users
        .create_backup(&session.user_id, &request.algorithm)
        .await?;
    Ok(Ruma(create_version::Response::new(version.to_string())))
}

/// `GET /_matrix/client/v3/room_keys/version` — any user, their own.
async fn newest(
    State(users): State<Users>,
    session: Session,
    _: Ruma<get_newest::Request>,
) -> Result<Ruma<get_newest::Response>, ApiError> {
    let BackupVersion {
        version,
        algorithm,
        state,
    } = users.newest_backup(&session.user_id).await?;
    let (etag, count) = shown(state);
    let version = version.to_string();
    Ok(Ruma(get_newest::Response::new(
        algorithm, count, etag, version,
    )))
}

/// `GET /_matrix/client/v3/room_keys/version/{version}` — any user, their own.
async fn version_info(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<get_version::Request>,
) -> Result<Ruma<get_version::Response>, ApiError> {
    let version = number(&request.version)?;
    let found = users.backup(&session.user_id, version).await?;
    let (etag, count) = shown(found.state);
    Ok(Ruma(get_version::Response::new(
        found.algorithm,
        count,
        etag,
        request.version,
    )))
}

/// `PUT /_matrix/client/v3/room_keys/version/{version}` — any user, their own.
async fn update(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<update_version::Request>,
) -> Result<Ruma<update_version::Response>, ApiError> {
    let named: Option<serde_json::Value> = request.algorithm.get_field("version").ok().flatten();
    if named.is_some_and(|named| named != *request.version) {
        let text = "the body names another version than the path";
        return Err(ApiError::invalid_param(text));
    }
    users
        .update_backup(
            &session.user_id,
            number(&request.version)?,
            &request.algorithm,
        )
        .await?;
    Ok(Ruma(update_version::Response::new()))
}

/// `DELETE /_matrix/client/v3/room_keys/version/{version}` — any user, their own.
async fn delete_of_version(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<delete_version::Request>,
) -> Result<Ruma<delete_version::Response>, ApiError> {
    users
        .remove_backup(&session.user_id, number(&request.version)?)
        .await?;
    Ok(Ruma(delete_version::Response::new()))
}

/// `PUT /_matrix/client/v3/room_keys/keys` — any user, their own.
async fn put(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<add_keys::Request>,
) -> Result<Ruma<add_keys::Response>, ApiError> {
    let keys = request.rooms.into_iter();
    let keys = keys.flat_map(|(room_id, room)| of_room(&room_id, room.sessions));
    let (etag, count) = put_keys(&users, &session, &request.version, keys.collect()).await?;
    Ok(Ruma(add_keys::Response::new(etag, count)))
}

/// `PUT /_matrix/client/v3/room_keys/keys/{roomId}` — any user, their own.
async fn put_room(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<add_keys_of_room::Request>,
) -> Result<Ruma<add_keys_of_room::Response>, ApiError> {
    let keys = of_room(&request.room_id, request.sessions);
    let (etag, count) = put_keys(&users, &session, &request.version, keys).await?;
    Ok(Ruma(add_keys_of_room::Response::new(etag, count)))
}

/// `PUT /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}` — any user, their own.
async fn put_session(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<add_key::Request>,
) -> Result<Ruma<add_key::Response>, ApiError> {
    let key = BackedUpKey {
        room_id: request.room_id,
        session_id: request.session_id,
        data: request.session_data,
    };
    let (etag, count) = put_keys(&users, &session, &request.version, vec![key]).await?;
    Ok(Ruma(add_key::Response::new(etag, count)))
}

/// `GET /_matrix/client/v3/room_keys/keys` — any user, their own.
async fn keys(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<get_keys::Request>,
) -> Result<Response, ApiError> {
    let version = number(&request.version)?;
    RoomKeysBody::start(users, session.user_id.clone(), version, None).await
}

/// `GET /_matrix/client/v3/room_keys/keys/{roomId}` — any user, their own.
async fn keys_of_room(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<get_keys_of_room::Request>,
) -> Result<Response, ApiError> {
    let version = number(&request.version)?;
    RoomKeysBody::start(
        users,
        session.user_id.clone(),
        version,
        Some(request.room_id),
    )
    .await
}

/// `GET /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}` — any user, their own.
async fn key_of_session(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<get_key::Request>,
) -> Result<Ruma<get_key::Response>, ApiError> {
    let version = number(&request.version)?;
    let of = (&*request.room_id, request.session_id.as_str());
    let key = users.room_key(&session.user_id, version, of).await?;
    let key = key.ok_or_else(|| ApiError::not_found("there is no key of this session"))?;
    Ok(Ruma(get_key::Response::new(key)))
}

/// `DELETE /_matrix/client/v3/room_keys/keys` — any user, their own.
async fn delete_all(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<delete_keys::Request>,
) -> Result<Ruma<delete_keys::Response>, ApiError> {
    let version = number(&request.version)?;
    let left = users.remove_room_keys(&session.user_id, version, None, None);
    let (etag, count) = shown(left.await?);
    Ok(Ruma(delete_keys::Response::new(etag, count)))
}

/// `DELETE /_matrix/client/v3/room_keys/keys/{roomId}` — any user, their own.
async fn delete_room(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<delete_keys_of_room::Request>,
) -> Result<Ruma<delete_keys_of_room::Response>, ApiError> {
    let version = number(&request.version)?;
    let room_id = Some(&*request.room_id);
    let left = users.remove_room_keys(&session.user_id, version, room_id, None);
    let (etag, count) = shown(left.await?);
    Ok(Ruma(delete_keys_of_room::Response::new(etag, count)))
}

/// `DELETE /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}` — any user, their own.
async fn delete_session(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<delete_key::Request>,
) -> Result<Ruma<delete_key::Response>, ApiError> {
    let version = number(&request.version)?;
    let (room_id, session_id) = (&*request.room_id, request.session_id.as_str());
    let of = (Some(room_id), Some(session_id));
    let left = users.remove_room_keys(&session.user_id, version, of.0, of.1);
    let (etag, count) = shown(left.await?);
    Ok(Ruma(delete_key::Response::new(etag, count)))
}

async fn put_keys(
    users: &Users,
    session: &Session,
    version: &str,
    keys: Vec<BackedUpKey>,
) -> Result<(String, UInt), ApiError> {
    let version = number(version)?;
    let state = users
        .put_room_keys(&session.user_id, version, &keys)
        .await?;
    Ok(shown(state))
}

fn of_room(
    room_id: &OwnedRoomId,
    sessions: BTreeMap<String, Raw<KeyBackupData>>,
) -> Vec<BackedUpKey> {
    let keys = sessions.into_iter().map(|(session_id, data)| BackedUpKey {
        room_id: room_id.clone(),
        session_id,
        data,
    });
    keys.collect()
}

fn shown(state: BackupState) -> (String, UInt) {
    let count = UInt::try_from(state.count).unwrap_or_default();
    (state.etag.to_string(), count)
}

/// Versions are numbers here; clients need not know.
fn number(version: &str) -> Result<i64, ApiError> {
    let number = version.parse();
    number.map_err(|_| BackupError::UnknownVersion.into())
}
