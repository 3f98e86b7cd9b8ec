//! Uploads, downloads, thumbnails.
//!
//! The unauthenticated endpoints under `/_matrix/media` that Matrix 1.11 deprecated answer 404: this server never served a
//! file by them, so all of them are from after the freeze.
//!
//! Source: Client-Server API, "Content repository".

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    authentication::{Active, SessionOrGuest},
    state::ClientState,
};
use crate::{
    accounts::Rate,
    api::{
        error::ApiError,
        extract::{Json, Path, Query},
        files::{ThumbnailQuery, Waiting, file_body},
    },
    media::{CreateError, DownloadError, Mxc, UploadError, disposition},
};

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        let text = error.to_string();
        match error {
            UploadError::TooLarge(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", text),
            UploadError::Broken(_) => Self::bad_request("M_UNKNOWN", text),
            UploadError::Quota | UploadError::OthersId => Self::forbidden(text),
            UploadError::UnknownId => Self::not_found(text),
            UploadError::HasContent => Self::new(StatusCode::CONFLICT, "M_CANNOT_OVERWRITE_MEDIA", text),
            UploadError::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", "The server's disk is full")
            }
            UploadError::Io(error) => Self::internal(error),
            UploadError::Store(error) => error.into(),
        }
    }
}

impl From<CreateError> for ApiError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::TooMany => Self::limit_exceeded(60_000),
            CreateError::Store(error) => error.into(),
        }
    }
}

impl From<DownloadError> for ApiError {
    fn from(error: DownloadError) -> Self {
        let text = error.to_string();
        match error {
            DownloadError::NotFound => Self::not_found(text),
            DownloadError::NotYet => Self::new(StatusCode::GATEWAY_TIMEOUT, "M_NOT_YET_UPLOADED", text),
            DownloadError::TooLarge => Self::new(StatusCode::BAD_GATEWAY, "M_TOO_LARGE", text),
            DownloadError::NoThumbnail => Self::bad_request("M_UNKNOWN", text),
            DownloadError::Peer(_) | DownloadError::Malformed(_) => {
                Self::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", text)
            }
            DownloadError::Io(error) => Self::internal(error),
            DownloadError::Store(error) => error.into(),
        }
    }
}

/// The routes under `/_matrix/client/v1/media`.
pub(super) fn routes_v1() -> Router<ClientState> {
    Router::new()
        .route("/media/config", get(config))
        .route("/media/download/{server}/{media_id}", get(download))
        .route("/media/download/{server}/{media_id}/{file_name}", get(download_as))
        .route("/media/thumbnail/{server}/{media_id}", get(thumbnail))
}

/// The routes under `/_matrix/media`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new()
        .route("/v3/upload", post(upload))
        .route("/v3/upload/{server}/{media_id}", put(upload_to))
        .route("/v1/create", post(create))
        .route("/v3/config", get(config))
        .route("/v3/download/{server}/{media_id}", get(frozen))
        .route("/v3/download/{server}/{media_id}/{file_name}", get(frozen))
        .route("/v3/thumbnail/{server}/{media_id}", get(frozen))
}

#[derive(Deserialize)]
struct Named {
    filename: Option<String>,
}

#[derive(Serialize)]
struct Uploaded {
    content_uri: String,
}

#[derive(Serialize)]
struct CreatedId {
    content_uri: String,
    unused_expires_at: i64,
}

/// The name that a path gives.
fn mxc(server: &str, media_id: &str) -> Result<Mxc, ApiError> {
    Mxc::new(server, media_id).ok_or_else(|| ApiError::not_found("There can be no media of this name"))
}

/// The content type of an upload.
fn content_type(headers: &HeaderMap) -> Option<String> {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// Refuses a body that says to be too large before any of it is read.
fn check_length(headers: &HeaderMap, max: u64) -> Result<(), ApiError> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > max) {
        return Err(UploadError::TooLarge(max).into());
    }
    Ok(())
}

/// `POST /_matrix/media/v3/upload`
async fn upload(
    State(state): State<ClientState>,
    Active(session): Active,
    Query(named): Query<Named>,
    request: Request,
) -> Result<Json<Uploaded>, ApiError> {
    state.limits.check(Rate::Upload, session.user)?;
    check_length(request.headers(), state.media.max_bytes())?;
    let content_type = content_type(request.headers());
    let mxc = state.media.upload(&session, request.into_body(), content_type, named.filename).await?;
    Ok(Json(Uploaded { content_uri: mxc.to_string() }))
}

