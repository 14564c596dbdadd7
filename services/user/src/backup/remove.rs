//! Keys that leave a backup.

use hanse_proto::user::{self as proto, user_entry::Kind};
use hanse_store::Range;
use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::{Deserialize, Serialize};

use super::{BackupError, BackupState};
use crate::{
    Unavailable, Users,
    commands::command,
    tables::{
        backup_version::{self, BackupVersionRow},
        room_key::{self, BUCKETS, RoomKeyRow},
    },
    turn::Turn,
};

/// Keys removed with one entry: some 60 KiB, if their rooms' names are not unusually long. They are read
/// for it.
const REMOVED_AT_ONCE: usize = 200;

/// Removes keys of a version: of one session, of one room, or all.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RemoveRoomKeys {
    user_id: OwnedUserId,
    version: i64,
    room_id: Option<OwnedRoomId>,
    session_id: Option<String>,
}
command!(RemoveRoomKeys, "user.remove_room_keys", of user_id,
    Users::remove_room_keys_here => BackupState, BackupError, repeats safely);

impl Users {
    /// Removes keys of a version: those of a room, or of one session in it, or all of them.
    pub async fn remove_room_keys(
        &self,
        user_id: &UserId,
        version: i64,
        room_id: Option<&RoomId>,
        session_id: Option<&str>,
    ) -> Result<BackupState, BackupError> {
        let remove = RemoveRoomKeys {
            user_id: user_id.to_owned(),
            version,
            room_id: room_id.map(ToOwned::to_owned),
            session_id: session_id.map(ToOwned::to_owned),
        };
        self.routed(remove).await
    }

    async fn remove_room_keys_here(
        &self,
        remove: &RemoveRoomKeys,
    ) -> Result<BackupState, BackupError> {
        let turn = self.user_turn(&remove.user_id).await?;
        let versions = self.backup_versions(&remove.user_id).await?;
        let mut record = versions.find(remove.version)?.record();
        let room_id = remove.room_id.as_deref();
        let (buckets, range) = match (room_id, &remove.session_id) {
            (None, _) => (0..BUCKETS, Range::all()),
            (Some(room_id), session_id) => {
                let bucket = room_key::bucket(room_id.as_str());
                let names = [Some(room_id.as_str()), session_id.as_deref()];
                let prefix: Vec<_> = names.into_iter().flatten().map(Into::into).collect();
                (bucket..bucket + 1, Range::prefix(prefix))
            }
        };
        for bucket in buckets {
            self.remove_range(&turn, &mut record, bucket, range.clone())
                .await?;
        }
        Ok(BackupState {
            count: record.count,
            etag: record.etag,
        })
    }

    /// Removes what is in a range, and keeps the record up to date.
    async fn remove_range(
        &self,
        turn: &Turn,
        record: &mut proto::BackupVersion,
        bucket: i64,
        mut range: Range,
    ) -> Result<(), Unavailable> {
        loop {
            let rows = self.rows(turn, record.version, bucket, &range).await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            range.from = vec![
                last.room_id.as_str().into(),
                last.session_id.as_str().into(),
            ];
            range.from_exclusive = true;
            let read = rows.len();
            self.remove_rows(turn, record, rows).await?;
            if read < REMOVED_AT_ONCE {
                return Ok(());
            }
        }
    }

    async fn rows(
        &self,
        turn: &Turn,
        version: i64,
        bucket: i64,
        range: &Range,
    ) -> Result<Vec<RoomKeyRow>, Unavailable> {
        let partition = room_key::partition(turn.key(), version, bucket);
        Ok(self
            .archive()
            .range(partition, range.clone(), REMOVED_AT_ONCE)
            .await?)
    }

    async fn remove_rows(
        &self,
        turn: &Turn,
        record: &mut proto::BackupVersion,
        rows: Vec<RoomKeyRow>,
    ) -> Result<(), Unavailable> {
        let removed = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        record.count = record.count.saturating_sub(removed).max(0);
        record.etag += 1;
        let keys = rows.into_iter().map(|row| proto::RoomKeyRef {
            room_id: row.room_id,
            session_id: row.session_id,
        });
        let removed = proto::RoomKeysRemoved {
            version: Some(record.clone()),
            keys: keys.collect(),
        };
        self.commit_user(turn, [Kind::RoomKeysRemoved(removed)])
            .await?;
        Ok(())
    }

    /// Removes the keys of a version that is removed, beside everything else. Where that stops, the
    /// next version of the user begins it again.
    pub(super) fn empty_backup_later(&self, user_id: &UserId, version: i64) {
        let (users, user_id) = (self.clone(), user_id.to_owned());
        self.inner.tasks.spawn("backup-removal", async move {
            let soft = users.inner.tasks.soft().clone();
            let emptying = users.empty_backup(&user_id, version);
            if let Some(Err(error)) = soft.run_until_cancelled(emptying).await {
                tracing::warn!(%error, "the keys of a removed backup are not all gone");
            }
        });
    }

    async fn empty_backup(&self, user_id: &UserId, version: i64) -> Result<(), Unavailable> {
        for bucket in 0..BUCKETS {
            while self.empty_some(user_id, version, bucket).await? {}
        }
        let turn = self.user_turn(user_id).await?;
        let Some(mut record) = self.removed_record(user_id, version).await? else {
            return Ok(());
        };
        record.count = 0;
        self.commit_user(&turn, [Kind::BackupVersion(record)])
            .await?;
        Ok(())
    }

    /// Removes some keys in a turn of their own: others of the user come in between.
    async fn empty_some(
        &self,
        user_id: &UserId,
        version: i64,
        bucket: i64,
    ) -> Result<bool, Unavailable> {
        let turn = self.user_turn(user_id).await?;
        let Some(mut record) = self.removed_record(user_id, version).await? else {
            return Ok(false);
        };
        let rows = self.rows(&turn, version, bucket, &Range::all()).await?;
        if rows.is_empty() {
            return Ok(false);
        }
        self.remove_rows(&turn, &mut record, rows).await?;
        Ok(true)
    }

    async fn removed_record(
        &self,
        user_id: &UserId,
        version: i64,
    ) -> Result<Option<proto::BackupVersion>, Unavailable> {
        let key = backup_version::key(user_id.as_str(), version);
        let row: Option<BackupVersionRow> = self.archive().get(key).await?;
        Ok(row.filter(|row| row.removed).map(|row| row.record()))
    }
}
