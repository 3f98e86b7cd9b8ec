//! Bodies of other servers, of a bounded length.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;

/// Why there is no body.
#[derive(Debug)]
pub(super) enum BodyError {
    /// It is longer than it may be.
    TooLarge,
    /// It ended early, in these words.
    Broken(String),
}

/// Reads a body of `limit` bytes at most.
pub(super) async fn read(mut body: Body, limit: usize) -> Result<Bytes, BodyError> {
    let mut out = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| BodyError::Broken(error.to_string()))?;
        if let Ok(data) = frame.into_data() {
            if out.len() + data.len() > limit {
                return Err(BodyError::TooLarge);
            }
            out.extend_from_slice(&data);
        }
    }
    Ok(out.freeze())
}
