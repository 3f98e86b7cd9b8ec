//! `GET` and `PUT /directory/list/room/{roomId}`, `GET` and `POST /publicRooms`.
//!
//! The directories of other servers cannot be asked yet. Third-party networks have none here: `include_all_networks` and
//! `third_party_instance_id` change nothing.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use ruma::{OwnedRoomId, OwnedServerName, ServerName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{authentication::Active, state::ClientState};
use crate::{
    accounts::{Rate, RateLimits, Session},
    api::{
        error::ApiError,
        extract::{Json, OptionalJson, Path, Query},
    },
    rooms::{
        directory::{Directory, DirectoryError, DirectoryPage, DirectoryQuery},
        summary::PublishedRoom,
    },
};

/// The ways in which a request is wrong before the directory is looked at.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("limit is negative")]
    Limit,
    #[error("{0:?} is not a server name")]
    NoServer(String),
    #[error("the directory of {0} cannot be asked")]
    OtherServer(OwnedServerName),
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Limit | Error::NoServer(_) => Self::invalid_param(text),
            Error::OtherServer(_) => Self::not_found(text),
        }
    }
}

impl From<DirectoryError> for ApiError {
    fn from(error: DirectoryError) -> Self {
        let text = error.to_string();
        match error {
            DirectoryError::UnknownRoom => Self::not_found(text),
            DirectoryError::Forbidden => Self::forbidden(text),
            DirectoryError::BadToken => Self::invalid_param(text),
            DirectoryError::Store(error) => error.into(),
        }
    }
}

/// The routes under `/_matrix/client/{version}`.
pub(super) fn routes() -> Router<ClientState> {
    Router::new()
        .route("/directory/list/room/{room_id}", get(visibility).put(set_visibility))
        .route("/publicRooms", get(public_rooms).post(search))
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Visibility {
    Public,
    Private,
}

#[derive(Deserialize, Serialize)]
struct Listing {
    visibility: Option<Visibility>,
}

/// `GET /directory/list/room/{roomId}`. Needs no token.
async fn visibility(
    State(directory): State<Arc<Directory>>,
    Path(room): Path<OwnedRoomId>,
) -> Result<Json<Listing>, ApiError> {
    let visibility = match directory.is_listed(&room).await? {
        true => Visibility::Public,
        false => Visibility::Private,
    };
    Ok(Json(Listing { visibility: Some(visibility) }))
}

/// `PUT /directory/list/room/{roomId}`
async fn set_visibility(
    Active(session): Active,
    State(directory): State<Arc<Directory>>,
    State(limits): State<Arc<RateLimits>>,
    Path(room): Path<OwnedRoomId>,
    OptionalJson(body): OptionalJson<Listing>,
) -> Result<Json<Value>, ApiError> {
    limits.check(Rate::Settings, session.user)?;
    let listed = !matches!(body.visibility, Some(Visibility::Private));
    directory.set_listed(&session, &room, listed).await?;
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
struct Page {
    limit: Option<i64>,
    since: Option<String>,
    server: Option<String>,
}

#[derive(Deserialize)]
struct Server {
    server: Option<String>,
}

#[derive(Default, Deserialize)]
struct Filter {
    generic_search_term: Option<String>,
    room_types: Option<Vec<Option<String>>>,
}

#[derive(Deserialize)]
struct Search {
    limit: Option<i64>,
    since: Option<String>,
    filter: Option<Filter>,
}

#[derive(Serialize)]
struct Answer {
    chunk: Vec<PublishedRoom>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_batch: Option<String>,
    total_room_count_estimate: usize,
}

impl From<DirectoryPage> for Answer {
    fn from(page: DirectoryPage) -> Self {
        let DirectoryPage { chunk, next_batch, prev_batch, total } = page;
        Self { chunk, next_batch, prev_batch, total_room_count_estimate: total }
    }
}

/// Checks that it is our directory that is asked for.
fn check_server(directory: &Directory, server: Option<String>) -> Result<(), Error> {
    let Some(server) = server.filter(|server| !server.is_empty()) else { return Ok(()) };
    let server = ServerName::parse(&server).map_err(|_| Error::NoServer(server))?;
    if server == directory.server_name() { Ok(()) } else { Err(Error::OtherServer(server)) }
}

fn limit(limit: Option<i64>) -> Result<Option<usize>, Error> {
    limit.map(|limit| usize::try_from(limit).map_err(|_| Error::Limit)).transpose()
}

/// `GET /publicRooms`. Needs no token.
async fn public_rooms(
    State(directory): State<Arc<Directory>>,
    Query(page): Query<Page>,
) -> Result<Json<Answer>, ApiError> {
    check_server(&directory, page.server)?;
    let since = page.since.filter(|since| !since.is_empty());
    let query = DirectoryQuery { limit: limit(page.limit)?, since, ..DirectoryQuery::default() };
    Ok(Json(directory.page(query).await?.into()))
}

/// `POST /publicRooms`
async fn search(
    session: Session,
    State(directory): State<Arc<Directory>>,
    State(limits): State<Arc<RateLimits>>,
    Query(of): Query<Server>,
    OptionalJson(body): OptionalJson<Search>,
) -> Result<Json<Answer>, ApiError> {
    limits.check(Rate::Search, session.user)?;
    check_server(&directory, of.server)?;
    let filter = body.filter.unwrap_or_default();
    let query = DirectoryQuery {
        limit: limit(body.limit)?,
        since: body.since.filter(|since| !since.is_empty()),
        search_term: filter.generic_search_term,
        room_types: filter.room_types,
    };
    Ok(Json(directory.page(query).await?.into()))
}
