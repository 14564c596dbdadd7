//! Hanse as a child process.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use hanse_loadtest::http::{Call, Connection};
use tokio::time::{Instant, sleep};

/// How long a start may take, replay included.
const READY_WITHIN: Duration = Duration::from_mins(1);
/// Between two looks at whether it is ready.
const READY_POLL: Duration = Duration::from_millis(20);
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
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        fs::write(directory.join("hanse.toml"), SETTINGS)?;
        Ok(Self {
            binary,
            directory: directory.to_owned(),
            address: free.local_addr()?,
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

    /// Starts it, and returns once it answers; gives how long that took.
    pub async fn start(&mut self) -> anyhow::Result<Duration> {
        let start = Instant::now();
        self.child = Some(self.command()?.spawn().with_context(|| {
            let binary = self.binary.display();
            format!("cannot start {binary} (HANSE_BIN names another)")
        })?);
        while start.elapsed() < READY_WITHIN {
            if self.has_ended()? {
                bail!("the server ended at its start: {}", self.log_tail());
            }
            if self.answers().await {
                return Ok(start.elapsed());
            }
            sleep(READY_POLL).await;
        }
        bail!("the server did not answer in time: {}", self.log_tail())
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
            .stderr(log);
        Ok(command)
    }

    fn has_ended(&mut self) -> anyhow::Result<bool> {
        let ended = self.child.as_mut().map(Child::try_wait).transpose()?;
        Ok(ended.flatten().is_some())
    }

    async fn answers(&self) -> bool {
        let call = Call::get("/_matrix/client/versions").within(Duration::from_secs(2));
        let answer = Connection::to(self.address).call(call, None).await;
        answer.is_ok_and(|answer| answer.status == 200)
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
