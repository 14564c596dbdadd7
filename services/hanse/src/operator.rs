//! What an operator can have done, and what a first start tells them.

use async_trait::async_trait;
use hanse_runtime::admin::{AdminCommands, AdminError, CreateUser, FirstAccount, UserCreated};
use hanse_runtime::config::RegistrationMode;
use hanse_user::{RegisterError, Registration, Users};

/// What the first letter of a user name can be.
const INITIALS: &str = "abcdefghijklmnopqrstuvwxyz0123456789._=-/+";

/// The operator's commands over the user domain.
pub(crate) struct Operator {
    pub(crate) users: Users,
    pub(crate) mode: RegistrationMode,
}

#[async_trait]
impl AdminCommands for Operator {
    async fn create_user(&self, request: CreateUser) -> Result<UserCreated, AdminError> {
        let registration = Registration {
            localpart: Some(request.localpart),
            password: Some(request.password.expose().to_owned()),
            admin: request.admin,
            ..Registration::default()
        };
        match self.users.register(registration).await {
            Ok(account) => Ok(UserCreated {
                user_id: account.user_id,
            }),
            Err(RegisterError::Unavailable(error)) => Err(failed(&error)),
            Err(error) => Err(AdminError::Refused {
                reason: error.to_string(),
            }),
        }
    }

    async fn first_account(&self) -> Result<FirstAccount, AdminError> {
        for initial in INITIALS.chars() {
            let found = self
                .users
                .search_users(initial.encode_utf8(&mut [0; 4]), 1)
                .await;
            if !found.map_err(|error| failed(&error))?.users.is_empty() {
                return Ok(FirstAccount::Exists);
            }
        }
        let token = match self.mode {
            RegistrationMode::Token => Some(self.users.ensure_first_token().await),
            _ => None,
        };
        let token = token.transpose().map_err(|error| failed(&error))?;
        Ok(FirstAccount::Missing { token })
    }
}

fn failed(error: &dyn std::error::Error) -> AdminError {
    AdminError::Failed {
        reason: error.to_string(),
    }
}
