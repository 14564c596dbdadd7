//! Profiles. Changes of the name and the avatar are carried into the user's rooms by the caller.
//!
//! [Specification](https://spec.matrix.org/v1.16/client-server-api/#profiles).

use hanse_log::Position;
use hanse_proto::user::{self as proto, user_entry::Kind};
use hanse_store::{Range, StoreError};
use ruma::{
    OwnedUserId, UserId,
    profile::{ProfileFieldName, ProfileFieldValue, UserProfile},
};
use serde::{Deserialize, Serialize};
use serde_json::Value as JsonValue;

use crate::{
    AccountError, Unavailable, Users,
    commands::command,
    error::{from_unavailable, refusals},
    tables::profile::{self, PROFILES, ProfileRow},
};

/// Largest profile as JSON, in bytes (specification).
pub(crate) const PROFILE_BYTES_MAX: usize = 65_536;
/// Longest name of a field, in bytes (specification).
const FIELD_BYTES_MAX: usize = 255;
/// Longest display name, in bytes: member events carry it.
const DISPLAY_NAME_BYTES_MAX: usize = 1_024;
/// Longest avatar URL, in bytes: member events carry it.
const AVATAR_URL_BYTES_MAX: usize = 1_024;
/// Fields read at once: more than [`PROFILE_BYTES_MAX`] lets in.
pub(crate) const FIELDS_READ_MAX: usize = 20_000;

/// A change of a profile.
#[derive(Clone, Debug, PartialEq)]
pub struct ProfileChange {
    /// The field's value before.
    pub previous: Option<JsonValue>,
    /// The field's value now.
    pub current: Option<JsonValue>,
    /// Where it happened, in the user's slot; none: nothing changed.
    pub position: Option<Position>,
}

/// Why a profile was not changed.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum ProfileError {
    /// There is no such account, or no longer.
    #[error("there is no such account")]
    Unknown,
    /// The field's name is empty or has too many bytes (`M_KEY_TOO_LARGE`).
    #[error("the name of a profile field has 1 to {FIELD_BYTES_MAX} bytes")]
    Key,
    /// The value is too long for its field (`M_TOO_LARGE`).
    #[error("the value has {bytes} bytes, at most {bytes_max} are allowed in this field")]
    Value {
        /// Its size.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// The profile would be too large (`M_PROFILE_TOO_LARGE`).
    #[error("the profile would have {bytes} bytes, at most {PROFILE_BYTES_MAX} are allowed")]
    Profile {
        /// What it would have.
        bytes: usize,
    },
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

from_unavailable!(ProfileError);
refusals!(ProfileError);

/// Changes a field of a profile.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ChangeProfileField {
    user_id: OwnedUserId,
    field: String,
    /// As JSON; empty: it is removed.
    value: String,
}
command!(ChangeProfileField, "user.change_profile_field", of user_id,
    Users::change_profile_field_here => ChangedField, ProfileError);

/// What a change of a field came to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ChangedField {
    /// As JSON.
    previous: Option<String>,
    /// Packed; none: nothing changed.
    position: Option<i64>,
}

impl From<AccountError> for ProfileError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Unknown => Self::Unknown,
            AccountError::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

impl Users {
    /// The profile of a user; `None` if there is no such account.
    pub async fn profile(&self, user_id: &UserId) -> Result<Option<UserProfile>, Unavailable> {
        let fields = self.profile_rows(user_id).await?;
        if fields.is_empty() && !self.exists(user_id).await? {
            return Ok(None);
        }
        let parsed = fields.into_iter().map(|row| Ok((parsed(&row)?, row.field)));
        let profile = parsed.map(|pair| pair.map(|(value, field)| (field, value)));
        Ok(Some(profile.collect::<Result<UserProfile, StoreError>>()?))
    }

    /// One field of a user's profile.
    pub async fn profile_field(
        &self,
        user_id: &UserId,
        field: &ProfileFieldName,
    ) -> Result<Option<JsonValue>, Unavailable> {
        let row = self.profile_row(user_id, field.as_str()).await?;
        Ok(row.map(|row| parsed(&row)).transpose()?)
    }

    /// Sets a field. An empty name or avatar URL removes it.
    pub async fn set_profile_field(
        &self,
        user_id: &UserId,
        value: &ProfileFieldValue,
    ) -> Result<ProfileChange, ProfileError> {
        let (name, value) = (value.field_name(), value.value().into_owned());
        check_value(&name, &value)?;
        let clears = [ProfileFieldName::DisplayName, ProfileFieldName::AvatarUrl];
        let cleared = clears.contains(&name) && value == JsonValue::String(String::new());
        self.change_profile_field(user_id, name.as_str(), Some(value).filter(|_| !cleared))
            .await
    }

