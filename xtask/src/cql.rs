//! CQL servers for a command: started before, stopped after.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::command::{Ran, must, program};
use crate::setup;

/// Which variable tells the tests of the CQL engine where the server is; also how
/// `deploy/cql/start.sh` says it, as `HANSE_TEST_CQL=address:port` on a line of its own.
pub(crate) const VARIABLE: &str = "HANSE_TEST_CQL";

/// How many servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nodes {
    One,
    Three,
}

impl Nodes {
    /// The number, and the folder below the test environment.
    fn described(self) -> (&'static str, &'static str) {
        match self {
            Self::One => ("1", "cql"),
            Self::Three => ("3", "cql-three-nodes"),
        }
    }
}

/// Runs `work` with the folder and the first address of fresh servers, and stops them.
pub(crate) fn with_nodes<T>(
    root: &Path,
    nodes: Nodes,
    work: impl FnOnce(&Path, &str) -> Result<T>,
) -> Result<T> {
    let (number, folder) = nodes.described();
    let scripts = root.join("deploy/cql");
    let data = setup::test_env(root).join(folder);
    let _ = fs::remove_dir_all(&data);
    fs::create_dir_all(&data)?;
    let mut start = program("./start.sh", &scripts);
    start.arg(&data).env("NODES", number);
    if nodes == Nodes::Three {
        // They run for minutes.
        start.envs([("HEAP", "1g"), ("JIT", "full")]);
    }
    let done = must(&mut start)
        .and_then(|ran| address(&ran))
        .and_then(|address| work(&data, &address));
    must(program("./stop.sh", &scripts).arg(&data))?;
    done
}

fn address(ran: &Ran) -> Result<String> {
    let address = ran.lines.iter().find_map(|line| {
        let (name, address) = line.trim().split_once('=')?;
        (name == VARIABLE).then(|| address.to_owned())
    });
    address.with_context(|| format!("deploy/cql/start.sh printed no {VARIABLE}=…"))
}
