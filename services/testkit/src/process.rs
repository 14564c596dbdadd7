//! Hanse as a child process.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use hanse_loadtest::http::{Call, Connection};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

/// How long a start may take, replay included.
const READY_WITHIN: Duration = Duration::from_mins(1);
/// Between two looks at whether it is ready.
const READY_POLL: Duration = Duration::from_millis(20);
/// How long a drain may take.
const DRAINED_WITHIN: Duration = Duration::from_secs(40);
/// Ports that servers of tests listen on: below those that the system hands out by itself, so that no
/// outgoing connection takes one while its server is down.
const PORTS: std::ops::Range<u16> = 12_000..22_000;
/// What a killed server's log shows of itself in an error, in bytes.
const LOG_TAIL_BYTES: usize = 2_000;

/// Settings that let a test write as fast as it can.
const SETTINGS: &str = "\
[rate_limits]
enabled = false
[passwords]
memory_kib = 64
iterations = 1
";

/// A server over one directory; it keeps its port over restarts. Killed when dropped.
#[derive(Debug)]
pub struct HanseProcess {
    binary: PathBuf,
    directory: PathBuf,
    address: SocketAddr,
    child: Option<Child>,
}

impl HanseProcess {
    /// The binary under test: `HANSE_BIN`, else the release build below the current directory.
    pub fn binary() -> PathBuf {
        let named = std::env::var_os("HANSE_BIN").map(PathBuf::from);
        named.unwrap_or_else(|| PathBuf::from("target/release/hanse"))
    }

    /// A server that does not run yet, with its settings and data in this directory.
    pub fn new(binary: PathBuf, directory: &Path) -> anyhow::Result<Self> {
        Self::with_settings(binary, directory, "")
    }

    /// The same with further settings, in sections of their own.
    pub fn with_settings(
        binary: PathBuf,
        directory: &Path,
        settings: &str,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(directory)?;
        fs::write(
            directory.join("hanse.toml"),
            format!("{SETTINGS}{settings}"),
        )?;
        Ok(Self {
            binary,
            directory: directory.to_owned(),
            address: (Ipv4Addr::LOCALHOST, free_port()?).into(),
            child: None,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Starts it, and returns once it is ready; gives how long that took.
    pub async fn start(&mut self) -> anyhow::Result<Duration> {
        let start = Instant::now();
        self.spawn()?;
        self.ready(READY_WITHIN).await?;
        Ok(start.elapsed())
    }

    /// Starts it, and does not wait.
    pub fn spawn(&mut self) -> anyhow::Result<()> {
        self.child = Some(self.command()?.spawn().with_context(|| {
            let binary = self.binary.display();
            format!("cannot start {binary} (HANSE_BIN names another)")
        })?);
        Ok(())
    }

    /// Returns once it wants traffic.
    pub async fn ready(&mut self, within: Duration) -> anyhow::Result<()> {
        let start = Instant::now();
        while start.elapsed() < within {
            if self.has_ended()? {
                bail!("the server ended at its start: {}", self.log_tail());
            }
            if self.is_ready().await {
                return Ok(());
            }
            sleep(READY_POLL).await;
        }
        bail!("the server was not ready in time: {}", self.log_tail())
    }

    fn command(&self) -> anyhow::Result<Command> {
        let log = self.directory.join("server.log");
        let log = File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(&self.binary);
        command
            .arg("serve")
            .arg("--listen")
            .arg(self.address.to_string())
            .arg("--data")
            .arg(self.data())
            .args(["--registration", "open", "--config"])
            .arg(self.directory.join("hanse.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A group of its own: Ctrl-C is for whoever started it to see to.
            .process_group(0);
        Ok(command)
    }

    /// Whether it runs no more, by itself.
    pub fn has_ended(&mut self) -> anyhow::Result<bool> {
        let ended = self.child.as_mut().map(Child::try_wait).transpose()?;
        Ok(ended.flatten().is_some())
    }

    /// Whether it wants traffic, as it says.
    pub async fn is_ready(&self) -> bool {
        let call = Call::get("/ready").within(Duration::from_secs(2));
        let answer = Connection::to(self.address).call(call, None).await;
        answer.is_ok_and(|answer| answer.status == 200)
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// SIGTERM: it drains.
    pub fn terminate(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGTERM)
    }

    /// SIGSTOP: it stands still, its connections stay.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// SIGCONT, after [`HanseProcess::freeze`].
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self.pid().context("the server does not run")?;
        Ok(kill(Pid::from_raw(pid.cast_signed()), signal)?)
    }

    /// Waits for the end of a drain; how it ended.
    pub async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        let start = Instant::now();
        while start.elapsed() < DRAINED_WITHIN {
            let child = self.child.as_mut().context("the server does not run")?;
            if let Some(status) = child.try_wait()? {
                self.child = None;
                return Ok(status);
            }
            sleep(READY_POLL).await;
        }
        bail!("the server did not end in time: {}", self.log_tail())
    }

    /// SIGKILL: what a power cut leaves behind, apart from the page cache.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("the server does not run")?;
        child.kill()?;
        let status = child.wait()?;
        let by_signal = status.code().is_none();
        anyhow::ensure!(
            by_signal,
            "the server had ended by itself: {}",
            self.log_tail()
        );
        Ok(())
    }

    /// The end of what it wrote to its standard streams.
    pub fn log_tail(&self) -> String {
        let log = fs::read(self.directory.join("server.log")).unwrap_or_default();
        let tail = log.get(log.len().saturating_sub(LOG_TAIL_BYTES)..);
        String::from_utf8_lossy(tail.unwrap_or_default()).into_owned()
    }
}

impl Drop for HanseProcess {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A port that was free a moment ago and that this process was not given before: whoever got it
/// may not listen on it yet.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    for _ in PORTS {
        // The system's choice differs from process to process.
        let ephemeral = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let port = PORTS.start + ephemeral.port() % (PORTS.end - PORTS.start);
        let first = GIVEN.lock().insert(port);
        if first && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sabotage: without the set of those given, 500 of 10,000 ports repeat some all but surely.
    #[test]
    fn a_port_is_given_once() {
        let given: BTreeSet<u16> = (0..500).map(|_| free_port().unwrap()).collect();
        assert_eq!(given.len(), 500);
    }
}
