//! Making accounts.

use hanse_log::{AppendError, Position};
use ruma::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    Account, AccountError, PasswordRefused, RegistrationTokenError, Unavailable, Users,
    commands::command,
    error::{from_unavailable, refusals},
    tables::account::AccountRow,
};

/// Length of a generated localpart: 12 of 36 characters.
const GENERATED_CHARS: usize = 12;
/// How often a generated name may be taken before we give up.
const GENERATIONS_MAX: usize = 4;

/// What a new account shall be.
#[derive(Clone, Default)]
pub struct Registration {
    /// The name before the colon; generated if there is none. ASCII capitals are lowered.
    pub localpart: Option<String>,
    /// None: no login with a password.
    pub password: Option<String>,
    /// Whether it may administer this server.
    pub admin: bool,
    /// Whether it is a guest's.
    pub guest: bool,
    /// The registration token to spend on it.
    pub registration_token: Option<String>,
}

/// Why a localpart cannot be registered (`M_INVALID_USERNAME`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{localpart:?} cannot be a user name: {reason}")]
pub struct LocalpartRefused {
    /// What was asked for.
    pub localpart: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Why an account was not made.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum RegisterError {
    /// The name breaks the grammar (`M_INVALID_USERNAME`).
    #[error(transparent)]
    Localpart(#[from] LocalpartRefused),
    /// The name is or was somebody's (`M_USER_IN_USE`).
    #[error("the name is taken")]
    Taken,
    /// The password is not taken.
    #[error(transparent)]
    Password(#[from] PasswordRefused),
    /// The registration token allows none.
    #[error(transparent)]
    Token(RegistrationTokenError),
    /// Not now. The registration token's use was given back if it is certain that no account was
    /// made.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

from_unavailable!(RegisterError);
refusals!(RegisterError);

/// Makes an account, if its name is free.
#[derive(Serialize, Deserialize)]
pub(crate) struct MakeAccount {
    user_id: OwnedUserId,
    /// Empty: no login with a password.
    password_hash: String,
    admin: bool,
    guest: bool,
}
command!(MakeAccount, "user.make_account", of user_id, Users::make_account_here => Account, RegisterError);

impl From<AccountError> for RegisterError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Unknown => Self::Taken,
            AccountError::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

impl From<RegistrationTokenError> for RegisterError {
    fn from(error: RegistrationTokenError) -> Self {
        match error {
            RegistrationTokenError::Unavailable(error) => Self::Unavailable(error),
            refused => Self::Token(refused),
        }
    }
}

impl Users {
    /// The user id that a localpart would get; ASCII capitals are lowered.
    ///
    /// [Grammar](https://spec.matrix.org/v1.16/appendices/#user-identifiers).
    pub fn user_id_of_localpart(&self, localpart: &str) -> Result<OwnedUserId, LocalpartRefused> {
        let lowered = localpart.to_ascii_lowercase();
        let refused = |reason: String| LocalpartRefused {
            localpart: localpart.to_owned(),
            reason,
        };
        // An id that was pasted whole would otherwise be taken apart at its own colon.
        if lowered.contains(':') {
            return Err(refused("it holds a colon".to_owned()));
        }
        let user_id = UserId::parse(format!("@{lowered}:{}", self.inner.server_name))
            .map_err(|error| refused(error.to_string()))?;
        user_id
            .validate_strict()
            .map_err(|error| refused(error.to_string()))?;
        Ok(user_id)
    }

    /// Whether a localpart could be registered now: its user id if so, [`RegisterError::Taken`] if
    /// not.
    pub async fn available(&self, localpart: &str) -> Result<OwnedUserId, RegisterError> {
        let user_id = self.user_id_of_localpart(localpart)?;
        if self.exists(&user_id).await? {
            return Err(RegisterError::Taken);
        }
        Ok(user_id)
    }

    /// Makes an account; of many that ask for one name at once, one gets it.
    pub async fn register(&self, registration: Registration) -> Result<Account, RegisterError> {
        let user_id = match &registration.localpart {
            Some(localpart) => self.available(localpart).await?,
            None => self.generate_user_id().await?,
        };
        let password_hash = match &registration.password {
            Some(password) => {
                self.inner.hasher.check(password)?;
                self.inner.hasher.hash(password.clone()).await?
            }
            None => String::new(),
        };
        let account = MakeAccount {
            user_id,
            password_hash,
            admin: registration.admin,
            guest: registration.guest,
        };
        match registration.registration_token {
            Some(token) => self.register_with_token(token, account).await,
            None => self.routed(account).await,
        }
    }

    /// Spends one use of the token, in its own slot, then makes the account. A crash between the two
    /// costs a use, never gives one away.
    async fn register_with_token(
        &self,
        token: String,
        account: MakeAccount,
    ) -> Result<Account, RegisterError> {
        self.spend_registration_token(&token).await?;
        let made = self.routed(account).await;
        if made.as_ref().is_err_and(certainly_not_made) {
            self.give_back_registration_token(&token).await?;
        }
        made
    }

    async fn make_account_here(&self, make: &MakeAccount) -> Result<Account, RegisterError> {
        let turn = self.user_turn(&make.user_id).await?;
        if self.exists(&make.user_id).await? {
            return Err(RegisterError::Taken);
        }
        let row = AccountRow {
            password_hash: make.password_hash.clone(),
            created_at_ms: self.now_ms(),
            deactivated: false,
            erased: false,
            admin: make.admin,
            guest: make.guest,
            position: Position::START,
        };
        Ok(self.write_account(&turn, &make.user_id, row).await?)
    }

    async fn generate_user_id(&self) -> Result<OwnedUserId, RegisterError> {
        for _ in 0..GENERATIONS_MAX {
            let localpart = self.inner.random.alphanumeric(GENERATED_CHARS);
            match self.available(&localpart).await {
                Err(RegisterError::Taken) => {}
                settled => return settled,
            }
        }
        Err(RegisterError::Taken)
    }
}

/// Whether nothing of the account was written.
fn certainly_not_made(error: &RegisterError) -> bool {
    match error {
        RegisterError::Unavailable(Unavailable::Append(error)) => {
            !matches!(error, AppendError::SlotLost { .. })
        }
        // Of the store: the name was looked up in vain. What is written is reported by the log.
        RegisterError::Taken | RegisterError::Unavailable(Unavailable::Store(_)) => true,
        _ => false,
    }
}
