//! The rows of key backups.

use hanse_proto::user::{BackupVersion, RoomKeys, RoomKeysRemoved};

use super::UserRows;
use crate::tables::{
    backup_version::{self, BACKUP_VERSIONS},
    room_key::{self, ROOM_KEYS},
};

impl UserRows<'_> {
    pub(super) fn backup_version(&mut self, version: &BackupVersion) {
        let key = backup_version::key(self.user_id, version.version);
        if version.forgotten {
            self.rows.delete(&BACKUP_VERSIONS, key);
        } else {
            let values = backup_version::values(version, self.position);
            self.rows.put(&BACKUP_VERSIONS, key, values);
        }
    }

    pub(super) fn room_keys(&mut self, added: &RoomKeys) {
        let Some(version) = &added.version else {
            return;
        };
        for room_key in &added.keys {
            let of = (room_key.room_id.as_str(), room_key.session_id.as_str());
            let key = room_key::key(self.user_id, version.version, of);
            let values = room_key::values(room_key, self.position);
            self.rows.put(&ROOM_KEYS, key, values);
        }
        self.backup_version(version);
    }

    pub(super) fn room_keys_removed(&mut self, removed: &RoomKeysRemoved) {
        let Some(version) = &removed.version else {
            return;
        };
        for room_key in &removed.keys {
            let of = (room_key.room_id.as_str(), room_key.session_id.as_str());
            let key = room_key::key(self.user_id, version.version, of);
            self.rows.delete(&ROOM_KEYS, key);
        }
        self.backup_version(version);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use hanse_proto::user::{RoomKey, RoomKeyRef, user_entry::Kind};

    use super::*;

    /// One of each kind, each of which writes something.
    pub(in super::super) fn kinds() -> Vec<Kind> {
        vec![
            Kind::BackupVersion(BackupVersion::default()),
            Kind::BackupVersion(BackupVersion {
                forgotten: true,
                ..BackupVersion::default()
            }),
            Kind::RoomKeys(RoomKeys {
                version: Some(BackupVersion::default()),
                keys: vec![RoomKey::default()],
            }),
            Kind::RoomKeysRemoved(RoomKeysRemoved {
                version: Some(BackupVersion::default()),
                keys: vec![RoomKeyRef::default()],
            }),
        ]
    }
}
