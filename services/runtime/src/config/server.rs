//! Sections `[server]`, `[data]`, `[registration]` and `[passwords]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ruma::{OwnedServerName, server_name};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[server]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// The part after the colon in every user id made here. It can never be changed: the data
    /// directory remembers it.
    #[schemars(with = "String", extend("x-allowed" = "a Matrix server name such as example.org"))]
    pub name: OwnedServerName,
    /// Where clients connect, in plain HTTP; TLS ends in front of it.
    #[schemars(with = "String", extend("x-allowed" = "ADDRESS:PORT such as 127.0.0.1:8008 or [::]:8008"))]
    pub listen: SocketAddr,
    /// The URL by which clients reach this server, published in /.well-known/matrix/client.
    #[schemars(extend("x-allowed" = "an http or https URL", "x-example" = "https://matrix.example.org"))]
    pub public_base_url: Option<String>,
    /// The host by which other servers reach this one, published in /.well-known/matrix/server.
    #[schemars(with = "Option<String>", extend("x-allowed" = "HOST or HOST:PORT", "x-example" = "matrix.example.org:443"))]
    pub delegated_server: Option<OwnedServerName>,
    /// What this process does. Less than everything only in a cluster.
    #[schemars(length(min = 1))]
    pub roles: Vec<Role>,
}

impl Server {
    /// Whether this process has a role.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            name: server_name!("localhost").to_owned(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8008)),
            public_base_url: None,
            delegated_server: None,
            roles: Role::ALL.to_vec(),
        }
    }
}

/// A part of the server that a process can run.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The HTTP front.
    Api,
    /// The owner of slots: rooms, users, names.
    Persister,
    /// The answers to /sync.
    Sync,
}

impl Role {
    /// Every role there is.
    pub const ALL: [Self; 3] = [Self::Api, Self::Persister, Self::Sync];

    /// As settings and other processes spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Persister => "persister",
            Self::Sync => "sync",
        }
    }
}

/// `[data]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// The directory; made if it does not exist. One process at a time.
    pub path: PathBuf,
    /// When a message counts as kept, with the embedded store.
    pub durability: Durability,
}

impl Default for Data {
    fn default() -> Self {
        Self {
            path: PathBuf::from("./hanse-data"),
            durability: Durability::Fsync,
        }
    }
}

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// When the disk has it: survives a power cut.
    Fsync,
    /// When the operating system has it: survives a crash of the server, not a power cut.
    Os,
}

/// `[registration]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Who may register through the client API.
    pub mode: RegistrationMode,
    /// The shortest password that is taken, in characters.
    #[schemars(range(min = 1, max = 512))]
    pub password_chars_min: usize,
}

impl Default for Registration {
    fn default() -> Self {
        Self {
            mode: RegistrationMode::Token,
            password_chars_min: 8,
        }
    }
}

/// Who may register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RegistrationMode {
    /// Everybody. Not on the public Internet.
    Open,
    /// Whoever has a registration token. The first start prints one for the first account.
    Token,
    /// Nobody; accounts are made by `hanse admin create-user`.
    Closed,
}

/// `[passwords]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Passwords {
    /// Memory of one hash, in KiB.
    #[schemars(range(min = 8, max = 4_194_304))]
    pub memory_kib: u32,
    /// Passes over that memory.
    #[schemars(range(min = 1, max = 100))]
    pub iterations: u32,
    /// Hashes computed at once; each takes a thread and its memory.
    #[schemars(range(min = 1, max = 256))]
    pub threads: usize,
    /// Hashes that may wait; further logins get an error with a retry hint.
    #[schemars(range(min = 0, max = 100_000))]
    pub queue_len_max: usize,
}

impl Default for Passwords {
    /// The first recommendation of the OWASP password storage cheat sheet.
    fn default() -> Self {
        Self {
            memory_kib: 19_456,
            iterations: 2,
            threads: 2,
            queue_len_max: 64,
        }
    }
}
