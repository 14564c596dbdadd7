//! Accounts: what is known of them, their passwords, their end.

use hanse_cluster::travelling;
use hanse_log::Position;
use hanse_proto::user::{self as proto, user_entry::Kind};
use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    PasswordRefused, Unavailable, Users,
    commands::command,
    error::{from_unavailable, refusals},
    tables::{
        account::{self, AccountRow},
        profile::ProfileRow,
    },
    turn::Turn,
};

/// Profile fields read when a profile is erased; more than one profile can hold.
const PROFILE_FIELDS_MAX: usize = 10_000;

/// An account, as far as others may know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each asked for alone"
)]
pub struct Account {
    /// Whose it is.
    pub user_id: OwnedUserId,
    /// When it was made, Unix milliseconds.
    pub created_at_ms: i64,
    /// Whether it was closed, for ever.
    pub deactivated: bool,
    /// Whether its closing asked for erasure.
    pub erased: bool,
    /// Whether it may administer this server.
    pub admin: bool,
    /// Whether it is a guest's.
    pub guest: bool,
    /// Whether one can log in with a password.
    pub has_password: bool,
    /// Where it last changed, in the user's slot.
    #[serde(with = "travelling::position")]
    pub position: Position,
}

impl Account {
    pub(crate) fn new(user_id: &UserId, row: &AccountRow) -> Self {
        Self {
            user_id: user_id.to_owned(),
            created_at_ms: row.created_at_ms,
            deactivated: row.deactivated,
            erased: row.erased,
            admin: row.admin,
            guest: row.guest,
            has_password: !row.password_hash.is_empty(),
            position: row.position,
        }
    }
}

/// A password that was right a moment ago. [`Users::start_session`] checks that it still is.
#[derive(Clone)]
pub struct VerifiedPassword {
    pub(crate) user_id: OwnedUserId,
    pub(crate) password_hash: String,
}

impl VerifiedPassword {
    /// Whose password it is.
    pub fn user_id(&self) -> &UserId {
        &self.user_id
    }
}

impl std::fmt::Debug for VerifiedPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifiedPassword")
            .field("user_id", &self.user_id)
            .finish_non_exhaustive()
    }
}

