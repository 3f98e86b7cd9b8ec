//! Files come in: at once, or under an id that was given out before.

use axum::body::Body;
use ruma::ServerName;

use super::{FileError, Media, Mxc, files::Stored, kinds};
use crate::{
    accounts::Session,
    store::{StoreError, ids::UserNid, media, media::MediaRow},
};

/// How long an id waits for its content.
const UNUSED_MS: i64 = 24 * 3_600 * 1_000;

/// Ids without content that a user may hold.
const MAX_UNUSED: i64 = 50;

/// Files of the largest size that a user may upload within a day.
const DAILY_LARGEST_FILES: u64 = 100;

const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// Why a file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// It is larger than it may be.
    #[error("the file is larger than {0} bytes")]
    TooLarge(u64),
    /// The client broke off.
    #[error("the upload broke off: {0}")]
    Broken(String),
    /// The user has uploaded as much as they may for today.
    #[error("you have uploaded as much as you may within a day")]
    Quota,
    /// No such id was given out, or it has expired.
    #[error("this media id was not created, or has expired")]
    UnknownId,
    /// The id was given to another user.
    #[error("this media id was created by another user")]
    OthersId,
    /// The id has its content.
    #[error("this media id has its content already")]
    HasContent,
    /// It could not be written.
    #[error("{0}")]
    Io(std::io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<FileError> for UploadError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::TooLarge(limit) => Self::TooLarge(limit),
            FileError::Broken(reason) => Self::Broken(reason),
            FileError::Io(error) => Self::Io(error),
        }
    }
}

/// Why no id was given out.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The user holds as many unused ids as they may.
    #[error("you have {MAX_UNUSED} uploads that are not done")]
    TooMany,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An id that waits for its content.
#[derive(Clone, Debug)]
pub struct Created {
    /// The name.
    pub mxc: Mxc,
    /// Until when, in milliseconds.
    pub unused_expires_at: i64,
}

impl Media {
    /// Takes a file; it is durable when this returns.
    ///
    /// # Errors
    /// [`UploadError`]
    pub async fn upload(
        &self,
        by: &Session,
        body: Body,
        content_type: Option<String>,
        filename: Option<String>,
    ) -> Result<Mxc, UploadError> {
        self.check_quota(by.user).await?;
        let stored = self.files.receive(body, self.max_bytes).await?;
        let mxc = self.new_mxc();
        self.name(&mxc, by.user, stored, content_type, filename).await?;
        Ok(mxc)
    }

    /// Gives out an id whose content is to follow.
    ///
    /// # Errors
    /// [`CreateError`]
    pub async fn create(&self, by: &Session) -> Result<Created, CreateError> {
        let mxc = self.new_mxc();
        let now = self.clock.now_ms();
        let (name, user) = (mxc.clone(), by.user);
        self.store
            .write(move |tx| {
                if media::unused_ids(tx, user, now)? >= MAX_UNUSED {
                    return Err(CreateError::TooMany);
                }
                let row = MediaRow { expires_ts: Some(now + UNUSED_MS), ..new_row(user, now) };
                Ok(media::put(tx, name.server.as_str(), &name.media_id, &row, now)?)
            })
            .await?;
        Ok(Created { mxc, unused_expires_at: now + UNUSED_MS })
    }

    /// Takes the content of an id that was given out.
    ///
    /// # Errors
    /// [`UploadError`]
    pub async fn upload_to(
        &self,
        by: &Session,
        mxc: &Mxc,
        body: Body,
        content_type: Option<String>,
        filename: Option<String>,
    ) -> Result<(), UploadError> {
        self.check_unused(by.user, mxc).await?;
        self.check_quota(by.user).await?;
        let stored = self.files.receive(body, self.max_bytes).await?;
        // Looked at again in the transaction: of two uploads at once one wins.
        self.check_unused(by.user, mxc).await?;
        self.name(mxc, by.user, stored, content_type, filename).await?;
        self.uploaded.notify_waiters();
        Ok(())
    }

    async fn check_unused(&self, user: UserNid, mxc: &Mxc) -> Result<(), UploadError> {
        if mxc.server != self.server_name {
            return Err(UploadError::UnknownId);
        }
        let row = self.row(mxc).await?.ok_or(UploadError::UnknownId)?;
        if row.uploader != Some(user) {
            return Err(UploadError::OthersId);
        }
        if row.hash.is_some() {
            return Err(UploadError::HasContent);
        }
        if row.expires_ts.is_some_and(|at| at <= self.clock.now_ms()) {
            return Err(UploadError::UnknownId);
        }
        Ok(())
    }

    async fn check_quota(&self, user: UserNid) -> Result<(), UploadError> {
        let since = self.clock.now_ms() - DAY_MS;
        let used = self.store.read::<_, StoreError, _>(move |read| media::uploaded_since(read, user, since)).await?;
        let allowed = self.max_bytes.saturating_mul(DAILY_LARGEST_FILES);
        if u64::try_from(used).unwrap_or(0) >= allowed { Err(UploadError::Quota) } else { Ok(()) }
    }

    async fn name(
        &self,
        mxc: &Mxc,
        user: UserNid,
        stored: Stored,
        content_type: Option<String>,
        filename: Option<String>,
    ) -> Result<(), UploadError> {
        let now = self.clock.now_ms();
        let mxc = mxc.clone();
        let row = MediaRow {
            hash: Some(stored.hash),
            size: i64::try_from(stored.size).unwrap_or(i64::MAX),
            content_type: Some(kinds::safe_content_type(content_type.as_deref()).to_owned()),
            filename: filename.map(|name| kinds::clean(&name)).filter(|name| !name.is_empty()),
            ..new_row(user, now)
        };
        self.store
            .write(move |tx| {
                if media::get(tx, mxc.server.as_str(), &mxc.media_id)?.is_some_and(|row| row.hash.is_some()) {
                    return Err(UploadError::HasContent);
                }
                Ok(media::put(tx, mxc.server.as_str(), &mxc.media_id, &row, now)?)
            })
            .await
    }

    pub(super) async fn row(&self, mxc: &Mxc) -> Result<Option<MediaRow>, StoreError> {
        let mxc = mxc.clone();
        self.store.read(move |read| media::get(read, mxc.server.as_str(), &mxc.media_id)).await
    }

    fn new_mxc(&self) -> Mxc {
        Mxc { server: ServerName::to_owned(&self.server_name), media_id: self.random.letters(24) }
    }
}

fn new_row(user: UserNid, now: i64) -> MediaRow {
    MediaRow {
        uploader: Some(user),
        hash: None,
        size: 0,
        content_type: None,
        filename: None,
        expires_ts: None,
        last_access_ts: now,
        quarantined: false,
    }
}
