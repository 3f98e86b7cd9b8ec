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

use super::{
    Admin, Reply, Request,
    protocol::MAX_REQUEST,
};

/// Name of the socket in the data directory.
pub const SOCKET: &str = "admin.sock";

/// Connections at once; more wait.
const MAX_CONNECTIONS: usize = 4;

/// How long a request may take to arrive, and its answer to be taken.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers admin commands until `stopping` turns true. Whoever can open the socket is the operator: it has mode 0600, from
/// before it has its name.
///
/// # Errors
/// If the socket can't be made.
pub async fn serve(data_dir: &Path, admin: Arc<Admin>, mut stopping: watch::Receiver<bool>) -> std::io::Result<()> {
    let path = data_dir.join(SOCKET);
    let listener = listen(&path)?;
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
    std::fs::remove_file(&path)
}

/// Makes the socket, in place of one that a killed server left.
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
    let read = BufReader::new(reader.take(MAX_REQUEST)).read_line(&mut line);
    patiently(read).await?;
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
