//! Reading keys, page by page.

use hanse_store::{Range, StoreError};
use ruma::{OwnedRoomId, RoomId, UserId, api::client::backup::KeyBackupData, serde::Raw};
use serde_json::value::{RawValue, to_raw_value};

use super::{BackedUpKey, BackupError};
use crate::{
    Users,
    tables::room_key::{self, BUCKETS, ROOM_KEYS, RoomKeyRow},
};

/// Keys of one page: some 6 MB, if all of them are as large as can be.
const PAGE: usize = 200;

/// Where the next page begins.
#[derive(Clone, Debug, Default)]
pub struct RoomKeyCursor {
    bucket: i64,
    after: Option<(String, String)>,
}

/// Some keys of a version; those of one room stand together.
#[derive(Clone, Debug)]
pub struct RoomKeyPage {
    /// The keys.
    pub keys: Vec<BackedUpKey>,
    /// Where it goes on, unless this is all.
    pub next: Option<RoomKeyCursor>,
}

impl Users {
    /// The key of one session.
    pub async fn room_key(
        &self,
        user_id: &UserId,
        version: i64,
        (room_id, session_id): (&RoomId, &str),
    ) -> Result<Option<Raw<KeyBackupData>>, BackupError> {
        self.backup_versions(user_id).await?.find(version)?;
        let key = room_key::key(user_id.as_str(), version, (room_id.as_str(), session_id));
        let row: Option<RoomKeyRow> = self.archive().get(key).await?;
        Ok(row.as_ref().map(data).transpose()?)
    }

    /// Keys of a version, of all rooms or of one; the first page has no cursor.
    pub async fn room_keys(
        &self,
        user_id: &UserId,
        version: i64,
        room_id: Option<&RoomId>,
        cursor: Option<RoomKeyCursor>,
    ) -> Result<RoomKeyPage, BackupError> {
        if cursor.is_none() {
            self.backup_versions(user_id).await?.find(version)?;
        }
        let mut cursor = cursor.unwrap_or_else(|| RoomKeyCursor {
            bucket: room_id.map_or(0, |room_id| room_key::bucket(room_id.as_str())),
            after: None,
        });
        let mut keys = Vec::new();
        loop {
            let partition = room_key::partition(user_id.as_str(), version, cursor.bucket);
            let range = following(cursor.after.take(), room_id);
            let wanted = PAGE - keys.len();
            let rows: Vec<RoomKeyRow> = self.archive().range(partition, range, wanted).await?;
            let full = rows.len() == wanted;
            let last = rows.last();
            cursor.after = last.map(|row| (row.room_id.clone(), row.session_id.clone()));
            for row in rows {
                keys.push(backed_up(&row)?);
            }
            if full {
                let next = Some(cursor);
                return Ok(RoomKeyPage { keys, next });
            }
            cursor = RoomKeyCursor {
                bucket: cursor.bucket + 1,
                after: None,
            };
            if room_id.is_some() || cursor.bucket == BUCKETS {
                return Ok(RoomKeyPage { keys, next: None });
            }
        }
    }
}

fn following(after: Option<(String, String)>, room_id: Option<&RoomId>) -> Range {
    let mut range = match room_id {
        Some(room_id) => Range::prefix([room_id.as_str().into()]),
        None => Range::all(),
    };
    if let Some((room_id, session_id)) = after {
        range.from = vec![room_id.into(), session_id.into()];
        range.from_exclusive = true;
    }
    range
}

fn backed_up(row: &RoomKeyRow) -> Result<BackedUpKey, StoreError> {
    let room_id = OwnedRoomId::try_from(row.room_id.as_str());
    Ok(BackedUpKey {
        room_id: room_id.map_err(|error| corrupt(&error))?,
        session_id: row.session_id.clone(),
        data: data(row)?,
    })
}

fn data(row: &RoomKeyRow) -> Result<Raw<KeyBackupData>, StoreError> {
    let session_data: &RawValue =
        serde_json::from_str(&row.session_data).map_err(|error| corrupt(&error))?;
    let data = serde_json::json!({
        "first_message_index": row.first_message_index,
        "forwarded_count": row.forwarded_count,
        "is_verified": row.is_verified,
        "session_data": session_data,
    });
    let json = to_raw_value(&data).map_err(|error| corrupt(&error))?;
    Ok(Raw::from_json(json))
}

fn corrupt(reason: &dyn std::fmt::Display) -> StoreError {
    StoreError::Corrupt {
        table: ROOM_KEYS.name,
        reason: reason.to_string(),
    }
}
