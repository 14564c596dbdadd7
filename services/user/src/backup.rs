//! Server-side key backups ([spec]): versions, and the room keys in them, which only the user can read.
//!
//! Invariant: a key is replaced by a better one alone, whoever comes last.
//! Invariant: a version's number is never given again.
//! Invariant: whatever is read, written or removed at once is a bounded part of a backup.
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#server-side-key-backups

mod put;
mod read;
mod remove;
mod versions;

use hanse_store::Range;
use ruma::UserId;
use serde::{Deserialize, Serialize};

pub use self::{
    put::BackedUpKey,
    read::{RoomKeyCursor, RoomKeyPage},
    versions::BackupVersion,
};
pub(crate) use self::{
    put::PutRoomKeys,
    remove::RemoveRoomKeys,
    versions::{CreateBackup, RemoveBackup, UpdateBackup},
};
use crate::{
    Unavailable, Users,
    error::{from_unavailable, refusals},
    tables::backup_version::BackupVersionRow,
};

/// Versions of a user that are not removed.
const VERSIONS_MAX: usize = 100;
/// Rows of versions that are read: with those that are being removed.
const VERSIONS_READ_MAX: usize = 1_000;
/// Keys in one version.
const ROOM_KEYS_MAX: i64 = 1_000_000;
/// Largest `auth_data`, in bytes.
const AUTH_DATA_BYTES_MAX: usize = 16 * 1024;
/// Largest data of one key, in bytes.
const SESSION_DATA_BYTES_MAX: usize = 32 * 1024;
/// Longest name of an algorithm, and longest session id, in bytes.
const ID_BYTES_MAX: usize = 255;

/// Why a backup was not read or changed.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum BackupError {
    /// The user has no such version (`M_NOT_FOUND`).
    #[error("there is no such backup version")]
    UnknownVersion,
    /// Keys go into the newest version alone (`M_WRONG_ROOM_KEYS_VERSION`).
    #[error("the current backup version is {current}")]
    WrongVersion {
        /// The newest.
        current: i64,
    },
    /// A version keeps its algorithm (`M_INVALID_PARAM`).
    #[error("a backup version keeps its algorithm")]
    OtherAlgorithm,
    /// Not what the specification calls so (`M_BAD_JSON`).
    #[error("{what} is malformed")]
    Malformed {
        /// What.
        what: String,
    },
    /// Too many bytes (`M_TOO_LARGE`).
    #[error("{what} has more than {bytes_max} bytes")]
    TooLarge {
        /// What.
        what: String,
        /// The bound.
        bytes_max: usize,
    },
    /// There is no more room for the user (`M_TOO_LARGE`).
    #[error("{what}")]
    TooMany {
        /// What there is too much of.
        what: String,
    },
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

from_unavailable!(BackupError);
refusals!(BackupError);

/// What is told of a version after each change of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupState {
    /// Keys in it.
    pub count: i64,
    /// Another one after each change.
    pub etag: i64,
}

impl BackupState {
    fn of(row: &BackupVersionRow) -> Self {
        Self {
            count: row.count,
            etag: row.etag,
        }
    }
}

/// The versions of a user.
struct Versions {
    rows: Vec<BackupVersionRow>,
}

impl Versions {
    fn live(&self) -> impl DoubleEndedIterator<Item = &BackupVersionRow> {
        self.rows.iter().filter(|row| !row.removed)
    }

    fn newest(&self) -> Option<&BackupVersionRow> {
        self.live().next_back()
    }

    fn find(&self, version: i64) -> Result<&BackupVersionRow, BackupError> {
        let found = self.live().find(|row| row.version == version);
        found.ok_or(BackupError::UnknownVersion)
    }
}

impl Users {
    async fn backup_versions(&self, user_id: &UserId) -> Result<Versions, Unavailable> {
        let partition = [user_id.as_str().into()];
        let rows = self
            .archive()
            .range(partition, Range::all(), VERSIONS_READ_MAX)
            .await?;
        Ok(Versions { rows })
    }
}

fn check_bytes(what: &str, bytes: usize, bytes_max: usize) -> Result<(), BackupError> {
    if bytes <= bytes_max {
        return Ok(());
    }
    let what = what.to_owned();
    Err(BackupError::TooLarge { what, bytes_max })
}
