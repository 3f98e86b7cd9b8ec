//! Files go out: from here, or through here from the server that has them.

use std::{path::PathBuf, time::Duration};

use super::{FileError, Media, Mxc, Wanted, thumbnails::Made};
use crate::{
    peers::client::PeerError,
    store::{StoreError, media, media::MediaRow},
};

/// Exactness of the time of the last access: one write a day and file.
const ACCESS_MS: i64 = 24 * 3_600 * 1_000;

/// How long a request waits at most for a content that is being uploaded or fetched.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// No such file.
    #[error("media not found")]
    NotFound,
    /// Its content is not here within the time asked for.
    #[error("the content is not uploaded yet")]
    NotYet,
    /// It is larger than this server passes on, or than it makes thumbnails of.
    #[error("the content is too large")]
    TooLarge,
    /// It is nothing that thumbnails are made of.
    #[error("no thumbnail can be made of this content")]
    NoThumbnail,
    /// The server that has it does not give it.
    #[error(transparent)]
    Peer(PeerError),
    /// It gave something else.
    #[error("{0}")]
    Malformed(String),
    /// It could not be written or read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<FileError> for DownloadError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::TooLarge(_) => Self::TooLarge,
            FileError::Broken(reason) => Self::Malformed(reason),
            FileError::Io(error) => Self::Io(error),
        }
    }
}

/// Where the bytes are.
#[derive(Clone, Debug)]
pub enum Content {
    /// A file.
    File(PathBuf),
}

/// A file to be served.
#[derive(Clone, Debug)]
pub struct Download {
    /// Where the bytes are.
    pub content: Content,
    /// How many there are.
    pub size: u64,
    /// Its type, as it may stand in a header.
    pub content_type: String,
    /// Its name.
    pub filename: Option<String>,
}

impl Media {
    /// The file of this name. One of another server is fetched first if it is not here, unless `local_only`. Waits for a
    /// content that is not uploaded yet for `wait`, a minute at most.
    ///
    /// # Errors
    /// [`DownloadError`]
    pub async fn download(&self, mxc: &Mxc, wait: Duration, local_only: bool) -> Result<Download, DownloadError> {
        let row = self.content(mxc, wait, local_only).await?;
        let Some(hash) = row.hash else { return Err(DownloadError::NotYet) };
        Ok(Download {
            content: Content::File(self.files.path(&hash)),
            size: u64::try_from(row.size).unwrap_or(0),
            content_type: super::safe_content_type(row.content_type.as_deref()).to_owned(),
            filename: row.filename,
        })
    }

    /// A thumbnail of the file of this name, or the file itself where it is smaller than what is wanted.
    ///
    /// # Errors
    /// [`DownloadError`]
    pub async fn thumbnail(
        &self,
        mxc: &Mxc,
        wanted: Wanted,
        wait: Duration,
        local_only: bool,
    ) -> Result<Download, DownloadError> {
        let original = self.download(mxc, wait, local_only).await?;
        let Some(hash) = self.row(mxc).await?.and_then(|row| row.hash) else { return Err(DownloadError::NotFound) };
        match self.thumbnails.make(&hash, wanted).await? {
            Made::Original => Ok(original),
            Made::Thumbnail { path, size, content_type } => Ok(Download {
                content: Content::File(path),
                size,
                content_type: content_type.to_owned(),
                filename: None,
            }),
        }
    }

    async fn content(&self, mxc: &Mxc, wait: Duration, local_only: bool) -> Result<MediaRow, DownloadError> {
        let wait = wait.min(MAX_WAIT);
        if mxc.server != self.server_name {
            return self.copy(mxc, wait, local_only).await;
        }
        let waiting = async {
            loop {
                // Registered before the look: an upload in between wakes it.
                let uploaded = self.uploaded.notified();
                let row = self.row(mxc).await?.filter(|row| !row.quarantined).ok_or(DownloadError::NotFound)?;
                if row.hash.is_some() {
                    return Ok(row);
                }
                if row.expires_ts.is_some_and(|at| at <= self.clock.now_ms()) {
                    return Err(DownloadError::NotFound);
                }
                uploaded.await;
            }
        };
        let row = tokio::time::timeout(wait, waiting).await.map_err(|_| DownloadError::NotYet)??;
        self.note_access(mxc, &row).await?;
        Ok(row)
    }

    async fn copy(&self, mxc: &Mxc, wait: Duration, local_only: bool) -> Result<MediaRow, DownloadError> {
        if let Some(row) = self.known_copy(mxc).await? {
            self.note_access(mxc, &row).await?;
            return Ok(row);
        }
        if local_only {
            return Err(DownloadError::NotFound);
        }
        // One fetch for all who ask at once; whoever comes second finds the copy.
        let _alone = self.remote.alone(mxc).await;
        if let Some(row) = self.known_copy(mxc).await? {
            return Ok(row);
        }
        let row = self.remote.fetch(mxc, wait, self.clock.now_ms()).await?;
        let (name, stored, now) = (mxc.clone(), row.clone(), self.clock.now_ms());
        self.store
            .write::<_, StoreError, _>(move |tx| media::put(tx, name.server.as_str(), &name.media_id, &stored, now))
            .await?;
        Ok(row)
    }

    /// The copy of another server's file, if it is here.
    async fn known_copy(&self, mxc: &Mxc) -> Result<Option<MediaRow>, DownloadError> {
        match self.row(mxc).await? {
            Some(row) if row.quarantined => Err(DownloadError::NotFound),
            row => Ok(row.filter(|row| row.hash.is_some())),
        }
    }

    async fn note_access(&self, mxc: &Mxc, row: &MediaRow) -> Result<(), StoreError> {
        let now = self.clock.now_ms();
        if now - row.last_access_ts < ACCESS_MS {
            return Ok(());
        }
        let mxc = mxc.clone();
        self.store.write(move |tx| media::touch(tx, mxc.server.as_str(), &mxc.media_id, now)).await
    }
}
