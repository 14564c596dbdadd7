//! `hanse admin`: one JSON line each way over a Unix socket.
//!
//! The socket belongs to the server's user: its mode is 0600, and a connection of anybody but that
//! user and root is closed unread.

mod client;
mod protocol;
mod server;

use async_trait::async_trait;
use ruma::OwnedUserId;
use serde::{Deserialize, Serialize};

pub use client::{CallError, call};
pub use protocol::{Reply, Request};
pub use server::{AdminSocket, SocketError};

/// The longest line of the protocol, in bytes.
pub const LINE_BYTES_MAX: u64 = 65_536;

/// What an operator can have done. Implemented by whoever owns the users.
#[async_trait]
pub trait AdminCommands: Send + Sync + 'static {
    /// Makes an account.
    async fn create_user(&self, request: CreateUser) -> Result<UserCreated, AdminError>;

    /// Whether there is an account yet and, in registration mode `token`, the token with which the
    /// first one can be registered. It is the same at every call until it was used.
    async fn first_account(&self) -> Result<FirstAccount, AdminError>;
}

/// An account to make.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    /// The part before the colon.
    pub localpart: String,
    /// In plain text; it goes over the socket only.
    pub password: Secret,
    /// Whether the account may use the admin API.
    pub admin: bool,
}

/// An account that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserCreated {
    /// Its id.
    pub user_id: OwnedUserId,
}

/// What to tell an operator who has no account yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstAccount {
    /// There are accounts.
    Exists,
    /// There is none.
    Missing {
        /// A token for one registration, in registration mode `token`.
        token: Option<String>,
    },
}

/// Why a command was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The request cannot be granted, such as a name that is taken.
    #[error("{reason}")]
    Refused {
        /// Why, for the operator.
        reason: String,
    },
    /// The server could not do it now.
    #[error("the server could not do it: {reason}")]
    Failed {
        /// Why, for the operator.
        reason: String,
    },
}

/// A text that is never shown in logs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests;
