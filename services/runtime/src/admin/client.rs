//! The operator's end.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{LINE_BYTES_MAX, Reply, Request};

/// How long the server may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Why a command got no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens.
    #[error(
        "no server answers on {}: is hanse running with this data directory, as this user? ({source})",
        path.display()
    )]
    NoServer {
        /// The socket.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The connection broke, or the answer took too long.
    #[error("the server did not answer")]
    Broken(#[from] io::Error),
    /// The answer is none of ours.
    #[error("the server's answer is unreadable; is it of another version?")]
    Unreadable(#[from] serde_json::Error),
}

/// Sends one command and waits for its answer. Blocks: for command lines only.
pub fn call(path: &Path, request: &Request) -> Result<Reply, CallError> {
    let no_server = |source| CallError::NoServer {
        path: path.to_owned(),
        source,
    };
    let mut stream = UnixStream::connect(path).map_err(no_server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream.take(LINE_BYTES_MAX)).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}
