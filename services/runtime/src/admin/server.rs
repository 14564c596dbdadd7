//! The server's end.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::{AdminCommands, LINE_BYTES_MAX, Reply, Request};
use crate::Tasks;

/// Commands at once; further ones wait.
const CONNECTIONS_MAX: usize = 8;

/// How long one command may take, its reading included.
const COMMAND_TIME_MAX: Duration = Duration::from_mins(1);

/// How long to wait after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the admin socket {}: {source}", path.display())]
pub struct SocketError {
    path: PathBuf,
    source: io::Error,
}

/// A bound socket. Its file goes away with it.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    /// The user who may speak.
    uid: u32,
}

impl AdminSocket {
    /// Binds `path`. The data directory's lock must be held: a socket that is there already is a
    /// dead process's, and is replaced.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        Self::try_bind(path).map_err(|source| SocketError {
            path: path.to_owned(),
            source,
        })
    }

    fn try_bind(path: &Path) -> io::Result<Self> {
        if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
            fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        let uid = fs::metadata(path)?.uid();
        Ok(Self {
            listener,
            path: path.to_owned(),
            uid,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Answers until the soft token of `tasks` is cancelled.
    pub fn serve(self, tasks: &Tasks, commands: Arc<dyn AdminCommands>) {
        let group = tasks.clone();
        tasks.spawn("admin socket", async move {
            let soft = group.soft().clone();
            soft.run_until_cancelled(self.accept(&group, commands))
                .await
        });
    }

    async fn accept(&self, tasks: &Tasks, commands: Arc<dyn AdminCommands>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            match self.listener.accept().await {
                Ok((stream, _)) if self.may_speak(&stream) => {
                    let commands = Arc::clone(&commands);
                    tasks.spawn("admin command", async move {
                        let _place = place;
                        answer_in_time(stream, commands.as_ref()).await;
                    });
                }
                Ok(_) => tracing::warn!("a connection of another user to the admin socket"),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the admin socket");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn may_speak(&self, stream: &UnixStream) -> bool {
        stream
            .peer_cred()
            .is_ok_and(|peer| peer.uid() == self.uid || peer.uid() == 0)
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

async fn answer_in_time(stream: UnixStream, commands: &dyn AdminCommands) {
    match tokio::time::timeout(COMMAND_TIME_MAX, answer(stream, commands)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an admin connection broke"),
        Err(_) => tracing::warn!("an admin command took too long"),
    }
}

async fn answer(stream: UnixStream, commands: &dyn AdminCommands) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(LINE_BYTES_MAX))
        .read_line(&mut line)
        .await?;
    let reply = match serde_json::from_str::<Request>(&line) {
        Ok(request) => request.run(commands).await,
        Err(_) if !line.ends_with('\n') => Reply::Error(format!(
            "a command is one line of at most {LINE_BYTES_MAX} bytes"
        )),
        Err(error) => Reply::Error(format!("not a command of this version: {error}")),
    };
    let mut text = serde_json::to_string(&reply)?;
    text.push('\n');
    write.write_all(text.as_bytes()).await?;
    write.shutdown().await
}
