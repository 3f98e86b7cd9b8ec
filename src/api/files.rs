//! What the requests for files of clients and of other servers have in common.

use std::time::Duration;

use axum::body::Body;
use serde::Deserialize;
use tokio_util::io::ReaderStream;

use super::error::ApiError;
use crate::media::{Content, Method, Wanted};

/// How long who asks waits for a content that is not here yet, where they do not say.
const DEFAULT_WAIT: Duration = Duration::from_secs(20);

/// How long who asks waits for a content that is not here yet.
#[derive(Debug, Deserialize)]
pub struct Waiting {
    timeout_ms: Option<u64>,
}

impl Waiting {
    /// The time.
    pub fn time(&self) -> Duration {
        self.timeout_ms.map_or(DEFAULT_WAIT, Duration::from_millis)
    }
}

/// The thumbnail that is asked for.
#[derive(Debug, Deserialize)]
pub struct ThumbnailQuery {
    width: u32,
    height: u32,
    method: Option<ThumbnailMethod>,
    timeout_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ThumbnailMethod {
    Crop,
    Scale,
}

impl ThumbnailQuery {
    /// The wish, and how long to wait; 400 `M_INVALID_PARAM` for a thumbnail without an area.
    pub fn wanted(&self) -> Result<(Wanted, Duration), ApiError> {
        if self.width == 0 || self.height == 0 {
            return Err(ApiError::invalid_param("width and height are at least 1"));
        }
        let method = match self.method {
            Some(ThumbnailMethod::Crop) => Method::Crop,
            Some(ThumbnailMethod::Scale) | None => Method::Scale,
        };
        let waiting = Waiting { timeout_ms: self.timeout_ms };
        Ok((Wanted { width: self.width, height: self.height, method }, waiting.time()))
    }
}

/// Bytes read from a file at a time.
const CHUNK: usize = 64 * 1024;

/// The bytes of a file, read as they are sent.
pub async fn file_body(content: &Content) -> Result<Body, ApiError> {
    let Content::File(path) = content;
    let file = tokio::fs::File::open(path).await.map_err(ApiError::internal)?;
    Ok(Body::from_stream(ReaderStream::with_capacity(file, CHUNK)))
}