/// `PUT /_matrix/media/v3/upload/{serverName}/{mediaId}`
async fn upload_to(
    State(state): State<ClientState>,
    Active(session): Active,
    Path((server, media_id)): Path<(String, String)>,
    Query(named): Query<Named>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    state.limits.check(Rate::Upload, session.user)?;
    check_length(request.headers(), state.media.max_bytes())?;
    let content_type = content_type(request.headers());
    let mxc = mxc(&server, &media_id)?;
    state.media.upload_to(&session, &mxc, request.into_body(), content_type, named.filename).await?;
    Ok(Json(json!({})))
}

/// `POST /_matrix/media/v1/create`
async fn create(State(state): State<ClientState>, Active(session): Active) -> Result<Json<CreatedId>, ApiError> {
    state.limits.check(Rate::Upload, session.user)?;
    let created = state.media.create(&session).await?;
    Ok(Json(CreatedId { content_uri: created.mxc.to_string(), unused_expires_at: created.unused_expires_at }))
}

/// `GET /_matrix/client/v1/media/config`
async fn config(State(state): State<ClientState>, SessionOrGuest(_): SessionOrGuest) -> Json<Value> {
    Json(json!({ "m.upload.size": state.media.max_bytes() }))
}

/// `GET /_matrix/client/v1/media/download/{serverName}/{mediaId}`
async fn download(
    State(state): State<ClientState>,
    SessionOrGuest(_): SessionOrGuest,
    Path((server, media_id)): Path<(String, String)>,
    Query(waiting): Query<Waiting>,
) -> Result<Response, ApiError> {
    serve(&state, &server, &media_id, None, &waiting).await
}

/// `GET /_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}`
async fn download_as(
    State(state): State<ClientState>,
    SessionOrGuest(_): SessionOrGuest,
    Path((server, media_id, file_name)): Path<(String, String, String)>,
    Query(waiting): Query<Waiting>,
) -> Result<Response, ApiError> {
    serve(&state, &server, &media_id, Some(file_name), &waiting).await
}

async fn serve(
    state: &ClientState,
    server: &str,
    media_id: &str,
    file_name: Option<String>,
    waiting: &Waiting,
) -> Result<Response, ApiError> {
    let mxc = mxc(server, media_id)?;
    let download = state.media.download(&mxc, waiting.time(), false).await?;
    let filename = file_name.or(download.filename);
    let disposition = disposition(&download.content_type, filename.as_deref());
    respond(&download.content_type, &disposition, download.size, file_body(&download.content).await?)
}

/// `GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}`
async fn thumbnail(
    State(state): State<ClientState>,
    SessionOrGuest(_): SessionOrGuest,
    Path((server, media_id)): Path<(String, String)>,
    Query(query): Query<ThumbnailQuery>,
) -> Result<Response, ApiError> {
    let mxc = mxc(&server, &media_id)?;
    let (wanted, wait) = query.wanted()?;
    let download = state.media.thumbnail(&mxc, wanted, wait, false).await?;
    let disposition = disposition(&download.content_type, download.filename.as_deref());
    respond(&download.content_type, &disposition, download.size, file_body(&download.content).await?)
}

fn respond(content_type: &str, disposition: &str, size: u64, body: Body) -> Result<Response, ApiError> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(ApiError::internal);
    let headers = [
        (header::CONTENT_TYPE, value(content_type)?),
        (header::CONTENT_DISPOSITION, value(disposition)?),
        (header::CONTENT_LENGTH, HeaderValue::from(size)),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(
                "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; \
                 style-src 'unsafe-inline'; object-src 'self';",
            ),
        ),
        (header::HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("cross-origin")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        // What an mxc: URI names never changes; only its reader may keep it.
        (header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=86400, immutable")),
    ];
    Ok((headers, body).into_response())
}

/// `GET /_matrix/media/v3/download/…` and `…/thumbnail/…`
async fn frozen() -> ApiError {
    ApiError::not_found("Media is served to logged-in users only, by /_matrix/client/v1/media")
}
