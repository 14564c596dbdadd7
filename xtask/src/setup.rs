//! What the layers need: Debian packages, the Python and the Node environment, the release binary.
//! Each is made once, and made again when what describes it has changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::command::{answers, must, program};

/// Something a layer needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// `target/test-env/venv`, from `tests/requirements.txt`.
    Python,
    /// `tests/clients/js/node_modules`, from its `package-lock.json`.
    Node,
    /// A Java runtime and Maven.
    Java,
    /// A Redis server, to be started by the tests.
    Redis,
    /// A C++ compiler, for libFuzzer.
    Cxx,
    /// `target/release/hanse`, and the programs that test it beside it.
    Binary,
}

/// A program, how to ask for it, and the packages that bring it.
struct Tool {
    name: &'static str,
    question: &'static [&'static str],
    packages: &'static [&'static str],
}

const PYTHON: Tool = Tool {
    name: "python3",
    question: &["-c", "import ensurepip, venv"],
    packages: &["python3", "python3-venv"],
};
const NPM: Tool = Tool {
    name: "npm",
    question: &["--version"],
    packages: &["nodejs", "npm"],
};
const JAVA: Tool = Tool {
    name: "java",
    question: &["-version"],
    packages: &["default-jre-headless"],
};
const MAVEN: Tool = Tool {
    name: "mvn",
    question: &["--version"],
    packages: &["maven"],
};

const REDIS: Tool = Tool {
    name: "redis-server",
    question: &["--version"],
    packages: &["redis-server"],
};

const CXX: Tool = Tool {
    name: "c++",
    question: &["--version"],
    packages: &["g++"],
};

impl Need {
    pub(crate) fn prepare(self, root: &Path) -> Result<()> {
        match self {
            Self::Python => python(root),
            Self::Node => node(root),
            Self::Java => install(&[JAVA, MAVEN]),
            Self::Redis => install(&[REDIS]),
            Self::Cxx => install(&[CXX]),
            Self::Binary => binary(root),
        }
    }
}

/// Where everything is that only tests need.
pub(crate) fn test_env(root: &Path) -> PathBuf {
    target(root).join("test-env")
}

/// The interpreter of the Python environment.
pub(crate) fn python_path(root: &Path) -> PathBuf {
    test_env(root).join("venv/bin/python")
}

/// The server that black-box tests start.
pub(crate) fn binary_path(root: &Path) -> PathBuf {
    target(root).join("release/hanse")
}

/// Where everything is that was made from the checkout.
pub(crate) fn target(root: &Path) -> PathBuf {
    let moved = std::env::var_os("CARGO_TARGET_DIR");
    moved.map_or_else(|| root.join("target"), |target| root.join(target))
}

fn python(root: &Path) -> Result<()> {
    let venv = test_env(root).join("venv");
    let wanted = root.join("tests/requirements.txt");
    if is_current(&venv, &wanted) {
        return Ok(());
    }
    install(&[PYTHON])?;
    let _ = fs::remove_dir_all(&venv);
    must(program("python3", root).args(["-m", "venv"]).arg(&venv))?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
    ];
    must(program(python_path(root), root).args(pip).arg(&wanted))?;
    stamp(&venv, &wanted)
}

fn node(root: &Path) -> Result<()> {
    let folder = root.join("tests/clients/js");
    let (modules, wanted) = (
        folder.join("node_modules"),
        folder.join("package-lock.json"),
    );
    if is_current(&modules, &wanted) {
        return Ok(());
    }
    install(&[NPM])?;
    must(program("npm", &folder).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]))?;
    stamp(&modules, &wanted)
}

/// The server, and the programs by which the gate tests it. What only measures is built when it is asked
/// for.
const PROGRAMS: [&str; 6] = [
    "hanse",
    "cluster",
    "contention",
    "faults",
    "graphs",
    "kill-loop",
];

fn binary(root: &Path) -> Result<()> {
    build_programs(root, &PROGRAMS)
}

/// A program that tests or measures, of `hanse-testkit` or `hanse-graphs`, beside the server.
pub(crate) fn testkit(root: &Path, name: &str) -> Result<PathBuf> {
    Need::Binary.prepare(root)?;
    if !PROGRAMS.contains(&name) {
        build_programs(root, &[name])?;
    }
    Ok(target(root).join("release").join(name))
}

/// Always of the same packages: of each by its own, what they share would be built twice, with other
/// features.
fn build_programs(root: &Path, names: &[&str]) -> Result<()> {
    let packages = ["hanse", "hanse-testkit", "hanse-graphs"];
    let mut build = program("cargo", root);
    build.args(["build", "--release", "--features=hanse-testkit/programs"]);
    build.args(packages.map(|package| format!("--package={package}")));
    build.args(names.iter().map(|name| format!("--bin={name}")));
    must(&mut build).map(|_| ())
}

/// A copy of its description lies in what was made from it, and goes away with it.
fn stamp_path(made: &Path) -> PathBuf {
    made.join(".made-from")
}

fn is_current(made: &Path, description: &Path) -> bool {
    match (fs::read(stamp_path(made)), fs::read(description)) {
        (Ok(then), Ok(now)) => then == now,
        _ => false,
    }
}

fn stamp(made: &Path, description: &Path) -> Result<()> {
    fs::copy(description, stamp_path(made))?;
    Ok(())
}

/// Installs the Debian packages of the tools that do not answer.
fn install(tools: &[Tool]) -> Result<()> {
    let missing: Vec<&Tool> = tools
        .iter()
        .filter(|t| !answers(t.name, t.question))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|tool| tool.name).collect();
    let packages: Vec<&str> = missing
        .iter()
        .flat_map(|tool| tool.packages)
        .copied()
        .collect();
    ensure!(
        answers("apt-get", &["--version"]),
        "{} must be installed by hand: this is no Debian",
        names.join(", ")
    );
    must(apt().arg("update"))?;
    must(
        apt()
            .args(["install", "--yes", "--no-install-recommends"])
            .args(packages),
    )?;
    let still = missing
        .iter()
        .find(|tool| !answers(tool.name, tool.question));
    ensure!(
        still.is_none(),
        "{} does not work after its packages were installed",
        names.join(", ")
    );
    Ok(())
}

fn apt() -> Command {
    let is_root = answers("sh", &["-c", "test \"$(id -u)\" = 0"]);
    let mut command = program(if is_root { "apt-get" } else { "sudo" }, Path::new("/"));
    if !is_root {
        command.args(["--non-interactive", "apt-get"]);
    }
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .arg("--quiet");
    command
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn what_was_made_is_current_until_its_description_changes_or_it_is_gone() {
        let dir = TempDir::new().unwrap();
        let (made, description) = (dir.path().join("made"), dir.path().join("list.txt"));
        fs::create_dir(&made).unwrap();
        fs::write(&description, "a==1").unwrap();
        assert!(!is_current(&made, &description));
        stamp(&made, &description).unwrap();
        assert!(is_current(&made, &description));
        fs::write(&description, "a==2").unwrap();
        assert!(!is_current(&made, &description));
        fs::remove_dir_all(&made).unwrap();
        assert!(!is_current(&made, &description));
    }
}
