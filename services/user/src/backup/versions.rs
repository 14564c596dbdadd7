//! The versions of a backup.

use hanse_proto::user::{self as proto, user_entry::Kind};
use ruma::{OwnedUserId, UserId, api::client::backup::BackupAlgorithm, serde::Raw};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::to_raw_value};

use super::{
    AUTH_DATA_BYTES_MAX, BackupError, BackupState, ID_BYTES_MAX, VERSIONS_MAX, VERSIONS_READ_MAX,
    check_bytes,
};
use crate::{Unavailable, Users, commands::command, tables::backup_version::BackupVersionRow};

/// A version of a user's backup.
#[derive(Clone, Debug)]
pub struct BackupVersion {
    /// Its number.
    pub version: i64,
    /// Its algorithm, with what belongs to it.
    pub algorithm: Raw<BackupAlgorithm>,
    /// Keys in it.
    pub state: BackupState,
}

/// Begins a version; gives its number.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CreateBackup {
    user_id: OwnedUserId,
    algorithm: String,
    auth_data: String,
}
command!(CreateBackup, "user.create_backup", of user_id,
    Users::create_backup_here => i64, BackupError);

/// Replaces what belongs to a version's algorithm.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UpdateBackup {
    user_id: OwnedUserId,
    version: i64,
    algorithm: String,
    auth_data: String,
}
command!(UpdateBackup, "user.update_backup", of user_id,
    Users::update_backup_here => (), BackupError, repeats safely);

/// Removes a version with its keys.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RemoveBackup {
    user_id: OwnedUserId,
    version: i64,
}
command!(RemoveBackup, "user.remove_backup", of user_id,
    Users::remove_backup_here => (), BackupError);

impl Users {
    /// The newest version of a user's backup.
    pub async fn newest_backup(&self, user_id: &UserId) -> Result<BackupVersion, BackupError> {
        let versions = self.backup_versions(user_id).await?;
        shown(versions.newest().ok_or(BackupError::UnknownVersion)?)
    }

    /// A version of a user's backup.
    pub async fn backup(
        &self,
        user_id: &UserId,
        version: i64,
    ) -> Result<BackupVersion, BackupError> {
        shown(self.backup_versions(user_id).await?.find(version)?)
    }

    /// Begins a new version, which is the newest; gives its number.
    pub async fn create_backup(
        &self,
        user_id: &UserId,
        algorithm: &Raw<BackupAlgorithm>,
    ) -> Result<i64, BackupError> {
        let (algorithm, auth_data) = parts(algorithm)?;
        let create = CreateBackup {
            user_id: user_id.to_owned(),
            algorithm,
            auth_data,
        };
        self.routed(create).await
    }

    async fn create_backup_here(&self, create: &CreateBackup) -> Result<i64, BackupError> {
        let user_id = &create.user_id;
        let turn = self.user_turn(user_id).await?;
        let versions = self.backup_versions(user_id).await?;
        if versions.live().count() >= VERSIONS_MAX || versions.rows.len() >= VERSIONS_READ_MAX {
            let what = format!("a user has at most {VERSIONS_MAX} backup versions");
            return Err(BackupError::TooMany { what });
        }
        let last = versions.rows.last().map_or(0, |row| row.version);
        let version = last.saturating_add(1);
        let mut kinds = vec![Kind::BackupVersion(proto::BackupVersion {
            version,
            algorithm: create.algorithm.clone(),
            auth_data: create.auth_data.clone(),
            ..proto::BackupVersion::default()
        })];
        // Their numbers are not given again: the new one is above them.
        let empty = versions
            .rows
            .iter()
            .filter(|row| row.removed && row.count == 0);
        kinds.extend(empty.map(forgotten));
        self.commit_user(&turn, kinds).await?;
        drop(turn);
        let left = versions
            .rows
            .iter()
            .filter(|row| row.removed && row.count > 0);
        for row in left {
            self.empty_backup_later(user_id, row.version);
        }
        Ok(version)
    }

    /// Replaces what belongs to a version's algorithm, which stays.
    pub async fn update_backup(
        &self,
        user_id: &UserId,
        version: i64,
        algorithm: &Raw<BackupAlgorithm>,
    ) -> Result<(), BackupError> {
        let (algorithm, auth_data) = parts(algorithm)?;
        let update = UpdateBackup {
            user_id: user_id.to_owned(),
            version,
            algorithm,
            auth_data,
        };
        self.routed(update).await
    }

    async fn update_backup_here(&self, update: &UpdateBackup) -> Result<(), BackupError> {
        let turn = self.user_turn(&update.user_id).await?;
        let versions = self.backup_versions(&update.user_id).await?;
        let row = versions.find(update.version)?;
        if row.algorithm != update.algorithm {
            return Err(BackupError::OtherAlgorithm);
        }
        let mut record = row.record();
        record.auth_data.clone_from(&update.auth_data);
        self.commit_user(&turn, [Kind::BackupVersion(record)])
            .await?;
        Ok(())
    }

    /// Removes a version: nobody sees it when this returns; its keys go after that.
    pub async fn remove_backup(&self, user_id: &UserId, version: i64) -> Result<(), BackupError> {
        let user_id = user_id.to_owned();
        self.routed(RemoveBackup { user_id, version }).await
    }

    async fn remove_backup_here(&self, remove: &RemoveBackup) -> Result<(), BackupError> {
        let turn = self.user_turn(&remove.user_id).await?;
        let versions = self.backup_versions(&remove.user_id).await?;
        let mut record = versions.find(remove.version)?.record();
        record.removed = true;
        record.auth_data.clear();
        self.commit_user(&turn, [Kind::BackupVersion(record)])
            .await?;
        drop(turn);
        self.empty_backup_later(&remove.user_id, remove.version);
        Ok(())
    }
}

/// A version of which nothing is left.
fn forgotten(row: &BackupVersionRow) -> Kind {
    let mut record = row.record();
    record.forgotten = true;
    Kind::BackupVersion(record)
}

/// An algorithm's name, and what belongs to it: of any algorithm, since only clients know them.
fn parts(algorithm: &Raw<BackupAlgorithm>) -> Result<(String, String), BackupError> {
    let malformed = |what: &str| {
        let what = what.to_owned();
        BackupError::Malformed { what }
    };
    let name: Option<String> = algorithm.get_field("algorithm").ok().flatten();
    let name = name.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| malformed("algorithm"))?;
    check_bytes("algorithm", name.len(), ID_BYTES_MAX)?;
    let data: Option<Value> = algorithm.get_field("auth_data").ok().flatten();
    let data = data.filter(Value::is_object);
    let data = data.ok_or_else(|| malformed("auth_data"))?.to_string();
    check_bytes("auth_data", data.len(), AUTH_DATA_BYTES_MAX)?;
    Ok((name, data))
}

fn shown(row: &BackupVersionRow) -> Result<BackupVersion, BackupError> {
    let corrupt = |error: serde_json::Error| {
        Unavailable::from(hanse_store::StoreError::Corrupt {
            table: crate::tables::backup_version::BACKUP_VERSIONS.name,
            reason: error.to_string(),
        })
    };
    let auth_data: Value = serde_json::from_str(&row.auth_data).map_err(corrupt)?;
    let algorithm = json!({ "algorithm": row.algorithm, "auth_data": auth_data });
    Ok(BackupVersion {
        version: row.version,
        algorithm: Raw::from_json(to_raw_value(&algorithm).map_err(corrupt)?),
        state: BackupState::of(row),
    })
}
