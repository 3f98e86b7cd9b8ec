//! Hands on the body of an answer as it arrives, to a parser that reads on a thread of its own.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;

/// Pieces of a body that wait to be parsed.
pub(super) const PIECES: usize = 16;

/// What a body ended with in place of its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum BrokenOff {
    /// Nothing more came.
    #[error("the answer stalled")]
    Stalled,
    /// The connection broke.
    #[error("{0}")]
    Broken(String),
}

/// Hands the body's pieces to the parser, until it wants no more. If the body breaks off, the parser is told so, too.
///
/// # Errors
/// The body broke off, or nothing of it came for as long as `stalled`.
pub(super) async fn feed(
    mut body: Body,
    stalled: Duration,
    pieces: mpsc::Sender<Result<Bytes, String>>,
) -> Result<(), BrokenOff> {
    loop {
        let broken = match tokio::time::timeout(stalled, body.frame()).await {
            Err(_) => BrokenOff::Stalled,
            Ok(None) => return Ok(()),
            Ok(Some(Err(error))) => BrokenOff::Broken(error.to_string()),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => match pieces.send(Ok(data)).await {
                    Ok(()) => continue,
                    Err(_) => return Ok(()),
                },
                // Trailers.
                Err(_) => continue,
            },
        };
        // A parser that is gone already needs no word of it.
        let _ = pieces.send(Err(broken.to_string())).await;
        return Err(broken);
    }
}
