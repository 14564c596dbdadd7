//! The binary as an operator meets it: exit codes, messages, the life of the process.
#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// `hanse` in an empty directory and an environment without settings.
fn hanse(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hanse"));
    command.current_dir(dir).args(args).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HANSE_") {
            command.env_remove(name);
        }
    }
    command
}

fn output(command: &mut Command) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A server on a port of its own; killed when the test ends.
struct Server {
    process: Child,
    stdout: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Server {
    fn start(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert!(
                stdout.read_line(&mut line).unwrap() > 0,
                "ended without an address"
            );
            if let Some((_, address)) = line.trim().split_once("clients connect to  http://") {
                break address.parse().unwrap();
            }
        };
        Self {
            process,
            stdout,
            address,
        }
    }

    fn in_dir(dir: &Path) -> Self {
        Self::start(&mut hanse(dir, &["--listen", "127.0.0.1:0"]))
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Asks for the end; the exit code and what else was printed.
    fn stop(mut self, signal: Signal) -> (Option<i32>, String) {
        kill(Pid::from_raw(self.process.id().cast_signed()), signal).unwrap();
        let mut printed = String::new();
        self.stdout.read_to_string(&mut printed).unwrap();
        (self.process.wait().unwrap().code(), printed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn wrong_settings_end_with_64_and_name_key_value_and_what_is_allowed() {
    let dir = TempDir::new().unwrap();
    let check = |args: &[&str], env: Option<(&str, &str)>, said: &[&str]| {
        for command in ["serve", "check-config"] {
            let all: Vec<&str> = [command].iter().chain(args).copied().collect();
            let (code, _, stderr) = output(hanse(dir.path(), &all).envs(env));
            assert_eq!(code, 64, "{all:?}: {stderr}");
            for part in said {
                assert!(stderr.contains(part), "{all:?}: no {part} in {stderr}");
            }
        }
    };
    check(
        &["--registration", "shut"],
        None,
        &[
            "registration.mode",
            "\"shut\"",
            "(flag --registration)",
            "open, token, closed",
        ],
    );
    check(
        &["--durability", "none"],
        None,
        &["data.durability", "\"none\"", "fsync, os"],
    );
    check(
        &["--listen", "8008"],
        None,
        &["server.listen", "8008", "ADDRESS:PORT"],
    );
    check(
        &["--server-name", "a b"],
        None,
        &["server.name", "\"a b\"", "Matrix server name"],
    );
    check(
        &["--roles", "api,snyc"],
        None,
        &["server.roles", "snyc", "did you mean sync?"],
    );
    check(
        &["--roles", "api"],
        None,
        &["server.roles", "every role once"],
    );
    check(&["--colour"], None, &["--colour"]);
    check(&["--config", "none.toml"], None, &["none.toml"]);
    let variable = |name, value| Some((name, value));
    check(
        &[],
        variable("HANSE_SERVER__NMAE", "x.org"),
        &[
            "server.nmae",
            "\"x.org\"",
            "environment variable HANSE_SERVER__NMAE",
            "server.name?",
        ],
    );
    check(
        &[],
        variable("HANSE_PASSWORDS__ITERATIONS", "0"),
        &[
            "passwords.iterations = 0",
            "HANSE_PASSWORDS__ITERATIONS",
            "from 1 to 100",
        ],
    );
    check(
        &[],
        variable("HANSE_SERVER_NAME", "x.org"),
        &[
            "HANSE_SERVER_NAME",
            "\"x.org\"",
            "did you mean HANSE_SERVER__NAME?",
        ],
    );
}

/// Red if a process starts that could do nothing but harm, or nothing at all.
#[test]
fn a_cluster_that_contradicts_itself_ends_with_64() {
    let dir = TempDir::new().unwrap();
    let good = [
        ("HANSE_STORE__ENGINE", "cql"),
        ("HANSE_CLUSTER__LISTEN", "127.0.0.1:18009"),
        ("HANSE_BUS__REDIS", "[\"redis://127.0.0.1:1\"]"),
    ];
    let check = |without: &str, roles: &str, said: &[&str]| {
        for command in ["serve", "check-config"] {
            let mut hanse = hanse(dir.path(), &[command, "--roles", roles]);
            let kept = good.iter().filter(|(name, _)| *name != without);
            let (code, _, stderr) = output(hanse.envs(kept.copied()));
            assert_eq!(code, 64, "{without}: {stderr}");
            for part in said {
                assert!(stderr.contains(part), "no {part} in {stderr}");
            }
        }
    };
    check(
        "HANSE_STORE__ENGINE",
        "api",
        &[
            "cluster.listen",
            "HANSE_CLUSTER__LISTEN",
            "engine = \"cql\"",
        ],
    );
    check("HANSE_BUS__REDIS", "api", &["bus.redis", "need a bus"]);
    check(
        "HANSE_CLUSTER__LISTEN",
        "api",
        &["server.roles", "alone needs every role", "cluster.listen"],
    );
    check("", "api,api", &["server.roles", "not each role once"]);
    let mut command = hanse(dir.path(), &["check-config", "--roles", "sync"]);
    assert_eq!(output(command.envs(good)).0, 0);
}

#[test]
fn the_printed_default_is_valid_and_later_sources_win() {
    let dir = TempDir::new().unwrap();
    let (code, template, _) = output(&mut hanse(dir.path(), &["config"]));
    assert_eq!(code, 0);
    fs::write(dir.path().join("hanse.toml"), &template).unwrap();
    let (code, said, _) = output(&mut hanse(dir.path(), &["check-config"]));
    assert_eq!((code, said.as_str()), (0, "The configuration is valid.\n"));

    // The file is wrong, the environment mends it, and the flag spoils it again.
    let spoilt = template.replace("mode = \"token\"", "mode = \"shut\"");
    fs::write(dir.path().join("hanse.toml"), spoilt).unwrap();
    let mut command = hanse(dir.path(), &["check-config"]);
    assert_eq!(output(&mut command).0, 64);
    assert_eq!(output(command.env("HANSE_REGISTRATION__MODE", "open")).0, 0);
    assert_eq!(output(command.args(["--registration", "none"])).0, 64);
}

#[test]
fn variables_of_others_are_no_settings() {
    let dir = TempDir::new().unwrap();
    let mut command = hanse(dir.path(), &["check-config"]);
    command
        .env("HANSE_PORT", "tcp://10.0.0.1:8008")
        .env("HANSE_SERVICE_HOST", "10.0.0.1");
    assert_eq!(
        output(command.env("HANSE_BIN", "target/release/hanse")).0,
        0
    );
}

#[test]
fn version_and_help_are_no_failure() {
    let dir = TempDir::new().unwrap();
    let (code, version, _) = output(&mut hanse(dir.path(), &["--version"]));
    assert_eq!(
        (code, version.as_str()),
        (0, concat!("hanse ", env!("CARGO_PKG_VERSION"), "\n"))
    );
    assert_eq!(output(&mut hanse(dir.path(), &["--help"])).0, 0);
}

#[test]
fn no_argument_serves_until_a_signal_and_starts_again() {
    let dir = TempDir::new().unwrap();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut command = hanse(dir.path(), &[]);
        let server = Server::start(command.env("HANSE_SERVER__LISTEN", "127.0.0.1:0"));
        assert!(server.get("/health").starts_with("HTTP/1.1 200"));
        assert!(server.get("/ready").starts_with("HTTP/1.1 200"));
        assert!(server.get("/metrics").contains("hanse_http_requests_total"));
        assert!(dir.path().join("hanse-data/admin.sock").exists());
        let (code, printed) = server.stop(signal);
        assert_eq!(code, Some(0));
        assert!(printed.contains("hanse admin create-user"), "{printed}");
        assert!(!dir.path().join("hanse-data/admin.sock").exists());
    }
}

#[test]
fn a_second_process_on_the_data_directory_ends_with_1_and_leaves_the_first_alone() {
    let dir = TempDir::new().unwrap();
    let server = Server::in_dir(dir.path());
    let (code, _, stderr) = output(&mut hanse(dir.path(), &["--listen", "127.0.0.1:0"]));
    assert_eq!(code, 1);
    let pid = server.process.id();
    assert!(stderr.contains(&format!("in use by another hanse process (process {pid})")));
    assert!(server.get("/health").starts_with("HTTP/1.1 200"));
    assert!(dir.path().join("hanse-data/admin.sock").exists());
}

#[test]
fn kill_9_leaves_nothing_in_the_way_of_the_next_start() {
    let dir = TempDir::new().unwrap();
    let (code, _) = Server::in_dir(dir.path()).stop(Signal::SIGKILL);
    assert_eq!(code, None);
    assert!(
        Server::in_dir(dir.path())
            .get("/health")
            .starts_with("HTTP/1.1 200")
    );
}

#[test]
fn what_the_machine_refuses_is_explained() {
    let dir = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, stderr) = output(&mut hanse(dir.path(), &["--listen", &address]));
    assert_eq!(code, 1);
    assert!(
        stderr.contains(&address) && stderr.contains("the port is in use"),
        "{stderr}"
    );

    fs::write(dir.path().join("file"), "").unwrap();
    let args = ["--listen", "127.0.0.1:0", "--data", "file/data"];
    let (code, _, stderr) = output(&mut hanse(dir.path(), &args));
    assert_eq!(code, 1);
    assert!(
        stderr.contains("file/data") && stderr.contains("is not a directory"),
        "{stderr}"
    );
}

#[test]
fn the_server_name_cannot_change() {
    let dir = TempDir::new().unwrap();
    Server::in_dir(dir.path()).stop(Signal::SIGTERM);
    let args = ["--listen", "127.0.0.1:0", "--server-name", "other.org"];
    let (code, _, stderr) = output(&mut hanse(dir.path(), &args));
    assert_eq!(code, 64);
    assert!(
        stderr.contains("\"other.org\"") && stderr.contains("allowed: localhost"),
        "{stderr}"
    );
}

#[test]
fn admin_commands_need_a_running_server() {
    let dir = TempDir::new().unwrap();
    let args = [
        "admin",
        "create-user",
        "alice",
        "--password",
        "secret-password",
    ];
    let (code, _, stderr) = output(&mut hanse(dir.path(), &args));
    assert_eq!(code, 1);
    assert!(
        stderr.contains("no server answers on ./hanse-data/admin.sock"),
        "{stderr}"
    );
    assert!(!stderr.contains("secret-password"));

    let both = [
        "admin",
        "create-user",
        "alice",
        "--password",
        "x",
        "--password-stdin",
    ];
    assert_eq!(output(&mut hanse(dir.path(), &both)).0, 64);
}
