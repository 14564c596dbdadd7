//! How the roles find each other: the one place that knows more than one of them.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use hanse_runtime::admin::{AdminCommands, AdminError, CreateUser, FirstAccount, UserCreated};
use hanse_runtime::config::Config;
use hanse_runtime::{Clock, DataDir, Lifecycle, Random};

use crate::exit::Failure;

/// What a process gives to its roles.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) config: &'a Config,
    pub(crate) data: &'a DataDir,
    pub(crate) lifecycle: &'a Lifecycle,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

/// What the roles offer to the outside.
pub(crate) struct Wired {
    /// The client API.
    pub(crate) router: Router,
    /// What `hanse admin` can have done.
    pub(crate) admin: Arc<dyn AdminCommands>,
}

/// Opens the store, replays the logs and starts the roles. When it returns, requests can be
/// answered.
#[expect(clippy::unused_async, reason = "opening the store waits")]
pub(crate) async fn wire(surroundings: &Surroundings<'_>) -> Result<Wired, Failure> {
    let Surroundings {
        config,
        data,
        random,
        ..
    } = surroundings;
    tracing::info!(
        server.name = %config.server.name,
        data.path = %data.path().display(),
        instance = random.alphanumeric(8),
        "no role is wired yet"
    );
    Ok(Wired {
        router: Router::new(),
        admin: Arc::new(NoUsers),
    })
}

/// Stands in until the user domain is wired.
struct NoUsers;

#[async_trait]
impl AdminCommands for NoUsers {
    async fn create_user(&self, _: CreateUser) -> Result<UserCreated, AdminError> {
        Err(AdminError::Failed {
            reason: "accounts are not there yet".to_owned(),
        })
    }

    async fn first_account(&self) -> Result<FirstAccount, AdminError> {
        Ok(FirstAccount::Missing { token: None })
    }
}
