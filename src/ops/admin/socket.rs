//! The socket of the running server: in the data directory, for its owner alone.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, watch},
};

use super::{Admin, Reply, Request, protocol::MAX_REQUEST};

/// Name of the socket in the data directory.
pub const SOCKET: &str = "admin.sock";

/// Connections at once; more wait.
const MAX_CONNECTIONS: usize = 4;

/// How long a request may take to arrive, and its answer to be taken.
const PATIENCE: Duration = Duration::from_secs(10);

/// The socket, bound. Whoever can open it is the operator: it has mode 0600, from before it has its name.
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminSocket {
    /// Makes the socket in a data directory, in place of one that a killed server left.
    ///
    /// # Errors
    /// If it can't be made: the path is too long for a socket, for one.
    pub fn bind(data_dir: &Path) -> std::io::Result<Self> {
        let path = data_dir.join(SOCKET);
        Ok(Self { listener: listen(&path)?, path })
    }

    /// Answers admin commands until `stopping` turns true, then takes the socket away.
    ///
    /// # Errors
    /// If it can't be taken away.
    pub async fn serve(self, admin: Arc<Admin>, stopping: watch::Receiver<bool>) -> std::io::Result<()> {
        serve(&self.listener, admin, stopping).await;
        std::fs::remove_file(&self.path)
    }
}

async fn serve(listener: &UnixListener, admin: Arc<Admin>, mut stopping: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { break };
        let accepted = tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let admin = admin.clone();
                tokio::spawn(async move {
                    if let Err(error) = connection(stream, &admin).await {
                        tracing::warn!(%error, "an admin command was not answered");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept an admin command");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn listen(path: &Path) -> std::io::Result<UnixListener> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&new, path)?;
    Ok(listener)
}

async fn connection(mut stream: UnixStream, admin: &Admin) -> std::io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(MAX_REQUEST));
    patiently(reader.read_line(&mut line)).await?;
    let reply = match serde_json::from_str::<Request>(&line) {
        Ok(request) => admin.answer(request).await,
        Err(error) => Reply::Failed { error: format!("no request: {error}") },
    };
    let mut answer = serde_json::to_vec(&reply)?;
    answer.push(b'\n');
    patiently(writer.write_all(&answer)).await?;
    patiently(writer.shutdown()).await
}

async fn patiently<T>(work: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}
