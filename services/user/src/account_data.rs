//! Account data: of the whole account and of each room, with the feed that sync reads.
//!
//! [Specification](https://spec.matrix.org/v1.16/client-server-api/#client-config).

mod carry_over;
mod edit;
mod push_rules;

use hanse_log::Position;
use hanse_proto::user::{self as proto, user_entry::Kind};
use hanse_store::{Range, StoreError};
use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use self::push_rules::PushRules;
use crate::{
    AccountError, Unavailable, Users,
    commands::command,
    error::{from_unavailable, refusals},
    tables::{
        account_data::{self, ACCOUNT_DATA, AccountDataRow},
        account_data_feed::AccountDataFeedRow,
    },
};

/// Types that clients change through endpoints of their own, never through `/account_data`.
pub const SERVER_OWNED_TYPES: [&str; 2] = ["m.fully_read", "m.push_rules"];

/// Largest content, in bytes.
const CONTENT_BYTES_MAX: usize = 64 * 1024;
/// Longest type, in bytes.
const TYPE_BYTES_MAX: usize = 255;
/// Most types of one user, over the account and all rooms.
const DATA_MAX: usize = 20_000;

/// One piece of account data.
#[derive(Clone, Debug)]
pub struct AccountDatum {
    /// The room; none: the whole account.
    pub room_id: Option<OwnedRoomId>,
    /// Its type.
    pub data_type: String,
    /// A JSON object.
    pub content: Box<RawValue>,
    /// Where it was set, in the user's slot.
    pub position: Position,
}

/// Why account data was not set.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum PutAccountDataError {
    /// The content is not a JSON object (`M_BAD_JSON`).
    #[error("account data is a JSON object")]
    NotAnObject,
    /// The type is empty or too long (`M_INVALID_PARAM`).
    #[error("a type has 1 to {TYPE_BYTES_MAX} bytes")]
    Type,
    /// The content is too large (`M_TOO_LARGE`).
    #[error("the content has {bytes} bytes, at most {CONTENT_BYTES_MAX} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The user has too many types (`M_LIMIT_EXCEEDED`).
    #[error("the user has {DATA_MAX} pieces of account data already")]
    TooMany,
    /// There is no such account, or no longer.
    #[error("there is no such account")]
    Unknown,
    /// Others changed it every time before an edit of it arrived (`M_LIMIT_EXCEEDED`).
    #[error("the account data is being changed too often")]
    Changed,
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

from_unavailable!(PutAccountDataError);
refusals!(PutAccountDataError);

/// Sets account data; gives its position, packed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PutAccountData {
    user_id: OwnedUserId,
    /// Empty: of the whole account.
    room_id: String,
    data_type: String,
    content: Box<RawValue>,
    /// Only over what was set there, packed; zero: only if there is nothing. `None`: over anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    over: Option<i64>,
}
command!(PutAccountData, "user.put_account_data", of user_id,
    Users::put_account_data_here => i64, PutAccountDataError);

impl From<AccountError> for PutAccountDataError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Unknown => Self::Unknown,
            AccountError::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

impl Users {
    /// One piece of account data; `room_id` `None`: of the whole account.
    pub async fn account_data(
        &self,
        user_id: &UserId,
        room_id: Option<&RoomId>,
        data_type: &str,
    ) -> Result<Option<AccountDatum>, Unavailable> {
        if data_type.len() > TYPE_BYTES_MAX {
            return Ok(None);
        }
        let row = self
            .account_data_row(user_id, room_of(room_id), data_type)
            .await?;
        Ok(row.map(datum).transpose()?)
    }

    /// Sets account data. Whether clients may set this type is the caller's to decide
    /// ([`SERVER_OWNED_TYPES`]).
    pub async fn put_account_data(
        &self,
        user_id: &UserId,
        room_id: Option<&RoomId>,
        data_type: &str,
        content: &RawValue,
    ) -> Result<Position, PutAccountDataError> {
        self.put_over(user_id, room_id, data_type, content, None)
            .await
    }

    async fn put_over(
        &self,
        user_id: &UserId,
        room_id: Option<&RoomId>,
        data_type: &str,
        content: &RawValue,
        over: Option<i64>,
    ) -> Result<Position, PutAccountDataError> {
        check(data_type, content)?;
        let put = PutAccountData {
            user_id: user_id.to_owned(),
            room_id: room_of(room_id).to_owned(),
            data_type: data_type.to_owned(),
            content: content.to_owned(),
            over,
        };
        Ok(Position::from_packed(self.routed(put).await?))
    }

