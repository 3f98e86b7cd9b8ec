//! Where contents lie: one file each, named by its hash, whole or absent.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};
use tokio::{fs, io::AsyncWriteExt as _};

use crate::random::Random;

/// Why a content could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is larger than it may be.
    #[error("the file is larger than {0} bytes")]
    TooLarge(u64),
    /// It ended before it was whole.
    #[error("the file broke off: {0}")]
    Broken(String),
    /// It could not be written or read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A content that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) hash: [u8; 32],
    pub(super) size: u64,
}

/// A stream of bytes with an end.
pub(super) trait Source: Send {
    /// The next bytes; None at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, FileError>> + Send;
}

impl Source for Body {
    async fn next(&mut self) -> Result<Option<Bytes>, FileError> {
        while let Some(frame) = self.frame().await {
            let frame = frame.map_err(|error| FileError::Broken(error.to_string()))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// The folder `media`: `incoming/` for what is being written, `files/` for whole contents, `thumbnails/` for what can be made
/// again.
pub(super) struct Files {
    root: PathBuf,
    random: Arc<dyn Random>,
}

impl Files {
    /// Makes the folders, and drops what a crash left half written.
    pub(super) fn open(root: PathBuf, random: Arc<dyn Random>) -> io::Result<Self> {
        let incoming = root.join("incoming");
        match std::fs::remove_dir_all(&incoming) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        for folder in [incoming, root.join("files"), root.join("thumbnails")] {
            std::fs::create_dir_all(folder)?;
        }
        Ok(Self { root, random })
    }

    /// Where a content lies, whether it is there or not.
    pub(super) fn path(&self, hash: &[u8; 32]) -> PathBuf {
        let name = hex(hash);
        self.root.join("files").join(&name[..2]).join(&name[2..])
    }

    /// Where a thumbnail lies, whether it is there or not.
    pub(super) fn thumbnail_path(&self, hash: &[u8; 32], variant: &str) -> PathBuf {
        let name = hex(hash);
        self.root.join("thumbnails").join(&name[..2]).join(format!("{}-{variant}", &name[2..]))
    }

    /// Takes a content of at most `limit` bytes: durable when this returns.
    pub(super) async fn receive(&self, mut source: impl Source, limit: u64) -> Result<Stored, FileError> {
        let incoming = self.incoming();
        let received = self.write(&incoming, &mut source, limit).await;
        if received.is_err() {
            // What can't be removed now goes at the next start.
            let _ = fs::remove_file(&incoming).await;
        }
        received
    }

    async fn write(&self, incoming: &Path, source: &mut impl Source, limit: u64) -> Result<Stored, FileError> {
        let mut file = fs::File::create_new(incoming).await?;
        let mut hash = Sha256::new();
        let mut size = 0u64;
        while let Some(bytes) = source.next().await? {
            size += bytes.len() as u64;
            if size > limit {
                return Err(FileError::TooLarge(limit));
            }
            hash.update(&bytes);
            file.write_all(&bytes).await?;
        }
        file.flush().await?;
        file.sync_all().await?;
        drop(file);
        let hash: [u8; 32] = hash.finalize().into();
        place(incoming, &self.path(&hash)).await?;
        Ok(Stored { hash, size })
    }

    /// Writes something that can be made again.
    pub(super) async fn write_thumbnail(&self, path: &Path, bytes: Vec<u8>) -> io::Result<()> {
        let incoming = self.incoming();
        fs::write(&incoming, bytes).await?;
        place(&incoming, path).await
    }

    fn incoming(&self) -> PathBuf {
        self.root.join("incoming").join(self.random.letters(24))
    }

    /// Removes a content and its thumbnails. One that is not there is no error.
    pub(super) async fn remove(&self, hash: &[u8; 32]) -> io::Result<()> {
        let gone = |result: io::Result<()>| match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        gone(fs::remove_file(self.path(hash)).await)?;
        for variant in super::thumbnails::variants() {
            gone(fs::remove_file(self.thumbnail_path(hash, &variant)).await)?;
        }
        Ok(())
    }
}

/// Moves a whole file to its place, so that a crash leaves it there or nowhere.
async fn place(from: &Path, to: &Path) -> io::Result<()> {
    let folder = to.parent().unwrap_or(to).to_owned();
    fs::create_dir_all(&folder).await?;
    fs::rename(from, to).await?;
    fs::File::open(folder).await?.sync_all().await
}

fn hex(hash: &[u8; 32]) -> String {
    use std::fmt::Write as _;
    hash.iter().fold(String::with_capacity(64), |mut out, byte| {
        // Writing to a string can't fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}
