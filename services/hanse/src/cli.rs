//! The command line. Values of settings are not parsed here: they go where the file's values go,
//! so that there is one place that knows what is allowed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use hanse_runtime::config::{Flags, Sources};

/// A Matrix homeserver.
#[derive(Debug, Parser)]
#[command(name = "hanse", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: Settings,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server (the default)
    Serve(Settings),
    /// Say whether the settings are valid, without starting
    CheckConfig(Settings),
    /// Print all settings with their defaults, as a commented hanse.toml
    Config,
    /// Tell the running server to do something
    Admin {
        #[command(subcommand)]
        command: AdminCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Make an account
    CreateUser(CreateUser),
}

/// The settings that everybody changes first. All others: `hanse config`.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    #[command(flatten)]
    place: Place,
    /// Where clients connect [default: 127.0.0.1:8008]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// The part after the colon in user ids [default: localhost]
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// What this process does [default: everything]
    #[arg(long, value_name = "ROLE,...")]
    roles: Option<String>,
    /// Who may register [default: token]
    #[arg(long, value_name = "open|token|closed")]
    registration: Option<String>,
    /// When a message counts as kept [default: fsync]
    #[arg(long, value_name = "fsync|os")]
    durability: Option<String>,
}

/// Where settings and data are.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The settings file [default: hanse.toml, if there is one]
    #[arg(long, value_name = "FILE", env = "HANSE_CONFIG")]
    config: Option<PathBuf>,
    /// The data directory [default: ./hanse-data]
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CreateUser {
    /// The part of the user id before the colon
    pub(crate) localpart: String,
    /// The account may use the admin API
    #[arg(long)]
    pub(crate) admin: bool,
    /// Read the password from the first line of standard input; without a password, one is made
    /// and printed
    #[arg(long, conflicts_with = "password")]
    pub(crate) password_stdin: bool,
    /// The password; other users of this machine can see it while the command runs
    #[arg(long)]
    pub(crate) password: Option<String>,
    #[command(flatten)]
    pub(crate) place: Place,
}

impl Settings {
    pub(crate) fn sources(self) -> Sources {
        let mut sources = self.place.sources();
        sources.flags = sources
            .flags
            .with("--listen", "server.listen", self.listen)
            .with("--server-name", "server.name", self.server_name)
            .with("--registration", "registration.mode", self.registration)
            .with("--durability", "data.durability", self.durability)
            .with_list("--roles", "server.roles", self.roles);
        sources
    }
}

impl Place {
    pub(crate) fn sources(self) -> Sources {
        let flags = Flags::default().with("--data", "data.path", self.data);
        Sources {
            file: self.config,
            flags,
            ..Sources::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_argument_and_flags_alone_mean_serve() {
        assert!(Cli::try_parse_from(["hanse"]).unwrap().command.is_none());
        let flags = Cli::try_parse_from(["hanse", "--listen", "x"]).unwrap();
        assert!(flags.command.is_none());
        assert_eq!(flags.serve.listen.as_deref(), Some("x"));
        let named = Cli::try_parse_from(["hanse", "serve", "--listen", "x"]).unwrap();
        assert!(matches!(named.command, Some(Command::Serve(s)) if s.listen.is_some()));
    }
}
