//! A Redis server of the run's own.

use std::{
    net::{Ipv4Addr, TcpListener},
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

/// How often it is asked whether it answers yet, ten milliseconds apart.
const ATTEMPTS_MAX: usize = 1_000;

/// Ends with this value.
pub(super) struct RedisServer {
    directory: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl RedisServer {
    pub(super) async fn start(directory: &Path) -> anyhow::Result<Self> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = free.local_addr()?.port();
        drop(free);
        let mut server = Self {
            directory: directory.to_owned(),
            port,
            child: None,
        };
        server.run().await?;
        Ok(server)
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(super) async fn run(&mut self) -> anyhow::Result<()> {
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--logfile", "redis.log"])
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
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

    pub(super) async fn flush(&self) -> anyhow::Result<()> {
        let answer = self.ask("FLUSHALL").await?;
        anyhow::ensure!(answer == "+OK", "FLUSHALL: {answer}");
        Ok(())
    }

    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
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
