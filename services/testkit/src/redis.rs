//! A Redis server of a run's own.

use std::{
    net::Ipv4Addr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use crate::process::free_port;

/// How often it is asked whether it answers yet, ten milliseconds apart.
const ATTEMPTS_MAX: usize = 1_000;

/// A server on the loopback interface; ends with this value.
#[derive(Debug)]
pub struct RedisServer {
    directory: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts one with its log in this directory.
    pub async fn start(directory: &Path) -> anyhow::Result<Self> {
        let mut server = Self {
            directory: directory.to_owned(),
            port: free_port()?,
            child: None,
        };
        server.run().await?;
        Ok(server)
    }

    /// As settings name it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it again after it was killed.
    pub async fn run(&mut self) -> anyhow::Result<()> {
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--logfile", "redis.log"])
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // A group of its own: Ctrl-C is for whoever started it to see to.
            .process_group(0)
            .spawn();
        self.child = Some(child.context("redis-server must be installed")?);
        for _ in 0..ATTEMPTS_MAX {
            if self.ask("PING").await.is_ok_and(|answer| answer == "+PONG") {
                return Ok(());
            }
            sleep(Duration::from_millis(10)).await;
        }
        bail!("redis-server does not answer")
    }

    /// FLUSHALL.
    pub async fn flush(&self) -> anyhow::Result<()> {
        let answer = self.ask("FLUSHALL").await?;
        anyhow::ensure!(answer == "+OK", "FLUSHALL: {answer}");
        Ok(())
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("redis does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    async fn ask(&self, command: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        stream
            .write_all(format!("{command}\r\n").as_bytes())
            .await?;
        let mut answer = [0; 64];
        let read = stream.read(&mut answer).await?;
        let answer = answer.get(..read).unwrap_or_default();
        Ok(String::from_utf8_lossy(answer).trim().to_owned())
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
