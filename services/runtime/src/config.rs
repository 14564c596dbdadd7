//! What an operator can set, and how it is read: defaults, then `hanse.toml`, then environment
//! variables `HANSE_SECTION__KEY`, then flags; the later wins.
//!
//! The structs are the only description. Types, comments, allowed values and ranges of the printed
//! default file and of every error come from them.

mod bus;
mod check;
mod cluster;
mod error;
mod limits;
mod load;
mod process;
mod rates;
mod schema;
mod server;
mod store;
mod template;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use bus::Bus;
pub use cluster::Cluster;
pub use error::{ConfigError, SettingError};
pub use limits::Limits;
pub use load::{Environment, Flags, Sources};
pub use process::{Admin, Drain, LogFormat, Telemetry};
pub use rates::{Rate, RateLimits};
pub use server::{Data, Durability, Passwords, Registration, RegistrationMode, Role, Server};
pub use store::{Secret, Store, StoreEngine};

/// Everything that can be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who this server is and where it answers.
    pub server: Server,
    /// The directory of this process.
    pub data: Data,
    /// Where everything is kept.
    pub store: Store,
    /// How this process is one of several. They share the store and the bus.
    pub cluster: Cluster,
    /// How the processes of a cluster tell each other what is new.
    pub bus: Bus,
    /// Who may make an account.
    pub registration: Registration,
    /// What one password hash (Argon2id) costs, and how many are computed at once.
    pub passwords: Passwords,
    /// Bounds of the HTTP listener. Past a bound a client gets an error that says so.
    pub limits: Limits,
    /// How often one user, or one address before login, may do something.
    pub rate_limits: RateLimits,
    /// Logs, metrics and traces.
    pub telemetry: Telemetry,
    /// The socket of `hanse admin`.
    pub admin: Admin,
    /// How the process ends on SIGTERM or SIGINT.
    pub drain: Drain,
}

impl Config {
    /// Reads the sources in their order and checks the result.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        load::load(sources)
    }

    /// The defaults as a commented TOML file.
    pub fn template() -> Result<String, ConfigError> {
        template::render(&Self::default())
    }

    /// What is out of range or contradicts itself.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let wrong = check::check(self);
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(ConfigError::Settings { wrong })
        }
    }
}

#[cfg(test)]
mod tests;