    /// Removes a field; one that is not there is no error.
    pub async fn remove_profile_field(
        &self,
        user_id: &UserId,
        field: &ProfileFieldName,
    ) -> Result<ProfileChange, ProfileError> {
        self.change_profile_field(user_id, field.as_str(), None)
            .await
    }

    async fn change_profile_field(
        &self,
        user_id: &UserId,
        field: &str,
        current: Option<JsonValue>,
    ) -> Result<ProfileChange, ProfileError> {
        if !(1..=FIELD_BYTES_MAX).contains(&field.len()) {
            return Err(ProfileError::Key);
        }
        let value = current.as_ref().map(JsonValue::to_string);
        let change = ChangeProfileField {
            user_id: user_id.to_owned(),
            field: field.to_owned(),
            value: value.unwrap_or_default(),
        };
        let changed = self.routed(change).await?;
        let previous = changed.previous.as_deref().map(read).transpose()?;
        Ok(ProfileChange {
            previous,
            current,
            position: changed.position.map(Position::from_packed),
        })
    }

    async fn change_profile_field_here(
        &self,
        change: &ChangeProfileField,
    ) -> Result<ChangedField, ProfileError> {
        let ChangeProfileField {
            user_id,
            field,
            value,
        } = change;
        let turn = self.user_turn(user_id).await?;
        self.open_account(user_id).await?;
        let before = self.profile_row(user_id, field).await?;
        let before = before.map(|row| row.content);
        let previous = before.as_deref().map(read).transpose()?;
        let current = Some(value).filter(|value| !value.is_empty());
        let current = current.map(|value| read(value)).transpose()?;
        if previous == current {
            return Ok(ChangedField {
                previous: before,
                position: None,
            });
        }
        self.check_profile(user_id, field, value).await?;
        let entry = proto::ProfileField {
            field: field.clone(),
            value: value.clone(),
            previous: before.clone().unwrap_or_default(),
        };
        let position = self.commit_user(&turn, [Kind::Profile(entry)]).await?;
        Ok(ChangedField {
            previous: before,
            position: Some(position.packed()),
        })
    }

    /// Whether the profile keeps its bound with this field set to this value.
    async fn check_profile(
        &self,
        user_id: &UserId,
        field: &str,
        value: &str,
    ) -> Result<(), ProfileError> {
        // `"field":value,` each, in braces.
        let entry = |field: &str, value: &str| field.len() + value.len() + 4;
        let others = self.profile_rows(user_id).await?;
        let others = others.iter().filter(|row| row.field != field);
        let others: usize = others.map(|row| entry(&row.field, &row.content)).sum();
        let bytes = 1 + others + entry(field, value);
        if value.is_empty() || bytes <= PROFILE_BYTES_MAX {
            return Ok(());
        }
        Err(ProfileError::Profile { bytes })
    }

    async fn profile_rows(&self, user_id: &UserId) -> Result<Vec<ProfileRow>, Unavailable> {
        let partition = [user_id.as_str().into()];
        Ok(self
            .archive()
            .range(partition, Range::all(), FIELDS_READ_MAX)
            .await?)
    }

    async fn profile_row(
        &self,
        user_id: &UserId,
        field: &str,
    ) -> Result<Option<ProfileRow>, Unavailable> {
        if field.len() > FIELD_BYTES_MAX {
            return Ok(None);
        }
        Ok(self
            .archive()
            .get(profile::key(user_id.as_str(), field))
            .await?)
    }
}

fn check_value(name: &ProfileFieldName, value: &JsonValue) -> Result<(), ProfileError> {
    let bytes_max = match name {
        ProfileFieldName::DisplayName => DISPLAY_NAME_BYTES_MAX,
        ProfileFieldName::AvatarUrl => AVATAR_URL_BYTES_MAX,
        _ => PROFILE_BYTES_MAX,
    };
    let bytes = value
        .as_str()
        .map_or_else(|| value.to_string().len(), str::len);
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(ProfileError::Value { bytes, bytes_max })
}

fn parsed(row: &ProfileRow) -> Result<JsonValue, StoreError> {
    read(&row.content)
}

fn read(content: &str) -> Result<JsonValue, StoreError> {
    serde_json::from_str(content).map_err(|error| StoreError::Corrupt {
        table: PROFILES.name,
        reason: error.to_string(),
    })
}