/// Why a password was not accepted as a user's.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no such user, or the password is another, or there is none: nobody learns which.
    #[error("the user name or the password is wrong")]
    Refused,
    /// The account was closed (`M_USER_DEACTIVATED`).
    #[error("the account is deactivated")]
    Deactivated,
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Why an account was not changed.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum AccountError {
    /// There is no such account, or no longer.
    #[error("there is no such account")]
    Unknown,
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Why a password was not changed.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum ChangePasswordError {
    /// The new one is not taken (`M_WEAK_PASSWORD` or `M_INVALID_PARAM`).
    #[error(transparent)]
    Password(#[from] PasswordRefused),
    /// There is no such account, or no longer.
    #[error("there is no such account")]
    Unknown,
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

from_unavailable!(VerifyError, AccountError, ChangePasswordError);
refusals!(AccountError, ChangePasswordError);

/// Lets a user administer this server, or no longer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SetAdmin {
    user_id: OwnedUserId,
    admin: bool,
}
command!(SetAdmin, "user.set_admin", of user_id, Users::set_admin_here => Account, AccountError);

/// Sets a password that was hashed already.
#[derive(Serialize, Deserialize)]
pub(crate) struct ChangePassword {
    user_id: OwnedUserId,
    password_hash: String,
    log_out_others: bool,
    keep: Option<OwnedDeviceId>,
}
command!(ChangePassword, "user.change_password", of user_id,
    Users::change_password_here => (), ChangePasswordError);

/// Closes an account.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CloseAccount {
    user_id: OwnedUserId,
    erase: bool,
}
command!(CloseAccount, "user.close_account", of user_id, Users::close_account_here => (), AccountError);

impl From<AccountError> for ChangePasswordError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Unknown => Self::Unknown,
            AccountError::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

impl Users {
    /// The account of a user id, deactivated ones too.
    pub async fn account(&self, user_id: &UserId) -> Result<Option<Account>, Unavailable> {
        let row = self.account_row(user_id).await?;
        Ok(row.map(|row| Account::new(user_id, &row)))
    }

    /// Whether there is an account, or ever was: its name is not given away again.
    pub async fn exists(&self, user_id: &UserId) -> Result<bool, Unavailable> {
        Ok(self.account_row(user_id).await?.is_some())
    }

    /// Whether the user may administer this server.
    pub async fn is_admin(&self, user_id: &UserId) -> Result<bool, Unavailable> {
        let row = self.account_row(user_id).await?;
        Ok(row.is_some_and(|row| row.admin && !row.deactivated))
    }

    /// Lets a user administer this server, or no longer.
    pub async fn set_admin(&self, user_id: &UserId, admin: bool) -> Result<Account, AccountError> {
        let user_id = user_id.to_owned();
        self.routed(SetAdmin { user_id, admin }).await
    }

    async fn set_admin_here(&self, set: &SetAdmin) -> Result<Account, AccountError> {
        let (user_id, admin) = (&set.user_id, set.admin);
        let turn = self.user_turn(user_id).await?;
        let row = self.open_account(user_id).await?;
        self.write_account(&turn, user_id, AccountRow { admin, ..row })
            .await
    }

    /// Checks a password. It takes as long for a user that does not exist.
    pub async fn verify_password(
        &self,
        user_id: &UserId,
        password: &str,
    ) -> Result<VerifiedPassword, VerifyError> {
        let row = self.account_row(user_id).await?;
        let deactivated = row.as_ref().is_some_and(|row| row.deactivated);
        let phc = row
            .map(|row| row.password_hash)
            .filter(|phc| !phc.is_empty() && !deactivated);
        let right = self
            .inner
            .hasher
            .verify(password.to_owned(), phc.clone())
            .await?;
        match phc {
            Some(password_hash) if right => Ok(VerifiedPassword {
                user_id: user_id.to_owned(),
                password_hash,
            }),
            _ if deactivated => Err(VerifyError::Deactivated),
            _ => Err(VerifyError::Refused),
        }
    }

    /// Sets a new password. With `log_out_others`, every device but `keep` is logged out.
    pub async fn change_password(
        &self,
        user_id: &UserId,
        password: &str,
        log_out_others: bool,
        keep: Option<&DeviceId>,
    ) -> Result<(), ChangePasswordError> {
        self.inner.hasher.check(password)?;
        let change = ChangePassword {
            user_id: user_id.to_owned(),
            password_hash: self.inner.hasher.hash(password.to_owned()).await?,
            log_out_others,
            keep: keep.map(ToOwned::to_owned),
        };
        self.routed(change).await
    }

    async fn change_password_here(
        &self,
        change: &ChangePassword,
    ) -> Result<(), ChangePasswordError> {
        let user_id = &change.user_id;
        let turn = self.user_turn(user_id).await?;
        let row = self.open_account(user_id).await?;
        let password_hash = change.password_hash.clone();
        let changed = AccountRow {
            password_hash,
            ..row
        };
        self.write_account(&turn, user_id, changed).await?;
        if change.log_out_others {
            let keep = change.keep.as_deref();
            self.end_sessions(&turn, user_id, |device_id| Some(device_id) != keep)
                .await?;
        }
        Ok(())
    }

    /// Closes an account for ever: no login, no tokens, no devices; with `erase`, no profile. To be
    /// repeated after a failure; leaving rooms is the caller's.
    pub async fn deactivate(&self, user_id: &UserId, erase: bool) -> Result<(), AccountError> {
        let user_id = user_id.to_owned();
        self.routed(CloseAccount { user_id, erase }).await
    }

    async fn close_account_here(&self, close: &CloseAccount) -> Result<(), AccountError> {
        let (user_id, erase) = (&close.user_id, close.erase);
        let turn = self.user_turn(user_id).await?;
        let row = self
            .account_row(user_id)
            .await?
            .ok_or(AccountError::Unknown)?;
        // First: from here on nobody gets in, whatever becomes of the rest.
        let closed = AccountRow {
            password_hash: String::new(),
            deactivated: true,
            erased: row.erased || erase,
            admin: false,
            ..row
        };
        self.write_account(&turn, user_id, closed).await?;
        self.end_sessions(&turn, user_id, |_| true).await?;
        if erase {
            self.erase_profile(&turn, user_id).await?;
        }
        Ok(())
    }

    async fn erase_profile(&self, turn: &Turn, user_id: &UserId) -> Result<(), Unavailable> {
        let partition = [user_id.as_str().into()];
        let range = hanse_store::Range::all();
        let fields: Vec<ProfileRow> = self
            .archive()
            .range(partition, range, PROFILE_FIELDS_MAX)
            .await?;
        let removed = fields.into_iter().map(|row| {
            Kind::Profile(proto::ProfileField {
                field: row.field,
                value: String::new(),
                previous: row.content,
            })
        });
        let removed: Vec<_> = removed.collect();
        if !removed.is_empty() {
            self.commit_user(turn, removed).await?;
        }
        Ok(())
    }

    pub(crate) async fn account_row(
        &self,
        user_id: &UserId,
    ) -> Result<Option<AccountRow>, Unavailable> {
        Ok(self.archive().get(account::key(user_id.as_str())).await?)
    }

    /// The account, if it is there and not closed.
    pub(crate) async fn open_account(&self, user_id: &UserId) -> Result<AccountRow, AccountError> {
        let row = self.account_row(user_id).await?;
        row.filter(|row| !row.deactivated)
            .ok_or(AccountError::Unknown)
    }

    pub(crate) async fn write_account(
        &self,
        turn: &Turn,
        user_id: &UserId,
        row: AccountRow,
    ) -> Result<Account, AccountError> {
        let account = proto::Account {
            password_hash: row.password_hash.clone(),
            created_at_ms: row.created_at_ms,
            deactivated: row.deactivated,
            admin: row.admin,
            guest: row.guest,
            erased: row.erased,
        };
        let position = self.commit_user(turn, [Kind::Account(account)]).await?;
        Ok(Account::new(user_id, &AccountRow { position, ..row }))
    }
}
