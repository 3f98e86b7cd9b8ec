//! `POST /media/upload`.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, header},
};
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    extract::{ActiveCaller, QueryInput},
    refusal::{Failure, Refusal},
    reply::Reply,
    state::LinkImState,
};
use crate::{
    accounts::{Rate, RateLimits},
    api::error::ApiError,
    config::Config,
    media::{Media, Mxc, UploadError},
};

/// Where files are served to who is logged in.
const DOWNLOAD: &str = "/_matrix/client/v1/media/download/";

/// The ways in which it fails.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Upload(#[from] UploadError),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Upload(error) => ApiError::from(error).into(),
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<LinkImState> {
    OpenApiRouter::new().routes(routes!(upload))
}

/// The file that a URL names: `mxc://…`, or an address at which a server gives files to its users.
pub(super) fn mxc_of(url: &str) -> Option<Mxc> {
    let name = match url.strip_prefix("mxc://") {
        Some(name) => name,
        None => url.split_once(DOWNLOAD)?.1,
    };
    let (server, media_id) = name.split_once('/')?;
    Mxc::new(server, media_id)
}

/// What is told of a file beside its bytes.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct FileName {
    /// Its name.
    filename: Option<String>,
}

/// The bytes of a file.
enum FileBytes {}

impl PartialSchema for FileBytes {
    fn schema() -> RefOr<Schema> {
        let binary = SchemaFormat::KnownFormat(KnownFormat::Binary);
        ObjectBuilder::new().schema_type(Type::String).format(Some(binary)).into()
    }
}

impl ToSchema for FileBytes {}

/// A file that is stored.
#[derive(Serialize, ToSchema)]
struct Uploaded {
    /// Its name in messages and profiles.
    mxc: String,
    /// Where it is to be had, with a token: relative to this server, if the server does not know its own address.
    url: String,
}

fn header_text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// Stores a file: the body is its bytes (none: an empty file), `Content-Type` says what they are.
#[utoipa::path(post, path = "/media/upload", tag = "message", params(FileName), security(("token" = [])),
    request_body(content = FileBytes, content_type = "application/octet-stream"),
    responses((status = 200, body = Reply<Uploaded>), (status = "4XX", body = Failure)))]
async fn upload(
    ActiveCaller(session): ActiveCaller,
    State(media): State<Arc<Media>>,
    State(limits): State<Arc<RateLimits>>,
    State(config): State<Arc<Config>>,
    QueryInput(named): QueryInput<FileName>,
    request: Request,
) -> Result<Reply<Uploaded>, Refusal> {
    limits.check(Rate::Upload, session.user)?;
    let length = header_text(request.headers(), header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if length.is_some_and(|length| length > media.max_bytes()) {
        return Err(Error::Upload(UploadError::TooLarge(media.max_bytes())).into());
    }
    let content_type = header_text(request.headers(), header::CONTENT_TYPE);
    let stored = media.upload(&session, request.into_body(), content_type, named.filename).await;
    let mxc = stored.map_err(Error::Upload)?;
    let base = config.client_base_url().map(|url| url.to_string()).unwrap_or_default();
    let url = format!("{}{DOWNLOAD}{}/{}", base.trim_end_matches('/'), mxc.server, mxc.media_id);
    Ok(Reply::new("upload ok", Uploaded { mxc: mxc.to_string(), url }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_either_form() {
        let mxc = Mxc::new("a.example:8448", "abc").unwrap();
        for url in
            ["mxc://a.example:8448/abc", "https://chat.example/_matrix/client/v1/media/download/a.example:8448/abc"]
        {
            assert_eq!(mxc_of(url).as_ref(), Some(&mxc), "{url}");
        }
        for other in
            ["", "mxc://", "mxc://a.example", "mxc://a.example/a/b", "https://a.example/cat.png", "file:///etc"]
        {
            assert_eq!(mxc_of(other), None, "{other}");
        }
    }
}
