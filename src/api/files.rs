//! Files as bodies of responses.

use axum::body::Body;
use tokio_util::io::ReaderStream;

use super::error::ApiError;
use crate::media::Content;

/// Bytes read from a file at a time.
const CHUNK: usize = 64 * 1024;

/// The bytes of a file, read as they are sent.
pub async fn file_body(content: &Content) -> Result<Body, ApiError> {
    let Content::File(path) = content;
    let file = tokio::fs::File::open(path).await.map_err(ApiError::internal)?;
    Ok(Body::from_stream(ReaderStream::with_capacity(file, CHUNK)))
}
