//! Keys that join a backup.

use futures::{StreamExt, TryStreamExt, stream};
use hanse_proto::user::{self as proto, user_entry::Kind};
use ruma::{
    OwnedRoomId, OwnedUserId, UInt, UserId, api::client::backup::KeyBackupData, serde::Raw,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    BackupError, BackupState, ID_BYTES_MAX, ROOM_KEYS_MAX, SESSION_DATA_BYTES_MAX, Versions,
    check_bytes,
};
use crate::{
    Unavailable, Users,
    commands::command,
    tables::{
        backup_version::BackupVersionRow,
        room_key::{self, RoomKeyRow},
    },
};

/// Bytes of keys in one command: with their rooms' names they fit into a batch of the log.
const COMMAND_BYTES_MAX: usize = 48 * 1024;
/// Keys in one command.
const COMMAND_KEYS_MAX: usize = 128;
/// What a key's names and numbers take, in bytes, at least.
const KEY_BYTES_MIN: usize = 64;
/// Rows read at once.
const READ_AT_ONCE: usize = 16;

/// A key, as its user's device backs it up.
#[derive(Clone, Debug)]
pub struct BackedUpKey {
    /// The room.
    pub room_id: OwnedRoomId,
    /// The session.
    pub session_id: String,
    /// The key.
    pub data: Raw<KeyBackupData>,
}

/// Puts keys into a version.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PutRoomKeys {
    user_id: OwnedUserId,
    version: i64,
    keys: Vec<CheckedKey>,
}
command!(PutRoomKeys, "user.put_room_keys", of user_id,
    Users::put_room_keys_here => BackupState, BackupError, repeats safely);

/// A key that is what it claims to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct CheckedKey {
    room_id: OwnedRoomId,
    session_id: String,
    data: KeyData,
}

/// [`KeyBackupData`] of any algorithm: how `session_data` looks is between clients.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct KeyData {
    first_message_index: UInt,
    forwarded_count: UInt,
    is_verified: bool,
    session_data: Box<RawValue>,
}

impl CheckedKey {
    fn of(key: &BackedUpKey) -> Result<Self, BackupError> {
        check_bytes("a session's id", key.session_id.len(), ID_BYTES_MAX)?;
        let parsed: Result<KeyData, _> = serde_json::from_str(key.data.json().get());
        let data = parsed
            .ok()
            .filter(|data| data.session_data.get().starts_with('{'));
        let data = data.ok_or_else(|| BackupError::Malformed {
            what: format!("the key of session {}", key.session_id),
        })?;
        let bytes = data.session_data.get().len();
        check_bytes("session_data", bytes, SESSION_DATA_BYTES_MAX)?;
        Ok(Self {
            room_id: key.room_id.clone(),
            session_id: key.session_id.clone(),
            data,
        })
    }

    fn bytes(&self) -> usize {
        let names = self.room_id.as_str().len() + self.session_id.len();
        names + self.data.session_data.get().len() + KEY_BYTES_MIN
    }

    fn room_key(&self) -> proto::RoomKey {
        proto::RoomKey {
            room_id: self.room_id.to_string(),
            session_id: self.session_id.clone(),
            first_message_index: self.data.first_message_index.into(),
            forwarded_count: self.data.forwarded_count.into(),
            is_verified: self.data.is_verified,
            session_data: self.data.session_data.get().to_owned(),
        }
    }
}

impl Users {
    /// Puts keys into the newest version, which `version` must be. Of two keys of one session the
    /// better one stays. A request may be done in part: its repeat does the rest.
    pub async fn put_room_keys(
        &self,
        user_id: &UserId,
        version: i64,
        keys: &[BackedUpKey],
    ) -> Result<BackupState, BackupError> {
        let checked: Result<Vec<_>, _> = keys.iter().map(CheckedKey::of).collect();
        let mut state = None;
        for keys in in_commands(checked?) {
            let put = PutRoomKeys {
                user_id: user_id.to_owned(),
                version,
                keys,
            };
            state = Some(self.routed(put).await?);
        }
        state.ok_or(BackupError::UnknownVersion)
    }

    async fn put_room_keys_here(&self, put: &PutRoomKeys) -> Result<BackupState, BackupError> {
        let turn = self.user_turn(&put.user_id).await?;
        let versions = self.backup_versions(&put.user_id).await?;
        let newest = current(&versions, put.version)?;
        let held = self.held(put).await?;
        let (mut keys, mut added) = (Vec::new(), 0);
        for (key, held) in put.keys.iter().map(CheckedKey::room_key).zip(held) {
            match held {
                Some(held) if !is_better(&key, &held) => {}
                Some(_) => keys.push(key),
                None => {
                    added += 1;
                    keys.push(key);
                }
            }
        }
        if keys.is_empty() {
            return Ok(BackupState::of(newest));
        }
        let mut record = newest.record();
        record.count += added;
        record.etag += 1;
        if record.count > ROOM_KEYS_MAX {
            let what = format!("a backup has at most {ROOM_KEYS_MAX} keys");
            return Err(BackupError::TooMany { what });
        }
        let state = BackupState {
            count: record.count,
            etag: record.etag,
        };
        let version = Some(record);
        let put = Kind::RoomKeys(proto::RoomKeys { version, keys });
        self.commit_user(&turn, [put]).await?;
        Ok(state)
    }

