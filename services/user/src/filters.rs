//! Sync filters, kept under the hash of their text: the same filter has the same id.
//!
//! [Specification](https://spec.matrix.org/v1.16/client-server-api/#filtering).

use hanse_proto::user::{self as proto, user_entry::Kind};
use hanse_store::{Range, StoreError};
use ruma::{OwnedUserId, UserId, api::client::filter::FilterDefinition};
use serde::{Deserialize, Serialize};

use crate::{
    AccountError, TokenHash, Unavailable, Users,
    commands::command,
    error::{from_unavailable, refusals},
    tables::filter::{self, FILTERS, FilterRow},
};

/// Largest filter as JSON, in bytes.
const FILTER_BYTES_MAX: usize = 32 * 1024;
/// Most filters of one user.
const FILTERS_MAX: usize = 1_000;
/// Length of an id, in hexadecimal digits: 80 bits.
const ID_CHARS: usize = 20;

/// Why a filter was not kept.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum CreateFilterError {
    /// It is too large (`M_TOO_LARGE`).
    #[error("the filter has {bytes} bytes, at most {FILTER_BYTES_MAX} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The user has too many (`M_LIMIT_EXCEEDED`).
    #[error("the user has {FILTERS_MAX} filters already")]
    TooMany,
    /// There is no such account, or no longer.
    #[error("there is no such account")]
    Unknown,
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

from_unavailable!(CreateFilterError);
refusals!(CreateFilterError);

/// Keeps a filter under its id.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CreateFilter {
    user_id: OwnedUserId,
    filter_id: String,
    json: String,
}
command!(CreateFilter, "user.create_filter", of user_id,
    Users::create_filter_here => (), CreateFilterError);

impl From<AccountError> for CreateFilterError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Unknown => Self::Unknown,
            AccountError::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

impl Users {
    /// Keeps a filter; its id.
    pub async fn create_filter(
        &self,
        user_id: &UserId,
        filter: &FilterDefinition,
    ) -> Result<String, CreateFilterError> {
        let json = serde_json::to_string(filter).map_err(|error| corrupt(&error))?;
        if json.len() > FILTER_BYTES_MAX {
            return Err(CreateFilterError::TooLarge { bytes: json.len() });
        }
        let filter_id: String = TokenHash::of(&json).hex().chars().take(ID_CHARS).collect();
        let create = CreateFilter {
            user_id: user_id.to_owned(),
            filter_id: filter_id.clone(),
            json,
        };
        self.routed(create).await?;
        Ok(filter_id)
    }

    async fn create_filter_here(&self, create: &CreateFilter) -> Result<(), CreateFilterError> {
        let (user_id, filter_id) = (&create.user_id, &create.filter_id);
        let turn = self.user_turn(user_id).await?;
        self.open_account(user_id).await?;
        if self.filter_row(user_id, filter_id).await?.is_some() {
            return Ok(());
        }
        let partition = [user_id.as_str().into()];
        let filters: Vec<FilterRow> = self
            .archive()
            .range(partition, Range::all(), FILTERS_MAX)
            .await?;
        if filters.len() >= FILTERS_MAX {
            return Err(CreateFilterError::TooMany);
        }
        let entry = proto::Filter {
            filter_id: filter_id.clone(),
            json: create.json.clone(),
        };
        self.commit_user(&turn, [Kind::Filter(entry)]).await?;
        Ok(())
    }

    /// A filter of the user.
    pub async fn filter(
        &self,
        user_id: &UserId,
        filter_id: &str,
    ) -> Result<Option<FilterDefinition>, Unavailable> {
        if filter_id.len() > ID_CHARS {
            return Ok(None);
        }
        let row = self.filter_row(user_id, filter_id).await?;
        let filter = row
            .map(|row| serde_json::from_str(&row.definition))
            .transpose();
        Ok(filter.map_err(|error| corrupt(&error))?)
    }

    async fn filter_row(
        &self,
        user_id: &UserId,
        filter_id: &str,
    ) -> Result<Option<FilterRow>, Unavailable> {
        Ok(self
            .archive()
            .get(filter::key(user_id.as_str(), filter_id))
            .await?)
    }
}

fn corrupt(error: &serde_json::Error) -> StoreError {
    StoreError::Corrupt {
        table: FILTERS.name,
        reason: error.to_string(),
    }
}
