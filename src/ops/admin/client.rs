//! Asks the running server.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Reply, Request, protocol::MAX_REPLY, socket::SOCKET};

/// How long an answer may take: a password is hashed, and a deactivation waits for its commit.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why the running server did not answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The socket can't be spoken over.
    #[error("a process holds the data directory, but {path} does not answer: {source}")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The answer is none.
    #[error("{path}: the answer can't be read: {reason}")]
    Answer {
        /// The socket.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Asks the server that holds `data_dir`.
///
/// # Errors
/// [`CallError`]
pub fn call(data_dir: &Path, request: &Request) -> Result<Reply, CallError> {
    let path = data_dir.join(SOCKET);
    let answer = exchange(&path, request).map_err(|source| CallError::Socket { path: path.clone(), source })?;
    serde_json::from_str(&answer).map_err(|error| CallError::Answer { path, reason: error.to_string() })
}

fn exchange(path: &Path, request: &Request) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream.take(MAX_REPLY)).read_line(&mut answer)?;
    Ok(answer)
}
