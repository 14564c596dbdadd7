//! How the process ends.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use hanse_runtime::DataDirError;
use hanse_runtime::config::ConfigError;

/// `EX_USAGE`: the command line or a setting is wrong, and a restart will not help.
const USAGE: u8 = 64;

/// Why the process ends.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Settings are wrong.
    Settings(anyhow::Error),
    /// Everything else.
    Other(anyhow::Error),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Settings(error.into())
    }
}

impl From<DataDirError> for Failure {
    fn from(error: DataDirError) -> Self {
        match error {
            DataDirError::OtherServer { .. } => Self::Settings(error.into()),
            _ => Self::Other(error.into()),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Other(error.into())
    }
}

/// Prints what clap has to say; help and version are no failure.
pub(crate) fn usage(usage: &clap::Error) -> ExitCode {
    let _ = usage.print();
    match usage.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(USAGE),
    }
}

/// Prints why, each cause after what it caused.
pub(crate) fn failed(failure: &Failure) -> ExitCode {
    let (error, code) = match failure {
        Failure::Settings(error) => (error, USAGE),
        Failure::Other(error) => (error, 1),
    };
    let _ = writeln!(io::stderr(), "hanse: {error:#}");
    ExitCode::from(code)
}