    async fn put_account_data_here(
        &self,
        put: &PutAccountData,
    ) -> Result<i64, PutAccountDataError> {
        let PutAccountData {
            user_id,
            room_id,
            data_type,
            content,
            over,
        } = put;
        let turn = self.user_turn(user_id).await?;
        self.open_account(user_id).await?;
        let before = self.account_data_row(user_id, room_id, data_type).await?;
        let previous_position = before.as_ref().map_or(0, |row| row.position.packed());
        if over.is_some_and(|over| over != previous_position) {
            return Err(PutAccountDataError::Changed);
        }
        if before.is_none() && self.account_data_rows(user_id).await?.len() >= DATA_MAX {
            return Err(PutAccountDataError::TooMany);
        }
        let entry = proto::AccountData {
            room_id: room_id.clone(),
            data_type: data_type.clone(),
            content: content.get().to_owned(),
            previous_position,
        };
        let position = self.commit_user(&turn, [Kind::AccountData(entry)]).await?;
        Ok(position.packed())
    }

    /// All account data of a user: the account's, then each room's.
    pub async fn all_account_data(
        &self,
        user_id: &UserId,
    ) -> Result<Vec<AccountDatum>, Unavailable> {
        let rows = self.account_data_rows(user_id).await?;
        Ok(rows.into_iter().map(datum).collect::<Result<_, _>>()?)
    }

    /// What was set after one position of the user's slot and not after another, in that order.
    /// What was set again since is left out: it comes with its newer position.
    pub async fn account_data_changed(
        &self,
        user_id: &UserId,
        after: Position,
        up_to: Position,
    ) -> Result<Vec<AccountDatum>, Unavailable> {
        let range = Range::after([after.packed().into()]).up_to([up_to.packed().into()]);
        let partition = [user_id.as_str().into()];
        let feed: Vec<AccountDataFeedRow> =
            self.archive().range(partition, range, DATA_MAX).await?;
        let mut changed = Vec::with_capacity(feed.len());
        for at in feed {
            let row = self
                .account_data_row(user_id, &at.room_id, &at.data_type)
                .await?;
            if let Some(row) = row.filter(|row| row.position == at.position) {
                changed.push(datum(row)?);
            }
        }
        Ok(changed)
    }

    async fn account_data_row(
        &self,
        user_id: &UserId,
        room_id: &str,
        data_type: &str,
    ) -> Result<Option<AccountDataRow>, Unavailable> {
        let key = account_data::key(user_id.as_str(), room_id, data_type);
        Ok(self.archive().get(key).await?)
    }

    async fn account_data_rows(
        &self,
        user_id: &UserId,
    ) -> Result<Vec<AccountDataRow>, Unavailable> {
        let partition = [user_id.as_str().into()];
        Ok(self
            .archive()
            .range(partition, Range::all(), DATA_MAX)
            .await?)
    }
}

fn room_of(room_id: Option<&RoomId>) -> &str {
    room_id.map_or("", RoomId::as_str)
}

fn check(data_type: &str, content: &RawValue) -> Result<(), PutAccountDataError> {
    if !(1..=TYPE_BYTES_MAX).contains(&data_type.len()) {
        return Err(PutAccountDataError::Type);
    }
    let bytes = content.get().len();
    if bytes > CONTENT_BYTES_MAX {
        return Err(PutAccountDataError::TooLarge { bytes });
    }
    // A raw value is well-formed JSON, without white space around it.
    if !content.get().starts_with('{') {
        return Err(PutAccountDataError::NotAnObject);
    }
    Ok(())
}

fn datum(row: AccountDataRow) -> Result<AccountDatum, StoreError> {
    let room_id = match row.room_id.as_str() {
        "" => None,
        room_id => Some(OwnedRoomId::try_from(room_id).map_err(|error| corrupt(&error))?),
    };
    let content = RawValue::from_string(row.content).map_err(|error| corrupt(&error))?;
    Ok(AccountDatum {
        room_id,
        data_type: row.data_type,
        content,
        position: row.position,
    })
}

fn corrupt(reason: &dyn std::fmt::Display) -> StoreError {
    StoreError::Corrupt {
        table: ACCOUNT_DATA.name,
        reason: reason.to_string(),
    }
}
