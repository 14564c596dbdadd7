//! A CQL server, by the scripts of `deploy/cql`.

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};

use super::shown;

/// How the start script says where the server is.
const SAID: &str = "HANSE_TEST_CQL=";

/// One node; stopped with this value, its data stay.
#[derive(Debug)]
pub struct CqlNode {
    scripts: PathBuf,
    directory: PathBuf,
    address: String,
}

impl CqlNode {
    /// Starts it with its data in this directory, for at most `life_seconds`.
    pub fn start(scripts: &Path, directory: &Path, life_seconds: u64) -> anyhow::Result<Self> {
        let mut node = Self {
            scripts: scripts.to_owned(),
            directory: directory.to_owned(),
            address: String::new(),
        };
        std::fs::create_dir_all(directory)?;
        let mut start = node.script("start.sh");
        start.env("LIFE", life_seconds.to_string());
        let output = start.stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "the CQL server did not start");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let address = said.lines().find_map(|line| line.trim().strip_prefix(SAID));
        address
            .context("start.sh named no address")?
            .clone_into(&mut node.address);
        Ok(node)
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    fn script(&self, name: &str) -> Command {
        let mut command = Command::new(self.scripts.join(name));
        command
            .arg(shown(&self.directory))
            .stdin(Stdio::null())
            // A group of its own: Ctrl-C is for whoever started it to see to.
            .process_group(0);
        command
    }
}

impl Drop for CqlNode {
    fn drop(&mut self) {
        let _ = self.script("stop.sh").stdout(Stdio::null()).status();
    }
}
