//! `GET` and `PUT /directory/list/room/{roomId}`, `GET` and `POST /publicRooms`.
//!
//! Third-party networks have none here: `include_all_networks` and
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
        public_rooms::{Answer, Page, Search},
    },
    peers::directory::RemoteDirectory,
    rooms::directory::{Directory, DirectoryQuery},
};

/// The ways in which a request is wrong before the directory is looked at.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0:?} is not a server name")]
    NoServer(String),
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NoServer(_) => Self::invalid_param(text),
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
struct Server {
    server: Option<String>,
}

/// The other server whose directory is asked for; None: ours.
fn other(directory: &Directory, of: Server) -> Result<Option<OwnedServerName>, Error> {
    let Some(server) = of.server.filter(|server| !server.is_empty()) else { return Ok(None) };
    let server = ServerName::parse(&server).map_err(|_| Error::NoServer(server))?;
    Ok(Some(server).filter(|server| server != directory.server_name()))
}

async fn page(
    directory: &Directory,
    remote: &RemoteDirectory,
    other: Option<OwnedServerName>,
    query: DirectoryQuery,
) -> Result<Json<Answer>, ApiError> {
    let page = match other {
        None => directory.page(query).await?,
        Some(server) => remote.page(&server, &query).await?,
    };
    Ok(Json(page.into()))
}

/// `GET /publicRooms`. Needs no token.
async fn public_rooms(
    State(directory): State<Arc<Directory>>,
    State(remote): State<Arc<RemoteDirectory>>,
    Query(of): Query<Server>,
    Query(asked): Query<Page>,
) -> Result<Json<Answer>, ApiError> {
    page(&directory, &remote, other(&directory, of)?, asked.query()?).await
}

/// `POST /publicRooms`
async fn search(
    session: Session,
    State(directory): State<Arc<Directory>>,
    State(remote): State<Arc<RemoteDirectory>>,
    State(limits): State<Arc<RateLimits>>,
    Query(of): Query<Server>,
    OptionalJson(body): OptionalJson<Search>,
) -> Result<Json<Answer>, ApiError> {
    limits.check(Rate::Search, session.user)?;
    page(&directory, &remote, other(&directory, of)?, body.query()?).await
}
