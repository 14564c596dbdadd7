//! The lines.

use serde::{Deserialize, Serialize};

use super::{AdminCommands, AdminError, CreateUser, UserCreated};

/// One line from the operator.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Request {
    /// Make an account.
    CreateUser(CreateUser),
}

/// One line back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The account was made.
    UserCreated(UserCreated),
    /// Nothing was done, and why.
    Error(String),
}

impl Request {
    pub(super) async fn run(self, commands: &dyn AdminCommands) -> Reply {
        let done = match self {
            Self::CreateUser(user) => commands.create_user(user).await.map(Reply::UserCreated),
        };
        done.unwrap_or_else(|error: AdminError| Reply::Error(error.to_string()))
    }
}
