//! `GET /media/download/{mediaId}` and `/media/thumbnail/{mediaId}`: our users' files, for other servers.
//!
//! Source: Server-Server API, "Content Repository".

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::{authentication::SignedEmpty, state::FederationState};
use crate::{
    api::{
        error::ApiError,
        extract::{Path, Query},
        files::{ThumbnailQuery, Waiting, file_body},
    },
    media::{Download, DownloadError, Mxc, disposition, multipart_head, multipart_tail, new_boundary},
};

/// The routes under `/_matrix/federation/v1`.
pub(super) fn routes() -> Router<FederationState> {
    Router::new()
        .route("/media/download/{media_id}", get(download))
        .route("/media/thumbnail/{media_id}", get(thumbnail))
}

/// The name of a file of this server.
fn own(state: &FederationState, media_id: &str) -> Result<Mxc, ApiError> {
    let mxc = Mxc::new(state.config.server_name.as_str(), media_id);
    mxc.ok_or_else(|| DownloadError::NotFound.into())
}

/// `GET /_matrix/federation/v1/media/download/{mediaId}`
async fn download(
    State(state): State<FederationState>,
    Path(media_id): Path<String>,
    Query(waiting): Query<Waiting>,
    _: SignedEmpty,
) -> Result<Response, ApiError> {
    let mxc = own(&state, &media_id)?;
    let download = state.media.download(&mxc, waiting.time(), true).await?;
    respond(&state, download).await
}

/// `GET /_matrix/federation/v1/media/thumbnail/{mediaId}`
async fn thumbnail(
    State(state): State<FederationState>,
    Path(media_id): Path<String>,
    Query(query): Query<ThumbnailQuery>,
    _: SignedEmpty,
) -> Result<Response, ApiError> {
    let mxc = own(&state, &media_id)?;
    let (wanted, wait) = query.wanted()?;
    let download = state.media.thumbnail(&mxc, wanted, wait, true).await?;
    respond(&state, download).await
}

async fn respond(state: &FederationState, download: Download) -> Result<Response, ApiError> {
    let boundary = new_boundary(&*state.random);
    let disposition = disposition(&download.content_type, download.filename.as_deref());
    let head = multipart_head(&boundary, &download.content_type, &disposition);
    let tail = multipart_tail(&boundary);
    let length = head.len() as u64 + download.size + tail.len() as u64;
    let file = file_body(&download.content).await?.into_data_stream();
    let piece = |text: String| stream::once(async move { Ok::<_, axum::Error>(Bytes::from(text)) });
    let body = Body::from_stream(piece(head).chain(file).chain(piece(tail)));
    let content_type = format!("multipart/mixed; boundary={boundary}");
    let content_type = HeaderValue::from_str(&content_type).map_err(ApiError::internal)?;
    let headers = [(header::CONTENT_TYPE, content_type), (header::CONTENT_LENGTH, HeaderValue::from(length))];
    Ok((headers, body).into_response())
}