    /// What is there of the sessions, in their order.
    async fn held(&self, put: &PutRoomKeys) -> Result<Vec<Option<RoomKeyRow>>, Unavailable> {
        let user_id = put.user_id.as_str();
        let keys = put.keys.iter().map(|key| {
            let of = (key.room_id.as_str(), key.session_id.as_str());
            room_key::key(user_id, put.version, of)
        });
        let keys: Vec<_> = keys.collect();
        let reads = keys.into_iter().map(|key| self.archive().get(key));
        let held = stream::iter(reads).buffered(READ_AT_ONCE).try_collect();
        Ok(held.await?)
    }
}

/// The newest version, if that is the one.
fn current(versions: &Versions, version: i64) -> Result<&BackupVersionRow, BackupError> {
    let newest = versions.newest().ok_or(BackupError::UnknownVersion)?;
    if newest.version != version {
        let current = newest.version;
        return Err(BackupError::WrongVersion { current });
    }
    Ok(newest)
}

/// Whether a key takes another's place ([spec]): one of a verified device, else one that reads more, else
/// one that was forwarded less.
///
/// [spec]: https://spec.matrix.org/v1.16/client-server-api/#put_matrixclientv3room_keyskeys
fn is_better(key: &proto::RoomKey, held: &RoomKeyRow) -> bool {
    if key.is_verified != held.is_verified {
        return key.is_verified;
    }
    let of_key = (key.first_message_index, key.forwarded_count);
    of_key < (held.first_message_index, held.forwarded_count)
}

/// Keys by command; at least one, since a version is looked at for no keys, too.
fn in_commands(keys: Vec<CheckedKey>) -> Vec<Vec<CheckedKey>> {
    let (mut commands, mut open, mut open_bytes) = (Vec::new(), Vec::new(), 0);
    for key in keys {
        let bytes = key.bytes();
        let full = open_bytes + bytes > COMMAND_BYTES_MAX || open.len() >= COMMAND_KEYS_MAX;
        if full && !open.is_empty() {
            commands.push(std::mem::take(&mut open));
            open_bytes = 0;
        }
        open_bytes += bytes;
        open.push(key);
    }
    commands.push(open);
    commands
}

#[cfg(test)]
mod tests {
    use hanse_log::Position;

    use super::*;

    #[test]
    fn the_better_key_stays() {
        let held = RoomKeyRow {
            room_id: String::new(),
            session_id: String::new(),
            first_message_index: 5,
            forwarded_count: 5,
            is_verified: false,
            session_data: String::new(),
            position: Position::START,
        };
        for (is_verified, first_message_index, forwarded_count, better) in [
            (true, 9, 9, true),
            (false, 4, 9, true),
            (false, 6, 0, false),
            (false, 5, 4, true),
            (false, 5, 6, false),
            (false, 5, 5, false),
        ] {
            let key = proto::RoomKey {
                first_message_index,
                forwarded_count,
                is_verified,
                ..proto::RoomKey::default()
            };
            assert_eq!(is_better(&key, &held), better, "{key:?}");
        }
        let verified = RoomKeyRow {
            is_verified: true,
            ..held
        };
        assert!(!is_better(&proto::RoomKey::default(), &verified));
    }

    #[test]
    fn commands_are_bounded_and_lose_nothing() {
        let key = |bytes: usize| {
            let data = format!(r#"{{"x":"{}"}}"#, "x".repeat(bytes));
            CheckedKey {
                room_id: ruma::owned_room_id!("!r:x"),
                session_id: "s".to_owned(),
                data: KeyData {
                    first_message_index: UInt::MIN,
                    forwarded_count: UInt::MIN,
                    is_verified: false,
                    session_data: RawValue::from_string(data).unwrap(),
                },
            }
        };
        let keys: Vec<_> = (0..500).map(|at| key(at * 10)).collect();
        let commands = in_commands(keys);
        assert_eq!(commands.iter().map(Vec::len).sum::<usize>(), 500);
        for command in &commands {
            let bytes: usize = command.iter().map(CheckedKey::bytes).sum();
            assert!(bytes <= COMMAND_BYTES_MAX && command.len() <= COMMAND_KEYS_MAX);
        }
        assert_eq!(in_commands(Vec::new()).len(), 1);
    }
}
